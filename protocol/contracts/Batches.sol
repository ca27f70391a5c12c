// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {BatchParams} from "./BatchParams.sol";
import {BatchState} from "./BatchState.sol";
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
import {Benches} from "./libraries/Benches.sol";
import {Forfeits} from "./libraries/Forfeits.sol";
import {Payouts} from "./libraries/Payouts.sol";
import {Ranges} from "./libraries/Ranges.sol";
import {Verdicts} from "./libraries/Verdicts.sol";

/// @title Batches, documented in {IBatches}
contract Batches is BatchState {
    constructor(
        INodeRegistry registry_,
        IEscrow escrow_,
        IBeacon beacon_,
        IEmissions emissions_,
        ISeats seats_,
        IReferee referee_,
        IStrikes strikes_,
        IVotes votes_,
        Params memory params_
    )
        BatchState(registry_, escrow_, beacon_, emissions_, seats_, referee_, strikes_, votes_)
        BatchParams(params_)
    {}

    // ---- steps of the provider

    /// @inheritdoc IBatches
    function anchorBatch(bytes32 root, IEscrow.Range[] calldata ranges) external returns (bytes32 batchId) {
        if (ranges.length == 0 || ranges.length > _maxRanges) revert RangeCount(ranges.length);
        strikes.requireAnchoring(msg.sender);
        batchId = batchIdOf(msg.sender, root);
        Batch storage b = _batches[batchId];
        if (b.status != Status.None) revert AlreadyAnchored(batchId);
        b.status = Status.Anchored;
        b.provider = msg.sender;
        b.anchorBlock = uint48(block.number);
        uint16 betaBps = emissions.betaBps();
        // What the lock was sized for, whatever the other contract says.
        b.betaBps = betaBps < _betaMaxBps ? betaBps : _betaMaxBps;
        b.root = root;
        uint128 total = Ranges.consume(escrow, _ranges[batchId], b, batchId, ranges);
        b.sampleSlot = beacon.slotAfter(block.number);
        b.auditUntil = uint64(block.timestamp) + _auditWindow;
        uint256 lock = lockFor(total);
        registry.lock(batchId, msg.sender, lock);
        if (_floor > 0) escrow.prepay(batchId, msg.sender, _floor);
        emit BatchAnchored(batchId, msg.sender, root, total, lock, b.sampleSlot, ranges.length);
    }

    /// @inheritdoc IBatches
    function anchorTrace(bytes32 batchId, bytes32 traceRoot) external {
        Batch storage b = _providersTurn(batchId, Status.Anchored);
        if (block.timestamp <= b.auditUntil) revert DeadlineNotReached(b.auditUntil);
        if (traceRoot == 0) revert ZeroDigest();
        b.status = Status.Traced;
        b.traceRoot = traceRoot;
        b.challengeSlot = beacon.slotAfter(block.number);
        emit TraceAnchored(batchId, traceRoot, b.challengeSlot);
    }

    /// @inheritdoc IBatches
    function commitAttestation(bytes32 batchId, bytes32 digest) external {
        Batch storage b = _providersTurn(batchId, Status.Traced);
        if (digest == 0) revert ZeroDigest();
        b.status = Status.Committed;
        b.attestation = digest;
        b.committeeSlot = beacon.slotAfter(block.number);
        emit AttestationCommitted(batchId, digest, b.committeeSlot);
    }

    // ---- the consumer's step

    /// @inheritdoc IBatches
    function audit(bytes32 batchId, uint256 range, uint128 point) external {
        Batch storage b = _in(batchId, Status.Anchored);
        if (block.timestamp > b.auditUntil) revert DeadlinePassed(b.auditUntil);
        Audits.name(_audits[batchId], _ranges[batchId], range, point);
        if (_auditFee > 0) escrow.prepay(batchId, msg.sender, _auditFee);
        emit AuditNamed(batchId, range, msg.sender, point);
    }

    // ---- steps of everyone

    /// @inheritdoc IBatches
    function settle(
        bytes32 batchId,
        IVotes.Commitment[] calldata committed,
        IVotes.Vote[] calldata given,
        Opening[] calldata openings
    ) external {
        Batch storage b = _in(batchId, Status.Committed);
        (IVotes.Outcome memory o, bool silent) = _tally(batchId, b, committed, given);
        if (_conclude(batchId, b, o, silent)) _accept(batchId, b, o.voters, openings);
    }

    /// @inheritdoc IBatches
    function redraw(bytes32 batchId) external {
        Batch storage b = _in(batchId, Status.Committed);
        _requirePassed(_recorded(b.committeeSlot) + _voteWindow);
        uint256 eligible = _eligible(b);
        if (eligible <= _seats(b.attempt)) revert CommitteeExhausted(eligible);
        _nextCommittee(batchId, b);
    }

    /// @inheritdoc IBatches
    function appeal(bytes32 batchId) external {
        Batch storage b = _in(batchId, Status.SlashPending);
        // Silence is a fact of the chain, not a verdict.
        if (b.verdicts == 0) revert NotAppealable(batchId);
        uint64 until = b.slashAt - _slashPending + _appealWindow;
        if (block.timestamp > until) revert DeadlinePassed(until);
        uint256 eligible = _eligible(b);
        if (eligible <= _seats(b.attempt)) revert CommitteeExhausted(eligible);
        uint256 bond = appealBond(batchId);
        _appeals[batchId].push(Appeal(msg.sender, uint96(bond)));
        emit Appealed(batchId, msg.sender, bond);
        _nextCommittee(batchId, b);
        escrow.prepay(batchId, msg.sender, bond);
    }

    /// @inheritdoc IBatches
    function rebut(bytes32 batchId) external {
        Batch storage b = _in(batchId, Status.SlashPending);
        if (!b.silent) revert NotAppealable(batchId);
        if (block.timestamp >= b.slashAt) revert DeadlinePassed(b.slashAt);
        if (!referee.posted(batchId)) revert NotPosted(batchId);
        (b.silent, b.rebutted, b.verdicts) = (false, true, 0);
        delete _voters[batchId];
        emit SilenceRebutted(batchId);
        _nextCommittee(batchId, b);
    }

    /// @inheritdoc IBatches
    function convict(bytes32 batchId) external {
        if (msg.sender != address(referee)) revert NotReferee(msg.sender);
        Batch storage b = _batches[batchId];
        if (b.status == Status.Committed) {
            b.status = Status.SlashPending;
            _scheduleSlash(batchId, b);
        } else {
            _in(batchId, Status.SlashPending);
        }
        // No verdict: nothing to appeal or to rebut. Only a canary can still say what it is.
        (b.silent, b.verdicts) = (false, 0);
    }

    /// @inheritdoc IBatches
    function expire(bytes32 batchId) external {
        Batch storage b = _batches[batchId];
        if (b.status == Status.Anchored) {
            _requirePassed(_recorded(b.sampleSlot) + _traceWindow);
            emit BatchExpired(batchId, Status.Untraced);
            _close(batchId, b, Status.Untraced, _untracedSlash(b));
            _returnPrepaid(batchId, b);
        } else if (b.status == Status.Traced) {
            _requirePassed(_recorded(b.challengeSlot) + _attestWindow);
            b.status = Status.SlashPending;
            emit BatchExpired(batchId, Status.SlashPending);
            _returnPrepaid(batchId, b);
            _scheduleSlash(batchId, b);
        } else {
            revert WrongStatus(batchId, b.status);
        }
    }

    /// @inheritdoc IBatches
    function finalize(bytes32 batchId) external {
        Batch storage b = _in(batchId, Status.SlashPending);
        if (block.timestamp < b.slashAt) revert DeadlineNotReached(b.slashAt);
        _close(batchId, b, Status.Slashed, lockFor(b.total));
    }

    /// @inheritdoc IBatches
    function abandon(bytes32 batchId) external {
        Batch storage b = _batches[batchId];
        if (!_lapsed(b)) {
            _in(batchId, Status.Committed);
            _requirePassed(_recorded(b.committeeSlot) + _voteWindow + _abandonWindow);
            uint256 eligible = _eligible(b);
            if (eligible > _seats(b.attempt)) revert CommitteeCanGrow(eligible);
        }
        if (b.verdicts != 0) {
            // An appeal that nobody judged changes nothing, and its bond has paid for nothing.
            b.status = Status.SlashPending;
            Payouts.returnLastBond(escrow, batchId, _appeals[batchId]);
            _scheduleSlash(batchId, b);
            return;
        }
        emit BatchAbandoned(batchId);
        // Closing returns what was prepaid from the attestation on.
        if (b.attestation == 0) _returnPrepaid(batchId, b);
        _close(batchId, b, Status.Abandoned, 0);
    }

    /// @inheritdoc IBatches
    function pardon(bytes32 batchId) external {
        if (!seats.isJudge(msg.sender)) revert ISeats.NotJudge(msg.sender);
        Batch storage b = _in(batchId, Status.SlashPending);
        emit BatchAbandoned(batchId);
        _close(batchId, b, Status.Abandoned, 0);
    }

    /// @inheritdoc IBatches
    function collect(bytes32 batchId, uint256 index) external {
        Batch storage b = _batches[batchId];
        if (b.status < Status.Paid) revert WrongStatus(batchId, b.status);
        Ranges.collect(escrow, registry, _ranges[batchId], b, batchId, index);
    }

    // ---- parts

    /// @dev Agreeing votes of enough members of the current committee who have something to lose. Others are left out rather than
    /// refused: else a voter whose stake is gone by then would take the quorum with it.
    /// `silent`: the quorum needs votes that say that there was no attestation. One that does not cannot be voided by one of them.
    function _tally(
        bytes32 batchId,
        Batch storage b,
        IVotes.Commitment[] calldata committed,
        IVotes.Vote[] calldata given
    ) private view returns (IVotes.Outcome memory o, bool silent) {
        o = votes.tally(
            IVotes.Question(
                batchId, b.attestation, b.attempt, b.rebutted, _recorded(b.committeeSlot), _drawCount(batchId)
            ),
            committed,
            given
        );
        uint64 graceEnd = o.closedAt + _pokeGrace;
        if (msg.sender != b.provider && block.timestamp < graceEnd) revert ProvidersGrace(graceEnd);
        // Of a first committee only the number counts.
        address[] memory members = b.attempt == 0 ? new address[](o.members) : committee(batchId);
        o.voters = seats.covered(o.voters);
        (uint256 weight, uint256 needed) = _standing(b, members, o.voters);
        if (weight < needed) revert NoQuorum(weight, needed);
        if (o.spoken.length < given.length) (weight, needed) = _standing(b, members, seats.covered(o.spoken));
        silent = weight < needed;
    }

    /// @dev Notes a verdict and takes the seats of those who gave it. Whether the batch is paid.
    function _conclude(bytes32 batchId, Batch storage b, IVotes.Outcome memory o, bool silent) private returns (bool) {
        // To void the second of two verdicts would void the first, which found something.
        bool seen = b.verdicts != 0 && !b.silent;
        // Whoever was heard before holds the bench that has the batch's id.
        bytes32 bench = Benches.named(batchId, b.attempt, b.verdicts == 0 && !b.rebutted);
        b.verdicts = o.verdicts;
        bool forged = Verdicts.forged(o.verdicts, _drawCount(batchId));
        b.status = forged ? Status.SlashPending : Status.Paid;
        emit BatchSettled(batchId, b.status, o.verdicts, o.voters);
        seats.take(bench, o.voters, forged ? uint64(block.timestamp) + _slashPending : 0);
        if (!forged) return true;
        b.silent = silent && !seen;
        Payouts.append(_voters[batchId], o.voters);
        _scheduleSlash(batchId, b);
        return false;
    }

    /// @dev Whoever appealed an earlier verdict was right.
    function _accept(bytes32 batchId, Batch storage b, address[] memory voters, Opening[] calldata openings) private {
        delete _voters[batchId];
        Payouts.returnBonds(escrow, batchId, _appeals[batchId]);
        uint256 votersPart = uint256(b.total) * _nuBps / BPS;
        // First what the ranges bring in: what does not divide by the voters burns, and a token that called somebody then would let it collect
        // shares that are not known yet.
        _divide(batchId, b, b.total - votersPart, openings);
        Payouts.payVoters(escrow, registry, batchId, voters, votersPart + _prepaid(batchId));
        registry.unlock(batchId);
    }

    /// @dev What the voters left of the fees: β burns, draws off tolerance forfeit, the rest is the provider's.
    function _divide(bytes32 batchId, Batch storage b, uint256 rest, Opening[] calldata openings) private {
        uint256 burnPart = _burnOf(b);
        Forfeits.Sums memory sums = _forfeit(batchId, b, openings);
        Forfeits.Bill memory bill = Forfeits.bill(rest - burnPart, lockFor(b.total), sums.refunds, sums.burns);
        b.providerPart = uint128(bill.providerPart);
        b.burnPart = uint128(burnPart + bill.burnFromPot);
        if (bill.burnFromLock + bill.refundFromLock > 0) {
            registry.slash(batchId, bill.burnFromLock, bill.refundFromLock);
            emit BatchSlashed(batchId, bill.burnFromLock, bill.refundFromLock);
        }
        uint256 netBurn = burnPart - b.discountPart;
        if (netBurn + bill.burnFromPot > 0) escrow.burn(batchId, netBurn + bill.burnFromPot);
        uint256 meanDiscount = burnPart == 0 ? 0 : uint256(b.discountPart) * BPS / burnPart;
        strikes.record(
            batchId, b.provider, sums.struck, sums.struckBps, Verdicts.valid(b.verdicts, _draws), meanDiscount
        );
        // Work that was off mints nothing.
        emissions.settleWork(
            b.provider, b.total, openings.length == 0 ? netBurn : 0, b.betaBps, b.anchorBlock - 1
        );
    }

    /// @dev Every draw forfeits, and a share of the lock on top: a provider that has seen its sample gains nothing by keeping
    /// the traces of answers off tolerance to itself. The consumers have all fees back, so all of this burns.
    function _untracedSlash(Batch storage b) private view returns (uint256) {
        uint256 total = b.total;
        uint256 lock = lockFor(total);
        uint256 pay = total - total * _nuBps / BPS - _burnOf(b);
        uint256 burned = (total * _forfeitBps + BPS - 1) / BPS - pay + lock * _untracedSlashBps / BPS;
        return burned < lock ? burned : lock;
    }

    function _forfeit(bytes32 batchId, Batch storage b, Opening[] calldata openings)
        private
        returns (Forfeits.Sums memory)
    {
        // Rounded up: a forfeit is never worth less than its odds.
        uint256 perDraw = (uint256(b.total) * _forfeitBps + BPS * _draws - 1) / (BPS * _draws);
        return Forfeits.charge(
            openings, b, _ranges[batchId], samplePoints(batchId), Forfeits.Terms(batchId, perDraw, _draws)
        );
    }

    /// @dev Ends a batch that is not paid. Its voters, if it has any, share what does not burn of the slash, the floor and the bonds of appeals
    /// that were lost.
    function _close(bytes32 batchId, Batch storage b, Status end, uint256 slashed) private {
        b.status = end;
        Payouts.close(
            Payouts.Closing(escrow, registry, batchId, slashed, _slashBurnBps, _floor, _auditFee),
            b,
            _voters[batchId],
            _appeals[batchId],
            _audits[batchId],
            _ranges[batchId]
        );
    }

    /// @dev One larger, drawn from a slot that nobody knows.
    function _nextCommittee(bytes32 batchId, Batch storage b) private {
        b.status = Status.Committed;
        b.attempt++;
        b.committeeSlot = beacon.slotAfter(block.number);
        emit CommitteeRedrawn(batchId, b.attempt, b.committeeSlot);
    }

    function _scheduleSlash(bytes32 batchId, Batch storage b) private {
        b.slashAt = uint64(block.timestamp) + _slashPending;
        emit SlashScheduled(batchId, b.slashAt);
    }

    /// @dev What was paid in advance for verification: the provider's floor, the consumers' audits.
    function _prepaid(bytes32 batchId) private view returns (uint256) {
        return _floor + _audits[batchId].length * _auditFee;
    }

    /// @dev Where nobody verified, it goes back to where it came from.
    function _returnPrepaid(bytes32 batchId, Batch storage b) private {
        Payouts.returnPrepaid(escrow, batchId, b.provider, _floor, _auditFee, _audits[batchId], _ranges[batchId]);
    }

    function _providersTurn(bytes32 batchId, Status status) private view returns (Batch storage b) {
        b = _in(batchId, status);
        if (msg.sender != b.provider) revert NotProvider(msg.sender);
        uint64 deadline = status == Status.Anchored
            ? _recorded(b.sampleSlot) + _traceWindow
            : _recorded(b.challengeSlot) + _attestWindow;
        if (block.timestamp > deadline) revert DeadlinePassed(deadline);
    }

    function _burnOf(Batch storage b) private view returns (uint256) {
        return uint256(b.total) * b.betaBps / BPS;
    }
}
