// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IEscrow} from "./IEscrow.sol";
import {IStrikes} from "./IStrikes.sol";
import {IVotes} from "./IVotes.sol";

/// @title The life of a batch, from anchor to collection
/// @notice Who fixes what, when: receipts before the sample, traces before the challenge, the attestation before the
/// committee. Every state has a deadline and an exit that anyone can take. A window runs from the moment its beacon slot is
/// recorded, so a halt of the chain costs nobody time, and anyone can record, so nobody can hold the clock.
interface IBatches {
    /// @notice Immutable parameters. Shares are in basis points (1/10000), windows in seconds, amounts in base units.
    /// @param draws k, receipts drawn per batch; with an audit of every range at most 32.
    /// @param committeeSize members of the first committee; attempt a has (committeeSize + 1)·2^a − 1.
    /// @param quorum agreeing votes that settle in the first committee; larger ones take the same share of their members' stake.
    /// @param maxRanges most ranges in a batch. At most 32 - draws, so that no audit is crowded out by those of others.
    /// @param lockBps the lock is fees · lockBps, at least `minLock`. At least betaMaxBps + nuBps.
    /// @param nuBps share of the fees for the voters of the settling quorum.
    /// @param betaMaxBps most of the fees that burns; how much it is, `Emissions` says at the anchor.
    /// @param verificationFloor prepaid by the provider at the anchor for the voters, whatever the fees are.
    /// @param forfeitBps a draw off tolerance forfeits at least fees · forfeitBps / draws (15000 = 1.5·F/k).
    /// @param untracedSlashBps share of the lock that burns when no trace is anchored, beside the forfeit of every draw.
    /// @param slashBurnBps share of a whole slashed lock that burns; the rest goes to the voters.
    /// @param auditFee what naming an audit costs its consumer; it goes to the voters.
    /// @param auditWindow time to name audits, from the anchor; no trace is anchored before its end. Less than `traceWindow`.
    /// @param traceWindow time to anchor the trace, from the record of the sample slot.
    /// @param attestWindow time to commit the attestation, from the record of the challenge slot.
    /// @param voteWindow time for the committee, from the record of its slot; then a larger one can be drawn.
    /// @param pokeGrace time from the last commitment of a vote in which only the provider may settle.
    /// @param slashPending time from a `forged` verdict to the slash.
    /// @param abandonWindow time from the end of the last possible vote window to abandonment.
    /// @param appealWindow first part of `slashPending`, in which the verdict can be appealed. Shorter than it.
    /// @param appealBondBps share of the lock that the first appeal of a batch lays down; each further one twice as much.
    struct Params {
        uint8 draws;
        uint16 committeeSize;
        uint16 quorum;
        uint16 maxRanges;
        uint32 lockBps;
        uint16 nuBps;
        uint16 betaMaxBps;
        uint32 forfeitBps;
        uint16 untracedSlashBps;
        uint16 slashBurnBps;
        uint128 minLock;
        uint128 verificationFloor;
        uint128 auditFee;
        uint64 auditWindow;
        uint64 traceWindow;
        uint64 attestWindow;
        uint64 voteWindow;
        uint64 pokeGrace;
        uint64 slashPending;
        uint64 abandonWindow;
        uint64 appealWindow;
        uint16 appealBondBps;
    }

    /// @notice The first five are on the way, the last four final.
    enum Status {
        None,
        Anchored,
        Traced,
        Committed,
        SlashPending,
        Paid,
        Untraced,
        Slashed,
        Abandoned
    }

    /// @param root hash of the sum tree over the batch's receipts.
    /// @param total sum of the fees, the sum at the root.
    /// @param providerPart what the provider gets of the fees in all, set when paid.
    /// @param burnPart what burns of the fees in all, set when paid; the consumers' discounts are part of it and come back to them.
    /// @param betaBps share of the fees that burns, as of the anchor.
    /// @param discountPart what all discounts take off the burn.
    /// @param auditUntil last second in which audits are named.
    /// @param silent the verdict `forged` has its quorum only with votes that say that their voters were shown no attestation, and none before it had one without.
    /// @param rebutted the attestation was posted after such a verdict: votes without a digest are refused.
    /// @param verdicts one byte per draw, then one per audit, set by the settling quorum.
    struct Batch {
        address provider;
        Status status;
        uint8 attempt;
        uint48 anchorBlock;
        uint16 betaBps;
        bool silent;
        bool rebutted;
        bytes32 root;
        uint128 total;
        uint128 providerPart;
        uint128 burnPart;
        uint64 slashAt;
        uint64 sampleSlot;
        uint64 challengeSlot;
        uint64 committeeSlot;
        uint64 auditUntil;
        uint128 discountPart;
        bytes32 traceRoot;
        bytes32 attestation;
        bytes32 verdicts;
    }

    /// @param start sum of the fees of the ranges before this one: its receipts own the points [start, start + fee).
    /// @param discountBps part of the range's burn that its consumer saves.
    /// @param refund base units that come back to the consumer of a paid batch, the discount aside.
    struct RangeRecord {
        address consumer;
        bool collected;
        uint16 discountBps;
        uint128 start;
        uint128 fee;
        uint128 refund;
    }

    /// @notice A job that its consumer named as one more draw.
    /// @param point in [start, start + fee) of the range; the receipt that owns it is opened.
    struct Audit {
        uint32 range;
        uint128 point;
    }

    /// @notice A bond in the batch's pot, until the batch is final or its appeal is.
    struct Appeal {
        address appellant;
        uint96 bond;
    }

    /// @notice A node of the sum tree.
    struct Sibling {
        bytes32 hash;
        uint128 sum;
    }

    /// @notice A receipt's place in the sum tree. Needed for each distinct receipt that was drawn and found off tolerance.
    /// @param range index of the range the receipt belongs to.
    /// @param index position of the leaf.
    /// @param path siblings from the leaf up.
    struct Opening {
        uint32 range;
        uint128 price;
        uint64 index;
        bytes32 receiptHash;
        Sibling[] path;
    }

    event BatchAnchored(
        bytes32 indexed batchId,
        address indexed provider,
        bytes32 root,
        uint256 total,
        uint256 lock,
        uint64 sampleSlot,
        uint256 rangeCount
    );
    event RangeAnchored(
        bytes32 indexed batchId,
        uint256 index,
        bytes32 indexed session,
        address indexed consumer,
        address signer,
        uint64 fromSeq,
        uint64 toSeq,
        uint256 cumulative,
        uint256 fee,
        bytes32 receiptHash
    );
    event AuditNamed(bytes32 indexed batchId, uint256 range, address indexed consumer, uint128 point);
    event TraceAnchored(bytes32 indexed batchId, bytes32 traceRoot, uint64 challengeSlot);
    event AttestationCommitted(bytes32 indexed batchId, bytes32 digest, uint64 committeeSlot);
    event CommitteeRedrawn(bytes32 indexed batchId, uint8 attempt, uint64 committeeSlot);
    event BatchSettled(bytes32 indexed batchId, Status status, bytes32 verdicts, address[] voters);
    event VotersPaid(bytes32 indexed batchId, uint256 each, uint256 burned);
    event ToleranceForfeited(
        bytes32 indexed batchId, uint256 indexed range, address indexed consumer, uint256 refunded, uint256 forfeited
    );
    event Appealed(bytes32 indexed batchId, address indexed appellant, uint256 bond);
    event BondReturned(bytes32 indexed batchId, address indexed appellant, uint256 bond);
    event SilenceRebutted(bytes32 indexed batchId);
    event SlashScheduled(bytes32 indexed batchId, uint64 slashAt);
    event BatchSlashed(bytes32 indexed batchId, uint256 burned, uint256 rewarded);
    event BatchExpired(bytes32 indexed batchId, Status status);
    event BatchAbandoned(bytes32 indexed batchId);
    event RangeCollected(
        bytes32 indexed batchId, uint256 index, address indexed consumer, uint256 paid, uint256 refunded
    );

    error BadParams(string field);
    error RangeCount(uint256 count);
    error TotalTooLarge();
    error AlreadyAnchored(bytes32 batchId);
    error WrongStatus(bytes32 batchId, Status status);
    error NotProvider(address caller);
    error DeadlinePassed(uint64 deadline);
    error DeadlineNotReached(uint64 deadline);
    error ZeroDigest();
    error ProvidersGrace(uint64 until);
    /// @notice Votes, or from the second committee on the base units of their stake.
    error NoQuorum(uint256 given, uint256 needed);
    /// @notice There is no verdict, or for `rebut` none that says of silence.
    error NotAppealable(bytes32 batchId);
    error NotPosted(bytes32 batchId);
    error NotReferee(address caller);
    error BadVerdict(uint256 draw);
    error VerdictBeyondDraws();
    error BadOpening(uint256 opening);
    error OpeningOutsideRange(uint256 opening);
    error UnusedOpening(uint256 opening);
    error MissingOpening(uint256 draw);
    error CommitteeCanGrow(uint256 eligible);
    error CommitteeExhausted(uint256 eligible);
    error UnknownRange(uint256 index);
    error NotConsumer(address caller);
    error PointOutsideRange(uint256 point);
    error AlreadyAudited(uint256 range);
    error AlreadyCollected(uint256 index);

    /// @notice Consumes ranges of sessions for ever, locks the provider's stake and names the sample slot.
    /// @param root hash of the sum tree over the ranges' receipts, in the order of the ranges.
    /// @return batchId `batchIdOf(caller, root)`.
    function anchorBatch(bytes32 root, IEscrow.Range[] calldata ranges) external returns (bytes32 batchId);

    /// @notice Makes a job of the caller's own range a draw beside those of the sample, one of each range. The caller pays `auditFee` out
    /// of its escrow balance, and agrees that the job is opened: the committee computes it again.
    function audit(bytes32 batchId, uint256 range, uint128 point) external;

    /// @notice Fixes the canonical traces of the drawn jobs; once, by the provider, after the sample and the audits and in time.
    function anchorTrace(bytes32 batchId, bytes32 traceRoot) external;

    /// @notice Fixes the attestation before its committee is known; once, by the provider, after the challenge and in time.
    function commitAttestation(bytes32 batchId, bytes32 digest) external;

    /// @notice Applies the verdict of a quorum (`IVotes.tally`). The provider's alone to call until `pokeGrace` after the last commitment.
    /// @param committed all commitments of the present committee, in the order in which they came.
    /// @param votes of distinct members, at least `quorumOf`, and in a first committee all of them where a draw is off tolerance: equal verdicts, or any that say of some draw that it is forged (the first is then
    /// the one that is kept).
    /// @param openings one per distinct receipt whose draw has the verdict `tolerance`; otherwise empty.
    function settle(
        bytes32 batchId,
        IVotes.Commitment[] calldata committed,
        IVotes.Vote[] calldata votes,
        Opening[] calldata openings
    ) external;

    /// @notice Draws a larger committee after a vote window without settlement.
    function redraw(bytes32 batchId) external;

    /// @notice Lays down `appealBond` out of the caller's escrow balance against the verdict `forged`, and draws a larger committee. The bond
    /// comes back when a later verdict is another, or when nobody judges the appeal; it goes to the voters when the batch is slashed.
    function appeal(bytes32 batchId) external;

    /// @notice Voids a verdict in which some vote says that there was no attestation, now that it has been posted (`IReferee.post`).
    /// Another committee is drawn, larger where there are nodes for it, and no such vote is taken any more.
    function rebut(bytes32 batchId) external;

    /// @notice Schedules the slash of a batch of which a fault was proven on chain, which nothing but a canary's reveal stops; by the referee.
    function convict(bytes32 batchId) external;

    /// @notice Ends a batch whose provider let a deadline pass: `Untraced`, or `SlashPending` after silence.
    function expire(bytes32 batchId) external;

    /// @notice Carries out a pending slash.
    function finalize(bytes32 batchId) external;

    /// @notice Ends a batch that no committee, up to all eligible nodes, would judge, or that waits for a value which the beacon will never have:
    /// refunds consumers, returns lock and floor. On appeal the verdict stands instead, and the slash is pending again.
    function abandon(bytes32 batchId) external;

    /// @notice Ends a batch whose slash is pending without it: refunds consumers, returns the lock; by a judge (`ISeats`). What voters have
    /// been paid stays theirs.
    function pardon(bytes32 batchId) external;

    /// @notice Moves one range's money, once, after a final status: to the provider's owner, or back to the consumer.
    function collect(bytes32 batchId, uint256 index) external;

    /// @notice Says which providers may not serve or anchor.
    function strikes() external view returns (IStrikes);

    /// @notice Counts the votes.
    function votes() external view returns (IVotes);

    function params() external view returns (Params memory);

    /// @notice keccak256(abi.encode("sinter/batch/1", chain id, this, provider, root)).
    function batchIdOf(address provider, bytes32 root) external view returns (bytes32);

    function batchOf(bytes32 batchId) external view returns (Batch memory);

    function rangeOf(bytes32 batchId, uint256 index) external view returns (RangeRecord memory);

    function rangeCount(bytes32 batchId) external view returns (uint256);

    /// @notice Stake locked for a batch of `total` fees.
    function lockFor(uint256 total) external view returns (uint256);

    /// @notice Audits in the order in which they were named.
    function auditsOf(bytes32 batchId) external view returns (Audit[] memory);

    /// @notice Points of [0, total) that the sample beacon draws, one per draw, then those of the audits.
    function samplePoints(bytes32 batchId) external view returns (uint256[] memory points);

    /// @notice Appeals whose bonds the pot holds.
    function appealsOf(bytes32 batchId) external view returns (Appeal[] memory);

    /// @notice Base units that the next appeal lays down.
    function appealBond(bytes32 batchId) external view returns (uint256);

    /// @notice Who is asked, in which attempt, since when (timestamp, seconds) and about what. Reverts unless a committee is at work.
    function panel(bytes32 batchId)
        external
        view
        returns (uint8 attempt, uint64 since, bytes32 attestation, address[] memory members);

    /// @notice Members of the current committee. Reverts until its slot is recorded.
    function committee(bytes32 batchId) external view returns (address[] memory members);

    /// @notice What agreeing votes of distinct committee members count (those whose free stake covers a seat), and what settles: votes in the first committee; in later ones
    /// base units of stake as of the anchor, and at least `quorum` votes.
    function standing(bytes32 batchId, address[] calldata voters) external view returns (uint256 given, uint256 needed);

    /// @notice Agreeing votes needed from a first committee of `members`.
    function quorumOf(uint256 members) external view returns (uint256);

    /// @notice Timestamp (seconds) at which the current state's window ends; 0 while its slot is not recorded or when final.
    function deadlineOf(bytes32 batchId) external view returns (uint64);
}
