// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";
import {IEscrow} from "../interfaces/IEscrow.sol";
import {INodeRegistry} from "../interfaces/INodeRegistry.sol";
import {Economics} from "./Economics.sol";

/// @title The ranges of a batch: what they bring in, and what each takes out
/// @dev Linked, not inlined: `Batches` has no room for its code. Runs as `Batches`.
library Ranges {
    uint256 private constant BPS = 10_000;

    /// @notice Takes the ranges' fees out of their sessions.
    /// @return sum of the fees, which the batch has as its total from then on.
    function consume(
        IEscrow escrow,
        IBatches.RangeRecord[] storage records,
        IBatches.Batch storage b,
        bytes32 batchId,
        IEscrow.Range[] calldata ranges
    ) external returns (uint128) {
        IEscrow.Consumed[] memory consumed = escrow.consume(batchId, msg.sender, ranges);
        uint256 total = 0;
        for (uint256 i = 0; i < consumed.length; i++) {
            IEscrow.Consumed memory c = consumed[i];
            records.push(IBatches.RangeRecord(c.consumer, false, c.discountBps, uint128(total), c.fee, 0));
            total += c.fee;
            if (total > type(uint128).max) revert IBatches.TotalTooLarge();
            IEscrow.Range calldata r = ranges[i];
            emit IBatches.RangeAnchored(
                batchId, i, r.session, c.consumer, c.signer, c.fromSeq, r.toSeq, r.cumulative, c.fee, r.receiptHash
            );
        }
        b.total = uint128(total);
        // Only now is the burn known of which each range has its share.
        uint256 discounts = 0;
        for (uint256 i = 0; i < consumed.length; i++) {
            if (consumed[i].discountBps > 0) discounts += _discount(b, records[i]);
        }
        b.discountPart = uint128(discounts);
        return uint128(total);
    }

    /// @notice Moves one range's money. See {IBatches-collect}.
    function collect(
        IEscrow escrow,
        INodeRegistry registry,
        IBatches.RangeRecord[] storage records,
        IBatches.Batch storage b,
        bytes32 batchId,
        uint256 index
    ) external {
        if (index >= records.length) revert IBatches.UnknownRange(index);
        IBatches.RangeRecord storage r = records[index];
        if (r.collected) revert IBatches.AlreadyCollected(index);
        r.collected = true;
        uint256 paid = 0;
        uint256 refunded = r.fee;
        if (b.status == IBatches.Status.Paid) {
            // Shares of the running sum: rounding never adds or loses a unit over all ranges.
            paid = _share(b.providerPart, r, b.total);
            refunded = r.refund + _discount(b, r);
        }
        emit IBatches.RangeCollected(batchId, index, r.consumer, paid, refunded);
        if (paid > 0) escrow.pay(batchId, registry.payoutOf(b.provider), paid);
        if (refunded > 0) escrow.pay(batchId, r.consumer, refunded);
    }

    /// @dev Taken off the range's share of β only: what is forfeited burns whole.
    function _discount(IBatches.Batch storage b, IBatches.RangeRecord storage r) private view returns (uint256) {
        if (r.discountBps == 0) return 0;
        uint256 burn = uint256(b.total) * b.betaBps / BPS;
        return Economics.discountOf(_share(burn, r, b.total), r.discountBps);
    }

    function _share(uint256 amount, IBatches.RangeRecord storage r, uint256 total) private view returns (uint256) {
        uint256 start = r.start;
        return amount * (start + r.fee) / total - amount * start / total;
    }
}
