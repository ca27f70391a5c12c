// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {ISeats} from "./interfaces/ISeats.sol";

/// @title Seats, documented in {ISeats}
contract Seats is ISeats {
    using BitMaps for BitMaps.BitMap;

    uint256 private constant BPS = 10_000;

    INodeRegistry public immutable registry;
    address public immutable batches;
    uint128 public immutable seatStake;
    uint64 public immutable seatWindow;

    mapping(address account => bool) public isJudge;
    mapping(bytes32 bench => Bench) private _benches;
    mapping(bytes32 bench => BitMaps.BitMap) private _slashed;

    modifier onlyJudges() {
        if (!isJudge[msg.sender]) revert NotJudge(msg.sender);
        _;
    }

    /// @param seatStake_ at most the registry's `minStake`, so that whoever can be drawn and has nothing locked can sit.
    /// @param judges may slash; nobody is ever added.
    constructor(
        INodeRegistry registry_,
        address batches_,
        uint128 seatStake_,
        uint64 seatWindow_,
        address[] memory judges
    ) {
        if (seatStake_ == 0 || seatStake_ > registry_.minStake() || seatWindow_ == 0) revert BadSeatParams();
        registry = registry_;
        batches = batches_;
        seatStake = seatStake_;
        seatWindow = seatWindow_;
        for (uint256 i = 0; i < judges.length; i++) isJudge[judges[i]] = true;
    }

    /// @inheritdoc ISeats
    function take(bytes32 bench, address[] calldata voters, uint64 until) external {
        if (msg.sender != batches && !isJudge[msg.sender]) revert NotTaker(msg.sender);
        Bench storage b = _benches[bench];
        if (b.until != 0) revert BenchExists(bench);
        uint64 least = uint64(block.timestamp) + seatWindow;
        if (until < least) until = least;
        (b.until, b.voters) = (until, _digest(voters));
        emit SeatsTaken(bench, voters, until);
        registry.lockSeats(voters, seatStake);
    }

    /// @inheritdoc ISeats
    function hold(bytes32 bench, uint64 until) external onlyJudges {
        Bench storage b = _benches[bench];
        if (b.until == 0) revert UnknownBench(bench);
        if (until <= b.until) return;
        b.until = until;
        emit SeatsHeld(bench, until);
    }

    /// @inheritdoc ISeats
    function slashSeat(bytes32 bench, address[] calldata voters, uint256 seat, address to, uint256 rewardBps)
        external
        onlyJudges
        returns (uint256 rewarded)
    {
        _known(bench, voters);
        address voter = voters[seat];
        if (_slashed[bench].get(seat)) revert SeatSlashedBefore(voter);
        _slashed[bench].set(seat);
        rewarded = uint256(seatStake) * rewardBps / BPS;
        uint256 burned = seatStake - rewarded;
        emit SeatSlashed(bench, voter, msg.sender, to, burned, rewarded);
        registry.slashSeat(voter, burned, rewarded, to);
    }

    /// @inheritdoc ISeats
    function release(bytes32 bench, address[] calldata voters) external {
        uint64 until = _known(bench, voters);
        if (block.timestamp <= until) revert SeatsStillHeld(until);
        // Its time stays: a bench is taken once.
        _benches[bench].voters = 0;
        emit SeatsReleased(bench);
        address[] memory free = new address[](voters.length);
        uint256 count = 0;
        for (uint256 i = 0; i < voters.length; i++) if (!_slashed[bench].get(i)) free[count++] = voters[i];
        assembly ("memory-safe") {
            mstore(free, count)
        }
        registry.unlockSeats(free, seatStake);
    }

    /// @inheritdoc ISeats
    function covered(address[] calldata voters) external view returns (address[] memory able) {
        able = new address[](voters.length);
        uint256 count = 0;
        for (uint256 i = 0; i < voters.length; i++) {
            if (registry.freeStake(voters[i]) >= seatStake) able[count++] = voters[i];
        }
        assembly ("memory-safe") {
            mstore(able, count)
        }
    }

    /// @inheritdoc ISeats
    function benchOf(bytes32 bench) external view returns (Bench memory) {
        return _benches[bench];
    }

    /// @inheritdoc ISeats
    function slashed(bytes32 bench, uint256 seat) external view returns (bool) {
        return _slashed[bench].get(seat);
    }

    /// @dev The list is the bench's, and its seats are not released.
    function _known(bytes32 bench, address[] calldata voters) private view returns (uint64 until) {
        Bench memory b = _benches[bench];
        if (b.voters == 0 || b.voters != _digest(voters)) revert UnknownBench(bench);
        return b.until;
    }

    function _digest(address[] calldata voters) private pure returns (uint192) {
        return uint192(uint256(keccak256(abi.encodePacked(voters))));
    }
}
