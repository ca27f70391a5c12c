// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IBatches} from "../interfaces/IBatches.sol";
import {Verdicts} from "./Verdicts.sol";

/// @title What the votes of a committee say together
/// @dev Linked, not inlined: `Batches` has no room for its code.
library Ballots {
    bytes32 private constant VOTE_TYPEHASH =
        keccak256("Vote(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 verdicts,bytes32 digest)");

    /// @notice What all votes are about.
    /// @param domain EIP-712 domain separator of `Batches`.
    /// @param rebutted the attestation stands on the chain: a vote that says it has none is refused.
    /// @param draws verdicts in a vote.
    struct Question {
        bytes32 domain;
        bytes32 batchId;
        bytes32 attestation;
        uint8 attempt;
        bool rebutted;
        uint256 draws;
    }

    /// @notice Votes with one consequence by distinct members of the committee, at least one. Whether one draw is forged or all are, the lock
    /// is gone: a provider that hands its attestation to half of the committee, so that one half finds the forgery and the other half
    /// nothing, must not divide it.
    /// @param seats the committee.
    /// @return verdicts those of the first vote.
    /// @return voters who gave them.
    /// @return silent some vote has no digest: its voter says that it was shown no attestation.
    function tally(IBatches.SignedVote[] calldata votes, address[] calldata seats, Question calldata question)
        external
        pure
        returns (bytes32 verdicts, address[] memory voters, bool silent)
    {
        verdicts = votes[0].verdicts;
        Verdicts.check(verdicts, question.draws);
        bool forged = Verdicts.forged(verdicts, question.draws);
        voters = new address[](votes.length);
        for (uint256 i = 0; i < votes.length; i++) {
            bytes32 own = votes[i].verdicts;
            if (own != verdicts) {
                if (!forged || !Verdicts.forged(own, question.draws)) revert IBatches.VerdictsDiffer(i);
                Verdicts.check(own, question.draws);
            }
            if (votes[i].digest == 0) {
                if (question.rebutted) revert IBatches.SilenceWasRebutted(i);
                silent = true;
            }
            voters[i] = _signer(question, votes[i]);
            _takeSeat(seats, voters, i);
        }
    }

    function _signer(Question calldata q, IBatches.SignedVote calldata vote) private pure returns (address signer) {
        bytes32 content =
            keccak256(abi.encode(VOTE_TYPEHASH, q.batchId, q.attempt, q.attestation, vote.verdicts, vote.digest));
        (signer,,) = ECDSA.tryRecoverCalldata(MessageHashUtils.toTypedDataHash(q.domain, content), vote.signature);
    }

    /// @dev The signer of `voters[vote]` sits in the committee and has not been counted before.
    function _takeSeat(address[] calldata seats, address[] memory voters, uint256 vote) private pure {
        address signer = voters[vote];
        for (uint256 i = 0; i < vote; i++) if (voters[i] == signer) revert IBatches.VotedTwice(signer);
        // A bad signature recovers the zero address, which registers no node and so holds no seat.
        for (uint256 i = 0; i < seats.length; i++) if (seats[i] == signer) return;
        revert IBatches.NotInCommittee(signer);
    }
}
