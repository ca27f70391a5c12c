// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBeacon} from "./interfaces/IBeacon.sol";
import {IDrandBeacon} from "./interfaces/IDrandBeacon.sol";
import {Bn254} from "./libraries/Bn254.sol";

/// @title DrandBeacon, documented in {IDrandBeacon}
contract DrandBeacon is IDrandBeacon {
    bytes private constant DST = "BLS_SIG_BN254G1_XMD:KECCAK-256_SVDW_RO_NUL_";

    /// @dev Nodes record every slot that a batch waits for: one that is open for so long has a round that was never signed.
    uint256 private constant LAPSE = 60 days;

    uint256 private immutable _keyX1;
    uint256 private immutable _keyX0;
    uint256 private immutable _keyY1;
    uint256 private immutable _keyY0;
    uint64 public immutable genesis;
    uint64 public immutable period;
    uint64 public immutable roundsPerSlot;
    uint64 public immutable minDelay;

    mapping(uint256 slot => bytes32) private _values;
    mapping(uint256 slot => uint64) private _recordedAt;

    constructor(uint256[4] memory key, uint64 genesis_, uint64 period_, uint64 roundsPerSlot_, uint64 minDelay_) {
        // Without a delay a slot could take a round that is out when the slot is named.
        if (period_ == 0 || roundsPerSlot_ == 0 || minDelay_ == 0) revert BadBeaconParams();
        if (!Bn254.isKey(key)) revert BadBeaconParams();
        (_keyX1, _keyX0, _keyY1, _keyY0) = (key[0], key[1], key[2], key[3]);
        genesis = genesis_;
        period = period_;
        roundsPerSlot = roundsPerSlot_;
        minDelay = minDelay_;
    }

    /// @inheritdoc IDrandBeacon
    function publicKey() public view returns (uint256[4] memory) {
        return [_keyX1, _keyX0, _keyY1, _keyY0];
    }

    /// @inheritdoc IDrandBeacon
    function roundOf(uint256 slot) public view returns (uint64) {
        if (slot == 0 || slot > type(uint64).max / roundsPerSlot) revert NoSuchRound(slot);
        return uint64(slot * roundsPerSlot);
    }

    /// @inheritdoc IDrandBeacon
    function timeOf(uint256 slot) public view returns (uint256) {
        return uint256(genesis) + (uint256(roundOf(slot)) - 1) * period;
    }

    /// @inheritdoc IBeacon
    function slotAfter(uint256 blockNumber) external view returns (uint64) {
        if (blockNumber != block.number) revert NotThisBlock(blockNumber);
        uint256 earliest = block.timestamp + minDelay;
        if (earliest <= genesis) return 1;
        // First round that is due at `earliest` or later, then first slot at or after it.
        uint256 round = (earliest - genesis + period - 1) / period + 1;
        return uint64((round + roundsPerSlot - 1) / roundsPerSlot);
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
    function lapsed(uint256 slot) external view returns (bool) {
        return _recordedAt[slot] == 0 && block.timestamp > timeOf(slot) + LAPSE;
    }

    /// @inheritdoc IBeacon
    function record(uint256 slot) external view {
        if (_recordedAt[slot] == 0) revert SignatureNeeded(roundOf(slot));
    }

    /// @inheritdoc IDrandBeacon
    function recordWithSignature(uint256 slot, bytes calldata signature) external {
        if (_recordedAt[slot] != 0) return;
        uint64 round = roundOf(slot);
        if (signature.length != 64) revert SignatureMalformed();
        uint256[2] memory point = [uint256(bytes32(signature[:32])), uint256(bytes32(signature[32:]))];
        if (!Bn254.isPoint(point[0], point[1])) revert SignatureMalformed();
        uint256[2] memory message = Bn254.hashToPoint(DST, keccak256(abi.encodePacked(round)));
        if (!Bn254.verify(point, message, publicKey())) revert SignatureWrong(round);
        // One signature has one encoding, so one value.
        bytes32 value_ =
            keccak256(abi.encode("sinter/beacon/1", block.chainid, address(this), slot, keccak256(signature)));
        _values[slot] = value_;
        _recordedAt[slot] = uint64(block.timestamp);
        emit SlotRecorded(slot, value_);
    }
}
