// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {Pulses} from "../../protocol/contracts/libraries/Pulses.sol";
import {Lanes} from "./Lanes.sol";

/// @dev Nodes that answer pulses rightly or not, report late, claim what is not theirs, twice, of other pulses, in any order.
contract Measuring is Lanes {
    uint32 private constant MOST_LANES = 3;
    /// @dev That a node's stake is enough for.
    uint256 private constant LANES_OF_STAKE = STAKE / 2_000 ether;

    /// @dev What a node said of a pulse. What it shows of that is computed again when it claims.
    /// @param worth whether it may be paid for: computed, and reported in time.
    struct Answer {
        uint64 slot;
        uint8 key;
        uint8 by;
        uint8 lane;
        bool right;
        bool worth;
    }

    uint64[] public slots;
    Answer[] private _answers;
    /// @dev Of the keys 1 to `NODES`: an address costs a multiplication on the curve each time it is asked for.
    address[NODES + 1] private _nodes;

    mapping(uint64 slot => mapping(address reporter => bytes32)) private _inTime;
    mapping(bytes32 lane => bool) private _paid;
    uint256 public total;
    uint256 public paid;
    bool public paidTwice;
    bool public paidForNothing;

    constructor() {
        setUp();
        for (uint256 key = 1; key <= NODES; key++) _nodes[key] = vm.addr(key);
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
        Answer memory a =
            Answer(slot, uint8(1 + who % NODES), uint8(1 + by % NODES), uint8(lane % MOST_LANES), right, false);
        Answered memory shown = shownOf(a);
        (bytes32 root,) = prover.place(leafOf(_nodes[a.key], shown.answers), placeOf(a.key), 20);
        vm.prank(_nodes[a.by]);
        (bool ok,) = address(capacity).call(abi.encodeCall(ICapacity.report, (slot, root)));
        if (ok && inTime(slot)) _inTime[slot][_nodes[a.by]] = root;
        // What was not reported in time is worth as little as what was not computed.
        a.worth = right && _inTime[slot][_nodes[a.by]] == root;
        _answers.push(a);
    }

    function inTime(uint64 slot) private view returns (bool) {
        ICapacity.Pulse memory p = capacity.pulseOf(slot);
        return vm.getBlockTimestamp() <= p.openedAt + WINDOW && vm.getBlockNumber() < beacon.heightOf(p.drawSlot);
    }

    function shownOf(Answer memory a) private view returns (Answered memory) {
        address operator = _nodes[a.key];
        return answerWith(
            a.slot,
            operator,
            a.lane,
            MOST_LANES,
            hashOf(a.slot),
            laneSeed(a.slot, operator, a.lane),
            a.right ? prover.NONE() : 0
        );
    }

    function claimOf(Answer memory a) private view returns (ICapacity.Claim memory) {
        Answered memory shown = shownOf(a);
        (, bytes32[] memory path) = prover.place(leafOf(_nodes[a.key], shown.answers), placeOf(a.key), 20);
        return ICapacity.Claim(a.slot, _nodes[a.by], placeOf(a.key), path, shown.answers, a.lane, shown.entries);
    }

    function drawOne(uint256 which) external {
        if (slots.length == 0) return;
        uint64 slot = slots[recent(which, slots.length)];
        // Older blocks are shown by their headers, which is the beacon's to test.
        if (vm.getBlockNumber() > beacon.heightOf(capacity.pulseOf(slot).drawSlot) + 256) return;
        draw(slot, hashOf(slot));
    }

    /// @param as_ who claims: mostly who answered.
    function claimOne(uint256 which, uint256 as_, bool otherLane) external {
        if (_answers.length == 0) return;
        Answer memory a = _answers[recent(which, _answers.length)];
        uint256 key = as_ % 4 == 0 ? 1 + (as_ >> 8) % NODES : a.key;
        bool right = key == a.key && !otherLane && a.worth;
        ICapacity.Claim memory c = claimOf(a);
        if (otherLane) c.lane = (c.lane + 1) % MOST_LANES;
        address operator = _nodes[key];
        vm.prank(operator);
        (bool ok,) = address(capacity).call(abi.encodeCall(ICapacity.claim, (c)));
        if (!ok) return;
        bytes32 lane = keccak256(abi.encode(c.slot, operator, c.lane));
        Pulses.Draw memory d = Pulses.Draw(c.slot, valueOf(capacity.pulseOf(c.slot).drawSlot, hashOf(c.slot)), operator, c.lane);
        if (_paid[lane]) paidTwice = true;
        if (!right || !Pulses.isDrawn(d, SHARE) || c.lane >= LANES_OF_STAKE) paidForNothing = true;
        _paid[lane] = true;
        paid++;
        total += UNITS * SHARE;
    }

    function reported() external view returns (uint256) {
        return emissions.classState(CLASS).capacity;
    }
}
