// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "./IBatches.sol";

/// @title Votes of committees: committed on chain before the first is opened
/// @notice A vote counts when its commitment stood on chain before anybody opened one, so that no vote can be a copy of another. A commitment
/// is the EIP-712 struct hash of Vote(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 verdicts,bytes32 digest,bytes32 salt,address voter); its
/// voter signs VoteCommitment(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 commitment) in the domain ("Sinter", "1", chain id, this). Anyone hands in what was
/// signed, in as many transactions as it takes, from the record of the committee's slot until `commitWindow` later or until every member has
/// committed, whichever is first. So nobody can leave out a member that somebody else hands in.
interface IVotes {
    /// @param seat place in the committee.
    /// @param commitment struct hash of the vote.
    /// @param r of the signature.
    /// @param vs s and, in the highest bit, the parity of the signature (ERC-2098).
    struct Signed {
        uint256 seat;
        bytes32 commitment;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice A signed commitment, whoever's it is.
    struct Signature {
        bytes32 commitment;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice A commitment that stands on chain.
    struct Commitment {
        address voter;
        bytes32 commitment;
    }

    /// @notice An opened vote; batch, attempt and attestation are the chain's own.
    /// @param place of its commitment in the list.
    /// @param digest the voter's own digest of the coefficients (not judged here); zero says that it was shown no attestation.
    /// @param salt 32 bytes that only the voter knew.
    struct Vote {
        uint256 place;
        bytes32 verdicts;
        bytes32 digest;
        bytes32 salt;
    }

    /// @notice What `Batches` asks the votes about.
    /// @param rebutted the attestation stands on the chain: a vote that says it has none is refused.
    /// @param since timestamp (seconds) at which the committee's slot was recorded.
    /// @param draws verdicts in a vote.
    struct Question {
        bytes32 batchId;
        bytes32 attestation;
        uint8 attempt;
        bool rebutted;
        uint64 since;
        uint256 draws;
    }

    /// @param digest of the commitments in their order: keccak256(abi.encode(digest, voter, commitment)) of each, from 0 on.
    /// @param attempt of the committee that they are of.
    /// @param members of it.
    /// @param closedAt timestamp (seconds) at which the last of them had committed; 0 before.
    /// @param missing bit i: seat i has not committed.
    struct Ballot {
        bytes32 digest;
        uint8 attempt;
        uint16 members;
        uint40 closedAt;
        uint192 missing;
    }

    /// @notice What votes say together.
    /// @param verdicts those of the first vote.
    /// @param voters who gave them.
    /// @param spoken those whose vote has a digest. The others say that they were shown no attestation.
    /// @param members of the committee.
    /// @param closedAt timestamp (seconds) at which the last commitment was, or could be, handed in.
    struct Outcome {
        bytes32 verdicts;
        address[] voters;
        address[] spoken;
        uint16 members;
        uint64 closedAt;
    }

    event VotesCommitted(bytes32 indexed batchId, uint8 attempt, Commitment[] commitments, uint256 missing);
    event EquivocationProven(
        bytes32 indexed batchId, uint8 attempt, bytes32 attestation, address indexed voter, address indexed by
    );

    error BadCommitWindow();
    error WrongAttempt(uint8 attempt);
    error CommitWindowOver(uint64 until);
    error CommitWindowOpen(uint64 until);
    error NoSeat(uint256 seat);
    error NotTheMembers(uint256 seat);
    /// @notice All of them were handed in before.
    error NothingNew();
    /// @notice The list is not what was handed in for this attempt.
    error NotCommitted(bytes32 batchId);
    error NoVotes();
    /// @notice Places ascend, so that nobody is counted twice.
    error VotesOrder(uint256 vote);
    error NotWhatWasCommitted(uint256 vote);
    error VerdictsDiffer(uint256 vote);
    error SilenceWasRebutted(uint256 vote);
    /// @notice Off tolerance, a first committee has to be of one mind.
    error NotAllMembers(uint256 given, uint256 members);
    error SameVote();
    error NotOneVoter();

    /// @notice Puts commitments of members of the present committee on chain: of each member the first. Those that stand there are passed over, so
    /// that nobody can stop a transaction by being faster with a part of it.
    function commitVotes(bytes32 batchId, uint8 attempt, Signed[] calldata commitments) external;

    /// @notice What votes with one consequence say together. Whether one draw is forged or all are, the lock is gone: a provider that hands its
    /// attestation to half of the committee, so that one half finds the forgery and the other half nothing, must not divide it.
    /// @param list all commitments of the attempt, in the order in which they came (`VotesCommitted`).
    /// @param votes by ascending place, at least one.
    function tally(Question calldata question, Commitment[] calldata list, Vote[] calldata votes)
        external
        view
        returns (Outcome memory);

    /// @notice Takes a seat (`ISeats.seatStake`) of a voter that signed two commitments for one batch, attempt and attestation: half burns, half
    /// goes to the caller's escrow balance. Once for each of them; the voter needs the free stake. An attestation that a fork took back is another,
    /// and so is what was said of it.
    function proveEquivocation(
        bytes32 batchId,
        uint8 attempt,
        bytes32 attestation,
        Signature calldata one,
        Signature calldata other
    ) external;

    function ballotOf(bytes32 batchId) external view returns (Ballot memory);

    /// @notice Seconds from the record of a committee's slot in which its members commit. With `pokeGrace` shorter than the vote window.
    function commitWindow() external view returns (uint64);

    function batches() external view returns (IBatches);
}
