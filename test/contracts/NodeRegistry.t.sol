// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {World} from "./World.sol";

contract NodeRegistryTest is World {
    function joins(uint256 key, bytes memory publicKey, uint256 payoutKey, bytes memory consent, bytes memory err)
        private
    {
        address operator = vm.addr(key);
        token.transfer(operator, STAKE);
        vm.prank(operator);
        token.approve(address(registry), STAKE);
        vm.prank(operator);
        if (err.length > 0) vm.expectRevert(err);
        registry.register(publicKey, vm.addr(payoutKey), "cpu", STAKE, consent);
    }

    function test_aKeyOfSomeoneElseIsRefused() public {
        bytes memory consent = consentOf(vm.addr(40), 140);
        joins(40, publicKeyOf(41), 140, consent, abi.encodeWithSelector(INodeRegistry.KeyNotOfOperator.selector, vm.addr(40)));
        joins(40, publicKeyOf(40), 140, consent, "");
    }

    function test_nobodyIsMadeOwnerWithoutConsent() public {
        bytes memory refusal = abi.encodeWithSelector(INodeRegistry.BadPayoutConsent.selector, vm.addr(140));
        // Consent to another operator, and consent signed by another owner.
        joins(40, publicKeyOf(40), 140, consentOf(vm.addr(41), 140), refusal);
        joins(40, publicKeyOf(40), 140, consentOf(vm.addr(40), 141), refusal);
        joins(40, publicKeyOf(40), 140, "", refusal);
    }

    function test_tooLittleStakeIsRefused() public {
        bytes memory publicKey = publicKeyOf(40);
        bytes memory consent = consentOf(vm.addr(40), 140);
        vm.prank(vm.addr(40));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.StakeTooLow.selector, 999 ether, 1_000 ether));
        registry.register(publicKey, vm.addr(140), "cpu", 999 ether, consent);
    }

    function test_theOwnerUnbondsWithoutTheOperatorAndGetsTheStake() public {
        vm.prank(ownerOf(2));
        uint256 id = registry.requestUnbond(vm.addr(2), STAKE);
        eq(registry.freeStake(vm.addr(2)), 0, "free");
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.StillUnbonding.selector, uint64(vm.getBlockTimestamp() + 1_000))
        );
        registry.withdraw(id);
        skip(1_000);
        registry.withdraw(id);
        eq(token.balanceOf(ownerOf(2)), STAKE, "owner");
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.UnknownUnbond.selector, id));
        registry.withdraw(id);
    }

    function test_aLaterRequestDoesNotDelayAnEarlierOne() public {
        vm.prank(ownerOf(2));
        uint256 id = registry.requestUnbond(vm.addr(2), 1_000 ether);
        skip(999);
        vm.prank(vm.addr(2));
        registry.requestUnbond(vm.addr(2), 1);
        skip(1);
        registry.withdraw(id);
        eq(token.balanceOf(ownerOf(2)), 1_000 ether, "owner");
    }

    function test_strangersCannotUnbond() public {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotOperatorNorPayout.selector, address(this)));
        registry.requestUnbond(vm.addr(2), 1);
    }

    function test_lockedStakeCannotBeUnbondedOrLockedTwice() public {
        vm.prank(address(batches));
        registry.lock("a", provider, 4_000 ether);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InsufficientFreeStake.selector, 1_000 ether, 1_001 ether));
        registry.requestUnbond(provider, 1_001 ether);
        vm.prank(address(batches));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InsufficientFreeStake.selector, 1_000 ether, 1_001 ether));
        registry.lock("b", provider, 1_001 ether);
        vm.prank(address(batches));
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.LockExists.selector, bytes32("a")));
        registry.lock("a", provider, 1);
    }

    function test_onlyBatchesLocksUnlocksAndSlashes() public {
        bytes memory refusal = abi.encodeWithSelector(INodeRegistry.NotBatches.selector, address(this));
        vm.expectRevert(refusal);
        registry.lock("a", provider, 1);
        vm.expectRevert(refusal);
        registry.unlock("a");
        vm.expectRevert(refusal);
        registry.slash("a", 1, 0);
    }

    function testFuzz_aSlashNeverTakesMoreThanItsLock(uint256 amount, uint256 burned, uint256 rewarded) public {
        amount = bound(amount, 1, STAKE);
        burned = bound(burned, 0, STAKE);
        rewarded = bound(rewarded, 0, STAKE);
        vm.prank(address(batches));
        registry.lock("a", provider, amount);
        uint256 supply = token.totalSupply();
        vm.prank(address(batches));
        if (burned + rewarded > amount) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.LockTooSmall.selector, amount, burned + rewarded));
            registry.slash("a", burned, rewarded);
            return;
        }
        registry.slash("a", burned, rewarded);
        eq(supply - token.totalSupply(), burned, "burned");
        eq(escrow.potOf("a"), rewarded, "rewarded");
        vm.prank(address(batches));
        registry.unlock("a");
        INodeRegistry.Node memory node = registry.nodeOf(provider);
        eq(node.locked, 0, "locked");
        eq(node.stake, STAKE - burned - rewarded, "stake");
        eq(token.balanceOf(address(registry)), NODES * STAKE - burned - rewarded, "held");
    }

    function test_aDrawIsNotSteeredByLaterStake() public {
        uint256 frozen = vm.getBlockNumber() - 1;
        address[] memory before = registry.draw("seed", frozen, 3, provider);
        // New nodes, more stake, less stake: all after the snapshot.
        enter(30, 130, 900_000 ether);
        token.approve(address(registry), 500_000 ether);
        registry.addStake(vm.addr(3), 500_000 ether);
        vm.prank(vm.addr(4));
        registry.requestUnbond(vm.addr(4), STAKE);
        mine(5);
        address[] memory later = registry.draw("seed", frozen, 3, provider);
        for (uint256 i = 0; i < 3; i++) eq(before[i], later[i], "member");
        eq(registry.drawable(frozen, provider), NODES - 1, "eligible then");
        // One node came and one left.
        eq(registry.drawable(vm.getBlockNumber() - 1, provider), NODES - 1, "eligible now");
    }

    function test_aDrawNeedsAFrozenBlock() public {
        uint256 now_ = vm.getBlockNumber();
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotYetFrozen.selector, now_));
        registry.draw("seed", now_, 3, provider);
    }

    function test_theOwnersOtherNodesAreNotDrawn() public {
        enter(30, 101, 900_000 ether);
        mine(2);
        uint256 frozen = vm.getBlockNumber() - 1;
        address[] memory drawn = registry.draw("seed", frozen, 20, provider);
        eq(drawn.length, NODES - 1, "drawn");
        for (uint256 i = 0; i < drawn.length; i++) {
            assert(drawn[i] != provider && drawn[i] != vm.addr(30));
            for (uint256 j = 0; j < i; j++) assert(drawn[i] != drawn[j]);
        }
    }

    function test_drawsFollowStake() public {
        token.approve(address(registry), 15_000 ether);
        registry.addStake(vm.addr(2), 15_000 ether);
        mine(2);
        uint256 frozen = vm.getBlockNumber() - 1;
        uint256 hits = 0;
        // Node 2 holds 20,000 of 40,000 eligible: 200 of 400 first seats, 3 sigma 30.
        for (uint256 i = 0; i < 400; i++) if (registry.draw(bytes32(i), frozen, 1, provider)[0] == vm.addr(2)) hits++;
        assert(hits > 170 && hits < 230);
    }
}
