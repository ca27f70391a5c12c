// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title What a vote puts at stake
/// @notice Every vote that counts holds `seatStake` of its voter's stake until the last window is over in which the vote can be shown to be
/// wrong. The votes that were counted together are a *bench*; of a batch's own committee the bench's id is the batch's. What is held is
/// kept apart from the locks of batches, cannot be unbonded, and is taken by a judge only: the contracts named at deployment.
interface ISeats {
    /// @param until timestamp (seconds) from which the seats can be released.
    /// @param voters last 24 bytes of keccak256(abi.encodePacked(voters)): 96 bits against collisions among lists that a beacon draws.
    struct Bench {
        uint64 until;
        uint192 voters;
    }

    event SeatsTaken(bytes32 indexed bench, address[] voters, uint64 until);
    event SeatsHeld(bytes32 indexed bench, uint64 until);
    event SeatSlashed(
        bytes32 indexed bench, address indexed voter, address indexed judge, address to, uint256 burned, uint256 rewarded
    );
    event SeatsReleased(bytes32 indexed bench);

    error BadSeatParams();
    error NotJudge(address caller);
    error NotTaker(address caller);
    error BenchExists(bytes32 bench);
    error UnknownBench(bytes32 bench);
    error SeatSlashedBefore(address voter);
    error SeatsStillHeld(uint64 until);

    /// @notice Takes a seat of each voter: `seatStake` of its free stake. By Batches or a judge, once for a bench. The seats are held for
    /// `seatWindow`, and at least until `until` (timestamp, seconds).
    /// @param voters as `covered` gave them: one that has not the free stake stops the call.
    function take(bytes32 bench, address[] calldata voters, uint64 until) external;

    /// @notice Holds the seats of a bench at least until `until`, while something is undecided; by a judge.
    function hold(bytes32 bench, uint64 until) external;

    /// @notice Takes the seat of `voters[seat]`; by a judge, once for a seat and before its release. `rewardBps` of it (basis points) go to
    /// the escrow balance of `to`, the rest burns.
    /// @param voters of the bench, as `SeatsTaken` has them.
    /// @return rewarded base units that went to `to`.
    function slashSeat(bytes32 bench, address[] calldata voters, uint256 seat, address to, uint256 rewardBps)
        external
        returns (uint256 rewarded);

    /// @notice Frees the seats of a bench that were not slashed; by anyone once their time is over.
    function release(bytes32 bench, address[] calldata voters) external;

    /// @notice Those of `voters` whose free stake covers a seat, in their order. The vote of another does not count, as if it had stayed silent:
    /// it would have nothing to lose.
    function covered(address[] calldata voters) external view returns (address[] memory);

    function benchOf(bytes32 bench) external view returns (Bench memory);

    /// @notice Whether the voter's seat on this bench was slashed.
    function slashed(bytes32 bench, uint256 seat) external view returns (bool);

    function isJudge(address account) external view returns (bool);

    /// @notice Base units that a seat holds.
    function seatStake() external view returns (uint128);

    /// @notice Seconds that seats are held at least.
    function seatWindow() external view returns (uint64);
}
