// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Seats} from "../../protocol/contracts/Seats.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {ISeats} from "../../protocol/contracts/interfaces/ISeats.sol";
import {World} from "./World.sol";

/// @dev What a vote puts at stake. This contract is the judge.
contract SeatsTest is World {
    function voted(uint256 fee, bytes32 verdicts) private returns (bytes32 batchId, address[] memory voters) {
        batchId = judged(fee);
        voters = batches.committee(batchId);
        settle(batchId, verdicts);
    }

    /// @dev Leaves a node `rest` of free stake.
    function drain(address operator, uint256 rest) private {
        uint256 free = registry.freeStake(operator);
        vm.prank(operator);
        registry.requestUnbond(operator, free - rest);
    }

    function test_aVoteThatCountsHoldsASeatUntilItsWindowIsOver() public {
        (bytes32 batchId, address[] memory voters) = voted(10 ether, VALID);
        uint64 until = seats.benchOf(batchId).until;
        eq(until, vm.getBlockTimestamp() + 60, "until");
        for (uint256 i = 0; i < 2; i++) eq(registry.freeStake(voters[i]), STAKE - SEAT, "held");
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(ISeats.SeatsStillHeld.selector, until));
        seats.release(batchId, voters);
        vm.warp(until + 1);
        vm.prank(address(0xbeef));
        seats.release(batchId, voters);
        for (uint256 i = 0; i < 2; i++) eq(registry.freeStake(voters[i]), STAKE, "free");
        vm.expectRevert(abi.encodeWithSelector(ISeats.UnknownBench.selector, batchId));
        seats.release(batchId, voters);
    }

    function test_theSeatsOfAPendingSlashAreHeldAsLongAsItIs() public {
        IBatches.Params memory p = defaults();
        p.slashPending = 500;
        rebuild(p);
        (bytes32 batchId,) = voted(10 ether, FORGED);
        eq(seats.benchOf(batchId).until, batches.deadlineOf(batchId), "until");
    }

    function test_aSeatCannotBeUnbonded() public {
        (, address[] memory voters) = voted(10 ether, VALID);
        vm.prank(voters[0]);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.InsufficientFreeStake.selector, STAKE - SEAT, STAKE));
        registry.requestUnbond(voters[0], STAKE);
    }

    /// @dev The seat lock is dodged by unbonding between the anchor and the vote: then the vote does not count, and takes no quorum with it.
    function test_aVoteWithNothingToLoseDoesNotCount() public {
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        bytes32 batchId = judged(10 ether);
        address[] memory members = batches.committee(batchId);
        drain(members[0], SEAT - 1);
        Said[] memory said = new Said[](2);
        for (uint256 i = 0; i < 2; i++) said[i] = vote(keyOf(members[i]), VALID);
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IBatches.NoQuorum.selector, 1, 2));
        said = new Said[](3);
        for (uint256 i = 0; i < 3; i++) said[i] = vote(keyOf(members[i]), VALID);
        settleAs(provider, batchId, said);
        eq(escrow.balanceOf(registry.payoutOf(members[0])), 0, "unpaid");
        eq(escrow.balanceOf(registry.payoutOf(members[1])), 0.65 ether, "paid");
        eq(registry.freeStake(members[0]), SEAT - 1, "nothing held");
    }

    function test_aVoterWhoseLastFreeStakeIsASeatCounts() public {
        bytes32 batchId = judged(10 ether);
        drain(batches.committee(batchId)[0], SEAT);
        settle(batchId, VALID);
        eq(registry.freeStake(batches.committee(batchId)[0]), 0, "free");
    }

    function test_aJudgeTakesASeatOnceAndPartOfItGoesToWhomItNames() public {
        (bytes32 batchId, address[] memory voters) = voted(10 ether, VALID);
        uint256 supply = token.totalSupply();
        eq(seats.slashSeat(batchId, voters, 1, address(0xabc), 2_500), SEAT / 4, "rewarded");
        eq(escrow.balanceOf(address(0xabc)), SEAT / 4, "reward");
        eq(supply - token.totalSupply(), SEAT * 3 / 4, "burned");
        eq(registry.nodeOf(voters[1]).stake, STAKE - SEAT, "stake");
        eq(registry.nodeOf(voters[1]).locked, 0, "locked");
        vm.expectRevert(abi.encodeWithSelector(ISeats.SeatSlashedBefore.selector, voters[1]));
        seats.slashSeat(batchId, voters, 1, address(0xabc), 2_500);
        vm.warp(seats.benchOf(batchId).until + 1);
        seats.release(batchId, voters);
        eq(registry.freeStake(voters[0]), STAKE, "the other is free");
        eq(registry.freeStake(voters[1]), STAKE - SEAT, "the slashed one is not given back");
    }

    function test_nothingIsSlashedAfterTheRelease() public {
        (bytes32 batchId, address[] memory voters) = voted(10 ether, VALID);
        vm.warp(seats.benchOf(batchId).until + 1);
        seats.release(batchId, voters);
        vm.expectRevert(abi.encodeWithSelector(ISeats.UnknownBench.selector, batchId));
        seats.slashSeat(batchId, voters, 0, address(this), 0);
    }

    function test_onlyJudgesSlashAndHold() public {
        (bytes32 batchId, address[] memory voters) = voted(10 ether, VALID);
        bytes memory refusal = abi.encodeWithSelector(ISeats.NotJudge.selector, provider);
        vm.prank(provider);
        vm.expectRevert(refusal);
        seats.slashSeat(batchId, voters, 0, provider, 10_000);
        vm.prank(provider);
        vm.expectRevert(refusal);
        seats.hold(batchId, type(uint64).max);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ISeats.NotTaker.selector, provider));
        seats.take("other", voters, 0);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeats.selector, address(this)));
        registry.lockSeats(voters, 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeats.selector, address(this)));
        registry.unlockSeats(voters, 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotSeats.selector, address(this)));
        registry.slashSeat(voters[0], 1, 0, address(this));
    }

    function test_aListThatIsNotTheBenchsIsRefused() public {
        (bytes32 batchId, address[] memory voters) = voted(10 ether, VALID);
        (voters[0], voters[1]) = (voters[1], voters[0]);
        vm.expectRevert(abi.encodeWithSelector(ISeats.UnknownBench.selector, batchId));
        seats.slashSeat(batchId, voters, 0, address(this), 0);
        vm.expectRevert(abi.encodeWithSelector(ISeats.UnknownBench.selector, keccak256("other")));
        seats.hold(keccak256("other"), 1);
        vm.expectRevert(abi.encodeWithSelector(ISeats.BenchExists.selector, batchId));
        seats.take(batchId, voters, 0);
    }

    function test_aJudgeHoldsSeatsLongerAndNeverShorter() public {
        (bytes32 batchId,) = voted(10 ether, VALID);
        uint64 until = seats.benchOf(batchId).until;
        seats.hold(batchId, until - 1);
        eq(seats.benchOf(batchId).until, until, "not shorter");
        seats.hold(batchId, until + 1);
        eq(seats.benchOf(batchId).until, until + 1, "longer");
    }

    /// @dev However many seats a node has and whatever it tries to unbond, what is slashed was held, and stake and locks agree.
    function testFuzz_aSlashNeverExceedsTheStake(uint256 benches, uint256 unbond, uint256 rewardBps) public {
        benches = bound(benches, 1, 6);
        rewardBps = bound(rewardBps, 0, 10_000);
        address[] memory one = new address[](1);
        one[0] = vm.addr(2);
        for (uint256 i = 0; i < benches; i++) seats.take(bytes32(i), one, 0);
        uint256 free = registry.freeStake(one[0]);
        eq(free, STAKE - benches * SEAT, "free");
        unbond = bound(unbond, 1, free);
        vm.prank(one[0]);
        registry.requestUnbond(one[0], unbond);
        uint256 supply = token.totalSupply();
        for (uint256 i = 0; i < benches; i++) seats.slashSeat(bytes32(i), one, 0, address(this), rewardBps);
        INodeRegistry.Node memory node = registry.nodeOf(one[0]);
        eq(node.locked, 0, "locked");
        eq(node.stake, STAKE - unbond - benches * SEAT, "stake");
        uint256 rewarded = benches * (uint256(SEAT) * rewardBps / 10_000);
        eq(escrow.balanceOf(address(this)), rewarded, "rewarded");
        eq(supply - token.totalSupply(), benches * SEAT - rewarded, "burned");
    }

    function test_parametersThatWouldNotWorkAreRefused() public {
        address[] memory none = new address[](0);
        vm.expectRevert(abi.encodeWithSelector(ISeats.BadSeatParams.selector));
        new Seats(registry, address(batches), 0, 60, none);
        vm.expectRevert(abi.encodeWithSelector(ISeats.BadSeatParams.selector));
        new Seats(registry, address(batches), 1_000 ether + 1, 60, none);
        vm.expectRevert(abi.encodeWithSelector(ISeats.BadSeatParams.selector));
        new Seats(registry, address(batches), SEAT, 0, none);
        new Seats(registry, address(batches), 1_000 ether, 60, none);
    }
}
