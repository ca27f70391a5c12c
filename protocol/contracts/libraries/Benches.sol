// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ISeats} from "../interfaces/ISeats.sol";

/// @title Which bench gave the last verdict of a batch
library Benches {
    /// @notice The first verdict's bench has the batch's id; a later one, on appeal or after a rebuttal, is named by its attempt.
    function named(bytes32 batchId, uint8 attempt, bool first) internal pure returns (bytes32) {
        return first ? batchId : keccak256(abi.encode(batchId, attempt));
    }

    /// @notice The bench of the last verdict: whoever said something else before has not said this.
    function last(ISeats seats, bytes32 batchId, uint8 attempt) internal view returns (bytes32 bench) {
        bench = named(batchId, attempt, false);
        if (seats.benchOf(bench).until == 0) return batchId;
    }
}
