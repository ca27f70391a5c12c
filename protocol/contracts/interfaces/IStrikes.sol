// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Providers whose answers are off tolerance too often
/// @notice A sequential test over the draws of the samples of a provider's paid batches. A draw off tolerance adds `gain` to its score, a valid one takes
/// `loss` off, down to 0; both are weighted by the stake of the consumer that paid, as its discount tier says: of a consumer without stake neither
/// counts. At `threshold` the provider is excluded for a while. Scores are in millionths of a nat.
interface IStrikes {
    /// @param score sum so far.
    /// @param graceUntil timestamp (seconds) until which an excluded provider may anchor what it has been acknowledged.
    /// @param excludedUntil timestamp (seconds) from which it may serve again.
    /// @param strikes receipts of samples that were off tolerance and counted, in all.
    struct Record {
        uint64 score;
        uint64 graceUntil;
        uint64 excludedUntil;
        uint64 strikes;
    }

    /// @param gain for a strike of full weight, ln(p1/p0): p0 the rate of an honest provider, p1 that of one who is to be excluded.
    /// @param loss for a valid draw of full weight, ln((1 - p0)/(1 - p1)).
    /// @param threshold of exclusion, ln of the mean number of draws between two exclusions of an honest provider, at least.
    /// @param grace seconds from the exclusion in which batches can still be anchored.
    /// @param exclusion seconds that it lasts.
    /// @param fullBps discount of the tier whose consumers have full weight; half the discount is half the weight.
    struct StrikeParams {
        uint64 gain;
        uint64 loss;
        uint64 threshold;
        uint64 grace;
        uint64 exclusion;
        uint16 fullBps;
    }

    event Struck(bytes32 indexed batchId, address indexed provider, uint256 weightBps, uint64 score);
    event ProviderExcluded(address indexed provider, uint64 graceUntil, uint64 until);

    error NotBatches(address caller);
    error BadStrikeParams();
    error Excluded(address provider, uint64 until);

    /// @notice Counts a paid batch; by Batches only.
    /// @param struck receipts of the sample that were off tolerance.
    /// @param struckBps sum of their consumers' discounts (basis points).
    /// @param valid valid draws of the sample.
    /// @param validBps mean discount of the batch's consumers, by fees (basis points).
    function record(
        bytes32 batchId,
        address provider,
        uint256 struck,
        uint256 struckBps,
        uint256 valid,
        uint256 validBps
    ) external;

    /// @notice Reverts with `Excluded` where the provider may not take new sessions.
    function requireServing(address provider) external view;

    /// @notice Reverts with `Excluded` where the provider may not anchor.
    function requireAnchoring(address provider) external view;

    function recordOf(address provider) external view returns (Record memory);

    function strikeParams() external view returns (StrikeParams memory);
}
