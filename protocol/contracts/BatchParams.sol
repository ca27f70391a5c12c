// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "./interfaces/IBatches.sol";

/// @title Parameters of `Batches`, checked once and never changed
abstract contract BatchParams is IBatches {
    uint256 internal constant BPS = 10_000;

    uint8 internal immutable _draws;
    uint16 internal immutable _committeeSize;
    uint16 internal immutable _quorum;
    uint16 internal immutable _maxRanges;
    uint32 internal immutable _lockBps;
    uint16 internal immutable _nuBps;
    uint16 internal immutable _betaMaxBps;
    uint32 internal immutable _forfeitBps;
    uint16 internal immutable _untracedSlashBps;
    uint16 internal immutable _slashBurnBps;
    uint128 internal immutable _minLock;
    uint128 internal immutable _floor;
    uint128 internal immutable _auditFee;
    uint64 internal immutable _auditWindow;
    uint64 internal immutable _traceWindow;
    uint64 internal immutable _attestWindow;
    uint64 internal immutable _voteWindow;
    uint64 internal immutable _pokeGrace;
    uint64 internal immutable _slashPending;
    uint64 internal immutable _abandonWindow;
    uint64 internal immutable _appealWindow;
    uint16 internal immutable _appealBondBps;

    constructor(Params memory p) {
        if (p.draws == 0) revert BadParams("draws");
        // More than half, so that two quorums of one committee cannot disagree without a member voting twice.
        if (p.quorum > p.committeeSize || 2 * uint256(p.quorum) <= p.committeeSize) revert BadParams("quorum");
        // Verdicts are the bytes of one word, and each range may have an audit.
        if (p.maxRanges == 0 || uint256(p.draws) + p.maxRanges > 32) revert BadParams("maxRanges");
        if (uint256(p.nuBps) + p.betaMaxBps > BPS) revert BadParams("nuBps");
        // The lock makes good what the shares take off a refund (see Forfeits.bill).
        if (p.lockBps < uint256(p.nuBps) + p.betaMaxBps) revert BadParams("lockBps");
        if (p.forfeitBps < BPS) revert BadParams("forfeitBps");
        if (p.untracedSlashBps > BPS) revert BadParams("untracedSlashBps");
        if (p.slashBurnBps > BPS) revert BadParams("slashBurnBps");
        if (p.traceWindow <= p.auditWindow || p.attestWindow == 0) revert BadParams("traceWindow");
        if (p.pokeGrace >= p.voteWindow) revert BadParams("pokeGrace");
        // Appeal and slash are never open in the same second.
        if (p.appealWindow == 0 || p.appealWindow >= p.slashPending) revert BadParams("appealWindow");
        if (p.appealBondBps == 0 || p.appealBondBps > BPS) revert BadParams("appealBondBps");
        _draws = p.draws;
        _committeeSize = p.committeeSize;
        _quorum = p.quorum;
        _maxRanges = p.maxRanges;
        _lockBps = p.lockBps;
        _nuBps = p.nuBps;
        _betaMaxBps = p.betaMaxBps;
        _forfeitBps = p.forfeitBps;
        _untracedSlashBps = p.untracedSlashBps;
        _slashBurnBps = p.slashBurnBps;
        _minLock = p.minLock;
        _floor = p.verificationFloor;
        _auditFee = p.auditFee;
        _auditWindow = p.auditWindow;
        _traceWindow = p.traceWindow;
        _attestWindow = p.attestWindow;
        _voteWindow = p.voteWindow;
        _pokeGrace = p.pokeGrace;
        _slashPending = p.slashPending;
        _abandonWindow = p.abandonWindow;
        _appealWindow = p.appealWindow;
        _appealBondBps = p.appealBondBps;
    }

    /// @inheritdoc IBatches
    function params() external view returns (Params memory p) {
        p.draws = _draws;
        p.committeeSize = _committeeSize;
        p.quorum = _quorum;
        p.maxRanges = _maxRanges;
        p.lockBps = _lockBps;
        p.nuBps = _nuBps;
        p.betaMaxBps = _betaMaxBps;
        p.forfeitBps = _forfeitBps;
        p.untracedSlashBps = _untracedSlashBps;
        p.slashBurnBps = _slashBurnBps;
        p.minLock = _minLock;
        p.verificationFloor = _floor;
        p.auditFee = _auditFee;
        p.auditWindow = _auditWindow;
        p.traceWindow = _traceWindow;
        p.attestWindow = _attestWindow;
        p.voteWindow = _voteWindow;
        p.pokeGrace = _pokeGrace;
        p.slashPending = _slashPending;
        p.abandonWindow = _abandonWindow;
        p.appealWindow = _appealWindow;
        p.appealBondBps = _appealBondBps;
    }

    /// @inheritdoc IBatches
    function lockFor(uint256 total) public view returns (uint256) {
        uint256 share = (total * _lockBps + BPS - 1) / BPS;
        return share < _minLock ? _minLock : share;
    }

    /// @inheritdoc IBatches
    function quorumOf(uint256 members) public view returns (uint256) {
        uint256 share = (members * _quorum + _committeeSize - 1) / _committeeSize;
        // A committee cut short by a small network does not get an easier quorum.
        return share < _quorum ? _quorum : share;
    }

    /// @dev n, 2n + 1, 4n + 3, … Attempts stop when all eligible nodes sit, long before the shift could overflow.
    function _seats(uint8 attempt) internal view returns (uint256) {
        return (uint256(_committeeSize) + 1) * (1 << attempt) - 1;
    }
}
