// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {Pulses} from "../../protocol/contracts/libraries/Pulses.sol";

/// @dev Computes the entries that a draw names, and nothing else: all other entries of its states are zero.
contract Prover {
    uint256 public constant NONE = type(uint256).max;

    /// @param forged entry that is one off, or `NONE`.
    function prove(Pulses.Draw memory d, bytes32 seed, ICapacity.Class memory class, uint256 forged)
        external
        view
        returns (bytes32 answer, ICapacity.Entry[] memory entries)
    {
        Pulses.Position[] memory places = new Pulses.Position[](class.entries);
        for (uint256 i = 0; i < places.length; i++) {
            places[i] = Pulses.positionOf(d, i, class.n, class.steps);
        }
        bytes[] memory states = new bytes[](class.steps);
        bytes32[][][] memory trees = new bytes32[][][](class.steps);
        bytes32[] memory roots = new bytes32[](class.steps);
        for (uint256 step = 0; step < class.steps; step++) {
            bytes32 root = step == 0 ? bytes32(0) : roots[step - 1];
            bytes memory before = step == 0 ? bytes("") : states[step - 1];
            states[step] = _step(Pulses.stepSeed(seed, step, root), step, before, places, class.n);
            if (forged < places.length && places[forged].step == step) {
                uint256 index = places[forged].row * class.n + places[forged].column;
                states[step][index] = bytes1((uint8(states[step][index]) + 1) % 64);
            }
            trees[step] = levels(_rows(states[step], step, places, class.n));
            roots[step] = rootOf(trees[step]);
        }
        return (rootOf(levels(roots)), _open(places, states, trees, roots, class.n));
    }

    /// @dev The same library that the contract has; that it is right is for the vectors to say.
    function computed(bytes32 seed, uint256 r, uint256 c, uint256 n, bytes calldata row) external pure returns (uint8) {
        return uint8(Pulses.computed(seed, r, c, n, row));
    }

    function shows(
        ICapacity.Entry calldata e,
        Pulses.Position memory place,
        ICapacity.Class memory class,
        bytes32 lane,
        bytes32 answer
    ) external pure returns (bool) {
        return Pulses.shows(e, place, class, lane, answer);
    }

    function leads(bytes32 leaf, uint256 index, bytes32[] calldata path, bytes32 root) external pure returns (bool) {
        return Pulses.leads(leaf, index, path, Pulses.REPORT_DEPTH, root);
    }

    function _step(bytes32 seed, uint256 step, bytes memory before, Pulses.Position[] memory places, uint256 n)
        private
        view
        returns (bytes memory state)
    {
        state = new bytes(n * n);
        for (uint256 i = 0; i < places.length; i++) {
            Pulses.Position memory p = places[i];
            if (p.step != step) continue;
            bytes memory operand = step == 0 ? bytes("") : row(before, p.column, n);
            state[p.row * n + p.column] = bytes1(this.computed(seed, p.row, p.column, n, operand));
        }
    }

    function _open(
        Pulses.Position[] memory places,
        bytes[] memory states,
        bytes32[][][] memory trees,
        bytes32[] memory roots,
        uint256 n
    ) private pure returns (ICapacity.Entry[] memory entries) {
        entries = new ICapacity.Entry[](places.length);
        bytes32[][] memory lane = levels(roots);
        for (uint256 i = 0; i < places.length; i++) {
            (Pulses.Position memory p, ICapacity.Entry memory e) = (places[i], entries[i]);
            if (p.step > 0) {
                e.before = roots[p.step - 1];
                e.beforePath = pathOf(lane, p.step - 1);
                e.operand = row(states[p.step - 1], p.column, n);
                e.operandPath = pathOf(trees[p.step - 1], p.column);
            }
            e.afterwards = roots[p.step];
            e.afterPath = pathOf(lane, p.step);
            e.result = row(states[p.step], p.row, n);
            e.resultPath = pathOf(trees[p.step], p.row);
        }
    }

    // ---- trees

    /// @dev A tree of `depth` levels with one leaf at `index` and zeros elsewhere.
    function place(bytes32 leaf, uint256 index, uint256 depth)
        external
        pure
        returns (bytes32 root, bytes32[] memory path)
    {
        path = new bytes32[](depth);
        bytes32 empty = 0;
        root = leaf;
        for (uint256 level = 0; level < depth; level++) {
            path[level] = empty;
            root = (index >> level) & 1 == 1 ? _node(empty, root) : _node(root, empty);
            empty = _node(empty, empty);
        }
    }

    function levels(bytes32[] memory leaves) public pure returns (bytes32[][] memory all) {
        uint256 depth = 0;
        while (1 << depth < leaves.length) depth++;
        all = new bytes32[][](depth + 1);
        all[0] = leaves;
        for (uint256 level = 1; level <= depth; level++) {
            bytes32[] memory below = all[level - 1];
            bytes32[] memory here = new bytes32[](below.length / 2);
            // Most nodes are over zeros, like the one before.
            (bytes32 left, bytes32 right) = (below[0], below[1]);
            bytes32 node = _node(left, right);
            for (uint256 i = 0; i < here.length; i++) {
                (bytes32 l, bytes32 r) = (below[2 * i], below[2 * i + 1]);
                if (l != left || r != right) (left, right, node) = (l, r, _node(l, r));
                here[i] = node;
            }
            all[level] = here;
        }
    }

    function rootOf(bytes32[][] memory all) public pure returns (bytes32) {
        return all[all.length - 1][0];
    }

    function pathOf(bytes32[][] memory all, uint256 index) public pure returns (bytes32[] memory path) {
        path = new bytes32[](all.length - 1);
        for (uint256 level = 0; level < path.length; level++) path[level] = all[level][(index >> level) ^ 1];
    }

    function row(bytes memory state, uint256 index, uint256 n) public pure returns (bytes memory out) {
        out = new bytes(n);
        assembly ("memory-safe") {
            mcopy(add(out, 32), add(add(state, 32), mul(index, n)), n)
        }
    }

    /// @dev Rows without an entry are zero, and have one hash.
    function _rows(bytes memory state, uint256 step, Pulses.Position[] memory places, uint256 n)
        private
        pure
        returns (bytes32[] memory hashes)
    {
        hashes = new bytes32[](n);
        bytes32 zero = _rowHash(new bytes(n));
        for (uint256 i = 0; i < n; i++) hashes[i] = zero;
        for (uint256 i = 0; i < places.length; i++) {
            if (places[i].step == step) hashes[places[i].row] = _rowHash(row(state, places[i].row, n));
        }
    }

    function _rowHash(bytes memory content) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), content));
    }

    function _node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, right));
    }
}
