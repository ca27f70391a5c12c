// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {NaiveTree} from "./NaiveTree.sol";
import {World} from "./World.sol";

/// @dev What serving answers off tolerance costs, with real openings. Receipts 0 to 2 are one consumer's, 3 and 4 another's.
contract ToleranceTest is World, NaiveTree {
    IBatches.Sibling[][] private levels;
    uint128[] private prices;
    bytes32 private batchId;

    function prepare(uint128[5] memory list) private {
        bytes32 other = open(OTHER_CONSUMER, provider, 20_000 ether);
        uint128[] memory memoryPrices = new uint128[](5);
        for (uint256 i = 0; i < 5; i++) {
            prices.push(list[i]);
            memoryPrices[i] = list[i];
        }
        IBatches.Sibling[][] memory built = build(memoryPrices);
        for (uint256 d = 0; d < built.length; d++) {
            levels.push();
            for (uint256 i = 0; i < built[d].length; i++) levels[d].push(built[d][i]);
        }
        IEscrow.Range[] memory batch = new IEscrow.Range[](2);
        batch[0] = nextRange(CONSUMER, session, 3, uint256(list[0]) + list[1] + list[2]);
        batch[1] = nextRange(OTHER_CONSUMER, other, 2, uint256(list[3]) + list[4]);
        batchId = anchor(built[built.length - 1][0].hash, batch);
        toCommittee(batchId);
    }

    function leafAt(uint256 point) private view returns (uint256 index) {
        uint256 end = prices[0];
        while (point >= end) end += prices[++index];
    }

    function opening(uint256 index) private view returns (IBatches.Opening memory) {
        IBatches.Opening memory o = openingOf(levels, index, prices[index]);
        o.range = index < 3 ? 0 : 1;
        return o;
    }

    /// @dev Openings of the distinct receipts that the draws of `mask` fell on, and what they should cost.
    function bill(uint256 mask)
        private
        view
        returns (IBatches.Opening[] memory openings, uint256 refunds, uint256 forfeits, bytes32 verdicts)
    {
        uint256[] memory points = batches.samplePoints(batchId);
        uint256[] memory times = new uint256[](5);
        uint256 distinct = 0;
        for (uint256 draw = 0; draw < 4; draw++) {
            uint256 verdict = (mask >> draw) & 1 == 1 ? 2 : 1;
            verdicts |= bytes32(verdict << (248 - 8 * draw));
            if (verdict == 2 && times[leafAt(points[draw])]++ == 0) distinct++;
        }
        uint256 total = batches.batchOf(batchId).total;
        uint256 perDraw = (total * 15_000 + 39_999) / 40_000;
        openings = new IBatches.Opening[](distinct);
        for (uint256 i = 5; i-- > 0;) {
            if (times[i] == 0) {
                if (i == 0) break;
                continue;
            }
            openings[--distinct] = opening(i);
            refunds += prices[i];
            forfeits += times[i] * perDraw > prices[i] ? times[i] * perDraw : prices[i];
            if (i == 0) break;
        }
    }

    function settleWith(bytes32 verdicts, IBatches.Opening[] memory openings) private {
        Said[] memory said = quorumVotes(batchId, verdicts);
        settleAs(provider, batchId, said, openings);
    }

    function testFuzz_drawsOffToleranceForfeitAndTheirConsumersGetTheirFeesBack(uint256 seed, uint256 mask) public {
        uint128[5] memory list;
        for (uint256 i = 0; i < 5; i++) {
            list[i] = uint128(1 + uint256(keccak256(abi.encode(seed, i))) % (uint256(100 ether) >> (seed >> (i * 8)) % 32));
        }
        prepare(list);
        mask = bound(mask, 1, 15);
        (IBatches.Opening[] memory openings, uint256 refunds, uint256 forfeits, bytes32 verdicts) = bill(mask);
        uint256 supply = token.totalSupply();
        uint256 consumers = escrow.balanceOf(consumer) + escrow.balanceOf(vm.addr(OTHER_CONSUMER));
        uint256 lock = registry.lockOf(batchId).amount;
        uint256 stake = registry.nodeOf(provider).stake;
        settleWith(verdicts, openings);
        if (openings.length > 0) eq(emissions.creditOf(provider), 0, "work that was off mints nothing");
        batches.collect(batchId, 0);
        batches.collect(batchId, 1);

        uint256 total = batches.batchOf(batchId).total;
        uint256 nu = total * 300 / 10_000;
        uint256 beta = total * 500 / 10_000;
        uint256 voters = (nu + 1 ether) / 2 * 2;
        uint256 part = total - nu - beta;
        uint256 fromLock = stake - registry.nodeOf(provider).stake;
        eq(
            escrow.balanceOf(consumer) + escrow.balanceOf(vm.addr(OTHER_CONSUMER)) - consumers, refunds, "consumers"
        );
        eq(escrow.balanceOf(ownerOf(1)), forfeits < part ? part - forfeits : 0, "provider");
        eq(fromLock, forfeits < part ? 0 : min(forfeits - part, lock), "from the lock");
        eq(supply - token.totalSupply() + voters + refunds + escrow.balanceOf(ownerOf(1)), total + 1 ether + fromLock, "all");
        eq(escrow.potOf(batchId), 0, "pot");
        eq(registry.nodeOf(provider).locked, 0, "unlocked");
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function test_everyDrawOffToleranceNeedsItsOpening() public {
        prepare([uint128(5 ether), 6 ether, 7 ether, 8 ether, 9 ether]);
        (IBatches.Opening[] memory openings,,, bytes32 verdicts) = bill(15);
        Said[] memory said = quorumVotes(batchId, verdicts);
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IBatches.MissingOpening.selector, 0));

        IBatches.Opening[] memory more = new IBatches.Opening[](openings.length + 1);
        for (uint256 i = 0; i < openings.length; i++) more[i] = openings[i];
        more[openings.length] = openings[0];
        settleRefused(provider, batchId, said, more, abi.encodeWithSelector(IBatches.UnusedOpening.selector, openings.length));

        openings[0].price += 1;
        settleRefused(provider, batchId, said, openings, abi.encodeWithSelector(IBatches.BadOpening.selector, 0));
        openings[0].price -= 1;

        openings[0].range = 1 - openings[0].range;
        settleRefused(provider, batchId, said, openings, abi.encodeWithSelector(IBatches.OpeningOutsideRange.selector, 0));
        openings[0].range = 1 - openings[0].range;

        settleWith(verdicts, openings);
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_aReceiptDrawnByAllForfeitsOneAndAHalfTimesTheFees() public {
        // One receipt is nearly all of the batch, so all draws fall on it: max(F, 4 · 1.5·F/4) = 1.5·F.
        prepare([uint128(1), 1, 1, 1, 100 ether]);
        (IBatches.Opening[] memory openings, uint256 refunds, uint256 forfeits, bytes32 verdicts) = bill(15);
        eq(openings.length, 1, "distinct");
        eq(refunds, 100 ether, "refund");
        assert(forfeits >= 150 ether && forfeits < 150 ether + 100);
        settleWith(verdicts, openings);
        assert(registry.nodeOf(provider).stake < STAKE - 57 ether);
    }
}
