// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";

/// @dev A sum tree computed the slow way; receipt i has hash keccak256(abi.encode(i)).
abstract contract NaiveTree {
    function node(bytes32 hl, uint128 sl, bytes32 hr, uint128 sr) internal pure returns (bytes32, uint128) {
        return (keccak256(abi.encodePacked(hex"01", hl, sl, hr, sr)), sl + sr);
    }

    /// @dev All levels of a padded tree, leaves first, computed the slow way.
    function build(uint128[] memory prices) internal pure returns (IBatches.Sibling[][] memory levels) {
        uint256 depth = 0;
        while ((1 << depth) < prices.length) depth++;
        levels = new IBatches.Sibling[][](depth + 1);
        levels[0] = new IBatches.Sibling[](1 << depth);
        for (uint256 i = 0; i < prices.length; i++) {
            bytes32 receipt = keccak256(abi.encode(i));
            levels[0][i] = IBatches.Sibling(keccak256(abi.encodePacked(hex"00", receipt, prices[i])), prices[i]);
        }
        for (uint256 d = 1; d <= depth; d++) {
            levels[d] = new IBatches.Sibling[](1 << (depth - d));
            for (uint256 i = 0; i < levels[d].length; i++) {
                IBatches.Sibling memory l = levels[d - 1][2 * i];
                IBatches.Sibling memory r = levels[d - 1][2 * i + 1];
                (levels[d][i].hash, levels[d][i].sum) = node(l.hash, l.sum, r.hash, r.sum);
            }
        }
    }

    function openingOf(IBatches.Sibling[][] memory levels, uint256 index, uint128 price)
        internal
        pure
        returns (IBatches.Opening memory opening)
    {
        opening.index = uint64(index);
        opening.price = price;
        opening.receiptHash = keccak256(abi.encode(index));
        opening.path = new IBatches.Sibling[](levels.length - 1);
        for (uint256 d = 0; d < opening.path.length; d++) opening.path[d] = levels[d][(index >> d) ^ 1];
    }
}
