// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Votes} from "../../protocol/contracts/Votes.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {ISeats} from "../../protocol/contracts/interfaces/ISeats.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {World} from "./World.sol";

/// @dev Votes are committed on chain before the first is opened.
contract VotesTest is World {
    bytes32 private batchId;
    address[] private members;

    /// @dev A committee of three whose quorum is two.
    function setUp() public override {
        super.setUp();
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        batchId = judged(10 ether);
        members = batches.committee(batchId);
    }

    function key(uint256 seat) private view returns (uint256) {
        return keyOf(members[seat]);
    }

    function one(IVotes.Signed memory signed_) private pure returns (IVotes.Signed[] memory list) {
        list = new IVotes.Signed[](1);
        list[0] = signed_;
    }

    function said(uint256 count, bytes32 verdicts) private view returns (Said[] memory list) {
        list = new Said[](count);
        for (uint256 i = 0; i < count; i++) list[i] = vote(key(i), verdicts);
    }

    function commit(IVotes.Signed memory signed_) private {
        votes.commitVotes(batchId, 0, one(signed_));
    }

    function refused(IVotes.Signed memory signed_, bytes memory err) private {
        vm.expectRevert(err);
        commit(signed_);
    }

    function honest(uint256 seat) private view returns (IVotes.Signed memory) {
        return entry(batchId, seat, key(seat), commitmentOf(batchId, vote(key(seat), VALID)));
    }

    function settleRefusal(IVotes.Commitment[] memory list, IVotes.Vote[] memory given, bytes memory err) private {
        vm.prank(provider);
        vm.expectRevert(err);
        batches.settle(batchId, list, given, new IBatches.Opening[](0));
    }

    // ---- copies

    /// @dev The lazy voter before there were commitments on chain: it waited for a vote, signed the same verdicts, and was paid.
    function test_whoSeesAVoteCannotVoteAnyMore() public {
        cast(batchId, said(2, VALID));
        closeBallot(batchId);
        // All of them stand there: the third, who has seen the others' votes now, has committed to something else.
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said(3, VALID));
        settleRefusal(list, given, abi.encodeWithSelector(IVotes.NotWhatWasCommitted.selector, 2));
        refused(honest(2), abi.encodeWithSelector(IVotes.NothingNew.selector));
    }

    function test_afterTheWindowNobodyCommitsAndBeforeItsEndNobodySettles() public {
        cast(batchId, said(2, VALID));
        uint64 until = beacon.recordedAt(batches.batchOf(batchId).committeeSlot) + COMMIT_WINDOW;
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said(2, VALID));
        vm.warp(until);
        settleRefusal(list, given, abi.encodeWithSelector(IVotes.CommitWindowOpen.selector, until));
        uint256 before = vm.snapshotState();
        commit(honest(2));
        vm.revertToState(before);
        vm.warp(until + 1);
        refused(honest(2), abi.encodeWithSelector(IVotes.CommitWindowOver.selector, until));
        vm.prank(provider);
        batches.settle(batchId, list, given, new IBatches.Opening[](0));
        requireStatus(batchId, IBatches.Status.Paid);
        eq(escrow.balanceOf(registry.payoutOf(members[2])), 0, "who has not committed is not paid");
    }

    function test_theLastCommitmentClosesAtOnce() public {
        castAll(batchId, said(3, VALID));
        eq(votes.ballotOf(batchId).closedAt, vm.getBlockTimestamp(), "closed");
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
    }

    /// @dev Whoever signs another's commitment as its own cannot open it as its own.
    function test_aCopiedCommitmentIsWorthNothing() public {
        bytes32 copied = commitmentOf(batchId, vote(key(0), VALID));
        commit(entry(batchId, 1, key(1), copied));
        commit(honest(0));
        closeBallot(batchId);
        IVotes.Commitment[] memory list = new IVotes.Commitment[](3);
        list[0] = IVotes.Commitment(members[1], copied);
        list[1] = IVotes.Commitment(members[0], copied);
        list[2] = committedOf(batchId)[0];
        IVotes.Vote[] memory given = new IVotes.Vote[](2);
        for (uint256 i = 0; i < 2; i++) given[i] = IVotes.Vote(i, VALID, bytes32(key(0)), saltOf(key(0)));
        settleRefusal(list, given, abi.encodeWithSelector(IVotes.NotWhatWasCommitted.selector, 0));
    }

    // ---- who is left out

    function test_anyoneAddsWhomTheProviderLeavesOut() public {
        vm.prank(provider);
        commit(honest(0));
        IVotes.Signed[] memory rest = new IVotes.Signed[](3);
        for (uint256 i = 0; i < 3; i++) rest[i] = honest(i);
        vm.prank(address(0xbeef));
        votes.commitVotes(batchId, 0, rest);
        eq(votes.ballotOf(batchId).missing, 0, "all");
    }

    /// @dev A part of somebody's transaction, sent first, does not stop the rest of it.
    function test_aTransactionWhosePartsWereFasterStillAddsTheRest() public {
        commit(honest(1));
        IVotes.Signed[] memory all = new IVotes.Signed[](3);
        for (uint256 i = 0; i < 3; i++) all[i] = honest(i);
        votes.commitVotes(batchId, 0, all);
        eq(votes.ballotOf(batchId).missing, 0, "all");
        vm.expectRevert(abi.encodeWithSelector(IVotes.NothingNew.selector));
        votes.commitVotes(batchId, 0, all);
    }

    function test_theFirstCommitmentOfAVoterCounts() public {
        commit(honest(0));
        bytes32 digest = votes.ballotOf(batchId).digest;
        bytes32 second = commitmentOf(batchId, vote(key(0), FORGED));
        refused(entry(batchId, 0, key(0), second), abi.encodeWithSelector(IVotes.NothingNew.selector));
        eq(votes.ballotOf(batchId).digest, digest, "digest");
    }

    // ---- what a commitment is

    function test_onlyMembersCommitForThemselves() public {
        IVotes.Signed memory own = honest(0);
        own.seat = 1;
        refused(own, abi.encodeWithSelector(IVotes.NotTheMembers.selector, 1));
        own.seat = 3;
        refused(own, abi.encodeWithSelector(IVotes.NoSeat.selector, 3));
        // The provider sits nowhere.
        bytes memory refusal = abi.encodeWithSelector(IVotes.NotTheMembers.selector, 0);
        refused(entry(batchId, 0, 1, own.commitment), refusal);
        refused(IVotes.Signed(0, own.commitment, 0, 0), refusal);
    }

    function test_aCommitmentHoldsForOneChainContractBatchAttemptAndAttestation() public {
        bytes32 other = judged(1 ether);
        bytes32 c = commitmentOf(batchId, vote(key(0), VALID));
        IVotes.Signature[5] memory wrong = [
            signedCommitment(1, address(votes), batchId, 0, ATTESTATION, key(0), c),
            signedCommitment(block.chainid, address(batches), batchId, 0, ATTESTATION, key(0), c),
            signedCommitment(block.chainid, address(votes), other, 0, ATTESTATION, key(0), c),
            signedCommitment(batchId, 1, key(0), c),
            signedCommitment(block.chainid, address(votes), batchId, 0, "other attestation", key(0), c)
        ];
        for (uint256 i = 0; i < wrong.length; i++) {
            refused(
                IVotes.Signed(0, c, wrong[i].r, wrong[i].vs), abi.encodeWithSelector(IVotes.NotTheMembers.selector, 0)
            );
        }
        vm.expectRevert(abi.encodeWithSelector(IVotes.WrongAttempt.selector, 0));
        votes.commitVotes(batchId, 1, one(IVotes.Signed(0, c, wrong[3].r, wrong[3].vs)));
        commit(honest(0));
    }

    function test_nothingIsCommittedBeforeTheCommitteeIsKnownNorAfterTheVerdict() public {
        bytes32 next = anchor(1 ether);
        trace(next);
        commit(next);
        vm.expectRevert(abi.encodeWithSignature("SlotNotRecorded(uint256)", batches.batchOf(next).committeeSlot));
        votes.commitVotes(next, 0, new IVotes.Signed[](0));
        settle(batchId, VALID);
        bytes memory wrong =
            abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Paid);
        vm.expectRevert(wrong);
        votes.commitVotes(batchId, 0, new IVotes.Signed[](0));
    }

    // ---- what is opened

    function test_theListIsWholeAndInItsOrder() public {
        castAll(batchId, said(3, VALID));
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said(2, VALID));
        bytes memory refusal = abi.encodeWithSelector(IVotes.NotCommitted.selector, batchId);
        (list[0], list[1]) = (list[1], list[0]);
        settleRefusal(list, given, refusal);
        (list[0], list[1]) = (list[1], list[0]);
        IVotes.Commitment[] memory part = new IVotes.Commitment[](2);
        (part[0], part[1]) = (list[0], list[1]);
        settleRefusal(part, given, refusal);
        settleRefusal(new IVotes.Commitment[](0), given, refusal);
        list[2].voter = provider;
        settleRefusal(list, given, refusal);
    }

    function test_nobodyIsCountedTwice() public {
        castAll(batchId, said(3, VALID));
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said(2, VALID));
        given[1] = given[0];
        settleRefusal(list, given, abi.encodeWithSelector(IVotes.VotesOrder.selector, 1));
        given = opened(batchId, said(2, VALID));
        (given[0], given[1]) = (given[1], given[0]);
        settleRefusal(list, given, abi.encodeWithSelector(IVotes.VotesOrder.selector, 1));
    }

    /// @dev Whatever is changed in an opened vote, it is not the one that was committed.
    function testFuzz_aVoteIsOpenedAsItWasCommitted(uint256 field, bytes32 noise) public {
        castAll(batchId, said(3, VALID));
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said(2, VALID));
        field %= 3;
        bytes32 was = field == 0 ? given[1].digest : field == 1 ? given[1].salt : VALID;
        if (noise == was || field == 0 && noise == 0) return;
        if (field == 0) given[1].digest = noise;
        if (field == 1) given[1].salt = noise;
        if (field == 2) (given[0].verdicts, given[1].verdicts) = (hex"02010101", hex"02010101");
        settleRefusal(list, given, abi.encodeWithSelector(IVotes.NotWhatWasCommitted.selector, field == 2 ? 0 : 1));
    }

    // ---- no stuck state

    function test_withTooFewCommitmentsAnotherCommitteeIsDrawnAndCommitsAnew() public {
        cast(batchId, said(1, VALID));
        IVotes.Commitment[] memory old = committedOf(batchId);
        vm.warp(batches.deadlineOf(batchId) + 1);
        settleRefusal(old, opened(batchId, said(1, VALID)), abi.encodeWithSelector(IBatches.NoQuorum.selector, 1, 2));
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        settleRefusal(old, new IVotes.Vote[](1), abi.encodeWithSelector(IVotes.NotCommitted.selector, batchId));
        members = batches.committee(batchId);
        castAll(batchId, said(5, VALID));
        eq(votes.ballotOf(batchId).attempt, 1, "attempt");
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_theTimeToCommitLeavesTimeToSettle() public {
        vm.expectRevert(abi.encodeWithSelector(IVotes.BadCommitWindow.selector));
        new Votes(batches, seats, 0);
        vm.expectRevert(abi.encodeWithSelector(IVotes.BadCommitWindow.selector));
        new Votes(batches, seats, 50);
        new Votes(batches, seats, 49);
    }

    // ---- equivocation

    /// @dev What `commit` hands in.
    bytes32 private constant ATTESTATION = keccak256("attestation");

    function twice(uint256 voter) private view returns (IVotes.Signature memory a, IVotes.Signature memory b) {
        a = signedCommitment(batchId, 0, voter, "one");
        b = signedCommitment(batchId, 0, voter, "other");
    }

    function test_whoSignsTwoVotesLosesASeatOnce() public {
        (IVotes.Signature memory a, IVotes.Signature memory b) = twice(key(0));
        uint256 supply = token.totalSupply();
        vm.prank(address(0xabc));
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, b);
        eq(registry.nodeOf(members[0]).stake, STAKE - SEAT, "stake");
        eq(registry.nodeOf(members[0]).locked, 0, "locked");
        eq(escrow.balanceOf(address(0xabc)), SEAT / 2, "rewarded");
        eq(supply - token.totalSupply(), SEAT / 2, "burned");
        bytes32 bench = keccak256(abi.encode("sinter/equivocation/1", batchId, uint8(0), ATTESTATION, members[0]));
        vm.expectRevert(abi.encodeWithSelector(ISeats.BenchExists.selector, bench));
        votes.proveEquivocation(batchId, 0, ATTESTATION, b, a);
        b = signedCommitment(batchId, 0, key(0), "a third");
        vm.expectRevert(abi.encodeWithSelector(ISeats.BenchExists.selector, bench));
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, b);
    }

    function test_oneVoteSignedTwiceIsNoEquivocation() public {
        (IVotes.Signature memory a,) = twice(key(0));
        vm.expectRevert(abi.encodeWithSelector(IVotes.SameVote.selector));
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, a);
    }

    /// @dev The other form of a signature, s → n − s, is none.
    function test_anotherFormOfASignatureIsNoSignature() public {
        (IVotes.Signature memory a, IVotes.Signature memory b) = twice(key(0));
        bytes32 s = b.vs & bytes32(type(uint256).max >> 1);
        uint256 n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint256 parity = uint256(b.vs) >> 255;
        b.vs = bytes32(n - uint256(s)) & bytes32(type(uint256).max >> 1) | bytes32((1 - parity) << 255);
        vm.expectRevert(abi.encodeWithSelector(IVotes.NotOneVoter.selector));
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, b);
    }

    function test_twoVotesAreOfOneVoterChainContractBatchAttemptAndAttestation() public {
        (IVotes.Signature memory a,) = twice(key(0));
        uint256 chain = block.chainid;
        IVotes.Signature[6] memory others = [
            signedCommitment(batchId, 0, key(1), "other"),
            signedCommitment(1, address(votes), batchId, 0, ATTESTATION, key(0), "other"),
            signedCommitment(chain, address(batches), batchId, 0, ATTESTATION, key(0), "other"),
            signedCommitment(chain, address(votes), keccak256("other batch"), 0, ATTESTATION, key(0), "other"),
            signedCommitment(batchId, 1, key(0), "other"),
            signedCommitment(chain, address(votes), batchId, 0, "other attestation", key(0), "other")
        ];
        bytes memory refusal = abi.encodeWithSelector(IVotes.NotOneVoter.selector);
        for (uint256 i = 0; i < others.length; i++) {
            vm.expectRevert(refusal);
            votes.proveEquivocation(batchId, 0, ATTESTATION, a, others[i]);
        }
        vm.expectRevert(refusal);
        votes.proveEquivocation(batchId, 0, ATTESTATION, IVotes.Signature("one", 0, 0), IVotes.Signature("other", 0, 0));
    }

    /// @dev A seat that is held already is another: what a voter has locked does not pay for what it did besides.
    function test_anEquivocationTakesFreeStakeAndWaitsForIt() public {
        (IVotes.Signature memory a, IVotes.Signature memory b) = twice(key(0));
        settle(batchId, VALID);
        address voter = members[0];
        uint256 free = registry.freeStake(voter);
        vm.prank(voter);
        registry.requestUnbond(voter, free - SEAT + 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InsufficientFreeStake.selector, SEAT - 1, SEAT));
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, b);
        vm.warp(seats.benchOf(batchId).until + 1);
        address[] memory voters = new address[](2);
        (voters[0], voters[1]) = (members[0], members[1]);
        seats.release(batchId, voters);
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, b);
        eq(registry.freeStake(voter), SEAT - 1, "a seat less");
    }

    function testFuzz_noTwoVotesOfAnHonestVoterAreAnEquivocation(
        bytes32 c,
        bytes32 otherBatch,
        uint8 attempt,
        bytes32 attestation
    ) public {
        (IVotes.Signature memory a,) = twice(key(0));
        if (otherBatch == batchId && attempt == 0 && attestation == ATTESTATION) attempt = 1;
        IVotes.Signature memory b =
            signedCommitment(block.chainid, address(votes), otherBatch, attempt, attestation, key(0), c);
        vm.expectPartialRevert(c == a.commitment ? IVotes.SameVote.selector : IVotes.NotOneVoter.selector);
        votes.proveEquivocation(batchId, 0, ATTESTATION, a, b);
    }

    /// @dev A fork takes the attestation back after votes on it were signed, and its provider commits to another. A voter, whatever it remembers, votes on
    /// that one, is counted, and has not voted twice. What it had signed before counts for nothing now.
    function test_anAttestationThatAForkReplacedIsVotedOnAnew() public {
        bytes32 other = anchor(20 ether);
        trace(other);
        recordSlot(batches.batchOf(other).challengeSlot);
        uint256 start = vm.snapshotState();
        vm.prank(provider);
        batches.commitAttestation(other, "first");
        recordSlot(batches.batchOf(other).committeeSlot);
        address voter = batches.committee(other)[0];
        IVotes.Signature memory a = signedCommitment(other, 0, keyOf(voter), commitmentOf(other, vote(keyOf(voter), VALID)));
        vm.revertToState(start);
        vm.prank(provider);
        batches.commitAttestation(other, "second");
        recordSlot(batches.batchOf(other).committeeSlot);
        eq(batches.committee(other)[0], voter, "the same member");
        IVotes.Signed[] memory list = new IVotes.Signed[](1);
        list[0] = IVotes.Signed(0, a.commitment, a.r, a.vs);
        vm.expectRevert(abi.encodeWithSelector(IVotes.NotTheMembers.selector, 0));
        votes.commitVotes(other, 0, list);
        IVotes.Signature memory b = signedCommitment(other, 0, keyOf(voter), commitmentOf(other, vote(keyOf(voter), VALID)));
        for (uint256 i = 0; i < 2; i++) {
            vm.expectRevert(abi.encodeWithSelector(IVotes.NotOneVoter.selector));
            votes.proveEquivocation(other, 0, i == 0 ? bytes32("first") : bytes32("second"), a, b);
        }
        settle(other, VALID);
        requireStatus(other, IBatches.Status.Paid);
    }
}
