// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {NaiveTree} from "./NaiveTree.sol";
import {World} from "./World.sol";

/// @dev Jobs that consumers name as draws. Receipts 0 to 2 are one consumer's, 3 and 4 another's, ten tokens each.
contract AuditsTest is World, NaiveTree {
    uint128 private constant PRICE = 10 ether;
    address private other = vm.addr(OTHER_CONSUMER);
    IBatches.Sibling[][] private levels;

    function anchorFive() private returns (bytes32) {
        return anchorFive(PRICE);
    }

    function anchorFive(uint128 price) private returns (bytes32) {
        uint128[] memory prices = new uint128[](5);
        for (uint256 i = 0; i < 5; i++) prices[i] = price;
        IBatches.Sibling[][] memory built = build(prices);
        delete levels;
        for (uint256 d = 0; d < built.length; d++) {
            levels.push();
            for (uint256 i = 0; i < built[d].length; i++) levels[d].push(built[d][i]);
        }
        IEscrow.Range[] memory batch = new IEscrow.Range[](2);
        batch[0] = nextRange(CONSUMER, session, 3, 3 * price);
        batch[1] = nextRange(OTHER_CONSUMER, open(OTHER_CONSUMER, provider, 1_000 ether), 2, 2 * price);
        return anchor(built[built.length - 1][0].hash, batch);
    }

    function name(bytes32 batchId, address who, uint256 range, uint256 point) private {
        vm.prank(who);
        batches.audit(batchId, range, uint128(point));
    }

    function test_anAuditIsOneMoreDraw() public {
        bytes32 batchId = anchorFive();
        name(batchId, other, 1, 4 * PRICE);
        name(batchId, consumer, 0, 0);
        IBatches.Audit[] memory audits = batches.auditsOf(batchId);
        eq(audits.length, 2, "audits");
        eq(audits[0].range, 1, "in the order of naming");
        toCommittee(batchId);
        uint256[] memory points = batches.samplePoints(batchId);
        eq(points.length, 6, "points");
        eq(points[4], 4 * PRICE, "first");
        eq(points[5], 0, "second");
        settle(batchId, allOf(batchId, 1));
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_everyAuditNeedsItsVerdict() public {
        bytes32 batchId = anchorFive();
        name(batchId, consumer, 0, 5 ether);
        toCommittee(batchId);
        Said[] memory said = quorumVotes(batchId, VALID);
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IBatches.BadVerdict.selector, 4));
    }

    function test_onlyTheConsumerNamesOnlyItsOwnJobsOnceEach() public {
        bytes32 batchId = anchorFive();
        revertsWith(abi.encodeWithSelector(IBatches.NotConsumer.selector, other));
        name(batchId, other, 0, 0);
        revertsWith(abi.encodeWithSelector(IBatches.NotConsumer.selector, provider));
        name(batchId, provider, 0, 0);
        revertsWith(abi.encodeWithSelector(IBatches.PointOutsideRange.selector, 3 * PRICE));
        name(batchId, consumer, 0, 3 * PRICE);
        revertsWith(abi.encodeWithSelector(IBatches.PointOutsideRange.selector, 3 * PRICE - 1));
        name(batchId, other, 1, 3 * PRICE - 1);
        revertsWith(abi.encodeWithSelector(IBatches.PointOutsideRange.selector, 5 * PRICE));
        name(batchId, other, 1, 5 * PRICE);
        revertsWith(abi.encodeWithSelector(IBatches.UnknownRange.selector, 2));
        name(batchId, other, 2, 0);
        name(batchId, consumer, 0, 3 * PRICE - 1);
        revertsWith(abi.encodeWithSelector(IBatches.AlreadyAudited.selector, 0));
        name(batchId, consumer, 0, 0);
        name(batchId, other, 1, 3 * PRICE);
    }

    function test_auditsAreNamedInTheirWindowAndTracedAfterIt() public {
        bytes32 batchId = anchorFive();
        uint64 end = batches.batchOf(batchId).auditUntil;
        recordSlot(batches.batchOf(batchId).sampleSlot);
        vm.warp(end);
        vm.prank(provider);
        revertsWith(abi.encodeWithSelector(IBatches.DeadlineNotReached.selector, end));
        batches.anchorTrace(batchId, "trace");
        name(batchId, consumer, 0, 0);
        vm.warp(end + 1);
        revertsWith(abi.encodeWithSelector(IBatches.DeadlinePassed.selector, end));
        name(batchId, other, 1, 3 * PRICE);
        vm.prank(provider);
        batches.anchorTrace(batchId, "trace");
        vm.warp(end);
        revertsWith(abi.encodeWithSelector(IBatches.WrongStatus.selector, batchId, IBatches.Status.Traced));
        name(batchId, other, 1, 3 * PRICE);
    }

    function test_anAuditCostsAFeeThatTheVotersGet() public {
        bytes32 batchId = anchorFive();
        uint256 before = escrow.balanceOf(consumer);
        name(batchId, consumer, 0, 0);
        eq(before - escrow.balanceOf(consumer), 0.5 ether, "fee");
        toCommittee(batchId);
        address[] memory members = batches.committee(batchId);
        settle(batchId, allOf(batchId, 1));
        // Three hundredths of fifty tokens, the provider's floor and the audit, for two voters.
        eq(escrow.balanceOf(registry.payoutOf(members[0])), (1.5 ether + 1 ether + 0.5 ether) / 2, "voter");
        for (uint256 i = 0; i < 2; i++) batches.collect(batchId, i);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function test_withoutTheFeeNoAudit() public {
        bytes32 batchId = anchorFive();
        uint256 held = escrow.balanceOf(consumer);
        vm.prank(consumer);
        escrow.withdraw(held - 0.5 ether + 1);
        vm.expectPartialRevert(IEscrow.InsufficientBalance.selector);
        name(batchId, consumer, 0, 0);
    }

    function test_whereNobodyVerifiesTheFeesGoBack() public {
        for (uint256 how = 0; how < 3; how++) {
            // Another price, or it would be the same batch.
            bytes32 batchId = anchorFive(uint128(PRICE + how));
            uint256 held = escrow.balanceOf(consumer) + escrow.balanceOf(other);
            name(batchId, consumer, 0, 0);
            name(batchId, other, 1, 3 * (PRICE + how));
            if (how == 0) recordSlot(batches.batchOf(batchId).sampleSlot);
            if (how == 1) {
                trace(batchId);
                recordSlot(batches.batchOf(batchId).challengeSlot);
            }
            if (how < 2) {
                vm.warp(batches.deadlineOf(batchId) + 1);
                batches.expire(batchId);
            } else {
                abandoned(batchId);
            }
            eq(escrow.balanceOf(consumer) + escrow.balanceOf(other), held, "fees");
            if (how == 1) {
                vm.warp(batches.deadlineOf(batchId));
                batches.finalize(batchId);
            }
            for (uint256 i = 0; i < 2; i++) batches.collect(batchId, i);
            eq(escrow.potOf(batchId), 0, "pot");
        }
    }

    function abandoned(bytes32 batchId) private {
        toCommittee(batchId);
        for (uint256 attempt = 0; attempt < 2; attempt++) {
            vm.warp(batches.deadlineOf(batchId) + 41);
            if (attempt == 1) return batches.abandon(batchId);
            batches.redraw(batchId);
            recordSlot(batches.batchOf(batchId).committeeSlot);
        }
    }

    /// @dev The sample found nothing; the job that the consumer named was off.
    function test_anAuditOffToleranceForfeitsAsADrawDoes() public {
        bytes32 batchId = anchorFive();
        name(batchId, consumer, 0, 2 * PRICE);
        toCommittee(batchId);
        uint256 held = escrow.balanceOf(consumer);
        IBatches.Opening[] memory openings = new IBatches.Opening[](1);
        openings[0] = openingOf(levels, 2, PRICE);
        Said[] memory said =
            quorumVotes(batchId, 0x0101010102000000000000000000000000000000000000000000000000000000);
        settleAs(provider, batchId, said, openings);
        for (uint256 i = 0; i < 2; i++) batches.collect(batchId, i);
        eq(escrow.balanceOf(consumer) - held, PRICE, "its fee came back");
        // 50 tokens of fees, 1.5 for the voters, 2.5 to burn; one draw of four forfeits 1.5 · 50 / 4.
        eq(escrow.balanceOf(ownerOf(1)), 50 ether - 1.5 ether - 2.5 ether - 18.75 ether, "provider");
        eq(escrow.potOf(batchId), 0, "pot");
    }
}
