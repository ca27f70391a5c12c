// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {World} from "./World.sol";

/// @dev A verdict `forged` can be appealed for a bond; who loses pays. Six nodes: the first committee has two members, the second all five.
contract AppealsTest is World {
    address private stranger = vm.addr(77);

    function condemned(uint256 fee) private returns (bytes32 batchId) {
        batchId = judged(fee);
        settle(batchId, FORGED);
        fund(stranger, 1_000 ether);
    }

    function appeal(bytes32 batchId, address by) private {
        vm.prank(by);
        batches.appeal(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    function test_anAppealDrawsALargerCommitteeWhoseVerdictCounts() public {
        uint256 before = escrow.balanceOf(provider);
        bytes32 batchId = condemned(100 ether);
        address[] memory first = batches.committee(batchId);
        uint256 bond = batches.appealBond(batchId);
        eq(bond, 20 ether + 1, "a tenth of the lock");
        appeal(batchId, provider);
        requireStatus(batchId, IBatches.Status.Committed);
        eq(escrow.balanceOf(provider), before - 1 ether - bond, "bond and floor are laid down");
        eq(batches.committee(batchId).length, 5, "all that are eligible");
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
        eq(escrow.balanceOf(provider), before - 1 ether, "the bond is back");
        eq(registry.freeStake(provider), STAKE, "so is the lock");
        for (uint256 i = 0; i < first.length; i++) {
            // 3% and the floor among five, like everybody's; nothing for the verdict that fell.
            eq(escrow.balanceOf(registry.payoutOf(first[i])), 0.8 ether, "voters");
        }
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(ownerOf(1)), 92 ether, "pay");
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_whoeverLosesAnAppealPaysAllWhoSaidSo() public {
        bytes32 batchId = condemned(100 ether);
        address[] memory first = batches.committee(batchId);
        uint256 bond = batches.appealBond(batchId);
        appeal(batchId, stranger);
        settle(batchId, FORGED);
        requireStatus(batchId, IBatches.Status.SlashPending);
        skip(30);
        batches.finalize(batchId);
        eq(escrow.balanceOf(stranger), 1_000 ether - bond, "the bond is gone");
        // A tenth of the lock of 200, the floor and the bond, in seven parts: two votes of the first committee, five of the second.
        uint256 each = (20 ether + 1 ether + bond) / 7;
        for (uint256 key = 2; key <= NODES; key++) {
            bool twice = vm.addr(key) == first[0] || vm.addr(key) == first[1];
            eq(escrow.balanceOf(ownerOf(key)), twice ? 2 * each : each, "share");
        }
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
        eq(registry.nodeOf(provider).stake, STAKE - 200 ether, "never more than the lock");
    }

    function test_appealsAreTakenInTheLastSecondAndNotAfter() public {
        bytes32 batchId = condemned(100 ether);
        uint64 last = batches.batchOf(batchId).slashAt - 10;
        vm.warp(last + 1);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IBatches.DeadlinePassed.selector, last));
        batches.appeal(batchId);
        vm.warp(last);
        vm.prank(stranger);
        batches.appeal(batchId);
        // The slash that was pending is not.
        vm.warp(last + 10_000);
        vm.expectRevert(
            abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Committed)
        );
        batches.finalize(batchId);
    }

    function test_anAppealThatNobodyJudgesLeavesTheVerdictAndGivesTheBondBack() public {
        bytes32 batchId = condemned(100 ether);
        address[] memory first = batches.committee(batchId);
        appeal(batchId, stranger);
        vm.warp(batches.deadlineOf(batchId) + 41);
        batches.abandon(batchId);
        requireStatus(batchId, IBatches.Status.SlashPending);
        eq(escrow.balanceOf(stranger), 1_000 ether, "bond");
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IBatches.CommitteeExhausted.selector, 5));
        batches.appeal(batchId);
        skip(30);
        batches.finalize(batchId);
        for (uint256 i = 0; i < 2; i++) {
            eq(escrow.balanceOf(registry.payoutOf(first[i])), 10.5 ether, "the first committee's verdict");
        }
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_silenceIsAFactAndCannotBeAppealed() public {
        bytes32 batchId = anchor(100 ether);
        trace(batchId);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        vm.warp(batches.deadlineOf(batchId) + 1);
        batches.expire(batchId);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotAppealable.selector, batchId));
        batches.appeal(batchId);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotAppealable.selector, batchId));
        batches.rebut(batchId);
    }

    function test_aPaidBatchIsFinal() public {
        bytes32 batchId = judged(100 ether);
        settle(batchId, VALID);
        vm.expectRevert(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Paid));
        batches.appeal(batchId);
    }

    function test_whoCannotLayDownTheBondCannotAppeal() public {
        bytes32 batchId = condemned(100 ether);
        vm.prank(address(0xbeef));
        vm.expectPartialRevert(bytes4(keccak256("InsufficientBalance(address,uint256,uint256)")));
        batches.appeal(batchId);
        requireStatus(batchId, IBatches.Status.SlashPending);
    }

    function test_theSmallestBatchHasABondOfTheSmallestLock() public {
        bytes32 batchId = condemned(1 ether);
        eq(batches.appealBond(batchId), 1 ether + 1, "a tenth of the least lock");
    }

    /// @dev A cheat that appeals under another name, and has a member in the larger committee besides.
    function test_aCheatGainsNothingByItsOwnSybilsAppeal() public {
        bytes32 alone = condemned(100 ether);
        uint256 held = wealthOfTheCheat();
        skip(30);
        uint256 snapshot = vm.snapshotState();
        batches.finalize(alone);
        uint256 without = held - wealthOfTheCheat();
        vm.revertToState(snapshot);
        vm.warp(batches.batchOf(alone).slashAt - 10);
        appeal(alone, stranger);
        // All find it again, its own member too, who would be paid less for a vote that loses.
        settle(alone, FORGED);
        skip(30);
        batches.finalize(alone);
        assert(held - wealthOfTheCheat() > without);
    }

    /// @dev Provider 1, the stranger and node 2, escrow and stake, those of owners included.
    function wealthOfTheCheat() private view returns (uint256) {
        return registry.nodeOf(provider).stake + registry.nodeOf(vm.addr(2)).stake + escrow.balanceOf(provider)
            + escrow.balanceOf(ownerOf(1)) + escrow.balanceOf(ownerOf(2)) + escrow.balanceOf(stranger);
    }

    function testFuzz_whoeverAppealsNeverGetsMoreThanItsBond(uint256 fee, bool upheld, bool judgedAgain) public {
        bytes32 batchId = condemned(bound(fee, 1, 1_000 ether));
        appeal(batchId, stranger);
        if (judgedAgain) {
            settle(batchId, upheld ? FORGED : VALID);
        } else {
            vm.warp(batches.deadlineOf(batchId) + 41);
            batches.abandon(batchId);
        }
        if (status(batchId) == IBatches.Status.SlashPending) {
            skip(30);
            batches.finalize(batchId);
        }
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
        eq(registry.nodeOf(provider).locked, 0, "no lock is left");
        assert(escrow.balanceOf(stranger) <= 1_000 ether);
        bool lost = judgedAgain && upheld;
        assert((escrow.balanceOf(stranger) < 1_000 ether) == lost);
    }
}
