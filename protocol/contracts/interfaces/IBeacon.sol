// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title The network's randomness: one value per slot
/// @notice Slots are fixed before their value exists. A value is unknown to everyone when the slot is named, can be
/// recorded by anyone at any later time, and is never drawn again. This interface fits a header beacon (devnet, L1) and
/// a drand beacon (L2) alike; only `record…` differs.
interface IBeacon {
    /// @notice A slot's value entered the chain. From here the clocks of those who wait for it run.
    event SlotRecorded(uint256 indexed slot, bytes32 value);

    /// @notice The slot has no value yet.
    error SlotNotRecorded(uint256 slot);

    /// @notice First slot whose value is still open to everyone at the end of block `blockNumber`.
    function slotAfter(uint256 blockNumber) external view returns (uint64 slot);

    /// @notice Value of a slot. Reverts with `SlotNotRecorded` while there is none.
    function value(uint256 slot) external view returns (bytes32);

    /// @notice Block timestamp (seconds) at which the slot was recorded, 0 while it is not.
    function recordedAt(uint256 slot) external view returns (uint64);

    /// @notice Whether a slot that is not recorded cannot be expected to have a value any more: its source has come to an end.
    function lapsed(uint256 slot) external view returns (bool);

    /// @notice Records a slot whose source is still within the chain's own reach. Recording twice changes nothing.
    function record(uint256 slot) external;
}
