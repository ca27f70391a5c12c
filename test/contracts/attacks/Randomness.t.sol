// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../../protocol/contracts/interfaces/IEscrow.sol";
import {World} from "../World.sol";

/// @dev Who has seen the beacon changes nothing that it judges: not the value, not the receipts, not the trace, not the committee.
contract RandomnessTest is World {
    /// @dev More than one node of the tree has children.
    uint256 private constant CROWD = 20;

    function setUp() public override {
        super.setUp();
        for (uint256 key = NODES + 1; key <= CROWD; key++) enter(key, key + 100, STAKE);
        mine(1);
    }

    function testFuzz_aSlotHasOneValueWheneverItIsRecorded(uint256 early, uint256 late) public {
        bytes32 batchId = anchor(10 ether);
        uint256 slot = batches.batchOf(batchId).sampleSlot;
        uint256 height = beacon.heightOf(slot);
        // While the chain itself knows the hash. Later headers prove it: HeaderBeacon.t.sol.
        early = height + 1 + bound(early, 0, 254);
        late = height + 1 + bound(late, 0, 254);
        uint256 start = vm.snapshotState();
        vm.roll(early);
        beacon.record(slot);
        bytes32 points = keccak256(abi.encode(batches.samplePoints(batchId)));
        vm.revertToState(start);
        vm.roll(late);
        beacon.record(slot);
        eq(keccak256(abi.encode(batches.samplePoints(batchId))), points, "points");
    }

    function reanchorRefused(bytes32 root, IEscrow.Range[] memory list, bytes32 batchId) private {
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.AlreadyAnchored.selector, batchId));
        batches.anchorBatch(root, list);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.RangeNotContiguous.selector, session, 3, 3));
        batches.anchorBatch("another root", list);
    }

    /// @dev The sample fell on a forged receipt: another root over the same receipts, the same root again, before or after the batch is lost.
    function test_receiptsAreNotAnchoredAgainAfterTheirSampleIsSeen() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        bytes32 batchId = anchor("root", list);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        reanchorRefused("root", list, batchId);
        skip(61);
        batches.expire(batchId);
        reanchorRefused("root", list, batchId);
        batches.collect(batchId, 0);
        reanchorRefused("root", list, batchId);
    }

    function test_receiptsOfAnAbandonedBatchAreNotAnchoredAgain() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        bytes32 batchId = anchor("root", list);
        toCommittee(batchId);
        while (batches.committee(batchId).length < CROWD - 1) {
            skip(61);
            batches.redraw(batchId);
            recordSlot(batches.batchOf(batchId).committeeSlot);
        }
        skip(101);
        batches.abandon(batchId);
        requireStatus(batchId, IBatches.Status.Abandoned);
        reanchorRefused("root", list, batchId);
    }

    /// @dev Traces are anchored before their challenge is known, attestations before their committee, once each.
    function test_nothingIsReplacedAfterItsQuestionIsKnown() public {
        bytes32 batchId = anchor(10 ether);
        trace(batchId);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Traced));
        batches.anchorTrace(batchId, "other");
        commit(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Committed));
        batches.commitAttestation(batchId, "other");
    }

    function committeeOf(bytes32 batchId) private view returns (bytes32) {
        return keccak256(abi.encode(batches.committee(batchId)));
    }

    /// @dev Whatever stake moves from the anchor's block on, in any order, before or after the seed is known: the same people sit, in every
    /// attempt. And what was moved in the anchor's own block counts for none.
    /// forge-config: default.fuzz.runs = 250
    function testFuzz_noStakeThatMovesAfterTheAnchorSteersACommittee(uint256 seed) public {
        bytes32 batchId = anchor(10 ether);
        uint256 start = vm.snapshotState();
        toCommittee(batchId);
        bytes32 first = committeeOf(batchId);
        vm.revertToState(start);
        move(seed, 0);
        trace(batchId);
        move(seed, 1);
        commit(batchId);
        move(seed, 2);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        move(seed, 3);
        eq(committeeOf(batchId), first, "first");
    }

    function test_norALargerOne() public {
        bytes32 batchId = judged(10 ether);
        skip(61);
        batches.redraw(batchId);
        uint256 start = vm.snapshotState();
        recordSlot(batches.batchOf(batchId).committeeSlot);
        bytes32 second = committeeOf(batchId);
        for (uint256 seed = 0; seed < 20; seed++) {
            vm.revertToState(start);
            start = vm.snapshotState();
            move(seed, 0);
            recordSlot(batches.batchOf(batchId).committeeSlot);
            move(seed, 1);
            eq(committeeOf(batchId), second, "second");
        }
    }

    function move(uint256 seed, uint256 when) private {
        uint256 r = uint256(keccak256(abi.encode(seed, when)));
        uint256 key = 2 + r % (CROWD - 1);
        if (r >> 128 & 1 == 0) {
            token.approve(address(registry), 1_000_000 ether);
            registry.addStake(vm.addr(key), 1 + (r >> 64) % 1_000_000 ether);
        }
        if (r >> 129 & 1 == 0) {
            uint256 amount = 1 + (r >> 32) % registry.freeStake(vm.addr(key));
            vm.prank(vm.addr(key));
            registry.requestUnbond(vm.addr(key), amount);
        }
        // Registering costs a test most of its time.
        if (r >> 130 & 15 == 0) enter(40 + when, 140 + when, 1_000 ether + (r >> 16) % 1_000_000 ether);
    }
}
