// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title The formulas of the economy
/// @notice The twin in TypeScript is protocol/economics.ts, and both are held to protocol/vectors/economics.json. Amounts are base
/// units below 2^96, shares basis points (1/10000), utilisation and γ parts per million. Divisions round down; signed steps
/// round towards zero.
library Economics {
    uint256 internal constant BPS = 10_000;
    uint256 internal constant PPM = 1_000_000;
    uint256 internal constant PPM_OF_BPS = 100;
    /// @dev Epochs whose median is the utilisation that steers.
    uint256 internal constant MEDIAN_OF = 7;
    /// @dev Share of a class's floor price that a unit of capacity earns at demand factor 1, and the ends of that factor. At the upper
    /// end a unit earns a quarter of the floor price, hence never more than a quarter of the price.
    uint256 internal constant AVAILABLE_BPS = 2_000;
    uint256 internal constant FACTOR_MIN_BPS = 8_000;
    uint256 internal constant FACTOR_MAX_BPS = 12_500;
    uint256 internal constant PRICE_MAX = type(uint96).max;

    /// @notice S_{e+1} = λ·S_e.
    function scheduleNext(uint256 schedule, uint256 lambdaPpm) internal pure returns (uint256) {
        return schedule * lambdaPpm / PPM;
    }

    /// @notice Bound of Σ S_e over all epochs: S_0 / (1 − λ).
    function scheduleBound(uint256 first, uint256 lambdaPpm) internal pure returns (uint256) {
        return (first * PPM + PPM - lambdaPpm - 1) / (PPM - lambdaPpm);
    }

    /// @notice Exponential mean over about n epochs.
    function smooth(uint256 mean, uint256 value, uint256 n) internal pure returns (uint256) {
        return (mean * (n - 1) + value) / n;
    }

    /// @param target U*, parts per million.
    /// @param home β_0, to which β returns where utilisation is on its target.
    /// @param returnEpochs time constant of that return.
    /// @param kappa step for a utilisation that is 1 off the target.
    /// @param maxStep most that β moves in an epoch. Like all but the first and the third in basis points.
    struct BurnRate {
        uint256 target;
        uint256 home;
        uint256 returnEpochs;
        uint256 kappa;
        uint256 maxStep;
        uint256 min;
        uint256 max;
    }

    /// @notice β_{e+1} = clamp(β_e + κ·(U − U*) − (β_e − β_0)/R, β_min, β_max), with |step| ≤ maxStep.
    /// @dev Without the return β would add up every deviation there ever was, as the index does, and whoever lifts the index for a while
    /// would lower β for good where β had stood at a bound.
    /// @param betaPpm parts per million, so that small deviations are not rounded away.
    function burnRateNext(uint256 betaPpm, uint256 usedPpm, BurnRate memory p) internal pure returns (uint256) {
        int256 step = int256(p.kappa) * (int256(usedPpm) - int256(p.target)) / int256(BPS)
            - (int256(betaPpm) - int256(p.home * PPM_OF_BPS)) / int256(p.returnEpochs);
        int256 most = int256(p.maxStep * PPM_OF_BPS);
        int256 next = int256(betaPpm) + (step > most ? most : step < -most ? -most : step);
        int256 low = int256(p.min * PPM_OF_BPS);
        int256 high = int256(p.max * PPM_OF_BPS);
        return uint256(next < low ? low : next > high ? high : next);
    }

    /// @notice p_{t+1} = p_t·(1 + δ·clamp((U − U*)/U*, −1, 1)), not below the class's floor.
    function priceNext(uint256 price, uint256 usedPpm, uint256 targetPpm, uint256 deltaBps, uint256 floor)
        internal
        pure
        returns (uint256)
    {
        if (usedPpm >= targetPpm) {
            uint256 up = _min((usedPpm - targetPpm) * PPM / targetPpm, PPM);
            return _min(price + price * deltaBps * up / (BPS * PPM), PRICE_MAX);
        }
        uint256 down = (targetPpm - usedPpm) * PPM / targetPpm;
        uint256 next = price - price * deltaBps * down / (BPS * PPM);
        return next < floor ? floor : next;
    }

    /// @notice γ_e = min(γ, budget / smoothed burn), parts per million; the budget is w·S_e.
    function gammaOf(uint256 gammaBps, uint256 budget, uint256 smoothedBurn) internal pure returns (uint256) {
        uint256 most = gammaBps * PPM / BPS;
        return smoothedBurn == 0 ? most : _min(most, budget * PPM / smoothedBurn);
    }

    /// @notice What a batch mints: γ_e·tier·net burn. Below the net burn, since γ < 1 and tier ≤ 1.
    function workMint(uint256 netBurn, uint256 gammaPpm, uint256 tierBps) internal pure returns (uint256) {
        return netBurn * gammaPpm / PPM * tierBps / BPS;
    }

    /// @notice What a batch adds to its class's backing: α of its net burn as it were at the lowest β. So it does not grow when β does, and
    /// idle capacity gains nothing by driving up what others burn.
    function backingOf(uint256 netBurn, uint256 alphaBps, uint256 betaMinBps, uint256 betaBps)
        internal
        pure
        returns (uint256)
    {
        return betaBps == 0 ? 0 : netBurn * alphaBps * betaMinBps / (BPS * betaBps);
    }

    /// @notice The consumer's discount on what a range burns.
    function discountOf(uint256 burned, uint256 discountBps) internal pure returns (uint256) {
        return burned * discountBps / BPS;
    }

    /// @notice What a class's capacity earns in an epoch before the pool's limit: units · floor price · 20% · f, with the demand factor
    /// f = min(1.25, 0.8 + released / (units · floor price · 20%)).
    /// @param released part of the class's backing that this epoch may spend.
    function availability(uint256 units, uint256 floor, uint256 released) internal pure returns (uint256) {
        uint256 whole = units * floor * AVAILABLE_BPS;
        return _min(whole * FACTOR_MAX_BPS / (BPS * BPS), whole * FACTOR_MIN_BPS / (BPS * BPS) + released);
    }

    /// @notice Share of a limited pool: all of it while the pool suffices.
    function ofPool(uint256 wanted, uint256 sum, uint256 pool) internal pure returns (uint256) {
        return sum <= pool ? wanted : wanted * pool / sum;
    }

    /// @notice used / capacity in parts per million, at most 1.
    function utilisation(uint256 used, uint256 capacity) internal pure returns (uint256) {
        return used >= capacity ? PPM : used * PPM / capacity;
    }

    // ---- the last seven utilisations, 32 bits each, newest lowest; their number in the top byte

    /// @notice Adds a utilisation and gives the median of the last seven (of all while there are fewer; of an even number the lower
    /// of the middle two).
    function record(uint256 history, uint256 usedPpm) internal pure returns (uint256 updated, uint256 median) {
        uint256 count = history >> 248;
        if (count < MEDIAN_OF) count++;
        updated = ((history << 32) & ((1 << 224) - 1)) | usedPpm | (count << 248);
        uint256[] memory sorted = new uint256[](count);
        for (uint256 i = 0; i < count; i++) {
            uint256 value = (updated >> (32 * i)) & type(uint32).max;
            uint256 place = i;
            while (place > 0 && sorted[place - 1] > value) {
                sorted[place] = sorted[place - 1];
                place--;
            }
            sorted[place] = value;
        }
        median = sorted[(count - 1) / 2];
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
