// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Stake-weighted draw without replacement
library StakeDraw {
    /// @notice Draws up to `n` of the candidates; each round takes one with probability weight / remaining weight.
    /// @dev Works in place on both arrays. The remainder of a 256-bit hash by a sum below 2^128 is biased by less than 2^-128.
    function pick(bytes32 seed, address[] memory candidates, uint256[] memory weights, uint256 n)
        internal
        pure
        returns (address[] memory drawn)
    {
        uint256 left = candidates.length;
        uint256 sum = 0;
        for (uint256 i = 0; i < left; i++) sum += weights[i];
        drawn = new address[](n < left ? n : left);
        for (uint256 round = 0; round < drawn.length; round++) {
            uint256 point = uint256(keccak256(abi.encode(seed, round))) % sum;
            uint256 i = 0;
            while (point >= weights[i]) point -= weights[i++];
            drawn[round] = candidates[i];
            sum -= weights[i];
            left--;
            candidates[i] = candidates[left];
            weights[i] = weights[left];
        }
    }
}
