// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";
import {SumTree} from "./SumTree.sol";
import {Verdicts} from "./Verdicts.sol";

/// @title What draws off tolerance cost
/// @dev `charge` is linked, not inlined: `Batches` has no room for its code.
/// @notice A receipt drawn m times forfeits max(price, m · 1.5·F/k): its price goes back to its consumer, the rest burns.
library Forfeits {
    /// @notice Forfeit of one receipt.
    struct Forfeit {
        uint128 start;
        uint128 price;
        uint256 amount;
        bool sampled;
    }

    /// @notice What all forfeits of a batch come to.
    /// @param struck receipts of the sample that were off. Those that consumers named as audits are picked, and say nothing about a rate.
    /// @param struckBps sum of the discounts of their consumers.
    struct Sums {
        uint256 refunds;
        uint256 burns;
        uint256 struck;
        uint256 struckBps;
    }

    /// @notice What is asked of the openings.
    /// @param perDraw forfeit of one draw, 1.5·F/k.
    /// @param draws of the sample; what comes behind are audits.
    struct Terms {
        bytes32 batchId;
        uint256 perDraw;
        uint256 draws;
    }

    /// @notice Who pays for the forfeits: the provider's part of the fees first, then the lock.
    /// @param providerPart what is left to the provider.
    /// @param burnFromPot burned out of the provider's part.
    /// @param burnFromLock burned out of the lock.
    /// @param refundFromLock handed from the lock to the pot, for the consumers.
    struct Bill {
        uint256 providerPart;
        uint256 burnFromPot;
        uint256 burnFromLock;
        uint256 refundFromLock;
    }

    /// @notice Verifies the openings and charges each range with what is off in it.
    function charge(
        IBatches.Opening[] calldata openings,
        IBatches.Batch storage b,
        IBatches.RangeRecord[] storage ranges,
        uint256[] calldata points,
        Terms calldata terms
    ) external returns (Sums memory sums) {
        Forfeit[] memory forfeits = _collect(openings, b.root, b.total, b.verdicts, points, terms);
        for (uint256 i = 0; i < forfeits.length; i++) {
            Forfeit memory f = forfeits[i];
            uint256 index = openings[i].range;
            if (index >= ranges.length) revert IBatches.UnknownRange(index);
            IBatches.RangeRecord storage r = ranges[index];
            // The tree lists the ranges' receipts in the ranges' order; a tree that does not is forged, not off tolerance.
            if (f.start < r.start || uint256(f.start) + f.price > uint256(r.start) + r.fee) {
                revert IBatches.OpeningOutsideRange(i);
            }
            r.refund += f.price;
            sums.refunds += f.price;
            sums.burns += f.amount - f.price;
            if (f.sampled) {
                sums.struck++;
                sums.struckBps += r.discountBps;
            }
            emit IBatches.ToleranceForfeited(terms.batchId, index, r.consumer, f.price, f.amount);
        }
    }

    /// @notice Verifies the openings and matches them with the draws.
    /// @dev Two openings with one start would be the same leaf; the second could then match no draw, so `UnusedOpening`
    /// rules it out.
    function _collect(
        IBatches.Opening[] calldata openings,
        bytes32 root,
        uint128 total,
        bytes32 verdicts,
        uint256[] calldata points,
        Terms calldata terms
    ) private pure returns (Forfeit[] memory forfeits) {
        forfeits = new Forfeit[](openings.length);
        for (uint256 i = 0; i < openings.length; i++) {
            (bool ok, uint128 start) = SumTree.open(root, total, openings[i]);
            if (!ok) revert IBatches.BadOpening(i);
            forfeits[i].start = start;
            forfeits[i].price = openings[i].price;
        }
        for (uint256 draw = 0; draw < points.length; draw++) {
            if (Verdicts.byDraw(verdicts, draw) != Verdicts.TOLERANCE) continue;
            uint256 i = 0;
            while (i < forfeits.length && !_contains(forfeits[i], points[draw])) i++;
            if (i == forfeits.length) revert IBatches.MissingOpening(draw);
            forfeits[i].amount += terms.perDraw;
            if (draw < terms.draws) forfeits[i].sampled = true;
        }
        for (uint256 i = 0; i < forfeits.length; i++) {
            if (forfeits[i].amount == 0) revert IBatches.UnusedOpening(i);
            if (forfeits[i].amount < forfeits[i].price) forfeits[i].amount = forfeits[i].price;
        }
    }

    /// @notice Splits `refunds` (to consumers) and `burns` over the provider's part and the lock.
    /// @dev Refunds are at most the fees and the lock at least the shares taken off before (checked at construction), so
    /// consumers are always made whole; only the burn can be cut short by the size of the lock.
    function bill(uint256 providerPart, uint256 lock, uint256 refunds, uint256 burns)
        internal
        pure
        returns (Bill memory b)
    {
        uint256 refundFromPot = _min(refunds, providerPart);
        b.refundFromLock = refunds - refundFromPot;
        b.burnFromPot = _min(burns, providerPart - refundFromPot);
        b.burnFromLock = _min(burns - b.burnFromPot, lock - b.refundFromLock);
        b.providerPart = providerPart - refundFromPot - b.burnFromPot;
    }

    function _contains(Forfeit memory f, uint256 point) private pure returns (bool) {
        return point >= f.start && point - f.start < f.price;
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
