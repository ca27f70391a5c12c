// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title Sums of weights, eight children to a node, as they stood at the end of every past block
/// @notice Leaf i is child i mod 8 of node ⌊i / 8⌋ of level 0; node j is child j mod 8 of node ⌊j / 8⌋ of the level above. A node is one word:
/// its eight sums of 28 bits beside the block from which they hold. So a change writes one word a level, and the tree has as many levels as its
/// leaves need: 1 up to 8, 4 up to 4,096, 6 up to 262,144.
library StakeTree {
    using Checkpoints for Checkpoints.Trace224;

    uint256 private constant BITS = 28;
    /// @notice Most that all weights may sum to.
    uint256 internal constant MAX_SUM = (1 << BITS) - 1;

    /// @param nodes by level and index.
    /// @param levels how many there are.
    /// @param positive how many leaves have a weight.
    /// @param leaves how many there are; none is ever taken away.
    struct Tree {
        mapping(uint256 level => mapping(uint256 index => Checkpoints.Trace224)) nodes;
        Checkpoints.Trace224 levels;
        Checkpoints.Trace224 positive;
        uint256 leaves;
    }

    /// @param levels of the tree then.
    /// @param root the eight sums of its highest node.
    struct Frozen {
        uint32 atBlock;
        uint256 levels;
        uint256 root;
    }

    error SumTooLarge(uint256 sum);

    /// @notice A new leaf without weight.
    function append(Tree storage tree) internal returns (uint256 leaf) {
        leaf = tree.leaves++;
        uint256 levels = tree.levels.latest();
        if (levels > 0 && leaf >> (3 * levels) == 0) return leaf;
        // What was the whole tree is the first child of a new root.
        if (levels > 0) _push(tree.nodes[levels][0], _sum(tree.nodes[levels - 1][0].latest()));
        _push(tree.levels, levels + 1);
    }

    /// @notice Gives a leaf its weight from this block on.
    function set(Tree storage tree, uint256 leaf, uint256 weight) internal {
        uint256 before = _child(tree.nodes[0][leaf >> 3].latest(), leaf & 7);
        if (before == weight) return;
        if (before == 0) _push(tree.positive, tree.positive.latest() + 1);
        else if (weight == 0) _push(tree.positive, tree.positive.latest() - 1);
        uint256 levels = tree.levels.latest();
        uint256 index = leaf;
        uint256 sums;
        if (weight > MAX_SUM) revert SumTooLarge(weight);
        for (uint256 level = 0; level < levels; level++) {
            Checkpoints.Trace224 storage node = tree.nodes[level][index >> 3];
            uint256 shift = BITS * (index & 7);
            sums = node.latest();
            uint256 sum = ((sums >> shift) & MAX_SUM) + weight - before;
            if (sum > MAX_SUM) revert SumTooLarge(sum);
            sums = (sums & ~(MAX_SUM << shift)) | (sum << shift);
            _push(node, sums);
            index >>= 3;
        }
        // All of them fit into one child of a root to come.
        if (_sum(sums) > MAX_SUM) revert SumTooLarge(_sum(sums));
    }

    /// @notice The tree at the end of a block. The caller sees to it that the block is past.
    function frozenAt(Tree storage tree, uint256 atBlock) internal view returns (Frozen memory frozen) {
        frozen.atBlock = uint32(atBlock);
        frozen.levels = tree.levels.upperLookupRecent(frozen.atBlock);
        if (frozen.levels > 0) frozen.root = tree.nodes[frozen.levels - 1][0].upperLookupRecent(frozen.atBlock);
    }

    /// @notice Sum of all weights then.
    function total(Frozen memory frozen) internal pure returns (uint256) {
        return _sum(frozen.root);
    }

    /// @notice How many leaves had a weight then.
    function positiveAt(Tree storage tree, uint256 atBlock) internal view returns (uint256) {
        return tree.positive.upperLookupRecent(uint32(atBlock));
    }

    /// @notice The leaf whose interval of [0, total) holds the point; intervals lie in order of leaves.
    /// @return leaf which one.
    /// @return start where its interval begins.
    /// @return weight how long it is.
    function find(Tree storage tree, Frozen memory frozen, uint256 point)
        internal
        view
        returns (uint256 leaf, uint256 start, uint256 weight)
    {
        uint256 left = point;
        uint256 sums = frozen.root;
        for (uint256 above = frozen.levels; above > 0; above--) {
            if (above < frozen.levels) sums = tree.nodes[above - 1][leaf].upperLookupRecent(frozen.atBlock);
            leaf <<= 3;
            weight = sums & MAX_SUM;
            while (left >= weight) {
                left -= weight;
                sums >>= BITS;
                weight = sums & MAX_SUM;
                leaf++;
            }
        }
        start = point - left;
    }

    /// @notice Where a leaf's interval began then, and its weight; 0 for a leaf that came later.
    function intervalOf(Tree storage tree, Frozen memory frozen, uint256 leaf)
        internal
        view
        returns (uint256 start, uint256 weight)
    {
        if (leaf >> (3 * frozen.levels) != 0) return (0, 0);
        uint256 index = leaf;
        for (uint256 level = 0; level < frozen.levels; level++) {
            uint256 sums = tree.nodes[level][index >> 3].upperLookupRecent(frozen.atBlock);
            uint256 child = index & 7;
            if (level == 0) weight = _child(sums, child);
            for (uint256 i = 0; i < child; i++) start += _child(sums, i);
            index >>= 3;
        }
    }

    function _child(uint256 sums, uint256 child) private pure returns (uint256) {
        return (sums >> (BITS * child)) & MAX_SUM;
    }

    function _sum(uint256 sums) private pure returns (uint256 sum) {
        for (; sums != 0; sums >>= BITS) sum += sums & MAX_SUM;
    }

    function _push(Checkpoints.Trace224 storage trace, uint256 value) private {
        // Values are eight sums, or counts of leaves.
        trace.push(uint32(block.number), uint224(value));
    }
}
