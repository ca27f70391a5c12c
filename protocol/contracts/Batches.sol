// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {BatchParams} from "./BatchParams.sol";
import {BatchState} from "./BatchState.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {IBeacon} from "./interfaces/IBeacon.sol";
import {IEmissions} from "./interfaces/IEmissions.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {ISeats} from "./interfaces/ISeats.sol";
import {IStrikes} from "./interfaces/IStrikes.sol";
import {Audits} from "./libraries/Audits.sol";
import {Ballots} from "./libraries/Ballots.sol";
import {Forfeits} from "./libraries/Forfeits.sol";
import {Ranges} from "./libraries/Ranges.sol";
import {Verdicts} from "./libraries/Verdicts.sol";

/// @title Batches, documented in {IBatches}
contract Batches is BatchState, EIP712 {
    constructor(
        INodeRegistry registry_,
        IEscrow escrow_,
        IBeacon beacon_,
        IEmissions emissions_,
        ISeats seats_,
        IStrikes strikes_,
        Params memory params_
    )
        BatchState(registry_, escrow_, beacon_, emissions_, seats_, strikes_)
        BatchParams(params_)
        EIP712("Sinter", "1")
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
        uint128 total;
        (total, b.discountPart) = Ranges.consume(_ranges[batchId], escrow, batchId, b.betaBps, ranges);
        b.total = total;
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
    function settle(bytes32 batchId, SignedVote[] calldata votes, Opening[] calldata openings) external {
        Batch storage b = _in(batchId, Status.Committed);
        uint64 graceEnd = _recorded(b.committeeSlot) + _pokeGrace;
        if (msg.sender != b.provider && block.timestamp < graceEnd) revert ProvidersGrace(graceEnd);
        (bytes32 verdicts, address[] memory voters) = _tally(batchId, b, votes);
        b.verdicts = verdicts;
        bool forged = Verdicts.forged(verdicts, _drawCount(batchId));
        b.status = forged ? Status.SlashPending : Status.Paid;
        emit BatchSettled(batchId, b.status, verdicts, voters);
        seats.take(batchId, voters, forged ? uint64(block.timestamp) + _slashPending : 0);
        if (forged) {
            _voters[batchId] = voters;
            _payVoters(batchId, voters, _prepaid(batchId));
            _scheduleSlash(batchId, b);
        } else {
            uint256 votersPart = uint256(b.total) * _nuBps / BPS;
            _payVoters(batchId, voters, votersPart + _prepaid(batchId));
            _divide(batchId, b, b.total - votersPart, openings);
            registry.unlock(batchId);
        }
    }

    /// @inheritdoc IBatches
    function redraw(bytes32 batchId) external {
        Batch storage b = _in(batchId, Status.Committed);
        _requirePassed(_recorded(b.committeeSlot) + _voteWindow);
        uint256 eligible = _eligible(b);
        if (eligible <= _seats(b.attempt)) revert CommitteeExhausted(eligible);
        b.attempt++;
        b.committeeSlot = beacon.slotAfter(block.number);
        emit CommitteeRedrawn(batchId, b.attempt, b.committeeSlot);
    }

    /// @inheritdoc IBatches
    function expire(bytes32 batchId) external {
        Batch storage b = _batches[batchId];
        if (b.status == Status.Anchored) {
            _requirePassed(_recorded(b.sampleSlot) + _traceWindow);
            b.status = Status.Untraced;
            emit BatchExpired(batchId, Status.Untraced);
            uint256 burned = _untracedSlash(b);
            registry.slash(batchId, burned, 0);
            registry.unlock(batchId);
            _returnPrepaid(batchId, b);
            emit BatchSlashed(batchId, burned, 0);
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
        b.status = Status.Slashed;
        address[] memory voters = _voters[batchId];
        delete _voters[batchId];
        uint256 lock = lockFor(b.total);
        uint256 each = voters.length == 0 ? 0 : lock * (BPS - _slashBurnBps) / BPS / voters.length;
        uint256 rewarded = each * voters.length;
        registry.slash(batchId, lock - rewarded, rewarded);
        registry.unlock(batchId);
        _payEach(batchId, voters, each);
        emit BatchSlashed(batchId, lock - rewarded, rewarded);
    }

    /// @inheritdoc IBatches
    function abandon(bytes32 batchId) external {
        Batch storage b = _in(batchId, Status.Committed);
        _requirePassed(_recorded(b.committeeSlot) + _voteWindow + _abandonWindow);
        uint256 eligible = _eligible(b);
        if (eligible > _seats(b.attempt)) revert CommitteeCanGrow(eligible);
        b.status = Status.Abandoned;
        emit BatchAbandoned(batchId);
        registry.unlock(batchId);
        _returnPrepaid(batchId, b);
    }

    /// @inheritdoc IBatches
    function pardon(bytes32 batchId) external {
        if (!seats.isJudge(msg.sender)) revert ISeats.NotJudge(msg.sender);
        Batch storage b = _in(batchId, Status.SlashPending);
        b.status = Status.Abandoned;
        delete _voters[batchId];
        emit BatchAbandoned(batchId);
        registry.unlock(batchId);
    }

    /// @inheritdoc IBatches
    function collect(bytes32 batchId, uint256 index) external {
        Batch storage b = _batches[batchId];
        if (b.status < Status.Paid) revert WrongStatus(batchId, b.status);
        if (index >= _ranges[batchId].length) revert UnknownRange(index);
        RangeRecord storage r = _ranges[batchId][index];
        if (r.collected) revert AlreadyCollected(index);
        r.collected = true;
        uint256 paid = 0;
        uint256 refunded = r.fee;
        if (b.status == Status.Paid) {
            paid = Ranges.share(r, b.providerPart, b.total);
            refunded = r.refund + Ranges.discount(r, _burnOf(b), b.total);
        }
        emit RangeCollected(batchId, index, r.consumer, paid, refunded);
        if (paid > 0) escrow.pay(batchId, registry.payoutOf(b.provider), paid);
        if (refunded > 0) escrow.pay(batchId, r.consumer, refunded);
    }

    // ---- parts

    /// @dev Agreeing votes of enough members of the current committee who have something to lose. Others are left out rather than
    /// refused: else a voter whose stake is gone by then would take the quorum with it.
    function _tally(bytes32 batchId, Batch storage b, SignedVote[] calldata votes)
        private
        view
        returns (bytes32 verdicts, address[] memory voters)
    {
        address[] memory members = committee(batchId);
        if (votes.length == 0) revert NoQuorum(0, quorumOf(members.length));
        Ballots.Question memory question =
            Ballots.Question(_domainSeparatorV4(), batchId, b.attestation, b.attempt, _drawCount(batchId));
        (verdicts, voters) = Ballots.tally(votes, members, question);
        voters = seats.covered(voters);
        (uint256 given, uint256 needed) = _standing(b, members, voters);
        if (given < needed) revert NoQuorum(given, needed);
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

    /// @dev Equal parts; what does not divide burns.
    function _payVoters(bytes32 batchId, address[] memory voters, uint256 amount) private {
        uint256 each = amount / voters.length;
        uint256 burned = amount - each * voters.length;
        _payEach(batchId, voters, each);
        if (burned > 0) escrow.burn(batchId, burned);
        emit VotersPaid(batchId, each, burned);
    }

    function _payEach(bytes32 batchId, address[] memory voters, uint256 each) private {
        if (each == 0) return;
        for (uint256 i = 0; i < voters.length; i++) escrow.pay(batchId, registry.payoutOf(voters[i]), each);
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
        if (_floor > 0) escrow.pay(batchId, b.provider, _floor);
        if (_auditFee == 0) return;
        Audit[] storage named = _audits[batchId];
        for (uint256 i = 0; i < named.length; i++) {
            escrow.pay(batchId, _ranges[batchId][named[i].range].consumer, _auditFee);
        }
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
