// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IEmissions} from "./interfaces/IEmissions.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IPriceIndex} from "./interfaces/IPriceIndex.sol";
import {Economics} from "./libraries/Economics.sol";
import {SinterToken} from "./SinterToken.sol";

/// @title Emissions, documented in {IEmissions}
contract Emissions is IEmissions {
    uint256 private constant BPS = Economics.BPS;
    /// @dev Epochs that a settlement, a report or a claim ends on its way, so that its gas stays bounded after a long silence. A batch that
    /// finds more behind it counts in the epoch that is then open, whose budgets were used by nobody else.
    uint256 private constant ROLL = 2;

    /// @dev What was measured of a node last. `units` stay after they were paid: they bound the work that counts.
    struct Measured {
        uint64 epoch;
        uint64 units;
        uint64 used;
        uint56 usedIn;
        bool paid;
    }

    SinterToken public immutable token;
    INodeRegistry public immutable registry;
    IPriceIndex public immutable prices;
    address public immutable batches;
    /// @notice Reports measured capacity. Zero: nothing is measured, and availability pays nothing.
    address public immutable capacity;
    uint64 public immutable startedAt;

    Params private _params;
    Epoch private _epoch;
    uint256 private _history;
    mapping(bytes32 class => ClassState) private _classes;
    mapping(bytes32 class => uint256) private _histories;
    mapping(bytes32 class => mapping(uint64 epoch => uint256)) private _perUnit;
    mapping(address operator => Measured) private _measured;
    mapping(address operator => uint256) private _credit;
    /// @inheritdoc IEmissions
    uint256 public credited;

    constructor(
        SinterToken token_,
        INodeRegistry registry_,
        IPriceIndex prices_,
        address batches_,
        address capacity_,
        Params memory p
    ) {
        if (p.epochLength == 0) revert BadEmissionParams("epochLength");
        if (p.lambdaPpm >= Economics.PPM) revert BadEmissionParams("lambdaPpm");
        if (Economics.scheduleBound(p.emission0, p.lambdaPpm) > type(uint96).max) revert BadEmissionParams("emission0");
        if (uint256(p.workBps) + p.availabilityBps > BPS) revert BadEmissionParams("workBps");
        // The whole argument against paying oneself hangs on this line.
        if (uint256(p.gammaBps) + p.alphaBps >= BPS) revert BadEmissionParams("gammaBps");
        if (p.smoothingEpochs == 0 || p.releaseEpochs == 0 || p.betaReturnEpochs == 0) revert BadEmissionParams("smoothingEpochs");
        if (p.betaMinBps > p.betaBps || p.betaBps > p.betaMaxBps || p.betaMaxBps > BPS) revert BadEmissionParams("betaBps");
        if (p.targetPpm == 0 || p.targetPpm >= Economics.PPM) revert BadEmissionParams("targetPpm");
        bool ascending = p.tierBps[0] <= p.tierBps[1] && p.tierBps[1] <= p.tierBps[2] && p.tierBps[2] <= BPS;
        if (!ascending || p.tierStakes[0] > p.tierStakes[1]) revert BadEmissionParams("tierBps");
        token = token_;
        registry = registry_;
        prices = prices_;
        batches = batches_;
        capacity = capacity_;
        startedAt = uint64(block.timestamp);
        _params = p;
        _epoch.betaPpm = uint32(p.betaBps * Economics.PPM_OF_BPS);
        _epoch.schedule = p.emission0;
        _epoch.gammaPpm = uint32(Economics.gammaOf(p.gammaBps, 0, 0));
    }

    // ---- steps

    /// @inheritdoc IEmissions
    function roll(uint256 most) public returns (uint64) {
        uint64 now_ = epochNow();
        for (uint256 i = 0; i < most && _epoch.index < now_; i++) _close();
        return _epoch.index;
    }

    /// @inheritdoc IEmissions
    function settleWork(address provider, uint256 fees, uint256 netBurn, uint256 beta, uint256 atBlock)
        external
    {
        if (msg.sender != batches) revert NotBatches(msg.sender);
        roll(ROLL);
        Epoch storage e = _epoch;
        bytes32 class = registry.classOf(provider);
        (uint256 price,) = prices.priceOf(class);
        if (price > 0) {
            _classes[class].backing += uint128(
                Economics.backingOf(netBurn, _params.alphaBps, _params.betaMinBps, beta)
            );
            _use(class, provider, fees / price);
        }
        e.burned += uint128(netBurn);
        uint256 budget = uint256(e.schedule) * _params.workBps / BPS - e.workMinted;
        uint256 amount = Economics.workMint(netBurn, e.gammaPpm, tierOf(registry.stakeAt(provider, atBlock)));
        if (amount > budget) amount = budget;
        e.workMinted += uint128(amount);
        _add(provider, amount);
        emit WorkCredited(provider, e.index, netBurn, amount);
    }

    /// @inheritdoc IEmissions
    function report(address operator, uint64 units) external {
        if (msg.sender != capacity) revert NotCapacity(msg.sender);
        // Capacity must not land in an epoch that is long over.
        uint64 index = roll(ROLL);
        if (index != epochNow()) revert EpochsBehind(index, epochNow());
        bytes32 class = registry.classOf(operator);
        (uint256 price,) = prices.priceOf(class);
        if (price == 0) revert ClassNotPriced(class);
        _settleMeasured(operator);
        Measured storage m = _measured[operator];
        if (m.epoch != index) (m.epoch, m.units, m.paid) = (index, 0, false);
        m.units += units;
        _classes[class].capacity += units;
        emit CapacityReported(operator, index, units);
    }

    /// @inheritdoc IEmissions
    function claim(address operator) external returns (uint256 amount) {
        roll(ROLL);
        _settleMeasured(operator);
        uint256 credit = _credit[operator];
        uint256 room = token.cap() - token.totalSupply();
        amount = credit < room ? credit : room;
        if (amount == 0) revert NothingToClaim(operator);
        _credit[operator] = credit - amount;
        address payout = registry.payoutOf(operator);
        emit Claimed(operator, payout, amount);
        token.mint(payout, amount);
    }

    // ---- views

    /// @inheritdoc IEmissions
    function params() external view returns (Params memory) {
        return _params;
    }

    /// @inheritdoc IEmissions
    function betaBps() external view returns (uint16) {
        return uint16(_epoch.betaPpm / Economics.PPM_OF_BPS);
    }

    /// @inheritdoc IEmissions
    function epoch() external view returns (Epoch memory) {
        return _epoch;
    }

    /// @inheritdoc IEmissions
    function epochNow() public view returns (uint64) {
        return (uint64(block.timestamp) - startedAt) / _params.epochLength;
    }

    /// @inheritdoc IEmissions
    function classState(bytes32 class) external view returns (ClassState memory) {
        return _classes[class];
    }

    /// @inheritdoc IEmissions
    function perUnit(bytes32 class, uint64 epochIndex) external view returns (uint256) {
        return _perUnit[class][epochIndex];
    }

    /// @inheritdoc IEmissions
    function creditOf(address operator) external view returns (uint256) {
        return _credit[operator] + _earned(operator);
    }

    /// @inheritdoc IEmissions
    function tierOf(uint256 stake) public view returns (uint256) {
        Params storage p = _params;
        return stake >= p.tierStakes[1] ? p.tierBps[2] : stake >= p.tierStakes[0] ? p.tierBps[1] : p.tierBps[0];
    }

    // ---- parts

    /// @dev Fees at the reference price, and never more than the node was measured to be able to do in this epoch or the last: a receipt
    /// of one unit with a fee of a million moves utilisation by what the machine could have done.
    function _use(bytes32 class, address provider, uint256 units) private {
        Measured storage m = _measured[provider];
        uint64 index = _epoch.index;
        if (m.units == 0 || m.epoch + 1 < index) return;
        if (m.usedIn != index) (m.usedIn, m.used) = (uint56(index), 0);
        uint256 free = m.used < m.units ? m.units - m.used : 0;
        uint64 counted = uint64(units < free ? units : free);
        m.used += counted;
        _classes[class].used += counted;
    }

    function _earned(address operator) private view returns (uint256) {
        Measured storage m = _measured[operator];
        if (m.paid || m.units == 0 || m.epoch >= _epoch.index) return 0;
        return m.units * _perUnit[registry.classOf(operator)][m.epoch];
    }

    function _settleMeasured(address operator) private {
        Measured storage m = _measured[operator];
        if (m.units == 0 || m.paid || m.epoch >= _epoch.index) return;
        uint256 amount = _earned(operator);
        m.paid = true;
        _credit[operator] += amount;
        emit AvailabilityCredited(operator, m.epoch, amount);
    }

    function _add(address operator, uint256 amount) private {
        _credit[operator] += amount;
        credited += amount;
    }

    /// @dev Ends the open epoch: utilisation, prices, availability, then the next epoch's β, S and γ.
    function _close() private {
        Epoch storage e = _epoch;
        Params storage p = _params;
        (uint256 usedPpm, uint256 available) = _closeClasses(e.index, uint256(e.schedule) * p.availabilityBps / BPS);
        credited += available;
        uint256 burned = Economics.smooth(e.smoothedBurn, e.burned, p.smoothingEpochs);
        uint256 schedule = Economics.scheduleNext(e.schedule, p.lambdaPpm);
        uint256 gammaPpm = Economics.gammaOf(p.gammaBps, schedule * p.workBps / BPS, burned);
        emit EpochClosed(e.index, usedPpm, e.burned, e.workMinted, available, e.betaPpm, gammaPpm, schedule);
        _epoch = Epoch(e.index + 1, e.betaPpm, uint32(gammaPpm), uint128(schedule), 0, uint128(burned), 0);
    }

    /// @return usedPpm the utilisation of all classes, by value; of this epoch, not the median.
    /// @return available what the measured capacity earns.
    function _closeClasses(uint64 index, uint256 pool) private returns (uint256 usedPpm, uint256 available) {
        uint256 count = prices.classCount();
        uint256[] memory wanted = new uint256[](count);
        bytes32[] memory names = new bytes32[](count);
        uint256 sum = 0;
        uint256 usedValue = 0;
        uint256 capacityValue = 0;
        for (uint256 i = 0; i < count; i++) {
            IPriceIndex.ClassPrice memory price = prices.classAt(i);
            names[i] = price.class;
            ClassState storage c = _classes[price.class];
            uint256 released = c.backing / _params.releaseEpochs;
            c.backing -= uint128(released);
            if (c.capacity == 0) {
                c.used = 0;
                continue;
            }
            usedValue += uint256(c.used) * price.price;
            capacityValue += uint256(c.capacity) * price.price;
            wanted[i] = Economics.availability(c.capacity, price.floor, released);
            sum += wanted[i];
            uint256 median;
            (_histories[price.class], median) =
                Economics.record(_histories[price.class], Economics.utilisation(c.used, c.capacity));
            prices.update(price.class, median);
        }
        // Where nothing was measured there is nothing to steer by: β and the prices stay.
        if (capacityValue == 0) return (0, 0);
        for (uint256 i = 0; i < count; i++) {
            ClassState storage c = _classes[names[i]];
            if (c.capacity == 0) continue;
            uint256 each = Economics.ofPool(wanted[i], sum, pool) / c.capacity;
            _perUnit[names[i]][index] = each;
            available += each * c.capacity;
            emit AvailabilityPriced(index, names[i], c.capacity, each, c.backing);
            (c.capacity, c.used) = (0, 0);
        }
        usedPpm = Economics.utilisation(usedValue, capacityValue);
        _steer(usedPpm);
    }

    function _steer(uint256 usedPpm) private {
        Params storage p = _params;
        uint256 median;
        (_history, median) = Economics.record(_history, usedPpm);
        _epoch.betaPpm = uint32(
            Economics.burnRateNext(
                _epoch.betaPpm,
                median,
                Economics.BurnRate({
                    target: p.targetPpm,
                    home: p.betaBps,
                    returnEpochs: p.betaReturnEpochs,
                    kappa: p.kappaBps,
                    maxStep: p.betaStepBps,
                    min: p.betaMinBps,
                    max: p.betaMaxBps
                })
            )
        );
    }
}
