// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Escrow} from "../../protocol/contracts/Escrow.sol";
import {IConsumerStakes} from "../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {World} from "./World.sol";

/// @dev What a consumer's stake saves, and that it cannot be borrowed for a moment.
contract ConsumerStakesTest is World {
    function stakeNow(uint256 amount) private {
        vm.prank(consumer);
        escrow.stake(amount);
    }

    function askBack(uint256 amount) private {
        vm.prank(consumer);
        escrow.requestUnstake(amount);
    }

    function test_theDiscountComesOutOfTheBurnAndNobodysPay() public {
        stakeNow(10_000 ether);
        skip(7 days);
        bytes32 batchId = judged(100 ether);
        uint256 supply = token.totalSupply();
        uint256 before = escrow.balanceOf(consumer);
        settle(batchId, VALID);
        batches.collect(batchId, 0);
        eq(supply - token.totalSupply(), 4 ether, "a fifth less burned");
        eq(escrow.balanceOf(consumer) - before, 1 ether, "consumer");
        eq(escrow.balanceOf(ownerOf(1)), 92 ether, "provider");
        eq(escrow.potOf(batchId), 0, "pot");
        eq(emissions.creditOf(provider), 4 ether * 68 / 100, "minted from what burned");
    }

    function testFuzz_discountsOfManyRangesAddUpToTheLastUnit(uint256 feeA, uint256 feeB, uint256 feeC) public {
        stakeNow(1_000 ether);
        skip(7 days);
        bytes32 other = open(OTHER_CONSUMER, provider, 5_000 ether);
        bytes32 third = open(CONSUMER, provider, 5_000 ether);
        (feeA, feeB, feeC) = (bound(feeA, 1, 800 ether), bound(feeB, 1, 800 ether), bound(feeC, 1, 1_000));
        IEscrow.Range[] memory list = new IEscrow.Range[](3);
        list[0] = nextRange(CONSUMER, session, 3, feeA);
        list[1] = nextRange(OTHER_CONSUMER, other, 1, feeB);
        list[2] = nextRange(CONSUMER, third, 9, feeC);
        bytes32 batchId = anchor("root", list);
        toCommittee(batchId);
        uint256 before = escrow.balanceOf(consumer);
        settle(batchId, VALID);
        for (uint256 i = 0; i < 3; i++) batches.collect(batchId, i);
        uint256 saved = escrow.balanceOf(consumer) - before;
        eq(saved, batches.batchOf(batchId).discountPart, "discounts");
        // A tenth of the consumer's share of the burn, less a rounding for each range.
        uint256 tenth = (feeA + feeC) * 500 / 100_000;
        assert(saved <= tenth + 1 && saved + 3 >= tenth);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    /// @dev Staked, spent and asked back within one block: no discount, and the money is away for thirty days.
    function test_flashStakingSavesNothingAndCostsThirtyDays() public {
        stakeNow(50_000 ether);
        eq(escrow.discountOf(consumer), 0, "pending");
        bytes32 batchId = anchor(100 ether);
        askBack(50_000 ether);
        eq(batches.batchOf(batchId).discountPart, 0, "discount");
        eq(batches.rangeOf(batchId, 0).discountBps, 0, "range");
        uint64 releaseAt = uint64(vm.getBlockTimestamp() + 30 days);
        vm.warp(releaseAt - 1);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IConsumerStakes.StakeLocked.selector, releaseAt));
        escrow.unstake();
        vm.warp(releaseAt);
        uint256 before = escrow.balanceOf(consumer);
        vm.prank(consumer);
        escrow.unstake();
        eq(escrow.balanceOf(consumer) - before, 50_000 ether, "back");
    }

    function test_aStakeCountsFromItsActivationUntilItIsAskedBack() public {
        stakeNow(50_000 ether);
        uint256 start = vm.getBlockTimestamp();
        vm.warp(start + 7 days - 1);
        eq(escrow.discountOf(consumer), 0, "a second before");
        vm.warp(start + 7 days);
        eq(escrow.discountOf(consumer), 3_000, "active");
        askBack(1);
        eq(escrow.discountOf(consumer), 2_000, "a unit less");
        askBack(49_000 ether);
        eq(escrow.discountOf(consumer), 0, "below the first tier");
    }

    function test_aNewStakeDoesNotTouchTheOldOne() public {
        stakeNow(10_000 ether);
        skip(7 days);
        stakeNow(40_000 ether);
        eq(escrow.discountOf(consumer), 2_000, "the old");
        askBack(40_000 ether);
        eq(escrow.discountOf(consumer), 2_000, "the new leaves first");
        IConsumerStakes.ConsumerStake memory s = escrow.stakeOf(consumer);
        eq(s.active, 10_000 ether, "active");
        eq(s.leaving, 40_000 ether, "leaving");
    }

    function test_aSecondRequestMovesTheDateOfTheFirst() public {
        stakeNow(10_000 ether);
        askBack(1_000 ether);
        skip(29 days);
        askBack(1 ether);
        skip(2 days);
        vm.prank(consumer);
        vm.expectPartialRevert(IConsumerStakes.StakeLocked.selector);
        escrow.unstake();
    }

    function test_noMoreThanTheBalanceIsStakedNorThanTheStakeAskedBack() public {
        uint256 held = escrow.balanceOf(consumer);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.InsufficientBalance.selector, consumer, held, held + 1));
        escrow.stake(held + 1);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IConsumerStakes.StakeTooSmall.selector, 0, 0));
        escrow.stake(0);
        stakeNow(5);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IConsumerStakes.StakeTooSmall.selector, 5, 6));
        escrow.requestUnstake(6);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IConsumerStakes.StakeTooSmall.selector, 5, 0));
        escrow.requestUnstake(0);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IConsumerStakes.NothingLeaving.selector, consumer));
        escrow.unstake();
    }

    function test_aStakeIsNoBalance() public {
        uint256 held = escrow.balanceOf(consumer);
        stakeNow(held);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.InsufficientBalance.selector, consumer, 0, 1));
        escrow.withdraw(1);
    }

    function refused(IConsumerStakes.StakeParams memory p) private {
        vm.expectRevert(abi.encodeWithSelector(IConsumerStakes.BadStakeParams.selector));
        new Escrow(token, address(registry), address(batches), 300, p);
    }

    function test_parametersOutOfRangeAreRefused() public {
        IConsumerStakes.StakeParams memory p = stakeParams();
        p.discountBps[2] = 3_001;
        refused(p);
        p = stakeParams();
        p.activation = 0;
        refused(p);
        p = stakeParams();
        p.lockTime = 0;
        refused(p);
        p = stakeParams();
        p.stakes[0] = 0;
        refused(p);
        p = stakeParams();
        p.stakes[1] = p.stakes[2] + 1;
        refused(p);
    }
}
