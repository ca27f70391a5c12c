// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBeacon} from "./IBeacon.sol";

/// @title Beacon whose slot `s` is round `s · roundsPerSlot` of a drand network
/// @notice For chains whose block hashes are weak or constant. Rounds are BLS signatures on BN254 (drand's scheme
/// `bls-bn254-unchained-on-g1`, its network evmnet); a round has exactly one signature, whoever brings it, so nobody chooses
/// a value and nobody but a threshold of the drand network knows it before its time.
interface IDrandBeacon is IBeacon {
    /// @notice Constructor arguments are out of range, or the key is no point of G2.
    error BadBeaconParams();
    /// @notice The slot after a block is told in that block only: rounds go by the clock, and old blocks' clocks are not known.
    error NotThisBlock(uint256 blockNumber);
    /// @notice The slot needs its round's signature: `recordWithSignature`.
    error SignatureNeeded(uint64 round);
    /// @notice Not 64 bytes of a point of the curve.
    error SignatureMalformed();
    /// @notice A point, but not the network's signature of this round.
    error SignatureWrong(uint64 round);
    /// @notice The slot's round number is 0 or beyond 64 bits.
    error NoSuchRound(uint256 slot);

    /// @notice Key of the drand network: x₁, x₀, y₁, y₀ (imaginary parts first, as EIP-197).
    function publicKey() external view returns (uint256[4] memory);

    /// @notice Timestamp (seconds) of round 1.
    function genesis() external view returns (uint64);

    /// @notice Seconds from one round to the next.
    function period() external view returns (uint64);

    /// @notice Rounds from one slot to the next.
    function roundsPerSlot() external view returns (uint64);

    /// @notice Seconds that must lie between an anchor's block and the round it names. More than the chain's clock may be behind:
    /// a block that claims an earlier time than it has must not name a round that is out already.
    function minDelay() external view returns (uint64);

    function roundOf(uint256 slot) external view returns (uint64);

    /// @notice When a slot's round is due, seconds.
    function timeOf(uint256 slot) external view returns (uint256);

    /// @notice Records a slot with its round's signature, 64 bytes x ‖ y. Recording twice changes nothing.
    function recordWithSignature(uint256 slot, bytes calldata signature) external;
}
