// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Points of a batch's sample
library Draws {
    /// @notice Uniform points of [0, total): for draw i and counter 0, 1, … h = keccak256("sinter/draw/1" ‖ batchId ‖
    /// beacon value ‖ u32 i ‖ u32 counter), taken modulo total when h is below the largest multiple of total.
    /// @dev 2^256 itself does not fit, so the test is written from the top: the last 2^256 mod total values are rejected.
    function points(bytes32 batchId, bytes32 beaconValue, uint256 total, uint256 count)
        internal
        pure
        returns (uint256[] memory drawn)
    {
        uint256 rejected = (type(uint256).max % total + 1) % total;
        drawn = new uint256[](count);
        for (uint256 i = 0; i < count; i++) {
            for (uint256 counter = 0;; counter++) {
                uint256 h = uint256(
                    keccak256(abi.encodePacked("sinter/draw/1", batchId, beaconValue, uint32(i), uint32(counter)))
                );
                if (h <= type(uint256).max - rejected) {
                    drawn[i] = h % total;
                    break;
                }
            }
        }
    }
}
