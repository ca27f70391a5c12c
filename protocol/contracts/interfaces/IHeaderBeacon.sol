// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBeacon} from "./IBeacon.sol";

/// @title Beacon whose slot `s` is the hash of block `s · slotLength`
/// @notice A proposer can withhold a block and so see at most one alternative value at the price of a block reward; the
/// odds that the protocol publishes are stated with that in mind, and networks whose proposers are not independent
/// (most L2s) use the drand beacon instead.
interface IHeaderBeacon is IBeacon {
    /// @notice The hash of an old block was proven and may be used to go further back.
    event HashProven(uint256 indexed blockNumber, bytes32 blockHash);

    /// @notice The slot's block is not mined yet, or its hash is out of the chain's reach: prove it with headers.
    error HashUnknown(uint256 blockNumber);
    /// @notice A header does not hash to what its child (or the chain) says.
    error HeaderMismatch(uint256 index);
    /// @notice A header is not RLP of a block header.
    error HeaderMalformed(uint256 index);
    /// @notice Constructor arguments are out of range.
    error BadBeaconParams();

    /// @notice Blocks from one slot to the next.
    function slotLength() external view returns (uint64);

    /// @notice Blocks that must lie between an anchor and the slot it names, at least 1.
    function minDelay() external view returns (uint64);

    /// @notice Height of the block whose hash a slot takes.
    function heightOf(uint256 slot) external view returns (uint256);

    /// @notice Records a slot older than the chain's window of block hashes.
    /// @param headers RLP headers of the blocks from `heightOf(slot) + headers.length` down to `heightOf(slot) + 1`; the hash of
    /// the first must be known to the chain (last 256 blocks, EIP-2935's 8191, or proven before).
    function recordWithHeaders(uint256 slot, bytes[] calldata headers) external;

    /// @notice Proves the hash of an old block, so that a gap too long for one transaction is walked in several.
    /// @param headers RLP headers from block `blockNumber + headers.length` down to `blockNumber + 1`.
    function proveHash(uint256 blockNumber, bytes[] calldata headers) external;
}
