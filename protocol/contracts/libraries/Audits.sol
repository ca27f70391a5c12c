// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";
import {Draws} from "./Draws.sol";

/// @title The draws of a batch: those of its sample, then the jobs that consumers name
/// @dev Linked, not inlined: `Batches` has no room for its code.
library Audits {
    /// @notice Names a job of the caller's range. See {IBatches-audit}.
    function name(
        IBatches.Audit[] storage named,
        IBatches.RangeRecord[] storage ranges,
        uint256 range,
        uint128 point
    ) external {
        if (range >= ranges.length) revert IBatches.UnknownRange(range);
        IBatches.RangeRecord storage r = ranges[range];
        if (msg.sender != r.consumer) revert IBatches.NotConsumer(msg.sender);
        if (point < r.start || point - r.start >= r.fee) revert IBatches.PointOutsideRange(point);
        for (uint256 i = 0; i < named.length; i++) {
            if (named[i].range == range) revert IBatches.AlreadyAudited(range);
        }
        named.push(IBatches.Audit(uint32(range), point));
    }

    /// @notice Points of the sample, one for each of `draws`, then those of the audits.
    function points(
        IBatches.Audit[] storage named,
        bytes32 batchId,
        bytes32 beaconValue,
        uint256 total,
        uint256 draws
    ) external view returns (uint256[] memory all) {
        uint256[] memory sample = Draws.points(batchId, beaconValue, total, draws);
        all = new uint256[](draws + named.length);
        for (uint256 i = 0; i < draws; i++) all[i] = sample[i];
        for (uint256 i = 0; i < named.length; i++) all[draws + i] = named[i].point;
    }
}
