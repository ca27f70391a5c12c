// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {ISeats} from "./interfaces/ISeats.sol";
import {IVotes} from "./interfaces/IVotes.sol";
import {Verdicts} from "./libraries/Verdicts.sol";

/// @title Votes, documented in {IVotes}
contract Votes is IVotes, EIP712 {
    bytes32 private constant VOTE_TYPEHASH = keccak256(
        "Vote(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 verdicts,bytes32 digest,bytes32 salt,address voter)"
    );
    bytes32 private constant COMMITMENT_TYPEHASH =
        keccak256("VoteCommitment(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 commitment)");
    /// @dev Seats that `Ballot.missing` has bits for.
    uint256 private constant MOST_SEATS = 192;
    /// @dev Of the seat that an equivocation costs: enough to pay for the proof, and never worth an equivocation of one's own.
    uint256 private constant PROVER_BPS = 5_000;

    IBatches public immutable batches;
    ISeats public immutable seats;
    uint64 public immutable commitWindow;

    mapping(bytes32 batchId => Ballot) private _ballots;

    constructor(IBatches batches_, ISeats seats_, uint64 commitWindow_) EIP712("Sinter", "1") {
        IBatches.Params memory p = batches_.params();
        // Whoever settles for a provider that does not has time left before another committee is drawn.
        if (commitWindow_ == 0 || commitWindow_ + p.pokeGrace >= p.voteWindow) revert BadCommitWindow();
        batches = batches_;
        seats = seats_;
        commitWindow = commitWindow_;
    }

    /// @inheritdoc IVotes
    function commitVotes(bytes32 batchId, uint8 attempt, Signed[] calldata commitments) external {
        (bytes memory question, address[] memory members) = _asked(batchId, attempt);
        Ballot memory b = _ballots[batchId];
        if (b.members == 0 || b.attempt != attempt) b = _empty(attempt, members.length);
        Commitment[] memory added = new Commitment[](commitments.length);
        uint256 count = 0;
        for (uint256 i = 0; i < commitments.length; i++) {
            Signed calldata c = commitments[i];
            if (c.seat >= members.length || c.seat >= MOST_SEATS) revert NoSeat(c.seat);
            uint192 bit = uint192(1) << uint192(c.seat);
            if (b.missing & bit == 0) continue;
            address voter = members[c.seat];
            // A bad signature recovers the zero address, which registers no node and so holds no seat.
            if (_signer(question, c.commitment, c.r, c.vs) != voter) revert NotTheMembers(c.seat);
            b.missing ^= bit;
            b.digest = keccak256(abi.encode(b.digest, voter, c.commitment));
            added[count++] = Commitment(voter, c.commitment);
        }
        if (count == 0) revert NothingNew();
        assembly ("memory-safe") {
            mstore(added, count)
        }
        if (b.missing == 0) b.closedAt = uint40(block.timestamp);
        _ballots[batchId] = b;
        emit VotesCommitted(batchId, attempt, added, b.missing);
    }

    /// @inheritdoc IVotes
    function tally(Question calldata q, Commitment[] calldata list, Vote[] calldata votes)
        external
        view
        returns (Outcome memory o)
    {
        (o.members, o.closedAt) = _requireClosed(q, list);
        if (votes.length == 0) revert NoVotes();
        bytes32 verdicts = votes[0].verdicts;
        Verdicts.check(verdicts, q.draws);
        bool forged = Verdicts.forged(verdicts, q.draws);
        o.verdicts = verdicts;
        o.voters = new address[](votes.length);
        o.spoken = new address[](votes.length);
        uint256 spoken = 0;
        for (uint256 i = 0; i < votes.length; i++) {
            Vote calldata v = votes[i];
            if (i > 0 && v.place <= votes[i - 1].place) revert VotesOrder(i);
            if (v.verdicts != verdicts) {
                if (!forged || !Verdicts.forged(v.verdicts, q.draws)) revert VerdictsDiffer(i);
                Verdicts.check(v.verdicts, q.draws);
            }
            if (v.digest == 0 && q.rebutted) revert SilenceWasRebutted(i);
            Commitment calldata c = list[v.place];
            if (_commitment(q, v, c.voter) != c.commitment) revert NotWhatWasCommitted(i);
            o.voters[i] = c.voter;
            if (v.digest != 0) o.spoken[spoken++] = c.voter;
        }
        // It takes the provider's pay, is final, and nothing on chain refutes it: where few sit, a quorum may be one person's.
        if (q.attempt == 0 && !forged && votes.length < o.members && Verdicts.off(verdicts, q.draws)) {
            revert NotAllMembers(votes.length, o.members);
        }
        address[] memory shown = o.spoken;
        assembly ("memory-safe") {
            mstore(shown, spoken)
        }
    }

    /// @inheritdoc IVotes
    function proveEquivocation(
        bytes32 batchId,
        uint8 attempt,
        bytes32 attestation,
        Signature calldata one,
        Signature calldata other
    ) external {
        // Signing one vote again, with other randomness or by another encoding, is no second vote.
        if (one.commitment == other.commitment) revert SameVote();
        bytes memory question = _question(batchId, attempt, attestation);
        address voter = _signer(question, one.commitment, one.r, one.vs);
        if (voter == address(0) || voter != _signer(question, other.commitment, other.r, other.vs)) {
            revert NotOneVoter();
        }
        emit EquivocationProven(batchId, attempt, attestation, voter, msg.sender);
        // A bench of its own: whether the vote counted does not matter, and each equivocation has one.
        bytes32 bench = keccak256(abi.encode("sinter/equivocation/1", batchId, attempt, attestation, voter));
        address[] memory voters = new address[](1);
        voters[0] = voter;
        seats.take(bench, voters, 0);
        seats.slashSeat(bench, voters, 0, msg.sender, PROVER_BPS);
    }

    /// @inheritdoc IVotes
    function ballotOf(bytes32 batchId) external view returns (Ballot memory) {
        return _ballots[batchId];
    }

    function _empty(uint8 attempt, uint256 members) private pure returns (Ballot memory b) {
        b.attempt = attempt;
        b.members = uint16(members);
        b.missing = members < MOST_SEATS ? uint192((1 << members) - 1) : type(uint192).max;
    }

    /// @dev The list is whole, and nothing is added to it any more: only then does a voter open its vote.
    function _requireClosed(Question calldata q, Commitment[] calldata list) private view returns (uint16, uint64) {
        Ballot memory b = _ballots[q.batchId];
        bytes32 digest = 0;
        for (uint256 i = 0; i < list.length; i++) {
            digest = keccak256(abi.encode(digest, list[i].voter, list[i].commitment));
        }
        if (b.attempt != q.attempt || list.length == 0 || digest != b.digest) revert NotCommitted(q.batchId);
        if (b.closedAt != 0) return (b.members, b.closedAt);
        uint64 until = q.since + commitWindow;
        if (block.timestamp <= until) revert CommitWindowOpen(until);
        return (b.members, until);
    }

    /// @dev Bound to its voter: whoever signs another's commitment as its own cannot open it as its own.
    function _commitment(Question calldata q, Vote calldata v, address voter) private pure returns (bytes32) {
        return keccak256(
            abi.encode(VOTE_TYPEHASH, q.batchId, q.attempt, q.attestation, v.verdicts, v.digest, v.salt, voter)
        );
    }

    /// @dev Who is asked, while they may still commit, and what.
    function _asked(bytes32 batchId, uint8 attempt) private view returns (bytes memory, address[] memory) {
        (uint8 current, uint64 since, bytes32 attestation, address[] memory members) = batches.panel(batchId);
        if (attempt != current) revert WrongAttempt(current);
        if (block.timestamp > since + commitWindow) revert CommitWindowOver(since + commitWindow);
        return (_question(batchId, attempt, attestation), members);
    }

    /// @dev What voters sign, but for their commitments. It names the attestation: after a fork another one may stand there, and what is said of
    /// that is no second vote on this.
    function _question(bytes32 batchId, uint8 attempt, bytes32 attestation) private pure returns (bytes memory) {
        return abi.encode(COMMITMENT_TYPEHASH, batchId, attempt, attestation);
    }

    function _signer(bytes memory question, bytes32 commitment, bytes32 r, bytes32 vs)
        private
        view
        returns (address signer)
    {
        bytes32 content = keccak256(bytes.concat(question, commitment));
        (signer,,) = ECDSA.tryRecover(_hashTypedDataV4(content), r, vs);
    }
}
