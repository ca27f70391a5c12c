// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBeacon} from "./interfaces/IBeacon.sol";
import {IHeaderBeacon} from "./interfaces/IHeaderBeacon.sol";
import {Headers} from "./libraries/Headers.sol";

/// @title HeaderBeacon, documented in {IHeaderBeacon}
contract HeaderBeacon is IHeaderBeacon {
    uint64 public immutable slotLength;
    uint64 public immutable minDelay;

    mapping(uint256 slot => bytes32) private _values;
    mapping(uint256 slot => uint64) private _recordedAt;
    mapping(uint256 blockNumber => bytes32) private _proven;

    constructor(uint64 slotLength_, uint64 minDelay_) {
        // Without a delay a slot could take the hash of a block that exists when the slot is named.
        if (slotLength_ == 0 || minDelay_ == 0) revert BadBeaconParams();
        slotLength = slotLength_;
        minDelay = minDelay_;
    }

    /// @inheritdoc IHeaderBeacon
    function heightOf(uint256 slot) public view returns (uint256) {
        return slot * slotLength;
    }

    /// @inheritdoc IBeacon
    function slotAfter(uint256 blockNumber) external view returns (uint64) {
        return uint64((blockNumber + minDelay + slotLength - 1) / slotLength);
    }

    /// @inheritdoc IBeacon
    function value(uint256 slot) external view returns (bytes32 value_) {
        value_ = _values[slot];
        if (value_ == 0) revert SlotNotRecorded(slot);
    }

    /// @inheritdoc IBeacon
    function recordedAt(uint256 slot) external view returns (uint64) {
        return _recordedAt[slot];
    }

    /// @inheritdoc IBeacon
    /// @dev The chain's own headers lead to every slot.
    function lapsed(uint256) external pure returns (bool) {
        return false;
    }

    /// @inheritdoc IBeacon
    function record(uint256 slot) external {
        if (_recordedAt[slot] == 0) _record(slot, _hashOf(heightOf(slot)));
    }

    /// @inheritdoc IHeaderBeacon
    function recordWithHeaders(uint256 slot, bytes[] calldata headers) external {
        if (_recordedAt[slot] == 0) _record(slot, _walk(heightOf(slot), headers));
    }

    /// @inheritdoc IHeaderBeacon
    function proveHash(uint256 blockNumber, bytes[] calldata headers) external {
        bytes32 hash = _walk(blockNumber, headers);
        _proven[blockNumber] = hash;
        emit HashProven(blockNumber, hash);
    }

    /// @dev Each header hashes to what the one before it calls its parent, so the last one's parent is block `target`.
    function _walk(uint256 target, bytes[] calldata headers) private view returns (bytes32 hash) {
        hash = _hashOf(target + headers.length);
        for (uint256 i = 0; i < headers.length; i++) {
            if (keccak256(headers[i]) != hash) revert HeaderMismatch(i);
            bool ok;
            (ok, hash) = Headers.parentOf(headers[i]);
            if (!ok) revert HeaderMalformed(i);
        }
    }

    function _hashOf(uint256 blockNumber) private view returns (bytes32 hash) {
        hash = _proven[blockNumber];
        if (hash == 0) hash = Headers.known(blockNumber);
        if (hash == 0) revert HashUnknown(blockNumber);
    }

    function _record(uint256 slot, bytes32 hash) private {
        bytes32 value_ = keccak256(abi.encode("sinter/beacon/1", block.chainid, address(this), slot, hash));
        _values[slot] = value_;
        _recordedAt[slot] = uint64(block.timestamp);
        emit SlotRecorded(slot, value_);
    }
}
