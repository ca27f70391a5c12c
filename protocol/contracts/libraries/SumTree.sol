// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";

/// @title Merkle sum tree over receipts
/// @notice leaf = H(0 ‖ receipt hash ‖ price), node = H(1 ‖ hL ‖ sL ‖ hR ‖ sR), sums as 16 bytes big-endian; padded on the right
/// to a power of two with (0, 0). Every node's hash commits to both sums below it, so the interval of a leaf is the only
/// one its root admits. The twin in TypeScript is protocol/sum-tree.ts.
library SumTree {
    /// @dev Deeper trees than any batch could hold.
    uint256 internal constant MAX_DEPTH = 40;

    /// @notice Start of the leaf's interval [start, start + price) when the path leads to `root` with sum `total`.
    /// @return ok false for a wrong path, a price of zero or a sum beyond 128 bits.
    function open(bytes32 root, uint128 total, IBatches.Opening calldata leaf)
        internal
        pure
        returns (bool ok, uint128 start)
    {
        uint256 depth = leaf.path.length;
        if (depth > MAX_DEPTH || leaf.index >> depth != 0 || leaf.price == 0) return (false, 0);
        bytes32 hash = keccak256(abi.encodePacked(uint8(0), leaf.receiptHash, leaf.price));
        uint256 sum = leaf.price;
        uint256 before = 0;
        for (uint256 level = 0; level < depth; level++) {
            IBatches.Sibling calldata sibling = leaf.path[level];
            if ((leaf.index >> level) & 1 == 1) {
                hash = _node(sibling.hash, sibling.sum, hash, uint128(sum));
                before += sibling.sum;
            } else {
                hash = _node(hash, uint128(sum), sibling.hash, sibling.sum);
            }
            sum += sibling.sum;
            if (sum > type(uint128).max) return (false, 0);
        }
        return (hash == root && sum == total, uint128(before));
    }

    /// @notice The same of a path as attestations claim it: for each level from the leaf up hash and u128 sum, 48 bytes.
    function fold(bytes32 root, uint128 total, bytes32 receiptHash, uint128 price, uint256 index, bytes calldata path)
        internal
        pure
        returns (bool ok, uint128 start)
    {
        uint256 depth = path.length / 48;
        if (path.length % 48 != 0 || depth > MAX_DEPTH || index >> depth != 0 || price == 0) return (false, 0);
        bytes32 hash = keccak256(abi.encodePacked(uint8(0), receiptHash, price));
        uint256 sum = price;
        uint256 before = 0;
        for (uint256 level = 0; level < depth; level++) {
            bytes32 other = bytes32(path[48 * level:48 * level + 32]);
            uint128 otherSum = uint128(bytes16(path[48 * level + 32:48 * level + 48]));
            if ((index >> level) & 1 == 1) {
                hash = _node(other, otherSum, hash, uint128(sum));
                before += otherSum;
            } else {
                hash = _node(hash, uint128(sum), other, otherSum);
            }
            sum += otherSum;
            if (sum > type(uint128).max) return (false, 0);
        }
        return (hash == root && sum == total, uint128(before));
    }

    function _node(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, leftSum, right, rightSum));
    }
}
