// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Strikes} from "../../protocol/contracts/Strikes.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {IStrikes} from "../../protocol/contracts/interfaces/IStrikes.sol";
import {World} from "./World.sol";

/// @dev Providers whose answers are off tolerance too often, and those who are said to be.
contract StrikesTest is World {
    bytes32 private constant OFF = 0x0202020200000000000000000000000000000000000000000000000000000000;
    bytes32 private constant RECEIPT = "receipt";
    uint64 private constant GAIN = 2_302_585;
    uint64 private constant LOSS = 46_300;
    uint256 private _count;

    /// @dev The consumer's stake has the weight of its tier.
    function staked(uint256 amount) private {
        fund(consumer, amount);
        vm.prank(consumer);
        escrow.stake(amount);
        skip(7 days);
        session = open(CONSUMER, provider, 10_000 ether);
    }

    /// @dev A batch of one receipt.
    function batchOf(uint128 fee) private returns (bytes32 batchId) {
        bytes32 receipt = keccak256(abi.encode(RECEIPT, _count++));
        bytes32 root = keccak256(abi.encodePacked(hex"00", receipt, fee));
        batchId = anchor(root, ranges(fee));
        toCommittee(batchId);
    }

    function settleOff(bytes32 batchId, bytes32 verdicts) private {
        IBatches.Opening[] memory openings = new IBatches.Opening[](1);
        openings[0].price = batches.batchOf(batchId).total;
        openings[0].receiptHash = keccak256(abi.encode(RECEIPT, _count - 1));
        Said[] memory said = quorumVotes(batchId, verdicts);
        settleAs(provider, batchId, said, openings);
        releaseOf(batchId, said.length);
    }

    function off(uint128 fee) private {
        settleOff(batchOf(fee), OFF);
    }

    function well(uint128 fee) private {
        bytes32 batchId = batchOf(fee);
        settle(batchId, VALID);
        releaseOf(batchId, 2);
    }

    function releaseOf(bytes32 batchId, uint256 count) private {
        address[] memory members = batches.committee(batchId);
        eq(members.length, count, "voters");
        skip(61);
        seats.release(batchId, members);
    }

    function score() private view returns (uint64) {
        return strikes.recordOf(provider).score;
    }

    function test_sixStrikesInARowOfAConsumerWithFullWeightExclude() public {
        staked(50_000 ether);
        for (uint256 i = 1; i < 6; i++) {
            off(3 ether);
            eq(score(), i * GAIN, "score");
        }
        eq(strikes.recordOf(provider).excludedUntil, 0, "not yet");
        // 6 · ln 10 is ln 10^6.
        off(3 ether);
        IStrikes.Record memory r = strikes.recordOf(provider);
        eq(r.excludedUntil, vm.getBlockTimestamp() - 61 + 3_000, "until");
        eq(r.graceUntil, vm.getBlockTimestamp() - 61 + 300, "grace");
        eq(r.strikes, 6, "strikes");
    }

    function excluded() private returns (IStrikes.Record memory) {
        staked(50_000 ether);
        while (strikes.recordOf(provider).excludedUntil == 0) off(3 ether);
        return strikes.recordOf(provider);
    }

    function test_anExcludedProviderGetsNoSessionsAnchorsForAWhileAndComesBack() public {
        IStrikes.Record memory r = excluded();
        uint64 expiry = r.excludedUntil + 100;
        bytes memory refusal = abi.encodeWithSelector(IStrikes.Excluded.selector, provider, r.excludedUntil);
        vm.prank(consumer);
        vm.expectRevert(refusal);
        escrow.openSession(provider, 1 ether, expiry, consumer);
        // What was acknowledged before can still be brought in.
        vm.warp(r.graceUntil);
        anchor(1 ether);
        vm.warp(r.graceUntil + 1);
        IEscrow.Range[] memory list = ranges(1 ether);
        vm.prank(provider);
        vm.expectRevert(refusal);
        batches.anchorBatch("late", list);
        vm.warp(r.excludedUntil - 1);
        vm.prank(consumer);
        vm.expectRevert(refusal);
        escrow.openSession(provider, 1 ether, expiry, consumer);
        vm.warp(r.excludedUntil);
        vm.prank(consumer);
        escrow.openSession(provider, 1 ether, expiry, consumer);
        anchor(1 ether);
        eq(score(), 0, "it begins anew");
        // Others were not touched.
        vm.prank(consumer);
        escrow.openSession(vm.addr(2), 1 ether, expiry, consumer);
    }

    /// @dev A consumer of its own strikes it again whenever its grace ends, with batches of dust, so that it goes on with those who have a session.
    function test_whoIsStruckAgainWhileExcludedHasNoOtherGrace() public {
        IStrikes.Record memory r = excluded();
        vm.warp(r.graceUntil);
        bytes32 own = anchor(1 ether);
        vm.warp(r.graceUntil + 1);
        vm.prank(address(batches));
        strikes.record(own, provider, 8, 8 * 3_000, 0, 0);
        uint64 until = uint64(vm.getBlockTimestamp()) + 3_000;
        eq(strikes.recordOf(provider).excludedUntil, until, "excluded anew");
        IEscrow.Range[] memory list = ranges(1 ether);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IStrikes.Excluded.selector, provider, until));
        batches.anchorBatch("again", list);
        vm.warp(until);
        for (uint256 i = 0; i < 6; i++) off(3 ether);
        eq(strikes.recordOf(provider).graceUntil, vm.getBlockTimestamp() - 61 + 300, "once it is back, as before");
    }

    /// @dev A limit that the specification states: with stake as a consumer, valid draws of one's own take strikes back, at the price of their floors.
    function test_aConsumersStakeOfItsOwnWashesAStrikeAwayInFiftyDraws() public {
        staked(50_000 ether);
        off(3 ether);
        // 4 draws a batch; of dust, since the weight is the consumer's.
        for (uint256 i = 0; i < 12; i++) well(1_000);
        assert(score() > 0);
        well(1_000);
        eq(score(), 0, "score");
    }

    /// @dev Strike grinding: a consumer without stake crafts inputs until the provider is off, for nothing but gas, since its fee comes back.
    function test_consumersWithoutStakeStrikeNobody() public {
        for (uint256 i = 0; i < 8; i++) off(3 ether);
        IStrikes.Record memory r = strikes.recordOf(provider);
        eq(r.score + r.excludedUntil + r.strikes, 0, "nothing");
    }

    function test_aStrikeWeighsAsTheStakeOfWhoPaid() public {
        staked(1_000 ether);
        off(3 ether);
        eq(score(), GAIN / 3, "the first of three tiers");
    }

    function test_stakeThatIsNotActiveHasNoWeight() public {
        fund(consumer, 50_000 ether);
        vm.prank(consumer);
        escrow.stake(50_000 ether);
        off(3 ether);
        eq(score(), 0, "score");
    }

    function test_validDrawsTakeTheScoreBack() public {
        staked(50_000 ether);
        settleOff(batchOf(3 ether), 0x0201010100000000000000000000000000000000000000000000000000000000);
        eq(score(), GAIN - 3 * LOSS, "one off, three valid");
        well(3 ether);
        eq(score(), GAIN - 7 * LOSS, "four valid");
        for (uint256 i = 0; i < 11; i++) well(3 ether);
        eq(score(), 0, "never below zero");
        off(3 ether);
        eq(score(), GAIN, "no credit for the past");
    }

    /// @dev A provider pays itself for valid answers to wash its strikes away: without stake they weigh nothing.
    function test_validDrawsOfConsumersWithoutStakeTakeNothingBack() public {
        staked(50_000 ether);
        off(3 ether);
        session = open(OTHER_CONSUMER, provider, 1_000 ether);
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = nextRange(OTHER_CONSUMER, session, 1, 3 ether);
        bytes32 batchId = anchor("wash", list);
        toCommittee(batchId);
        settle(batchId, VALID);
        eq(score(), GAIN, "score");
    }

    /// @dev What a consumer picks says nothing about a rate: an audit that finds an answer off costs money, and is no strike.
    function test_auditsAreNoStrikes() public {
        staked(50_000 ether);
        bytes32 receipt = keccak256(abi.encode(RECEIPT, _count++));
        uint128 fee = 3 ether;
        bytes32 batchId = anchor(keccak256(abi.encodePacked(hex"00", receipt, fee)), ranges(fee));
        vm.prank(consumer);
        batches.audit(batchId, 0, 1);
        toCommittee(batchId);
        settleOff(batchId, 0x0101010102000000000000000000000000000000000000000000000000000000);
        eq(score(), 0, "score");
        eq(strikes.recordOf(provider).strikes, 0, "strikes");
    }

    function test_onlyBatchesCount() public {
        vm.expectRevert(abi.encodeWithSelector(IStrikes.NotBatches.selector, address(this)));
        strikes.record("batch", provider, 1, 3_000, 0, 0);
    }

    function test_parametersThatWouldNotWorkAreRefused() public {
        IStrikes.StrikeParams memory p = strikeParams();
        p.threshold = p.gain;
        vm.expectRevert(abi.encodeWithSelector(IStrikes.BadStrikeParams.selector));
        new Strikes(address(batches), p);
        p = strikeParams();
        p.exclusion = p.grace;
        vm.expectRevert(abi.encodeWithSelector(IStrikes.BadStrikeParams.selector));
        new Strikes(address(batches), p);
        p = strikeParams();
        p.gain = p.loss;
        vm.expectRevert(abi.encodeWithSelector(IStrikes.BadStrikeParams.selector));
        new Strikes(address(batches), p);
    }

    /// @dev The contract's score is the sequential test's, whatever comes.
    function testFuzz_theScoreIsThatOfTheTest(uint256 seed) public {
        Strikes alone = new Strikes(address(this), strikeParams());
        uint256 expected = 0;
        for (uint256 i = 0; i < 16; i++) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            uint256 struck = word % 5;
            uint256 struckBps = struck * [uint256(0), 1_000, 2_000, 3_000][(word >> 8) % 4];
            uint256 validBps = (word >> 16) % 3_001;
            uint64 excludedBefore = alone.recordOf(provider).excludedUntil;
            alone.record(bytes32(i), provider, struck, struckBps, 4 - struck, validBps);
            expected += struckBps * GAIN / 3_000;
            uint256 taken = (4 - struck) * validBps * LOSS / 3_000;
            expected = expected > taken ? expected - taken : 0;
            bool out = expected >= 13_815_510 && struckBps > 0;
            if (out) expected = 0;
            eq(alone.recordOf(provider).score, expected, "score");
            eq(alone.recordOf(provider).excludedUntil, out ? vm.getBlockTimestamp() + 3_000 : excludedBefore, "excluded");
            vm.warp(vm.getBlockTimestamp() + 1);
        }
    }
}
