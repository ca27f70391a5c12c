// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title The trees of attestations: SHA-256 over 32-byte leaves, padded on the right with zero words
/// @notice leaf hash = H(0 ‖ leaf), node = H(1 ‖ left ‖ right). The twin in TypeScript is protocol/merkle.ts.
library Sha256Tree {
    /// @notice Whether `leaf` stands at `index` of the tree of exactly `count` leaves under `root`.
    function holds(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] memory path)
        internal
        pure
        returns (bool)
    {
        if (index >= count || path.length != depthOf(count)) return false;
        bytes32 node = sha256(abi.encodePacked(uint8(0), leaf));
        for (uint256 level = 0; level < path.length; level++) {
            node = (index >> level) & 1 == 1
                ? sha256(abi.encodePacked(uint8(1), path[level], node))
                : sha256(abi.encodePacked(uint8(1), node, path[level]));
        }
        return node == root;
    }

    /// @notice Siblings in a path of a tree of `count` leaves.
    function depthOf(uint256 count) internal pure returns (uint256 depth) {
        while (1 << depth < count) depth++;
    }

    /// @notice A path whose siblings stand one after the other.
    function split(bytes calldata joined) internal pure returns (bytes32[] memory path) {
        path = new bytes32[](joined.length / 32);
        for (uint256 i = 0; i < path.length; i++) path[i] = bytes32(joined[32 * i:32 * i + 32]);
    }
}
