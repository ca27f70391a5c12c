// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IConsumerStakes} from "../../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {INodeRegistry} from "../../../protocol/contracts/interfaces/INodeRegistry.sol";
import {HookToken, Intruder} from "./HookToken.sol";
import {Settling} from "./Settling.sol";

/// @dev The token of a deployment has no hooks. These tests put one in its place that calls an attacker before and after each movement:
/// whatever it does from within, everybody ends with what they would have if it had done the same right afterwards.
contract ReentrancyTest is Settling {
    bytes32 private constant SALT = "salt";
    uint256 private constant NEWCOMER = 9;
    Intruder private intruder;
    /// @dev Of the batch that a test is about, and of one beside it.
    bytes32 private _pot;
    bytes32 private _other;

    function setUp() public override {
        super.setUp();
        HookToken hooks = new HookToken(token.cap(), token.minter());
        vm.etch(address(token), address(hooks).code);
        intruder = new Intruder();
        fund(address(intruder), 50 ether);
        fund(vm.addr(2), 100 ether);
        token.transfer(address(intruder), 500 ether);
        vm.prank(address(intruder));
        token.approve(address(escrow), type(uint256).max);
        token.transfer(provider, 500 ether);
        vm.prank(provider);
        token.approve(address(canaries), type(uint256).max);
        vm.prank(ownerOf(1));
        registry.requestUnbond(provider, 100 ether);
    }

    // ---- what everybody has

    function has(address account) private view returns (uint256) {
        IConsumerStakes.ConsumerStake memory s = escrow.stakeOf(account);
        return token.balanceOf(account) + escrow.balanceOf(account) + s.active + s.pending + s.leaving;
    }

    /// @dev The intruder, the consumers, then each node with its owner; what unbonds is the owner's. The last is a node that a test registers.
    function wealth() private view returns (uint256[] memory w) {
        w = new uint256[](4 + NODES);
        (w[0], w[1], w[2]) = (has(address(intruder)), has(consumer), has(vm.addr(OTHER_CONSUMER)));
        for (uint256 i = 0; i <= NODES; i++) {
            uint256 key = keyAt(i);
            w[3 + i] = has(vm.addr(key)) + has(ownerOf(key)) + registry.nodeOf(vm.addr(key)).stake
                + emissions.creditOf(vm.addr(key));
        }
        for (uint256 id = 0;; id++) {
            try registry.unbondOf(id) returns (INodeRegistry.Unbond memory u) {
                for (uint256 i = 0; i <= NODES; i++) if (vm.addr(keyAt(i)) == u.operator) w[3 + i] += u.amount;
            } catch {
                break;
            }
        }
    }

    function keyAt(uint256 i) private pure returns (uint256) {
        return i < NODES ? i + 1 : NEWCOMER;
    }

    /// @dev The escrow has what all accounts, the open session and the pot are owed, the registry what is staked or unbonds.
    function solvent(bytes32 pot) private view {
        uint256 owed = escrow.potOf(pot) + escrow.potOf(_other);
        for (uint256 i = 0; i <= NODES; i++) owed += inEscrow(vm.addr(keyAt(i))) + inEscrow(ownerOf(keyAt(i)));
        owed += inEscrow(address(intruder)) + inEscrow(consumer) + inEscrow(vm.addr(OTHER_CONSUMER));
        owed += escrow.sessionOf(session).ceiling - escrow.sessionOf(session).anchored;
        eq(token.balanceOf(address(escrow)), owed, "escrow");
    }

    function inEscrow(address account) private view returns (uint256) {
        return has(account) - token.balanceOf(account);
    }

    function plan(address by, address target, bytes memory data) private {
        intruder.plan(by, target, data);
    }

    /// @dev What pays somebody, if it can be had twice or early.
    function planEverything(bytes32 batchId) private {
        _pot = batchId;
        plan(address(intruder), address(escrow), abi.encodeCall(escrow.withdraw, (60 ether)));
        plan(address(intruder), address(escrow), abi.encodeCall(escrow.withdraw, (50 ether)));
        plan(address(intruder), address(escrow), abi.encodeCall(escrow.deposit, (40 ether)));
        plan(address(intruder), address(escrow), abi.encodeCall(escrow.stake, (30 ether)));
        plan(address(intruder), address(registry), abi.encodeCall(registry.withdraw, (0)));
        plan(address(intruder), address(batches), abi.encodeCall(batches.collect, (batchId, 0)));
        plan(address(intruder), address(batches), abi.encodeCall(batches.finalize, (batchId)));
        plan(address(intruder), address(batches), abi.encodeCall(batches.expire, (batchId)));
        plan(address(intruder), address(emissions), abi.encodeCall(emissions.claim, (provider)));
        plan(address(intruder), address(canaries), abi.encodeCall(canaries.forfeit, (provider)));
        uint256 free = registry.freeStake(provider);
        plan(provider, address(registry), abi.encodeCall(registry.requestUnbond, (provider, free)));
        plan(provider, address(registry), abi.encodeCall(registry.requestUnbond, (provider, 40 ether)));
        plan(ownerOf(1), address(escrow), abi.encodeCall(escrow.withdraw, (1)));
    }

    /// @dev The same with the call itself tried from within.
    function sameAgain(address by, address target, bytes memory data) private {
        plan(by, target, data);
        same(by, target, data);
    }

    /// @dev Does it once without hooks, once with, and compares.
    function same(address by, address target, bytes memory data) private {
        uint256 start = vm.snapshotState();
        act(by, target, data);
        intruder.run();
        uint256[] memory plain = wealth();
        vm.revertToState(start);
        HookToken(address(token)).setHook(intruder);
        act(by, target, data);
        assert(intruder.entered() > 0);
        HookToken(address(token)).setHook(Intruder(address(0)));
        intruder.run();
        uint256[] memory hooked = wealth();
        for (uint256 i = 0; i < plain.length; i++) eq(hooked[i], plain[i], vm.toString(i));
        solvent(_pot);
    }

    function act(address by, address target, bytes memory data) private {
        vm.prank(by);
        (bool ok, bytes memory err) = target.call(data);
        if (ok) return;
        assembly {
            revert(add(err, 32), mload(err))
        }
    }

    // ---- escrow

    function test_aDepositCannotBeSpentTwiceFromWithin() public {
        planEverything(0);
        sameAgain(address(intruder), address(escrow), abi.encodeCall(escrow.deposit, (20 ether)));
        assert(intruder.succeeded() > 0);
    }

    function test_aDepositForSomebodyElseNeither() public {
        planEverything(0);
        same(address(intruder), address(escrow), abi.encodeCall(escrow.depositFor, (consumer, 20 ether)));
    }

    function test_aWithdrawalCannotBeTakenTwice() public {
        planEverything(0);
        sameAgain(address(intruder), address(escrow), abi.encodeCall(escrow.withdraw, (30 ether)));
    }

    // ---- stake

    function test_stakeCannotBeUnbondedTwiceWhileItIsAdded() public {
        planEverything(0);
        token.transfer(address(intruder), 5_000 ether);
        vm.prank(address(intruder));
        token.approve(address(registry), type(uint256).max);
        same(address(intruder), address(registry), abi.encodeCall(registry.addStake, (provider, 5_000 ether)));
    }

    function test_anUnbondIsWithdrawnOnce() public {
        planEverything(0);
        skip(1_001);
        sameAgain(address(intruder), address(registry), abi.encodeCall(registry.withdraw, (0)));
        eq(token.balanceOf(ownerOf(1)), 100 ether, "once");
    }

    function test_aRegistrationPaysForItsStake() public {
        address operator = vm.addr(9);
        token.transfer(operator, 2_000 ether);
        vm.prank(operator);
        token.approve(address(registry), 2_000 ether);
        bytes memory publicKey = publicKeyOf(9);
        bytes memory consent = consentOf(operator, 109);
        planEverything(0);
        plan(operator, address(registry), abi.encodeCall(registry.requestUnbond, (operator, 2_000 ether)));
        bytes memory data =
            abi.encodeCall(registry.register, (publicKey, vm.addr(109), "cpu", 2_000 ether, consent));
        sameAgain(operator, address(registry), data);
        eq(token.balanceOf(operator), 0, "paid");
    }

    // ---- batches

    /// @dev 3% of the fees and the floor do not divide by two voters: the rest burns, first of all, and the hook is called.
    function test_aBatchIsNotCollectedBeforeItsPartsAreKnown() public {
        bytes32 batchId = judged(100 ether + 50);
        planEverything(batchId);
        sameAgain(provider, address(batches), settling(batchId, VALID));
        assert(intruder.succeeded() > 0);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_aSlashIsTakenOnce() public {
        // Another batch's lock is there to be taken.
        _other = anchor(100 ether);
        bytes32 batchId = judged(100 ether);
        settle(batchId, FORGED);
        skip(30);
        planEverything(batchId);
        sameAgain(address(intruder), address(batches), abi.encodeCall(batches.finalize, (batchId)));
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_aMissingTraceIsSlashedOnce() public {
        bytes32 batchId = anchor(100 ether);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        skip(61);
        planEverything(batchId);
        sameAgain(address(intruder), address(batches), abi.encodeCall(batches.expire, (batchId)));
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_aClaimIsMintedOnce() public {
        bytes32 batchId = judged(100 ether);
        settle(batchId, VALID);
        planEverything(batchId);
        assert(emissions.creditOf(provider) > 0);
        sameAgain(address(intruder), address(emissions), abi.encodeCall(emissions.claim, (provider)));
        eq(emissions.creditOf(provider), 0, "credit");
    }

    // ---- seats and canaries

    function test_aSeatIsLostOnce() public {
        // Each sits a second time, and has that to lose too.
        address[] memory everybody = new address[](NODES - 1);
        for (uint256 i = 0; i < everybody.length; i++) everybody[i] = vm.addr(2 + i);
        seats.take("another bench", everybody, 0);
        bytes32 batchId = judged(100 ether);
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        planEverything(batchId);
        bytes memory data = abi.encodeCall(seats.slashSeat, (batchId, voters, 0, address(intruder), 5_000));
        plan(address(intruder), address(seats), abi.encodeCall(seats.release, (batchId, voters)));
        sameAgain(address(this), address(seats), data);
        eq(registry.nodeOf(voters[0]).stake, STAKE - SEAT, "once");
    }

    function bury(bytes32 root) private returns (bytes32 batchId, bytes32 seal) {
        batchId = batches.batchIdOf(provider, root);
        seal = canaries.sealOf(batchId, SALT);
    }

    function test_aBondIsLaidDownOnceAndComesBackOnce() public {
        (bytes32 batchId, bytes32 seal) = bury("canary");
        planEverything(batchId);
        sameAgain(provider, address(canaries), abi.encodeCall(canaries.bury, (seal, 100 ether)));
        // The attacker has unbonded all that it could.
        token.approve(address(registry), STAKE);
        registry.addStake(provider, STAKE);
        mine(1);
        anchor("canary", ranges(10 ether));
        trace(batchId, canaries.trapOf(batchId, SALT));
        commit(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        settle(batchId, FORGED);
        bytes memory reveal = abi.encodeCall(canaries.reveal, (batchId, SALT, new address[](0), new bytes[](0)));
        uint256 held = token.balanceOf(provider);
        sameAgain(provider, address(canaries), reveal);
        eq(token.balanceOf(provider), held + 100 ether, "once");
        eq(token.balanceOf(address(canaries)), 0, "nothing is left");
    }

    function test_aBondBurnsOnce() public {
        (, bytes32 seal) = bury("canary");
        vm.prank(provider);
        canaries.bury(seal, 100 ether);
        skip(601);
        planEverything(0);
        uint256 supply = token.totalSupply();
        sameAgain(address(intruder), address(canaries), abi.encodeCall(canaries.forfeit, (provider)));
        eq(supply - token.totalSupply(), 100 ether, "burned");
    }

    // ---- wallets

    /// @dev A payout address with code is asked for its consent before anything is written, and cannot write meanwhile.
    function test_aWalletThatIsAskedForItsConsentChangesNothing() public {
        address operator = vm.addr(9);
        token.transfer(operator, 2_000 ether);
        vm.prank(operator);
        token.approve(address(registry), 2_000 ether);
        plan(address(0), address(escrow), abi.encodeCall(escrow.withdraw, (50 ether)));
        plan(address(0), address(escrow), abi.encodeCall(escrow.depositFor, (operator, 1)));
        bytes memory publicKey = publicKeyOf(9);
        vm.prank(operator);
        registry.register(publicKey, address(intruder), "cpu", 2_000 ether, "");
        eq(registry.payoutOf(operator), address(intruder), "registered");
        eq(escrow.balanceOf(address(intruder)), 50 ether, "nothing happened");
        eq(escrow.balanceOf(operator), 0, "nor this");
    }
}
