// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBeacon} from "./interfaces/IBeacon.sol";
import {ICapacity} from "./interfaces/ICapacity.sol";
import {IEmissions} from "./interfaces/IEmissions.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IStrikes} from "./interfaces/IStrikes.sol";
import {Pulses} from "./libraries/Pulses.sol";

/// @title Capacity, documented in {ICapacity}
contract Capacity is ICapacity {
    uint256 private constant MIN_N = 256;
    uint256 private constant MAX_N = 8192;
    uint256 private constant MAX_STEPS = 65_536;

    INodeRegistry public immutable registry;
    IBeacon public immutable beacon;
    IStrikes public immutable strikes;
    IEmissions public immutable emissions;

    Params private _params;
    mapping(bytes32 class => Class) private _classes;
    bytes32[] private _names;
    mapping(uint64 slot => Pulse) private _pulses;
    mapping(uint64 slot => mapping(address reporter => bytes32)) private _reports;
    mapping(bytes32 lane => bool) private _claimed;
    /// @inheritdoc ICapacity
    uint64 public lastPulse;
    uint64 private _lastBlock;

    constructor(
        INodeRegistry registry_,
        IBeacon beacon_,
        IStrikes strikes_,
        IEmissions emissions_,
        Params memory p,
        Class[] memory classes_
    ) {
        if (p.rarity == 0) revert BadCapacityParams("rarity");
        if (p.window == 0) revert BadCapacityParams("window");
        if (p.claimWindow == 0) revert BadCapacityParams("claimWindow");
        if (p.freshSlots == 0) revert BadCapacityParams("freshSlots");
        if (p.reporters == 0) revert BadCapacityParams("reporters");
        for (uint256 i = 0; i < classes_.length; i++) {
            Class memory c = classes_[i];
            if (c.n < MIN_N || c.n > MAX_N || c.n & (c.n - 1) != 0) revert BadCapacityParams("n");
            if (c.steps == 0 || c.steps > MAX_STEPS || c.steps & (c.steps - 1) != 0) revert BadCapacityParams("steps");
            if (c.entries == 0) revert BadCapacityParams("entries");
            if (c.share == 0) revert BadCapacityParams("share");
            if (c.units == 0 || uint256(c.units) * c.share > type(uint64).max) revert BadCapacityParams("units");
            if (c.stakePerLane == 0) revert BadCapacityParams("stakePerLane");
            if (_classes[c.class].n != 0) revert BadCapacityParams("class");
            _classes[c.class] = c;
            _names.push(c.class);
        }
        registry = registry_;
        beacon = beacon_;
        strikes = strikes_;
        emissions = emissions_;
        _params = p;
        _lastBlock = uint64(block.number);
    }

    // ---- steps

    /// @inheritdoc ICapacity
    function open(uint64 slot) external {
        if (_pulses[slot].openedAt != 0) revert PulseOpen(slot);
        if (block.timestamp <= _until(lastPulse)) revert PulseRunning(lastPulse);
        uint64 next = beacon.slotAfter(block.number);
        // Whoever knew the value for longer than the others would have had longer.
        if (next > uint256(slot) + _params.freshSlots) revert PulseStale(slot);
        beacon.record(slot);
        bytes32 value = beacon.value(slot);
        if (!isPulse(value)) revert NotAPulse(slot);
        // Stakes as they were before this pulse was known.
        _pulses[slot] = Pulse(uint64(block.timestamp), _lastBlock, next + _params.drawMargin);
        (lastPulse, _lastBlock) = (slot, uint64(block.number));
        emit PulseOpened(slot, value, next + _params.drawMargin, _until(slot));
    }

    /// @inheritdoc ICapacity
    function report(uint64 slot, bytes32 root) external {
        Pulse memory p = _opened(slot);
        if (root == 0) revert EmptyReport();
        if (block.timestamp > _until(slot)) revert ReportClosed(slot);
        // What will be examined has to be unknown.
        if (beacon.slotAfter(block.number) > p.drawSlot) revert ReportClosed(slot);
        if (_reports[slot][msg.sender] != 0) revert AlreadyReported(slot, msg.sender);
        if (!_isReporter(slot, msg.sender)) revert NotAReporter(slot, msg.sender);
        _reports[slot][msg.sender] = root;
        emit PulseReported(slot, msg.sender, root);
    }

    /// @inheritdoc ICapacity
    function claim(Claim calldata c) external {
        Pulse memory p = _opened(c.slot);
        bytes32 key = keccak256(abi.encode(c.slot, msg.sender, c.lane));
        if (_claimed[key]) revert AlreadyClaimed(c.slot, msg.sender, c.lane);
        _claimed[key] = true;
        Pulses.Draw memory draw = Pulses.Draw(c.slot, beacon.value(p.drawSlot), msg.sender, c.lane);
        if (block.timestamp > beacon.recordedAt(p.drawSlot) + _params.claimWindow) revert ClaimClosed(c.slot);
        Class memory class = _classOf(msg.sender);
        if (!Pulses.isDrawn(draw, class.share)) revert NotDrawn(c.slot, msg.sender, c.lane);
        strikes.requireServing(msg.sender);
        uint256 wanted = (uint256(c.lane) + 1) * class.stakePerLane;
        uint256 stake = registry.stakeAt(msg.sender, p.snapshot);
        if (stake < wanted) revert StakeTooLow(stake, wanted);
        _requireReported(c);
        _requireShown(c, class, draw);
        uint64 units = class.units * class.share;
        emit CapacityClaimed(c.slot, msg.sender, c.lane, units);
        emissions.report(msg.sender, units);
    }

    // ---- views

    /// @inheritdoc ICapacity
    function params() external view returns (Params memory) {
        return _params;
    }

    /// @inheritdoc ICapacity
    function classOf(bytes32 class) external view returns (Class memory) {
        return _classes[class];
    }

    /// @inheritdoc ICapacity
    function classes() external view returns (Class[] memory list) {
        list = new Class[](_names.length);
        for (uint256 i = 0; i < list.length; i++) list[i] = _classes[_names[i]];
    }

    /// @inheritdoc ICapacity
    function pulseOf(uint64 slot) external view returns (Pulse memory) {
        return _pulses[slot];
    }

    /// @inheritdoc ICapacity
    function isPulse(bytes32 value) public view returns (bool) {
        return Pulses.isPulse(value, _params.rarity);
    }

    /// @inheritdoc ICapacity
    function reportersOf(uint64 slot) public view returns (address[] memory) {
        bytes32 seed = Pulses.reportersSeed(beacon.value(slot));
        return registry.draw(seed, _opened(slot).snapshot, _params.reporters, address(0));
    }

    /// @inheritdoc ICapacity
    function reportOf(uint64 slot, address reporter) external view returns (bytes32) {
        return _reports[slot][reporter];
    }

    /// @inheritdoc ICapacity
    function isDrawn(uint64 slot, address operator, uint32 lane) external view returns (bool) {
        Pulses.Draw memory draw = Pulses.Draw(slot, beacon.value(_opened(slot).drawSlot), operator, lane);
        return Pulses.isDrawn(draw, _classOf(operator).share);
    }

    /// @inheritdoc ICapacity
    function claimed(uint64 slot, address operator, uint32 lane) external view returns (bool) {
        return _claimed[keccak256(abi.encode(slot, operator, lane))];
    }

    // ---- parts

    function _opened(uint64 slot) private view returns (Pulse memory p) {
        p = _pulses[slot];
        if (p.openedAt == 0) revert PulseNotOpen(slot);
    }

    /// @dev Last second of a pulse's reports, 0 where it is not open.
    function _until(uint64 slot) private view returns (uint64) {
        uint64 openedAt = _pulses[slot].openedAt;
        return openedAt == 0 ? 0 : openedAt + _params.window;
    }

    function _isReporter(uint64 slot, address caller) private view returns (bool) {
        address[] memory drawn = reportersOf(slot);
        for (uint256 i = 0; i < drawn.length; i++) if (drawn[i] == caller) return true;
        return false;
    }

    function _classOf(address operator) private view returns (Class memory class) {
        bytes32 name = registry.classOf(operator);
        class = _classes[name];
        if (class.n == 0) revert ClassNotMeasured(name);
    }

    /// @dev The caller's answers have one place in a report, so a report has one set of them.
    function _requireReported(Claim calldata c) private view {
        bytes32 root = _reports[c.slot][c.reporter];
        if (root == 0) revert NotReported(c.slot, c.reporter);
        address[] memory found = registry.operators(c.index, 1);
        if (found.length == 0 || found[0] != msg.sender) revert NotAtIndex(msg.sender, c.index);
        bytes32 leaf = Pulses.leafOf(msg.sender, c.answers);
        if (c.lane >= c.answers.length || !Pulses.leads(leaf, c.index, c.path, Pulses.REPORT_DEPTH, root)) {
            revert NotInReport(c.slot, c.reporter, msg.sender);
        }
    }

    function _requireShown(Claim calldata c, Class memory class, Pulses.Draw memory draw) private view {
        if (c.entries.length != class.entries) revert WrongEntryCount(c.entries.length, class.entries);
        bytes32 lane = Pulses.laneSeed(address(this), beacon.value(c.slot), msg.sender, c.lane);
        for (uint256 i = 0; i < class.entries; i++) {
            Pulses.Position memory place = Pulses.positionOf(draw, i, class.n, class.steps);
            if (!Pulses.shows(c.entries[i], place, class, lane, c.answers[c.lane])) revert EntryNotShown(i);
        }
    }
}
