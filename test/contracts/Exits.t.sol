// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {World} from "./World.sol";

/// @dev Every timed exit, at the last second that is refused and the first that is not.
contract ExitsTest is World {
    function tooEarly(uint64 deadline) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IBatches.DeadlineNotReached.selector, deadline);
    }

    function test_withoutATraceConsumersAreRefundedAndTheLockPaysForEveryDrawAndMore() public {
        uint256 prepaid = escrow.balanceOf(provider);
        bytes32 batchId = anchor(100 ether);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        uint64 deadline = batches.deadlineOf(batchId);
        vm.warp(deadline);
        vm.expectRevert(tooEarly(deadline));
        batches.expire(batchId);
        vm.warp(deadline + 1);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.DeadlinePassed.selector, deadline));
        batches.anchorTrace(batchId, "late");
        uint256 supply = token.totalSupply();
        batches.expire(batchId);
        requireStatus(batchId, IBatches.Status.Untraced);
        // 1.5·100 less the 92 it would have been paid, and a tenth of the lock.
        eq(supply - token.totalSupply(), 58 ether + 20 ether, "slash");
        eq(registry.freeStake(provider), STAKE - 78 ether, "the rest is free");
        eq(escrow.balanceOf(provider), prepaid, "floor back");
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(consumer), 90_100 ether, "refund");
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_theSlashForNoTraceIsNeverMoreThanTheLock() public {
        IBatches.Params memory p = defaults();
        p.minLock = 0;
        p.lockBps = 2_300;
        rebuild(p);
        bytes32 batchId = anchor(100 ether);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        skip(61);
        batches.expire(batchId);
        eq(registry.nodeOf(provider).stake, STAKE - 23 ether, "stake");
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_theTraceIsTakenInTheLastSecond() public {
        bytes32 batchId = anchor(1 ether);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        vm.warp(batches.deadlineOf(batchId));
        vm.prank(provider);
        batches.anchorTrace(batchId, "trace");
        requireStatus(batchId, IBatches.Status.Traced);
    }

    function test_silenceAfterTheChallengeIsForged() public {
        bytes32 batchId = anchor(100 ether);
        trace(batchId);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        uint64 deadline = batches.deadlineOf(batchId);
        vm.warp(deadline + 1);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.DeadlinePassed.selector, deadline));
        batches.commitAttestation(batchId, "late");
        batches.expire(batchId);
        requireStatus(batchId, IBatches.Status.SlashPending);
        uint64 slashAt = batches.deadlineOf(batchId);
        vm.warp(slashAt - 1);
        vm.expectRevert(tooEarly(slashAt));
        batches.finalize(batchId);
        vm.warp(slashAt);
        uint256 supply = token.totalSupply();
        batches.finalize(batchId);
        eq(supply - token.totalSupply(), 200 ether, "the whole lock burns: nobody voted");
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(consumer), 90_100 ether, "refund");
        eq(escrow.potOf(batchId), 0, "pot");
        vm.expectRevert(
            abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Slashed)
        );
        batches.finalize(batchId);
    }

    function test_aForgedBatchLosesItsWholeLockAndNothingElse() public {
        bytes32 honest = anchor(30 ether);
        bytes32 batchId = judged(100 ether);
        address[] memory members = batches.committee(batchId);
        uint256 supply = token.totalSupply();
        settle(batchId, FORGED);
        skip(30);
        batches.finalize(batchId);
        eq(supply - token.totalSupply(), 180 ether, "nine tenths burn");
        for (uint256 i = 0; i < 2; i++) {
            eq(escrow.balanceOf(registry.payoutOf(members[i])), 10 ether + 0.5 ether, "reward and floor");
        }
        eq(registry.nodeOf(provider).stake, STAKE - 200 ether, "stake");
        eq(registry.nodeOf(provider).locked, 60 ether, "the other batch's lock");
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(consumer), 90_100 ether, "refund");
        eq(escrow.potOf(batchId), 0, "pot");
        requireStatus(honest, IBatches.Status.Anchored);
    }

    function test_withoutAQuorumALargerCommitteeIsDrawn() public {
        bytes32 batchId = judged(100 ether);
        eq(batches.committee(batchId).length, 2, "first");
        Said[] memory old = quorumVotes(batchId, VALID);
        castAll(batchId, old);
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, old);
        uint64 deadline = batches.deadlineOf(batchId);
        vm.warp(deadline);
        vm.expectRevert(tooEarly(deadline));
        batches.redraw(batchId);
        vm.warp(deadline + 1);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        eq(batches.committee(batchId).length, 5, "second: all five eligible");
        // Votes bind the attempt: two of the first committee are worth nothing now.
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IVotes.NotCommitted.selector, batchId));
        batches.settle(batchId, list, given, new IBatches.Opening[](0));
        // The quorum of these parameters is unanimous.
        for (uint256 i = 0; i < 2; i++) old[i] = vote(2 + i, VALID);
        settleRefused(provider, batchId, old, abi.encodeWithSelector(IBatches.NoQuorum.selector, 2 * STAKE, 5 * STAKE));
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_aBatchThatNobodyJudgesIsAbandonedAtLast() public {
        uint256 prepaid = escrow.balanceOf(provider);
        bytes32 batchId = judged(100 ether);
        vm.warp(batches.deadlineOf(batchId) + 1);
        vm.expectRevert(tooEarly(batches.deadlineOf(batchId) + 40));
        batches.abandon(batchId);
        vm.warp(batches.deadlineOf(batchId) + 41);
        vm.expectRevert(abi.encodeWithSelector(IBatches.CommitteeCanGrow.selector, 5));
        batches.abandon(batchId);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        vm.warp(batches.deadlineOf(batchId) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBatches.CommitteeExhausted.selector, 5));
        batches.redraw(batchId);
        vm.warp(batches.deadlineOf(batchId) + 41);
        batches.abandon(batchId);
        requireStatus(batchId, IBatches.Status.Abandoned);
        eq(registry.freeStake(provider), STAKE, "lock back");
        eq(escrow.balanceOf(provider), prepaid, "floor back");
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(consumer), 90_100 ether, "refund");
        eq(escrow.balanceOf(ownerOf(1)), 0, "no pay");
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_aLateQuorumStillSettlesUntilAbandonment() public {
        bytes32 batchId = judged(100 ether);
        castAll(batchId, quorumVotes(batchId, VALID));
        vm.warp(batches.deadlineOf(batchId) + 10_000);
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_noClockRunsBeforeItsSlotIsRecordedAndAnyoneStartsIt() public {
        bytes32 batchId = anchor(1 ether);
        mine(200);
        eq(batches.deadlineOf(batchId), 0, "no deadline yet");
        vm.prank(address(0xbeef));
        beacon.record(batches.batchOf(batchId).sampleSlot);
        eq(batches.deadlineOf(batchId), vm.getBlockTimestamp() + 60, "deadline");
        trace(batchId);
    }

    function test_aFinalBatchHasNoMoreExits() public {
        bytes32 batchId = judged(1 ether);
        settle(batchId, VALID);
        bytes memory refusal =
            abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Paid);
        skip(100_000);
        vm.expectRevert(refusal);
        batches.expire(batchId);
        vm.expectRevert(refusal);
        batches.redraw(batchId);
        vm.expectRevert(refusal);
        batches.abandon(batchId);
        vm.expectRevert(refusal);
        batches.finalize(batchId);
    }
}
