// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {ICanaries} from "../../../protocol/contracts/interfaces/ICanaries.sol";
import {IConsumerStakes} from "../../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {IEscrow} from "../../../protocol/contracts/interfaces/IEscrow.sol";
import {INodeRegistry} from "../../../protocol/contracts/interfaces/INodeRegistry.sol";
import {ISeats} from "../../../protocol/contracts/interfaces/ISeats.sol";
import {Settling} from "./Settling.sol";

/// @dev Whoever sees a transaction before it is mined copies it, or puts one of its own in front. One test for each row of
/// protocol/spec/attacks.md that no other file has.
contract FrontRunningTest is Settling {
    address private runner = vm.addr(66);

    function setUp() public override {
        super.setUp();
        fund(runner, 1_000 ether);
    }

    function has(address account) private view returns (uint256) {
        return token.balanceOf(account) + escrow.balanceOf(account);
    }

    // ---- registry

    function test_aCopiedRegistrationIsRefused() public {
        bytes memory publicKey = publicKeyOf(9);
        bytes memory consent = consentOf(vm.addr(9), 109);
        vm.prank(runner);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.KeyNotOfOperator.selector, runner));
        registry.register(publicKey, vm.addr(109), "cpu", 1_000 ether, consent);
        enter(9, 109, 1_000 ether);
        eq(registry.payoutOf(vm.addr(9)), vm.addr(109), "registered all the same");
    }

    /// @dev Stake that a stranger adds is the node's: it delays no unbonding and leaves to nobody else.
    function test_stakeAddedInFrontIsAGift() public {
        token.transfer(runner, 20 ether);
        vm.prank(runner);
        token.approve(address(registry), 20 ether);
        uint64 due = uint64(vm.getBlockTimestamp()) + 1_000;
        vm.prank(runner);
        registry.addStake(vm.addr(2), 10 ether);
        vm.prank(ownerOf(2));
        uint256 id = registry.requestUnbond(vm.addr(2), STAKE + 10 ether);
        skip(1);
        vm.prank(runner);
        registry.addStake(vm.addr(2), 10 ether);
        eq(registry.unbondOf(id).releaseAt, due, "no later");
        vm.prank(runner);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotOperatorNorPayout.selector, runner));
        registry.requestUnbond(vm.addr(2), 1);
        vm.warp(due);
        vm.prank(runner);
        registry.withdraw(id);
        eq(token.balanceOf(ownerOf(2)), STAKE + 10 ether, "to the owner, whoever asks");
    }

    // ---- escrow

    function test_aDepositForSomebodyElseIsAGift() public {
        token.transfer(runner, 1);
        vm.prank(runner);
        token.approve(address(escrow), 1);
        bytes32 next = escrow.sessionId(consumer, escrow.sessionNonce(consumer));
        uint256 before = escrow.balanceOf(consumer);
        vm.prank(runner);
        escrow.depositFor(consumer, 1);
        eq(escrow.balanceOf(consumer), before + 1, "gift");
        // Sessions count their consumer's own: nobody moves another's id.
        vm.prank(runner);
        escrow.openSession(provider, 1 ether, type(uint64).max, runner);
        assert(open(CONSUMER, provider, 1 ether) == next);
    }

    function test_onlyTheConsumerMovesItsSession() public {
        bytes memory refusal = abi.encodeWithSelector(IEscrow.NotConsumer.selector, runner);
        vm.prank(runner);
        vm.expectRevert(refusal);
        escrow.topUp(session, 1);
        vm.prank(runner);
        vm.expectRevert(refusal);
        escrow.requestClose(session);
    }

    // ---- anchors

    function test_aCopiedAnchorIsRefusedAndItsRootIsFree() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        vm.prank(vm.addr(2));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotProviderOfSession.selector, session, vm.addr(2)));
        batches.anchorBatch("root", list);
        // The same root over sessions of its own is another batch.
        IEscrow.Range[] memory own = new IEscrow.Range[](1);
        own[0] = nextRange(OTHER_CONSUMER, open(OTHER_CONSUMER, vm.addr(2), 10 ether), 1, 1 ether);
        fund(vm.addr(2), 10 ether);
        bytes32 ours = batches.batchIdOf(provider, "root");
        vm.prank(vm.addr(2));
        assert(batches.anchorBatch("root", own) != ours);
        anchor("root", list);
    }

    /// @dev β is the stored one: whoever ends an epoch in front of an anchor moves it by the step that was due anyway.
    function test_endingAnEpochInFrontOfAnAnchorMovesItsBurnByOneStepAtMost() public {
        emissions.report(vm.addr(2), 1_000_000);
        skip(1 days);
        uint256 start = vm.snapshotState();
        uint256 late = batches.batchOf(anchor(100 ether)).betaBps;
        vm.revertToState(start);
        vm.prank(runner);
        emissions.roll(10);
        uint256 early = batches.batchOf(anchor(100 ether)).betaBps;
        assert(early != late);
        assert(early < late ? late - early <= 50 : early - late <= 50);
    }

    /// @dev Stake that comes in front of an anchor saves nothing; stake that leaves costs its owner the discount.
    function testFuzz_noStakeThatComesInFrontOfAnAnchorSavesAnything(uint256 amount, uint256 wait) public {
        amount = bound(amount, 1, 90_000 ether);
        wait = bound(wait, 0, 7 days - 1);
        vm.prank(consumer);
        escrow.stake(amount);
        skip(wait > 100_000 ? 100_000 : wait);
        bytes32 batchId = anchor(100 ether);
        eq(batches.batchOf(batchId).discountPart, 0, "discount");
        vm.prank(consumer);
        escrow.requestUnstake(amount);
        IConsumerStakes.ConsumerStake memory s = escrow.stakeOf(consumer);
        eq(s.releaseAt, vm.getBlockTimestamp() + 30 days, "a month away");
    }

    // ---- steps of a batch

    function test_nobodyAnswersForTheProvider() public {
        bytes32 batchId = anchor(10 ether);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        passAudits(batchId);
        bytes memory refusal = abi.encodeWithSelector(IBatches.NotProvider.selector, runner);
        vm.prank(runner);
        vm.expectRevert(refusal);
        batches.anchorTrace(batchId, "theirs");
        trace(batchId);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        vm.prank(runner);
        vm.expectRevert(refusal);
        batches.commitAttestation(batchId, "theirs");
    }

    /// @dev Every step that anybody may take pays the same people whoever takes it.
    function test_whoPokesGainsNothing() public {
        bytes32 batchId = judged(100 ether);
        bytes memory verdict = settling(batchId, VALID);
        skip(10);
        uint256 held = has(runner);
        uint256 start = vm.snapshotState();
        call(provider, verdict);
        batches.collect(batchId, 0);
        uint256 owner = has(ownerOf(1));
        vm.revertToState(start);
        call(runner, verdict);
        vm.prank(runner);
        batches.collect(batchId, 0);
        vm.prank(runner);
        emissions.claim(provider);
        eq(has(runner), held, "runner");
        assert(has(ownerOf(1)) > owner);
        eq(escrow.balanceOf(ownerOf(1)), 92 ether, "pay");
    }

    function test_aQuorumHasTheWholeWindowBeforeItsCommitteeCanBeRedrawn() public {
        bytes32 batchId = judged(100 ether);
        bytes memory verdict = settling(batchId, FORGED);
        uint64 end = batches.deadlineOf(batchId);
        vm.warp(end);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.DeadlineNotReached.selector, end));
        batches.redraw(batchId);
        call(runner, verdict);
        requireStatus(batchId, IBatches.Status.SlashPending);
    }

    /// @dev Somebody appeals in front of the one who would: it lays down the bond for him, and the same committee is asked.
    function test_anAppealInFrontOfAnotherPaysItsBond() public {
        bytes32 batchId = judged(100 ether);
        settle(batchId, FORGED);
        uint256 bond = batches.appealBond(batchId);
        vm.prank(runner);
        batches.appeal(batchId);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Committed));
        batches.appeal(batchId);
        eq(escrow.balanceOf(runner), 1_000 ether - bond, "bond");
        recordSlot(batches.batchOf(batchId).committeeSlot);
        settle(batchId, VALID);
        eq(escrow.balanceOf(runner), 1_000 ether, "no more than that");
    }

    function test_whatIsFinalComesAfterEveryObjection() public {
        bytes32 batchId = judged(100 ether);
        settle(batchId, FORGED);
        uint64 slashAt = batches.batchOf(batchId).slashAt;
        // The last second of an appeal, of a rebuttal and of a canary's pardon: all before the first of the slash.
        vm.warp(slashAt - 1);
        vm.prank(runner);
        vm.expectRevert(abi.encodeWithSelector(IBatches.DeadlineNotReached.selector, slashAt));
        batches.finalize(batchId);
    }

    // ---- beacon

    function test_whoRecordsASlotChoosesNothing() public {
        bytes32 batchId = anchor(10 ether);
        uint256 slot = batches.batchOf(batchId).sampleSlot;
        mine(10);
        uint256 start = vm.snapshotState();
        beacon.record(slot);
        bytes32 value = beacon.value(slot);
        vm.revertToState(start);
        mine(200);
        vm.prank(runner);
        beacon.record(slot);
        eq(beacon.value(slot), value, "value");
        beacon.record(slot);
        eq(beacon.value(slot), value, "again");
    }

    // ---- seats and canaries

    /// @dev A voter that sees its seat's end coming cannot take the stake away, and a copy of the reveal is of no canary.
    function test_nobodyLeavesInFrontOfAReveal() public {
        bytes32 salt = "salt";
        (bytes32 batchId, address[] memory voters) = paidCanary(salt);
        bytes[] memory consents = new bytes[](1);
        bytes32 content = keccak256(abi.encode(keccak256("CanaryConsent(bytes32 batch)"), batchId));
        consents[0] = signed(CONSUMER, block.chainid, address(canaries), content);
        // In front of it: the stake, the seat, the seal of another, the whole reveal by another.
        uint256 free = registry.freeStake(voters[0]);
        vm.prank(voters[0]);
        registry.requestUnbond(voters[0], free);
        vm.prank(voters[0]);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InsufficientFreeStake.selector, 0, SEAT));
        registry.requestUnbond(voters[0], SEAT);
        vm.prank(voters[0]);
        vm.expectPartialRevert(ISeats.SeatsStillHeld.selector);
        seats.release(batchId, voters);
        vm.prank(voters[0]);
        vm.expectRevert(abi.encodeWithSelector(ICanaries.NoCanary.selector, voters[0]));
        canaries.reveal(batchId, salt, voters, consents);
        vm.prank(voters[0]);
        vm.expectPartialRevert(ICanaries.RevealOpen.selector);
        canaries.forfeit(provider);
        uint256 supply = token.totalSupply();
        vm.prank(provider);
        canaries.reveal(batchId, salt, voters, consents);
        eq(supply - token.totalSupply(), SEAT, "half of both seats");
        eq(registry.nodeOf(voters[0]).stake, 0, "seat");
    }

    /// @dev A voter copies the seal of the maker to spend it: seals are each maker's own.
    function test_aCopiedSealIsWorthNothing() public {
        bytes32 batchId = batches.batchIdOf(provider, "canary");
        bytes32 seal = canaries.sealOf(batchId, "salt");
        vm.prank(vm.addr(2));
        canaries.bury(seal, 0);
        vm.prank(provider);
        canaries.bury(seal, 0);
        eq(canaries.canaryOf(provider).seal, seal, "the maker's");
    }

    function test_aReleaseInFrontOfAnotherIsTheSame() public {
        bytes32 batchId = judged(10 ether);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        vm.warp(seats.benchOf(batchId).until + 1);
        vm.prank(runner);
        seats.release(batchId, voters);
        for (uint256 i = 0; i < voters.length; i++) eq(registry.freeStake(voters[i]), STAKE, "free");
    }
}
