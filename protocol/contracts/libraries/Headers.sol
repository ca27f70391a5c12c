// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Block hashes as the chain itself knows them, and the step from a header to its parent
library Headers {
    /// @dev EIP-2935 history contract; its address is bound to its code by its deployment, so nobody else can stand there.
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    /// @notice Hash of a past block from the chain's own window (256 blocks, 8191 with EIP-2935), or 0 if out of reach.
    function known(uint256 number) internal view returns (bytes32 hash) {
        hash = blockhash(number);
        if (hash != 0 || number >= block.number || HISTORY.code.length == 0) return hash;
        (bool ok, bytes memory out) = HISTORY.staticcall(abi.encode(number));
        if (ok && out.length == 32) hash = abi.decode(out, (bytes32));
    }

    /// @notice Parent hash of an RLP header: a list with a two-byte length (every header is longer than 255 bytes, the bloom
    /// alone is 256) whose first item is a string of 32 bytes. The caller has checked the header's hash, so there is nothing
    /// else to parse.
    function parentOf(bytes calldata header) internal pure returns (bool ok, bytes32 parent) {
        if (header.length < 36 || header[0] != 0xf9 || header[3] != 0xa0) return (false, 0);
        return (true, bytes32(header[4:36]));
    }
}
