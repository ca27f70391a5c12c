// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {StakeTree} from "./StakeTree.sol";

/// @title Weighted draw without replacement from a frozen tree
library StakeDraw {
    using StakeTree for StakeTree.Tree;
    using StakeTree for StakeTree.Frozen;

    /// @param intervals what is taken, `start << 128 | weight` in ascending order.
    /// @param count how many of them there are.
    /// @param left sum of the weights that are not taken.
    struct Hat {
        uint256[] intervals;
        uint256 count;
        uint256 left;
    }

    /// @notice Draws leaves; each round takes one with probability weight / remaining weight.
    /// @dev A point of what remains is moved over the intervals that are taken, so a round costs one descent however uneven the weights
    /// are. The remainder of a 256-bit hash by a sum below 2^28 is biased by less than 2^-228.
    /// @param n at most as many as have a weight and are not excluded.
    /// @param excluded leaves in ascending order.
    function pick(
        StakeTree.Tree storage tree,
        StakeTree.Frozen memory frozen,
        bytes32 seed,
        uint256 n,
        uint256[] memory excluded
    ) internal view returns (uint256[] memory drawn) {
        Hat memory hat = Hat(new uint256[](n + excluded.length), 0, frozen.total());
        for (uint256 i = 0; i < excluded.length; i++) {
            (uint256 start, uint256 weight) = tree.intervalOf(frozen, excluded[i]);
            if (weight > 0) _take(hat, hat.count, start, weight);
        }
        drawn = new uint256[](n);
        for (uint256 round = 0; round < n; round++) {
            uint256 point = uint256(keccak256(abi.encode(seed, round))) % hat.left;
            drawn[round] = _draw(tree, frozen, hat, point);
        }
    }

    function _draw(StakeTree.Tree storage tree, StakeTree.Frozen memory frozen, Hat memory hat, uint256 point)
        private
        view
        returns (uint256)
    {
        (uint256 whole, uint256 place) = _skip(hat.intervals, hat.count, point);
        (uint256 leaf, uint256 start, uint256 weight) = tree.find(frozen, whole);
        _take(hat, place, start, weight);
        return leaf;
    }

    function _take(Hat memory hat, uint256 place, uint256 start, uint256 weight) private pure {
        _insert(hat.intervals, hat.count++, place, start << 128 | weight);
        hat.left -= weight;
    }

    /// @dev Moves a point of what remains to where it is in the whole. Up to 190 words for each of up to 127 seats, hence assembly.
    /// @return whole the point.
    /// @return place how many intervals lie before it.
    function _skip(uint256[] memory taken, uint256 count, uint256 point)
        private
        pure
        returns (uint256 whole, uint256 place)
    {
        assembly ("memory-safe") {
            whole := point
            let from := add(taken, 32)
            let at := from
            for { let end := add(from, shl(5, count)) } lt(at, end) { at := add(at, 32) } {
                let interval := mload(at)
                if gt(shr(128, interval), whole) { break }
                whole := add(whole, and(interval, 0xffffffff))
            }
            place := shr(5, sub(at, from))
        }
    }

    function _insert(uint256[] memory taken, uint256 count, uint256 place, uint256 interval) private pure {
        assembly ("memory-safe") {
            let at := add(add(taken, 32), shl(5, place))
            mcopy(add(at, 32), at, shl(5, sub(count, place)))
            mstore(at, interval)
        }
    }
}
