// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Batches} from "../../protocol/contracts/Batches.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IBeacon} from "../../protocol/contracts/interfaces/IBeacon.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {World} from "./World.sol";

/// @dev The ordinary life of a batch, and what each step refuses.
contract BatchesTest is World {
    function wrong(bytes32 batchId, IBatches.Status now_) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, now_);
    }

    function testFuzz_aValidBatchPaysToTheLastUnit(uint256 feeA, uint256 feeB, uint256 feeC) public {
        IEscrow.Range[] memory list = new IEscrow.Range[](3);
        bytes32 other = open(OTHER_CONSUMER, provider, 5_000 ether);
        bytes32 third = open(CONSUMER, provider, 5_000 ether);
        (feeA, feeB, feeC) = (bound(feeA, 1, 800 ether), bound(feeB, 1, 800 ether), bound(feeC, 1, 100));
        list[0] = nextRange(CONSUMER, session, 3, feeA);
        list[1] = nextRange(OTHER_CONSUMER, other, 1, feeB);
        list[2] = nextRange(CONSUMER, third, 9, feeC);
        uint256 supply = token.totalSupply();
        bytes32 batchId = anchor("root", list);
        toCommittee(batchId);
        address[] memory members = batches.committee(batchId);
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
        for (uint256 i = 0; i < 3; i++) batches.collect(batchId, i);

        uint256 total = feeA + feeB + feeC;
        uint256 nu = total * 300 / 10_000;
        uint256 beta = total * 500 / 10_000;
        uint256 each = (nu + 1 ether) / 2;
        for (uint256 i = 0; i < 2; i++) eq(escrow.balanceOf(registry.payoutOf(members[i])), each, "voter");
        eq(escrow.balanceOf(ownerOf(1)), total - nu - beta, "provider");
        eq(supply - token.totalSupply(), beta + (nu + 1 ether - 2 * each), "burned");
        eq(escrow.potOf(batchId), 0, "pot");
        eq(registry.freeStake(provider), STAKE, "stake");
    }

    function test_theLockIsTheLargerOfShareAndMinimum() public {
        anchor(1 ether);
        eq(STAKE - registry.freeStake(provider), 10 ether, "minimum");
        anchor(7 ether);
        eq(STAKE - registry.freeStake(provider), 24 ether, "share");
        IEscrow.Range[] memory list = ranges(2_489 ether);
        vm.prank(provider);
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.InsufficientFreeStake.selector, 4_976 ether, 4_978 ether)
        );
        batches.anchorBatch("large", list);
    }

    function test_onlyARegisteredProviderAnchors() public {
        bytes32 stranger = open(CONSUMER, vm.addr(50), 100 ether);
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = nextRange(CONSUMER, stranger, 1, 1 ether);
        vm.prank(vm.addr(50));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotRegistered.selector, vm.addr(50)));
        batches.anchorBatch("root", list);
    }

    function test_aBatchHasOneToMaxRanges() public {
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.RangeCount.selector, 0));
        batches.anchorBatch("root", new IEscrow.Range[](0));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.RangeCount.selector, 9));
        batches.anchorBatch("root", new IEscrow.Range[](9));
    }

    function test_aRootIsAnchoredOnce() public {
        bytes32 batchId = anchor("root", ranges(1 ether));
        eq(batchId, batches.batchIdOf(provider, "root"), "id");
        IEscrow.Range[] memory list = ranges(1 ether);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.AlreadyAnchored.selector, batchId));
        batches.anchorBatch("root", list);
    }

    function test_aRangeStaysConsumedWhateverBecomesOfItsBatch() public {
        IEscrow.Range[] memory list = ranges(1 ether);
        bytes32 batchId = anchor("root", list);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        skip(61);
        batches.expire(batchId);
        batches.collect(batchId, 0);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.RangeNotContiguous.selector, session, 3, 3));
        batches.anchorBatch("again", list);
    }

    function test_theTraceWaitsForTheSampleAndIsFixedOnce() public {
        bytes32 batchId = anchor(1 ether);
        uint64 slot = batches.batchOf(batchId).sampleSlot;
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBeacon.SlotNotRecorded.selector, slot));
        batches.anchorTrace(batchId, "trace");
        recordSlot(slot);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotProvider.selector, address(this)));
        batches.anchorTrace(batchId, "trace");
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.ZeroDigest.selector));
        batches.anchorTrace(batchId, 0);
        vm.prank(provider);
        batches.anchorTrace(batchId, "trace");
        vm.prank(provider);
        vm.expectRevert(wrong(batchId, IBatches.Status.Traced));
        batches.anchorTrace(batchId, "other");
    }

    function test_theAttestationWaitsForTheChallengeAndIsFixedOnce() public {
        bytes32 batchId = anchor(1 ether);
        trace(batchId);
        uint64 slot = batches.batchOf(batchId).challengeSlot;
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBeacon.SlotNotRecorded.selector, slot));
        batches.commitAttestation(batchId, "digest");
        commit(batchId);
        vm.prank(provider);
        vm.expectRevert(wrong(batchId, IBatches.Status.Committed));
        batches.commitAttestation(batchId, "other");
    }

    function test_eachSlotLiesBehindTheStepThatNamesIt() public {
        bytes32 batchId = anchor(1 ether);
        uint256 height = vm.getBlockNumber();
        assert(beacon.heightOf(batches.batchOf(batchId).sampleSlot) > height);
        trace(batchId);
        height = vm.getBlockNumber();
        assert(beacon.heightOf(batches.batchOf(batchId).challengeSlot) > height);
        commit(batchId);
        height = vm.getBlockNumber();
        assert(beacon.heightOf(batches.batchOf(batchId).committeeSlot) > height);
    }

    function test_onlyTheProviderSettlesDuringGraceThenAnyone() public {
        bytes32 batchId = judged(1 ether);
        Said[] memory said = quorumVotes(batchId, VALID);
        skip(5);
        castAll(batchId, said);
        // It runs from the last commitment: before that, nobody could have settled.
        uint64 until = uint64(vm.getBlockTimestamp() + 10);
        settleRefused(address(this), batchId, said, abi.encodeWithSelector(IBatches.ProvidersGrace.selector, until));
        vm.warp(until - 1);
        settleRefused(address(this), batchId, said, abi.encodeWithSelector(IBatches.ProvidersGrace.selector, until));
        vm.warp(until);
        IVotes.Commitment[] memory list = committedOf(batchId);
        batches.settle(batchId, list, opened(batchId, said), new IBatches.Opening[](0));
        vm.expectRevert(wrong(batchId, IBatches.Status.Paid));
        batches.settle(batchId, list, new IVotes.Vote[](0), new IBatches.Opening[](0));
    }

    function test_votesThatDifferOrAreTooFewSettleNothing() public {
        bytes32 batchId = judged(1 ether);
        address[] memory members = batches.committee(batchId);
        Said[] memory said = quorumVotes(batchId, VALID);
        Said[] memory one = new Said[](1);
        one[0] = said[0];
        settleRefused(provider, batchId, one, abi.encodeWithSelector(IBatches.NoQuorum.selector, 1, 2));
        said[1] = vote(keyOf(members[1]), FORGED);
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IVotes.VerdictsDiffer.selector, 1));
        settleRefused(provider, batchId, new Said[](0), abi.encodeWithSelector(IVotes.NoVotes.selector));
    }

    function test_aVerdictIsOneOfThoseACommitteeMayGive() public {
        bytes32 batchId = judged(1 ether);
        bytes memory refusal = abi.encodeWithSelector(IBatches.BadVerdict.selector, 2);
        settleRefused(provider, batchId, quorumVotes(batchId, hex"01010001"), refusal);
        // `untraced` is a fact of the chain, and would be the cheaper way out of `forged`.
        settleRefused(provider, batchId, quorumVotes(batchId, hex"01010401"), refusal);
        settleRefused(provider, batchId, quorumVotes(batchId, hex"01010601"), refusal);
        refusal = abi.encodeWithSelector(IBatches.VerdictBeyondDraws.selector);
        settleRefused(provider, batchId, quorumVotes(batchId, hex"0101010101"), refusal);
        settle(batchId, hex"03010301");
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_nothingIsCollectedBeforeTheEndNorTwice() public {
        bytes32 batchId = judged(1 ether);
        vm.expectRevert(wrong(batchId, IBatches.Status.Committed));
        batches.collect(batchId, 0);
        settle(batchId, VALID);
        batches.collect(batchId, 0);
        vm.expectRevert(abi.encodeWithSelector(IBatches.AlreadyCollected.selector, 0));
        batches.collect(batchId, 0);
        vm.expectRevert(abi.encodeWithSelector(IBatches.UnknownRange.selector, 1));
        batches.collect(batchId, 1);
    }

    function test_parametersThatBreakTheRulesAreRefused() public {
        IBatches.Params memory p = defaults();
        p.draws = 0;
        refusedParams(p, "draws");
        p = defaults();
        // 4 draws and an audit of each range are the verdicts of one word.
        p.maxRanges = 29;
        refusedParams(p, "maxRanges");
        p.maxRanges = 28;
        new Batches(registry, escrow, beacon, emissions, seats, referee, strikes, votes, p);
        p = defaults();
        p.traceWindow = p.auditWindow;
        refusedParams(p, "traceWindow");
        p = defaults();
        (p.committeeSize, p.quorum) = (4, 2);
        refusedParams(p, "quorum");
        p = defaults();
        p.lockBps = 2_299;
        refusedParams(p, "lockBps");
        p = defaults();
        p.pokeGrace = p.voteWindow;
        refusedParams(p, "pokeGrace");
    }

    function refusedParams(IBatches.Params memory p, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IBatches.BadParams.selector, field));
        new Batches(registry, escrow, beacon, emissions, seats, referee, strikes, votes, p);
    }
}
