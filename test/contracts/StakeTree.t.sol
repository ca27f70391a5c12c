// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {StakeDraw} from "../../protocol/contracts/libraries/StakeDraw.sol";
import {StakeTree} from "../../protocol/contracts/libraries/StakeTree.sol";
import {Harness} from "./Harness.sol";

/// @dev Keeps the tree in a contract of its own, whose every call sees the block of then.
contract Forest {
    using StakeTree for StakeTree.Tree;
    using StakeTree for StakeTree.Frozen;

    StakeTree.Tree private _tree;

    function append() external returns (uint256) {
        return _tree.append();
    }

    function plant(uint256 count, uint256 weight) external {
        for (uint256 i = 0; i < count; i++) _tree.set(_tree.append(), weight);
    }

    function set(uint256 leaf, uint256 weight) external {
        _tree.set(leaf, weight);
    }

    function leaves() external view returns (uint256) {
        return _tree.leaves;
    }

    function totals(uint256 height) external view returns (uint256 total, uint256 positive) {
        return (_tree.frozenAt(height).total(), _tree.positiveAt(height));
    }

    function find(uint256 height, uint256 point) external view returns (uint256 leaf, uint256 start, uint256 weight) {
        return _tree.find(_tree.frozenAt(height), point);
    }

    function intervalOf(uint256 height, uint256 leaf) external view returns (uint256 start, uint256 weight) {
        return _tree.intervalOf(_tree.frozenAt(height), leaf);
    }

    function draw(uint256 height, bytes32 seed, uint256 n, uint256[] memory excluded) external view returns (uint256[] memory) {
        return StakeDraw.pick(_tree, _tree.frozenAt(height), seed, n, excluded);
    }
}

/// @dev The tree of stakes against a list, at every block it has seen, and what a draw from it costs.
contract StakeTreeTest is Harness {
    uint256 private constant BLOCKS = 6;
    Forest private _tree = new Forest();
    /// @dev Weights by block and leaf, the slow way.
    uint256[][BLOCKS] private _weights;

    /// @dev Trees of one to three levels that grow, change and shrink over six blocks.
    function testFuzz_everyPastBlockIsWhatAListSays(uint256 salt, uint256 size) public {
        size = bound(size, 1, 80);
        uint256[] memory now_ = new uint256[](size);
        for (uint256 height = 0; height < BLOCKS; height++) {
            vm.roll(100 + height);
            uint256 upTo = size * (height + 1) / BLOCKS;
            while (_tree.leaves() < upTo) _tree.append();
            for (uint256 change = 0; change < 8 && upTo > 0; change++) {
                uint256 word = uint256(keccak256(abi.encode(salt, height, change)));
                uint256 leaf = word % upTo;
                now_[leaf] = word & 1 == 0 ? 0 : (word >> 8) % 1_000;
                _tree.set(leaf, now_[leaf]);
            }
            _weights[height] = now_;
        }
        vm.roll(100 + BLOCKS);
        for (uint256 height = 0; height < BLOCKS; height++) compare(100 + height, _weights[height]);
        (uint256 none,) = _tree.totals(99);
        eq(none, 0, "before the first");
    }

    function compare(uint256 height, uint256[] memory weights) private view {
        uint256 sum = 0;
        uint256 positive = 0;
        for (uint256 i = 0; i < weights.length; i++) {
            (uint256 start, uint256 weight) = _tree.intervalOf(height, i);
            eq(weight, weights[i], "weight");
            if (weight == 0) continue;
            eq(start, sum, "start");
            // First and last point of the interval.
            same(height, start, i, start, weight);
            same(height, start + weight - 1, i, start, weight);
            sum += weight;
            positive++;
        }
        (uint256 total, uint256 count) = _tree.totals(height);
        eq(total, sum, "total");
        eq(count, positive, "positive");
    }

    function same(uint256 height, uint256 point, uint256 leaf, uint256 start, uint256 weight) private view {
        (uint256 l, uint256 s, uint256 w) = _tree.find(height, point);
        eq(l, leaf, "leaf");
        eq(s, start, "its start");
        eq(w, weight, "its weight");
    }

    /// @dev Against a list from which what is drawn or excluded is struck out.
    function testFuzz_aDrawIsThatOfAList(bytes32 seed, uint256 size, uint256 out) public {
        size = bound(size, 2, 40);
        uint256[] memory weights = new uint256[](size);
        uint256 left = 0;
        vm.roll(100);
        for (uint256 i = 0; i < size; i++) {
            _tree.append();
            weights[i] = 1 + uint256(keccak256(abi.encode(seed, "weight", i))) % 5_000;
            _tree.set(i, weights[i]);
            left += weights[i];
        }
        vm.roll(101);
        uint256[] memory excluded = new uint256[](2);
        (excluded[0], excluded[1]) = (out % (size - 1), out % (size - 1) + 1);
        uint256[] memory drawn = _tree.draw(100, seed, size - 2, excluded);
        for (uint256 i = 0; i < 2; i++) left -= strike(weights, excluded[i]);
        for (uint256 round = 0; round < size - 2; round++) {
            uint256 point = uint256(keccak256(abi.encode(seed, round))) % left;
            uint256 leaf = 0;
            while (point >= weights[leaf]) point -= weights[leaf++];
            eq(drawn[round], leaf, "drawn");
            left -= strike(weights, leaf);
        }
        eq(left, 0, "all are drawn");
    }

    function strike(uint256[] memory weights, uint256 leaf) private pure returns (uint256 weight) {
        (weight, weights[leaf]) = (weights[leaf], 0);
    }

    /// @dev χ² of 4,000 first and second seats of a draw of two over eight leaves with weights 1 to 8, against the exact odds. Seven degrees of
    /// freedom: 24.3 is passed once in a thousand.
    function test_seatsFollowTheWeights() public {
        vm.roll(100);
        for (uint256 i = 0; i < 8; i++) _tree.set(_tree.append(), i + 1);
        vm.roll(101);
        uint256[2][8] memory seen;
        uint256 draws = 4_000;
        for (uint256 i = 0; i < draws; i++) {
            uint256[] memory drawn = _tree.draw(100, bytes32(i), 2, new uint256[](0));
            seen[drawn[0]][0]++;
            seen[drawn[1]][1]++;
        }
        uint256[2] memory chi;
        for (uint256 leaf = 0; leaf < 8; leaf++) {
            // In millionths. Second seat: the sum over who was first.
            uint256 first = 1e6 * (leaf + 1) / 36;
            uint256 second = 0;
            for (uint256 other = 0; other < 8; other++) {
                if (other != leaf) second += 1e6 * (other + 1) * (leaf + 1) / (36 * (36 - other - 1));
            }
            chi[0] += square(seen[leaf][0], draws * first) * 1e3 / (draws * first);
            chi[1] += square(seen[leaf][1], draws * second) * 1e3 / (draws * second);
        }
        assert(chi[0] < 24_300 && chi[1] < 24_300);
    }

    /// @dev (seen − expected)² in millionths of seats, the expectation in millionths.
    function square(uint256 count, uint256 expected) private pure returns (uint256) {
        uint256 distance = count * 1e6 > expected ? count * 1e6 - expected : expected - count * 1e6;
        return distance * distance / 1e6;
    }

    function test_moreThanTheSumsHoldIsRefused() public {
        _tree.plant(1, StakeTree.MAX_SUM);
        uint256 leaf = _tree.append();
        vm.expectRevert(abi.encodeWithSelector(StakeTree.SumTooLarge.selector, StakeTree.MAX_SUM + 1));
        _tree.set(leaf, 1);
        // Nor in another node of the lowest level, below a root that has grown meanwhile.
        while (_tree.append() < 8) {}
        vm.expectRevert(abi.encodeWithSelector(StakeTree.SumTooLarge.selector, StakeTree.MAX_SUM + 1));
        _tree.set(8, 1);
        _tree.set(0, StakeTree.MAX_SUM - 1);
        _tree.set(8, 1);
        vm.expectRevert(abi.encodeWithSelector(StakeTree.SumTooLarge.selector, type(uint256).max));
        _tree.set(3, type(uint256).max);
    }

    /// @dev Five levels, many nodes of the way with a history. `npm run test:contracts` has 50,000 leaves, which is a level more.
    function test_aDrawOf127FromThousandsIsCheap() public {
        costs(vm.envOr("STAKE_TREE_LEAVES", 4_104), 5_000_000);
    }

    /// @dev Storage as cold as in a transaction of its own.
    function costs(uint256 size, uint256 limit) internal {
        vm.roll(100);
        while (_tree.leaves() < size) _tree.plant(size - _tree.leaves() < 500 ? size - _tree.leaves() : 500, 256);
        for (uint256 height = 101; height < 164; height++) {
            vm.roll(height);
            _tree.set(uint256(keccak256(abi.encode(height))) % size, 300);
        }
        vm.cool(address(_tree));
        uint256 before = gasleft();
        _tree.set(size - 1, 257);
        uint256 change = before - gasleft();
        vm.cool(address(_tree));
        before = gasleft();
        uint256[] memory drawn = _tree.draw(163, "seed", 127, new uint256[](0));
        uint256 used = before - gasleft();
        eq(drawn.length, 127, "drawn");
        if (used > limit) revert Differs("gas of a draw", used, limit);
        if (change > 300_000) revert Differs("gas of a change", change, 300_000);
    }
}
