// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {BatchParams} from "./BatchParams.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {IBeacon} from "./interfaces/IBeacon.sol";
import {IEmissions} from "./interfaces/IEmissions.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IReferee} from "./interfaces/IReferee.sol";
import {ISeats} from "./interfaces/ISeats.sol";
import {IStrikes} from "./interfaces/IStrikes.sol";
import {IVotes} from "./interfaces/IVotes.sol";
import {Audits} from "./libraries/Audits.sol";

/// @title What `Batches` keeps, what can be read of it, and the guards of its transitions
abstract contract BatchState is BatchParams {
    INodeRegistry public immutable registry;
    IEscrow public immutable escrow;
    IBeacon public immutable beacon;
    IEmissions public immutable emissions;
    IReferee public immutable referee;
    ISeats public immutable seats;
    IStrikes public immutable strikes;
    IVotes public immutable votes;

    mapping(bytes32 batchId => Batch) internal _batches;
    mapping(bytes32 batchId => RangeRecord[]) internal _ranges;
    mapping(bytes32 batchId => Audit[]) internal _audits;
    /// @dev Kept only while a slash is pending or appealed: its reward is theirs. Of all committees that said so.
    mapping(bytes32 batchId => address[]) internal _voters;
    /// @dev Whose bonds are in the pot.
    mapping(bytes32 batchId => Appeal[]) internal _appeals;

    constructor(
        INodeRegistry registry_,
        IEscrow escrow_,
        IBeacon beacon_,
        IEmissions emissions_,
        ISeats seats_,
        IReferee referee_,
        IStrikes strikes_,
        IVotes votes_
    ) {
        registry = registry_;
        escrow = escrow_;
        beacon = beacon_;
        emissions = emissions_;
        referee = referee_;
        seats = seats_;
        strikes = strikes_;
        votes = votes_;
    }

    // ---- views

    /// @inheritdoc IBatches
    function batchIdOf(address provider, bytes32 root) public view returns (bytes32) {
        return keccak256(abi.encode("sinter/batch/1", block.chainid, address(this), provider, root));
    }

    /// @inheritdoc IBatches
    function batchOf(bytes32 batchId) external view returns (Batch memory) {
        return _batches[batchId];
    }

    /// @inheritdoc IBatches
    function rangeOf(bytes32 batchId, uint256 index) external view returns (RangeRecord memory) {
        if (index >= _ranges[batchId].length) revert UnknownRange(index);
        return _ranges[batchId][index];
    }

    /// @inheritdoc IBatches
    function rangeCount(bytes32 batchId) external view returns (uint256) {
        return _ranges[batchId].length;
    }

    /// @inheritdoc IBatches
    function samplePoints(bytes32 batchId) public view returns (uint256[] memory) {
        Batch storage b = _batches[batchId];
        if (b.status == Status.None) revert WrongStatus(batchId, b.status);
        return Audits.points(_audits[batchId], batchId, beacon.value(b.sampleSlot), b.total, _draws);
    }

    /// @inheritdoc IBatches
    function auditsOf(bytes32 batchId) external view returns (Audit[] memory) {
        return _audits[batchId];
    }

    /// @inheritdoc IBatches
    function appealsOf(bytes32 batchId) external view returns (Appeal[] memory) {
        return _appeals[batchId];
    }

    /// @inheritdoc IBatches
    function appealBond(bytes32 batchId) public view returns (uint256) {
        return (lockFor(_batches[batchId].total) * _appealBondBps / BPS + 1) << _appeals[batchId].length;
    }

    /// @inheritdoc IBatches
    function committee(bytes32 batchId) public view returns (address[] memory) {
        Batch storage b = _batches[batchId];
        if (b.committeeSlot == 0) revert WrongStatus(batchId, b.status);
        bytes32 seed =
            keccak256(abi.encode("sinter/committee/1", beacon.value(b.committeeSlot), batchId, b.attempt));
        return registry.draw(seed, b.anchorBlock - 1, _seats(b.attempt), b.provider);
    }

    /// @inheritdoc IBatches
    function panel(bytes32 batchId) external view returns (uint8, uint64, bytes32, address[] memory) {
        Batch storage b = _in(batchId, Status.Committed);
        return (b.attempt, _recorded(b.committeeSlot), b.attestation, committee(batchId));
    }

    /// @inheritdoc IBatches
    function standing(bytes32 batchId, address[] calldata voters) external view returns (uint256, uint256) {
        return _standing(_batches[batchId], committee(batchId), seats.covered(voters));
    }

    /// @inheritdoc IBatches
    function deadlineOf(bytes32 batchId) external view returns (uint64) {
        Batch storage b = _batches[batchId];
        if (b.status == Status.Anchored) return _after(b.sampleSlot, _traceWindow);
        if (b.status == Status.Traced) return _after(b.challengeSlot, _attestWindow);
        if (b.status == Status.Committed) return _after(b.committeeSlot, _voteWindow);
        return b.status == Status.SlashPending ? b.slashAt : 0;
    }

    /// @dev Verdicts that a committee gives: one for each draw of the sample and each audit.
    function _drawCount(bytes32 batchId) internal view returns (uint256) {
        return _draws + _audits[batchId].length;
    }

    // ---- guards

    function _in(bytes32 batchId, Status status) internal view returns (Batch storage b) {
        b = _batches[batchId];
        if (b.status != status) revert WrongStatus(batchId, b.status);
    }

    function _recorded(uint256 slot) internal view returns (uint64 since) {
        since = beacon.recordedAt(slot);
        if (since == 0) revert IBeacon.SlotNotRecorded(slot);
    }

    function _after(uint256 slot, uint64 window) internal view returns (uint64) {
        uint64 since = beacon.recordedAt(slot);
        return since == 0 ? 0 : since + window;
    }

    /// @dev The beacon has come to an end before the value that the batch waits for.
    function _lapsed(Batch storage b) internal view returns (bool) {
        Status s = b.status;
        if (s == Status.None || s > Status.Committed) return false;
        return beacon.lapsed(
            s == Status.Anchored ? b.sampleSlot : s == Status.Traced ? b.challengeSlot : b.committeeSlot
        );
    }

    function _requirePassed(uint64 deadline) internal view {
        if (block.timestamp <= deadline) revert DeadlineNotReached(deadline);
    }

    /// @dev The first committee is small against the network, so that stake decides who sits, and counts heads. A larger one
    /// runs out of stake to draw and fills with whoever is left: there stake counts, or many nodes with little of it would rule.
    function _standing(Batch storage b, address[] memory members, address[] memory voters)
        internal
        view
        returns (uint256 given, uint256 needed)
    {
        if (b.attempt == 0) return (voters.length, quorumOf(members.length));
        if (voters.length < _quorum) return (voters.length, _quorum);
        given = _stakeOf(b, voters);
        needed = (_stakeOf(b, members) * _quorum + _committeeSize - 1) / _committeeSize;
    }

    function _stakeOf(Batch storage b, address[] memory nodes) private view returns (uint256 stake) {
        uint256 frozen = b.anchorBlock - 1;
        for (uint256 i = 0; i < nodes.length; i++) stake += registry.stakeAt(nodes[i], frozen);
    }

    function _eligible(Batch storage b) internal view returns (uint256) {
        return registry.drawable(b.anchorBlock - 1, b.provider);
    }
}
