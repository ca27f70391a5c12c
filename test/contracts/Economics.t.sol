// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Economics} from "../../protocol/contracts/libraries/Economics.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {World} from "./World.sol";

/// @dev The formulas against the vectors that the TypeScript twin made, and what each must keep for any arguments.
contract EconomicsTest is World {
    string private json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("protocol/vectors/economics.json");
    }

    function number(string memory path) private view returns (uint256) {
        return vm.parseJsonUint(json, path);
    }

    function formula(string memory name, function(uint256[] memory) pure returns (uint256) f) private view {
        string memory at_ = string.concat(".", name, "[");
        uint256 count = 0;
        while (vm.keyExistsJson(json, string.concat(at_, vm.toString(count), "]"))) {
            string memory path = string.concat(at_, vm.toString(count++), "]");
            uint256[] memory a = vm.parseJsonUintArray(json, string.concat(path, ".in"));
            eq(f(a), number(string.concat(path, ".out")), path);
        }
        assert(count > 2);
    }

    function scheduleNext(uint256[] memory a) private pure returns (uint256) {
        return Economics.scheduleNext(a[0], a[1]);
    }

    function scheduleBound(uint256[] memory a) private pure returns (uint256) {
        return Economics.scheduleBound(a[0], a[1]);
    }

    function smooth(uint256[] memory a) private pure returns (uint256) {
        return Economics.smooth(a[0], a[1], a[2]);
    }

    function burnRateNext(uint256[] memory a) private pure returns (uint256) {
        return Economics.burnRateNext(a[0], a[1], Economics.BurnRate(a[2], a[3], a[4], a[5], a[6], a[7], a[8]));
    }

    function priceNext(uint256[] memory a) private pure returns (uint256) {
        return Economics.priceNext(a[0], a[1], a[2], a[3], a[4]);
    }

    function gammaOf(uint256[] memory a) private pure returns (uint256) {
        return Economics.gammaOf(a[0], a[1], a[2]);
    }

    function workMint(uint256[] memory a) private pure returns (uint256) {
        return Economics.workMint(a[0], a[1], a[2]);
    }

    function backing(uint256[] memory a) private pure returns (uint256) {
        return Economics.backingOf(a[0], a[1], a[2], a[3]);
    }

    function discount(uint256[] memory a) private pure returns (uint256) {
        return Economics.discountOf(a[0], a[1]);
    }

    function availability(uint256[] memory a) private pure returns (uint256) {
        return Economics.availability(a[0], a[1], a[2]);
    }

    function ofPool(uint256[] memory a) private pure returns (uint256) {
        return Economics.ofPool(a[0], a[1], a[2]);
    }

    function utilisation(uint256[] memory a) private pure returns (uint256) {
        return Economics.utilisation(a[0], a[1]);
    }

    function test_everyFormulaGivesWhatTheVectorsSay() public view {
        formula("scheduleNext", scheduleNext);
        formula("scheduleBound", scheduleBound);
        formula("smooth", smooth);
        formula("burnRateNext", burnRateNext);
        formula("priceNext", priceNext);
        formula("gammaOf", gammaOf);
        formula("workMint", workMint);
        formula("backingOf", backing);
        formula("discountOf", discount);
        formula("availability", availability);
        formula("ofPool", ofPool);
        formula("utilisation", utilisation);
    }

    function test_mediansAreThoseOfTheVectors() public view {
        uint256 history = 0;
        for (uint256 i = 0; i < 20; i++) {
            string memory path = string.concat(".medians[", vm.toString(i), "]");
            uint256 median;
            (history, median) = Economics.record(history, number(string.concat(path, ".value")));
            eq(median, number(string.concat(path, ".median")), path);
        }
    }

    // ---- for any arguments

    function testFuzz_theScheduleNeverExceedsItsBound(uint256 first, uint256 lambda, uint256 epochs) public pure {
        (first, lambda, epochs) = (bound(first, 0, 1e27), bound(lambda, 0, 999_999), bound(epochs, 1, 60));
        uint256 sum = 0;
        uint256 schedule = first;
        for (uint256 e = 0; e < epochs; e++) {
            sum += schedule;
            schedule = Economics.scheduleNext(schedule, lambda);
        }
        assert(sum <= Economics.scheduleBound(first, lambda));
    }

    function steer() private pure returns (Economics.BurnRate memory) {
        IEmissions.Params memory p = emissionParams();
        return Economics.BurnRate(
            p.targetPpm, p.betaBps, p.betaReturnEpochs, p.kappaBps, p.betaStepBps, p.betaMinBps, p.betaMaxBps
        );
    }

    function testFuzz_theBurnRateStaysInItsBoundsAndMovesByItsStepAtMost(uint256 beta, uint256 used) public pure {
        (beta, used) = (bound(beta, 20_000, 200_000), bound(used, 0, 1e6));
        uint256 next = Economics.burnRateNext(beta, used, steer());
        assert(next >= 20_000 && next <= 200_000);
        assert(next + 5_000 >= beta && beta + 5_000 >= next);
        // Monotone in what is used, and from its home it moves with demand.
        assert(used == 1e6 || Economics.burnRateNext(beta, used + 1, steer()) >= next);
        uint256 fromHome = Economics.burnRateNext(50_000, used, steer());
        assert(used >= 600_000 ? fromHome >= 50_000 : fromHome <= 50_000);
    }

    function testFuzz_theBurnRateComesHomeWhereUtilisationIsOnTarget(uint256 beta) public pure {
        beta = bound(beta, 20_000, 200_000);
        for (uint256 e = 0; e < 300; e++) beta = Economics.burnRateNext(beta, 600_000, steer());
        assert(beta > 50_000 - 30 && beta < 50_000 + 30);
    }

    function testFuzz_aPriceMovesByDeltaAtMostAndTowardsWhatIsUsed(uint256 price, uint256 floor, uint256 used) public pure {
        (floor, used) = (bound(floor, 1, 1e24), bound(used, 0, 1e6));
        price = bound(price, floor, 1e26);
        uint256 next = Economics.priceNext(price, used, 600_000, 200, floor);
        assert(next >= floor && next <= Economics.PRICE_MAX);
        assert(next <= price + price * 2 / 100 && next + price * 2 / 100 + 1 >= price);
        assert(used >= 600_000 ? next >= price : next <= price);
    }

    function testFuzz_workNeverMintsWhatItBurned(uint256 burned, uint256 gamma, uint256 mean, uint256 tier) public pure {
        (burned, gamma, tier) = (bound(burned, 1, 1e27), bound(gamma, 0, 9_999), bound(tier, 0, 10_000));
        uint256 gammaPpm = Economics.gammaOf(gamma, bound(mean, 0, 1e27), bound(mean >> 128, 0, 1e27));
        assert(Economics.workMint(burned, gammaPpm, tier) < burned);
    }

    /// @dev A unit never earns more than a quarter of the floor, and backing adds at most itself.
    function testFuzz_availabilityIsBoundedByTheFloorPriceAndByItsBacking(uint256 units, uint256 floor, uint256 released)
        public
        pure
    {
        (units, floor, released) = (bound(units, 1, 1e12), bound(floor, 1, 1e24), bound(released, 0, 1e27));
        uint256 pay = Economics.availability(units, floor, released);
        uint256 base = Economics.availability(units, floor, 0);
        assert(pay <= units * floor / 4);
        assert(pay >= base && pay - base <= released);
    }

    function testFuzz_theMedianIsAValueThatHalfOfTheOthersDoNotExceed(uint256[7] memory values) public pure {
        uint256 history = 0;
        uint256 median;
        for (uint256 i = 0; i < 7; i++) {
            values[i] = bound(values[i], 0, 1e6);
            (history, median) = Economics.record(history, values[i]);
        }
        uint256 below = 0;
        uint256 above = 0;
        for (uint256 i = 0; i < 7; i++) {
            if (values[i] < median) below++;
            if (values[i] > median) above++;
        }
        assert(below <= 3 && above <= 3);
    }
}
