// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";

/// @title A vector of verdicts: byte i of a word is the verdict on draw i, the rest is zero
library Verdicts {
    uint8 internal constant VALID = 1;
    uint8 internal constant TOLERANCE = 2;
    uint8 internal constant INPUT = 3;
    /// @dev Never voted: a missing trace is a fact of the chain (`expire`), and one that does not fit is forged. Voting it would
    /// offer a forger the smaller slash.
    uint8 internal constant UNTRACED = 4;
    uint8 internal constant FORGED = 5;

    function byDraw(bytes32 verdicts, uint256 draw) internal pure returns (uint8) {
        return uint8(verdicts[draw]);
    }

    /// @notice Reverts unless every draw has a verdict that a committee may give and nothing stands behind the last.
    function check(bytes32 verdicts, uint256 draws) internal pure {
        for (uint256 i = 0; i < draws; i++) {
            uint8 verdict = byDraw(verdicts, i);
            if (verdict == 0 || verdict == UNTRACED || verdict > FORGED) revert IBatches.BadVerdict(i);
        }
        if (draws < 32 && verdicts << (8 * draws) != 0) revert IBatches.VerdictBeyondDraws();
    }

    /// @notice Whether any draw is forged.
    function forged(bytes32 verdicts, uint256 draws) internal pure returns (bool) {
        for (uint256 i = 0; i < draws; i++) if (byDraw(verdicts, i) == FORGED) return true;
        return false;
    }

    /// @notice Whether any draw is off tolerance.
    function off(bytes32 verdicts, uint256 draws) internal pure returns (bool) {
        for (uint256 i = 0; i < draws; i++) if (byDraw(verdicts, i) == TOLERANCE) return true;
        return false;
    }

    /// @notice Number of valid draws among the first `draws`.
    function valid(bytes32 verdicts, uint256 draws) internal pure returns (uint256 count) {
        for (uint256 i = 0; i < draws; i++) if (byDraw(verdicts, i) == VALID) count++;
    }
}
