// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";
import {IEscrow} from "../interfaces/IEscrow.sol";
import {Economics} from "./Economics.sol";

/// @title The ranges of a batch and their shares of its money
/// @dev Linked, not inlined: `Batches` has no room for its code.
library Ranges {
    uint256 private constant BPS = 10_000;

    /// @notice Consumes the ranges for ever and keeps them.
    /// @param betaBps share of the fees that burns.
    /// @return total sum of their fees.
    /// @return discounts what the consumers' discounts take off the burn.
    function consume(
        IBatches.RangeRecord[] storage records,
        IEscrow escrow,
        bytes32 batchId,
        uint256 betaBps,
        IEscrow.Range[] calldata ranges
    ) external returns (uint128 total, uint128 discounts) {
        IEscrow.Consumed[] memory consumed = escrow.consume(batchId, msg.sender, ranges);
        uint256 sum = 0;
        for (uint256 i = 0; i < consumed.length; i++) {
            IEscrow.Consumed memory c = consumed[i];
            records.push(IBatches.RangeRecord(c.consumer, false, c.discountBps, uint128(sum), c.fee, 0));
            sum += c.fee;
            if (sum > type(uint128).max) revert IBatches.TotalTooLarge();
            IEscrow.Range calldata r = ranges[i];
            emit IBatches.RangeAnchored(
                batchId, i, r.session, c.consumer, c.fromSeq, r.toSeq, r.cumulative, c.fee, r.receiptHash
            );
        }
        total = uint128(sum);
        // Only now is the burn known of which each range has its share.
        uint256 burn = sum * betaBps / BPS;
        for (uint256 i = 0; i < consumed.length; i++) {
            if (consumed[i].discountBps > 0) discounts += uint128(discount(records[i], burn, sum));
        }
    }

    /// @notice What a range's consumer saves of the burn. Taken off the share of β only: what is forfeited burns whole.
    function discount(IBatches.RangeRecord storage r, uint256 burn, uint256 total) public view returns (uint256) {
        return r.discountBps == 0 ? 0 : Economics.discountOf(share(r, burn, total), r.discountBps);
    }

    /// @notice A range's part of an amount, by running sums: rounding never adds or loses a unit over all ranges.
    function share(IBatches.RangeRecord storage r, uint256 amount, uint256 total) public view returns (uint256) {
        uint256 start = r.start;
        return amount * (start + r.fee) / total - amount * start / total;
    }
}
