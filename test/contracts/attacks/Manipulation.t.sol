// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IPriceIndex} from "../../../protocol/contracts/interfaces/IPriceIndex.sol";
import {World} from "../World.sol";

/// @dev Utilisation, price and burn rate moved by fees that somebody pays to himself: in receipts of one unit, in one huge one, in any split.
contract ManipulationTest is World {
    uint64 private constant MEASURED = 1_000;

    function work(address node, uint256 fees) private {
        vm.prank(address(batches));
        emissions.settleWork(node, fees, fees / 20, 500, vm.getBlockNumber() - 1);
    }

    function used() private view returns (uint256) {
        return emissions.classState(CLASS).used;
    }

    /// @dev The same fees in more batches count as many units at most, and never more than the machine was measured to do.
    function testFuzz_noSplitOfTheSameFeesCountsMore(uint256 fees, uint256 parts) public {
        fees = bound(fees, 0, 3 ether);
        parts = bound(parts, 1, 12);
        emissions.report(provider, MEASURED);
        uint256 start = vm.snapshotState();
        work(provider, fees);
        uint256 whole = used();
        vm.revertToState(start);
        for (uint256 i = 0; i < parts; i++) work(provider, fees * (i + 1) / parts - fees * i / parts);
        assert(used() <= whole && whole <= MEASURED);
    }

    /// @dev A thousand receipts of one base unit are no work at all.
    function test_receiptsOfOneUnitAreNoWork() public {
        emissions.report(provider, MEASURED);
        (uint256 price,) = index.priceOf(CLASS);
        for (uint256 i = 0; i < 100; i++) work(provider, 1);
        work(provider, price - 1);
        eq(used(), 0, "none");
        work(provider, price);
        eq(used(), 1, "the first");
    }

    /// @dev However much a seventh of the capacity pays itself for an epoch, the price moves by δ at most and β by its step; the median of
    /// seven leaves three such epochs of seven without effect (Emissions.t.sol).
    function testFuzz_anEpochOfPayingOneselfMovesPriceAndBurnByTheirStepsAtMost(uint256 fees) public {
        emissions.report(provider, MEASURED);
        emissions.report(vm.addr(2), 6 * MEASURED);
        (uint256 price,) = index.priceOf(CLASS);
        uint256 beta = emissions.betaBps();
        work(provider, bound(fees, 0, 1e24));
        assert(used() <= MEASURED);
        skip(1 days);
        emissions.roll(1);
        (uint256 next,) = index.priceOf(CLASS);
        uint256 low = beta - 50;
        assert(next <= price + price * 200 / 10_000 && next >= price - price * 200 / 10_000);
        assert(emissions.betaBps() >= low && emissions.betaBps() <= beta + 50);
        // A seventh used is below the target: the price falls, whoever paid what.
        assert(next < price);
    }
}
