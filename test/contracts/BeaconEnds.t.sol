// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {DrandBeacon} from "../../protocol/contracts/DrandBeacon.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {World} from "./World.sol";

/// @dev The drand network comes to an end with batches on their way: their slots have no value, and never will. What they hold comes back.
contract BeaconEndsTest is World {
    uint256 private constant LAPSE = 60 days;
    uint256 private _provider;
    uint256 private _consumer;

    function setUp() public override {
        super.setUp();
        (_provider, _consumer) = (escrow.balanceOf(provider), escrow.balanceOf(consumer));
    }

    /// @dev From now on slots are rounds that nobody signs.
    function end() private {
        bytes32[] memory words = vm.parseJsonBytes32Array(vm.readFile("protocol/vectors/drand.json"), ".local.publicKey");
        uint256[4] memory key;
        for (uint256 i = 0; i < 4; i++) key[i] = uint256(words[i]);
        DrandBeacon drand = new DrandBeacon(key, uint64(vm.getBlockTimestamp() - 600), 3, 1, 30);
        vm.etch(address(beacon), address(drand).code);
    }

    /// @dev Nobody abandons it before the last second in which its slot's round may still come, and anybody after.
    function abandonedOnceLapsed(bytes32 batchId, uint256 slot) private {
        end();
        uint256 last = DrandBeacon(address(beacon)).timeOf(slot) + LAPSE;
        vm.warp(last);
        (bool ok,) = address(batches).call(abi.encodeCall(batches.abandon, (batchId)));
        assert(!ok);
        vm.warp(last + 1);
        vm.prank(address(0xbeef));
        batches.abandon(batchId);
    }

    function requireAllBack(bytes32 batchId) private {
        requireStatus(batchId, IBatches.Status.Abandoned);
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
        eq(registry.nodeOf(provider).locked, 0, "lock");
        eq(registry.nodeOf(provider).stake, STAKE, "stake");
        eq(escrow.balanceOf(provider), _provider, "floor");
        eq(escrow.balanceOf(consumer), _consumer + 10 ether, "fees and audit");
    }

    function test_aBatchThatWaitsForItsSampleIsAbandoned() public {
        bytes32 batchId = anchor(10 ether);
        vm.prank(consumer);
        batches.audit(batchId, 0, 1);
        abandonedOnceLapsed(batchId, batches.batchOf(batchId).sampleSlot);
        requireAllBack(batchId);
    }

    function test_aBatchThatWaitsForItsChallengeIsAbandoned() public {
        bytes32 batchId = anchor(10 ether);
        trace(batchId);
        abandonedOnceLapsed(batchId, batches.batchOf(batchId).challengeSlot);
        requireAllBack(batchId);
    }

    function test_aBatchThatWaitsForItsCommitteeIsAbandoned() public {
        bytes32 batchId = anchor(10 ether);
        trace(batchId);
        commit(batchId);
        abandonedOnceLapsed(batchId, batches.batchOf(batchId).committeeSlot);
        requireAllBack(batchId);
    }

    /// @dev What was found stands where nobody can judge the appeal.
    function test_aVerdictThatWasAppealedStands() public {
        bytes32 batchId = judged(10 ether);
        settle(batchId, FORGED);
        uint256 before = escrow.balanceOf(provider);
        vm.prank(provider);
        batches.appeal(batchId);
        abandonedOnceLapsed(batchId, batches.batchOf(batchId).committeeSlot);
        requireStatus(batchId, IBatches.Status.SlashPending);
        eq(escrow.balanceOf(provider), before, "bond");
        skip(30);
        batches.finalize(batchId);
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    /// @dev A value that is there has its windows: whoever was recorded is not abandoned, however long ago.
    function test_whatIsRecordedDoesNotLapse() public {
        bytes32 batchId = anchor(10 ether);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        end();
        skip(365 days);
        vm.expectRevert(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Anchored));
        batches.abandon(batchId);
        batches.expire(batchId);
        requireStatus(batchId, IBatches.Status.Untraced);
    }
}
