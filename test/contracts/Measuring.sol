// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {Pulses} from "../../protocol/contracts/libraries/Pulses.sol";
import {Lanes} from "./Lanes.sol";

/// @dev Nodes that answer pulses rightly or not, report late, claim what is not theirs, twice, of other pulses, in any order.
contract Measuring is Lanes {
    uint32 private constant MOST_LANES = 3;

    uint64[] public slots;
    bytes[] private _claims;
    uint256[] private _keys;
    mapping(bytes32 claim => bool) private _right;

    mapping(uint64 slot => mapping(address operator => uint256)) private _credited;
    mapping(bytes32 lane => bool) private _paid;
    uint256 public total;
    uint256 public paid;
    /// @dev Most that a node was credited of one pulse.
    uint256 public mostOfAPulse;
    bool public paidTwice;
    bool public paidForNothing;

    constructor() {
        setUp();
    }

    /// @dev One step, one entry: what is at stake here is who is paid how often.
    function capacityClasses() internal pure override returns (ICapacity.Class[] memory list) {
        list = super.capacityClasses();
        (list[0].steps, list[0].entries) = (1, 1);
    }

    /// @dev No epoch ends, so what was reported can be counted.
    function emissionParams() internal pure override returns (IEmissions.Params memory p) {
        p = super.emissionParams();
        p.epochLength = 1_000_000_000;
    }

    function hashOf(uint64 slot) private pure returns (bytes32) {
        return keccak256(abi.encode("draw", slot));
    }

    /// @dev One of the last eight: of older ones the time is over.
    function recent(uint256 which, uint256 count) private pure returns (uint256) {
        return count - 1 - which % (count < 8 ? count : 8);
    }

    function advance(uint256 secs) external {
        mine(bound(secs, 1, 30));
    }

    function next() external {
        uint64 slot = nextSlot();
        reach(slot, true);
        (bool ok,) = address(capacity).call(abi.encodeCall(ICapacity.open, (slot)));
        if (ok) slots.push(slot);
    }

    /// @dev A node answers the last pulse, and one of those who may, or not, reports it.
    function answerLast(uint256 who, uint256 by, uint256 lane, bool right) external {
        if (slots.length == 0) return;
        uint64 slot = slots[slots.length - 1];
        uint256 key = 1 + who % NODES;
        uint32 l = uint32(lane % MOST_LANES);
        Answered memory a = answerWith(
            slot, vm.addr(key), l, MOST_LANES, hashOf(slot), laneSeed(slot, vm.addr(key), l), right ? prover.NONE() : 0
        );
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(key), a.answers), placeOf(key), 20);
        address reporter_ = vm.addr(1 + by % NODES);
        vm.prank(reporter_);
        (bool ok,) = address(capacity).call(abi.encodeCall(ICapacity.report, (slot, root)));
        ICapacity.Claim memory c = ICapacity.Claim(slot, reporter_, placeOf(key), path, a.answers, l, a.entries);
        _claims.push(abi.encode(c));
        _keys.push(key);
        // What was not reported in time is worth as little as what was not computed.
        _right[keccak256(abi.encode(c, key))] = right && ok;
    }

    function drawOne(uint256 which) external {
        if (slots.length == 0) return;
        uint64 slot = slots[recent(which, slots.length)];
        draw(slot, hashOf(slot));
    }

    /// @param as_ who claims: mostly who answered.
    function claimOne(uint256 which, uint256 as_, bool otherLane) external {
        if (_claims.length == 0) return;
        which = recent(which, _claims.length);
        ICapacity.Claim memory c = abi.decode(_claims[which], (ICapacity.Claim));
        uint256 key = as_ % 4 == 0 ? 1 + (as_ >> 8) % NODES : _keys[which];
        bool right = key == _keys[which] && !otherLane && _right[keccak256(abi.encode(c, key))];
        if (otherLane) c.lane = (c.lane + 1) % MOST_LANES;
        address operator = vm.addr(key);
        vm.prank(operator);
        (bool ok,) = address(capacity).call(abi.encodeCall(ICapacity.claim, (c)));
        if (!ok) return;
        bytes32 lane = keccak256(abi.encode(c.slot, operator, c.lane));
        Pulses.Draw memory d = Pulses.Draw(c.slot, valueOf(capacity.pulseOf(c.slot).drawSlot, hashOf(c.slot)), operator, c.lane);
        if (_paid[lane]) paidTwice = true;
        if (!right || !Pulses.isDrawn(d, SHARE)) paidForNothing = true;
        _paid[lane] = true;
        paid++;
        total += UNITS * SHARE;
        _credited[c.slot][operator] += UNITS * SHARE;
        if (_credited[c.slot][operator] > mostOfAPulse) mostOfAPulse = _credited[c.slot][operator];
    }

    function reported() external view returns (uint256) {
        return emissions.classState(CLASS).capacity;
    }

    /// @dev Units that the stake of a node allows of one pulse.
    function allowed() external pure returns (uint256) {
        return STAKE / 2_000 ether * UNITS * SHARE;
    }
}
