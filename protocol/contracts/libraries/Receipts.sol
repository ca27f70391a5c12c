// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IReferee} from "../interfaces/IReferee.sol";

/// @title What a receipt says of its job's inputs and outputs (attestation.md §2)
/// @notice The twin in TypeScript is protocol/envelope.ts and protocol/trace.ts, and both are held to protocol/vectors/job.json.
library Receipts {
    /// @notice The receipt's hash, as vouchers and claims have it: that of the signed message.
    function hash(IReferee.Receipt calldata r) internal pure returns (bytes32) {
        bytes32 signed = sha256(
            abi.encodePacked(
                "sinter/1/envelope/receipt",
                uint8(0),
                uint32(32),
                r.networkId,
                uint32(r.payload.length),
                r.payload
            )
        );
        return sha256(abi.encodePacked("sinter/1/message", uint8(0), uint32(32), signed, uint32(20), r.signer));
    }

    /// @notice The input or output root in a receipt's payload.
    /// @dev A message is canonical: session (field 1), seq (2), manifest (3), input root (4) and output root (5) stand in this order at its
    /// beginning, none is empty, and none has 128 bytes. Whatever looks otherwise is no receipt.
    function rootOf(bytes calldata payload, bool output) internal pure returns (bytes32) {
        uint256 from = _bytes(payload, 0, 0x0a);
        from = _number(payload, from, 0x10);
        from = _bytes(payload, from, 0x1a);
        uint256 end = _bytes(payload, from, 0x22);
        if (output) (from, end) = (end, _bytes(payload, end, 0x2a));
        if (end - from != 34) revert IReferee.NotReceipt();
        return bytes32(payload[from + 2:end]);
    }

    /// @notice Root over the records of a graph's inputs or outputs.
    function ioRoot(bool output, bytes32[] calldata records) internal pure returns (bytes32) {
        bytes memory joined = abi.encodePacked(output ? "sinter/1/io/output" : "sinter/1/io/input", uint8(0));
        for (uint256 i = 0; i < records.length; i++) joined = abi.encodePacked(joined, uint32(32), records[i]);
        return sha256(joined);
    }

    /// @notice What stands in the tree of a job for one of its trees.
    function record(IReferee.Tree calldata t) internal pure returns (bytes32) {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("sinter/1/tree", uint8(0), uint32(4), t.tensor, uint32(1), t.tree),
                abi.encodePacked(uint32(4), t.exponent, uint32(t.shape.length), t.shape, uint32(32), t.root)
            )
        );
    }

    /// @dev Where a field of bytes ends that begins here.
    function _bytes(bytes calldata payload, uint256 from, uint8 tag) private pure returns (uint256 end) {
        if (from + 2 > payload.length || uint8(payload[from]) != tag) revert IReferee.NotReceipt();
        uint256 length = uint8(payload[from + 1]);
        end = from + 2 + length;
        if (length > 127 || end > payload.length) revert IReferee.NotReceipt();
    }

    /// @dev Where a number ends that begins here.
    function _number(bytes calldata payload, uint256 from, uint8 tag) private pure returns (uint256) {
        if (from >= payload.length || uint8(payload[from]) != tag) revert IReferee.NotReceipt();
        do {
            from++;
            if (from >= payload.length) revert IReferee.NotReceipt();
        } while (uint8(payload[from]) > 127);
        return from + 1;
    }
}
