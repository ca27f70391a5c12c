// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Capacity} from "../../protocol/contracts/Capacity.sol";
import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {Pulses} from "../../protocol/contracts/libraries/Pulses.sol";
import {Prover} from "./Prover.sol";
import {World} from "./World.sol";

/// @dev Pulses with nodes that answer. Real lanes are for TypeScript: here a node looks ahead at what will be examined and computes just that,
/// which the contract takes for an answer, as it must not know the difference.
abstract contract Lanes is World {
    uint64 internal constant WINDOW = 12;
    uint64 internal constant CLAIM_WINDOW = 40;
    uint32 internal constant SHARE = 2;
    uint64 internal constant UNITS = 10;

    Prover internal prover = new Prover();

    /// @dev Of the nodes' class, whose stake of 5,000 is enough for two lanes.
    function capacityClasses() internal pure virtual override returns (ICapacity.Class[] memory list) {
        list = new ICapacity.Class[](1);
        list[0] = ICapacity.Class(CLASS, 256, 4, 4, UNITS, SHARE, 2_000 ether);
    }

    function pulseParams() internal pure virtual override returns (ICapacity.Params memory) {
        return ICapacity.Params(4, WINDOW, CLAIM_WINDOW, 3, 4, 3);
    }

    function capacityReporter(address contract_) internal view override returns (address) {
        return contract_;
    }

    // ---- slots whose value is what a test wants

    function valueOf(uint64 slot, bytes32 hash) internal view returns (bytes32) {
        return keccak256(abi.encode("sinter/beacon/1", block.chainid, address(beacon), uint256(slot), hash));
    }

    /// @dev Mines until the slot's value is there, with the block's hash so that it is a pulse or is none.
    function reach(uint64 slot, bool pulse) internal {
        uint256 height = beacon.heightOf(slot);
        if (vm.getBlockNumber() <= height) mine(height + 1 - vm.getBlockNumber());
        uint256 salt = 0;
        while (capacity.isPulse(valueOf(slot, keccak256(abi.encode(slot, salt)))) != pulse) salt++;
        vm.setBlockhash(height, keccak256(abi.encode(slot, salt)));
    }

    function nextSlot() internal view returns (uint64) {
        return beacon.slotAfter(vm.getBlockNumber());
    }

    /// @dev The next slot is a pulse, and open.
    function openPulse() internal returns (uint64 slot) {
        slot = nextSlot();
        reach(slot, true);
        capacity.open(slot);
    }

    /// @dev What will be drawn: the first hash that draws the lane, or does not.
    function steer(uint64 slot, address operator, uint32 lane, bool drawn) internal view returns (bytes32) {
        return steer(slot, operator, lane, drawn, 0);
    }

    function steer(uint64 slot, address operator, uint32 lane, bool drawn, uint256 salt)
        internal
        view
        returns (bytes32 hash)
    {
        uint64 drawSlot = capacity.pulseOf(slot).drawSlot;
        for (;; salt++) {
            hash = keccak256(abi.encode("draw", slot, salt));
            if (Pulses.isDrawn(Pulses.Draw(slot, valueOf(drawSlot, hash), operator, lane), SHARE) == drawn) return hash;
        }
    }

    /// @dev The draw slot's value gets recorded.
    function draw(uint64 slot, bytes32 hash) internal {
        uint64 drawSlot = capacity.pulseOf(slot).drawSlot;
        uint256 height = beacon.heightOf(drawSlot);
        if (vm.getBlockNumber() <= height) mine(height + 1 - vm.getBlockNumber());
        vm.setBlockhash(height, hash);
        beacon.record(drawSlot);
    }

    // ---- answers

    /// @dev A node's answers: those of its lanes, and what is to be shown of one.
    struct Answered {
        bytes32[] answers;
        ICapacity.Entry[] entries;
    }

    /// @param lane the one that is right where `hash` is what the draw slot's block has; the others' answers are noise.
    function answer(uint64 slot, address operator, uint32 lane, uint32 lanes, bytes32 hash)
        internal
        view
        returns (Answered memory)
    {
        return answerWith(slot, operator, lane, lanes, hash, laneSeed(slot, operator, lane), prover.NONE());
    }

    function laneSeed(uint64 slot, address operator, uint32 lane) internal view returns (bytes32) {
        return Pulses.laneSeed(address(capacity), beacon.value(slot), operator, lane);
    }

    /// @param seed of the lane that was computed.
    /// @param forged entry that is one off.
    function answerWith(
        uint64 slot,
        address operator,
        uint32 lane,
        uint32 lanes,
        bytes32 hash,
        bytes32 seed,
        uint256 forged
    ) internal view returns (Answered memory a) {
        Pulses.Draw memory d = Pulses.Draw(slot, valueOf(capacity.pulseOf(slot).drawSlot, hash), operator, lane);
        a.answers = new bytes32[](lanes);
        for (uint256 i = 0; i < lanes; i++) a.answers[i] = keccak256(abi.encode("noise", i));
        ICapacity.Class memory class = capacity.classOf(registry.classOf(operator));
        (a.answers[lane], a.entries) = prover.prove(d, seed, class, forged);
    }

    /// @dev Place of a node of these tests in the registry: they enter in the order of their keys.
    function placeOf(uint256 key) internal pure returns (uint32) {
        return uint32(key - 1);
    }

    function leafOf(address operator, bytes32[] memory answers) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), operator, answers));
    }

    /// @dev One of those who may report.
    function reporter(uint64 slot) internal view returns (address) {
        return capacity.reportersOf(slot)[0];
    }

    function report(uint64 slot, bytes32 root) internal {
        // Looked up first: the prank is for the next call.
        address by = reporter(slot);
        vm.prank(by);
        capacity.report(slot, root);
    }

    function claimOf(uint64 slot, uint256 key, uint32 lane, Answered memory a, bytes32[] memory path)
        internal
        view
        returns (ICapacity.Claim memory)
    {
        return ICapacity.Claim(slot, reporter(slot), placeOf(key), path, a.answers, lane, a.entries);
    }

    function claim(uint256 key, ICapacity.Claim memory c) internal {
        vm.prank(vm.addr(key));
        capacity.claim(c);
    }

    function refuses(uint256 key, ICapacity.Claim memory c, bytes memory reason) internal {
        vm.expectRevert(reason);
        claim(key, c);
    }

    /// @dev A pulse that is answered by one node, reported and drawn; what the node then claims.
    function examined(uint256 key, uint32 lane) internal returns (ICapacity.Claim memory) {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(key), lane, true);
        return reported(slot, key, lane, answer(slot, vm.addr(key), lane, lane + 1, hash), hash);
    }

    /// @dev The same with an answer of the test's own.
    function reported(uint64 slot, uint256 key, uint32 lane, Answered memory a, bytes32 hash)
        internal
        returns (ICapacity.Claim memory)
    {
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(key), a.answers), placeOf(key), 20);
        report(slot, root);
        draw(slot, hash);
        return claimOf(slot, key, lane, a, path);
    }
}
