// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Canaries} from "../../protocol/contracts/Canaries.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {ICanaries} from "../../protocol/contracts/interfaces/ICanaries.sol";
import {ISeats} from "../../protocol/contracts/interfaces/ISeats.sol";
import {World} from "./World.sol";

/// @dev Batches that are known to be forged: who finds them, who pays, and who must not gain.
contract CanariesTest is World {
    bytes32 private constant SALT = "salt";
    uint128 private constant FEES = 10 ether;
    bytes32 private _root;

    function setUp() public override {
        super.setUp();
        token.transfer(provider, 1_000 ether);
        vm.prank(provider);
        token.approve(address(canaries), type(uint256).max);
    }

    function bury(uint128 bond) private returns (bytes32 batchId) {
        _root = keccak256(abi.encode("canary", vm.getBlockNumber()));
        batchId = batches.batchIdOf(provider, _root);
        bytes32 seal = canaries.sealOf(batchId, SALT);
        vm.prank(provider);
        canaries.bury(seal, bond);
        mine(1);
    }

    /// @dev A canary whose committee is known.
    function laid(uint128 bond) private returns (bytes32 batchId) {
        batchId = bury(bond);
        anchor(_root, ranges(FEES));
        toTrap(batchId);
    }

    function toTrap(bytes32 batchId) private {
        trace(batchId, canaries.trapOf(batchId, SALT));
        commit(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    function consents(uint256 key, bytes32 batchId) private view returns (bytes[] memory list) {
        list = new bytes[](1);
        bytes32 content = keccak256(abi.encode(keccak256("CanaryConsent(bytes32 batch)"), batchId));
        list[0] = signed(key, block.chainid, address(canaries), content);
    }

    function reveal(bytes32 batchId, address[] memory voters, bytes[] memory agreed) private {
        vm.prank(provider);
        canaries.reveal(batchId, SALT, voters, agreed);
    }

    function refused(bytes memory err, bytes32 batchId) private {
        bytes[] memory agreed = consents(CONSUMER, batchId);
        vm.prank(provider);
        vm.expectRevert(err);
        canaries.reveal(batchId, SALT, new address[](0), agreed);
    }

    /// @dev The lazy voter: it is paid for `valid` unseen, and loses more than many such votes bring.
    function test_whoCallsACanaryValidLosesItsSeat() public {
        bytes32 batchId = laid(FEES);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        uint256 held = token.balanceOf(provider);
        uint256 supply = token.totalSupply();
        reveal(batchId, voters, consents(CONSUMER, batchId));
        for (uint256 i = 0; i < voters.length; i++) {
            eq(registry.nodeOf(voters[i]).stake, STAKE - SEAT, "seat");
            eq(registry.nodeOf(voters[i]).locked, 0, "locked");
        }
        eq(escrow.balanceOf(provider), 999 ether + SEAT, "half of both seats");
        eq(supply - token.totalSupply(), SEAT, "the other half burns");
        eq(token.balanceOf(provider), held + FEES, "bond back");
    }

    function test_whoFindsACanaryForgedLosesNothingAndItsMakerIsNotSlashed() public {
        bytes32 batchId = laid(FEES);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, FORGED);
        uint256 held = token.balanceOf(provider);
        reveal(batchId, new address[](0), new bytes[](0));
        requireStatus(batchId, IBatches.Status.Abandoned);
        eq(registry.freeStake(provider), STAKE, "lock back");
        eq(token.balanceOf(provider), held + FEES, "bond back");
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(consumer), 90_010 ether, "fees back");
        eq(escrow.potOf(batchId), 0, "pot");
        vm.warp(seats.benchOf(batchId).until + 1);
        seats.release(batchId, voters);
        eq(registry.freeStake(voters[0]), STAKE, "seat back");
        eq(escrow.balanceOf(registry.payoutOf(voters[0])), 0.5 ether, "floor");
    }

    /// @dev Canary abuse: seats of honest voters cannot be had with a batch that they were right about.
    function test_aBatchWithATraceIsNoCanary() public {
        bytes32 batchId = bury(FEES);
        anchor(_root, ranges(FEES));
        toCommittee(batchId);
        settle(batchId, VALID);
        refused(abi.encodeWithSelector(ICanaries.NotThisBatch.selector, batchId), batchId);
    }

    /// @dev A real forger that sees its sample lays the trap then, to be let off. The seal is too late.
    function test_aForgeryIsNotDeclaredACanaryAfterItsAnchor() public {
        bytes32 root = keccak256("forgery");
        bytes32 batchId = batches.batchIdOf(provider, root);
        bytes32 seal = canaries.sealOf(batchId, SALT);
        anchor(root, ranges(FEES));
        vm.prank(provider);
        canaries.bury(seal, FEES);
        toTrap(batchId);
        settle(batchId, FORGED);
        refused(abi.encodeWithSelector(ICanaries.NotThisBatch.selector, batchId), batchId);
        skip(30);
        batches.finalize(batchId);
        requireStatus(batchId, IBatches.Status.Slashed);
    }

    /// @dev A forger that buries a canary for each forgery, and keeps silent where nobody looked, loses more than it is paid.
    function test_aForgerUnderCoverLosesItsBondWhenItIsPaid() public {
        bytes32 batchId = laid(FEES);
        settle(batchId, VALID);
        batches.collect(batchId, 0);
        uint256 pay = escrow.balanceOf(ownerOf(1));
        assert(pay < FEES);
        uint64 revealBy = canaries.canaryOf(provider).revealBy;
        vm.warp(revealBy);
        vm.expectRevert(abi.encodeWithSelector(ICanaries.RevealOpen.selector, revealBy));
        canaries.forfeit(provider);
        vm.warp(revealBy + 1);
        refused(abi.encodeWithSelector(ICanaries.RevealClosed.selector, revealBy), batchId);
        uint256 supply = token.totalSupply();
        canaries.forfeit(provider);
        eq(supply - token.totalSupply(), FEES, "burned");
        vm.expectRevert(abi.encodeWithSelector(ICanaries.NoCanary.selector, provider));
        canaries.forfeit(provider);
    }

    function test_aBondBelowTheFeesCoversNothing() public {
        bytes32 batchId = laid(FEES - 1);
        settle(batchId, FORGED);
        refused(abi.encodeWithSelector(ICanaries.BondTooSmall.selector, FEES - 1, FEES), batchId);
    }

    /// @dev Strangers who were sold nothing for their money do not agree, and without them there are no seats to take.
    function test_aPaidCanaryNeedsTheConsentOfItsConsumers() public {
        bytes32 batchId = laid(FEES);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        bytes memory err = abi.encodeWithSelector(ICanaries.NoConsent.selector, 0);
        bytes[] memory others = consents(OTHER_CONSUMER, batchId);
        vm.prank(provider);
        vm.expectRevert(err);
        canaries.reveal(batchId, SALT, voters, others);
        vm.prank(provider);
        vm.expectRevert(err);
        canaries.reveal(batchId, SALT, voters, new bytes[](0));
        bytes[] memory elsewhere = consents(CONSUMER, keccak256("other batch"));
        vm.prank(provider);
        vm.expectRevert(err);
        canaries.reveal(batchId, SALT, voters, elsewhere);
    }

    function test_nothingIsRevealedBeforeTheVote() public {
        bytes32 batchId = laid(FEES);
        refused(abi.encodeWithSelector(ICanaries.NotJudgedYet.selector, batchId), batchId);
    }

    function test_afterTheReleaseOfTheSeatsOnlyTheBondComesBack() public {
        bytes32 batchId = laid(FEES);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        vm.warp(seats.benchOf(batchId).until + 1);
        seats.release(batchId, voters);
        uint256 held = token.balanceOf(provider);
        reveal(batchId, voters, consents(CONSUMER, batchId));
        eq(token.balanceOf(provider), held + FEES, "bond");
        eq(registry.nodeOf(voters[0]).stake, STAKE, "stake");
    }

    function test_aSeatThatIsGoneIsLeftOut() public {
        bytes32 batchId = laid(FEES);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        seats.slashSeat(batchId, voters, 0, address(this), 0);
        reveal(batchId, voters, consents(CONSUMER, batchId));
        eq(registry.nodeOf(voters[0]).stake, STAKE - SEAT, "once");
        eq(registry.nodeOf(voters[1]).stake, STAKE - SEAT, "the other");
    }

    function test_aMakerHasOneAtATimeAndOneInAPeriod() public {
        bytes32 batchId = laid(FEES);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ICanaries.CanaryPending.selector, provider));
        canaries.bury("seal", 0);
        settle(batchId, FORGED);
        reveal(batchId, new address[](0), new bytes[](0));
        uint64 nextAt = canaries.canaryOf(provider).nextAt;
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ICanaries.TooSoon.selector, nextAt));
        canaries.bury("seal", 0);
        vm.warp(nextAt);
        vm.prank(provider);
        canaries.bury("seal", 0);
        vm.expectRevert(abi.encodeWithSelector(ICanaries.NotANode.selector, address(this)));
        canaries.bury("seal", 0);
    }

    function test_onlyAJudgePardons() public {
        bytes32 batchId = judged(FEES);
        settle(batchId, FORGED);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ISeats.NotJudge.selector, provider));
        batches.pardon(batchId);
        batches.pardon(batchId);
        vm.expectRevert(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Abandoned));
        batches.pardon(batchId);
    }

    function test_aMakerMayNotHaveAllOfTheSeats() public {
        vm.expectRevert(abi.encodeWithSelector(ICanaries.BadCanaryParams.selector));
        new Canaries(token, registry, batches, seats, 600, 200, 10_000);
    }

    /// @dev Whatever the fees and the bond are: under cover a forger's best answer to each verdict brings it nothing but lost seats of the lazy.
    function testFuzz_coverNeverPays(uint128 fees, uint128 bond, bool lazy) public {
        fees = uint128(bound(fees, 1, 1_000 ether));
        bond = uint128(bound(bond, 0, 900 ether));
        bytes32 batchId = bury(bond);
        uint256 before = token.balanceOf(provider) + bond + escrow.balanceOf(provider) + escrow.balanceOf(ownerOf(1))
            + registry.nodeOf(provider).stake;
        anchor(_root, ranges(fees));
        toTrap(batchId);
        settle(batchId, lazy ? VALID : FORGED);
        // The consumer is a stranger and gives no consent; the forger tries to be let off all the same.
        address[] memory voters = batches.committee(batchId);
        vm.prank(provider);
        try canaries.reveal(batchId, SALT, voters, new bytes[](0)) {} catch {}
        if (!lazy && bond < fees) {
            skip(31);
            batches.finalize(batchId);
        }
        batches.collect(batchId, 0);
        uint256 later = token.balanceOf(provider) + escrow.balanceOf(provider) + escrow.balanceOf(ownerOf(1))
            + registry.nodeOf(provider).stake;
        // What was buried for less than the fees covers nothing: there a forger is where it would be without canaries, less its bond.
        if (lazy && bond < fees) later = later > fees ? later - fees : 0;
        assert(later <= before);
    }

    /// @dev What has no seal could neither be revealed nor forfeited: its bond would lie there for ever.
    function test_aBondWithoutASealIsNotTaken() public {
        uint256 before = token.balanceOf(provider);
        vm.prank(provider);
        vm.expectRevert(ICanaries.EmptySeal.selector);
        canaries.bury(0, FEES);
        eq(token.balanceOf(provider), before, "tokens");
    }
}
