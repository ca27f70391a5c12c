// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ISeats} from "../interfaces/ISeats.sol";

/// @title Which bench gave the last verdict of a batch
library Benches {
    /// @notice Seats that one transaction takes.
    /// @dev Each changes a word on every level of the tree of stakes, and pays or burns: all 127 of the largest committee are more than the 2^24
    /// gas of a transaction (EIP-7825) among 50,000 nodes, and these stay below it with room for what else is in the call.
    uint256 internal constant AT_ONCE = 48;

    /// @notice The first verdict's bench has the batch's id; a later one, on appeal or after a rebuttal, is named by its attempt.
    function named(bytes32 batchId, uint8 attempt, bool first) internal pure returns (bytes32) {
        return first ? batchId : keccak256(abi.encode(batchId, attempt));
    }

    /// @notice The bench of the last verdict: whoever said something else before has not said this.
    function last(ISeats seats, bytes32 batchId, uint8 attempt) internal view returns (bytes32 bench) {
        bench = named(batchId, attempt, false);
        if (seats.benchOf(bench).until == 0) return batchId;
    }

    /// @notice Slashes the first seats of a bench that are not slashed, `AT_ONCE` of them at most. Is there more, the bench is held for as long
    /// again, so that whoever goes on is in time.
    /// @return lost how many were slashed.
    /// @return rewarded base units of them that went to `to`.
    function slash(ISeats seats, bytes32 bench, address[] calldata voters, address to, uint256 rewardBps)
        internal
        returns (uint256 lost, uint256 rewarded)
    {
        for (uint256 i = 0; i < voters.length; i++) {
            if (seats.slashed(bench, i)) continue;
            if (lost == AT_ONCE) {
                seats.hold(bench, uint64(block.timestamp) + seats.seatWindow());
                break;
            }
            rewarded += seats.slashSeat(bench, voters, i, to, rewardBps);
            lost++;
        }
    }
}
