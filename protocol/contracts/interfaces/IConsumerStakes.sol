// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Stakes of consumers, for a discount
/// @notice A consumer stakes out of its balance. The stake counts after `activation` and gives a discount on what its fees burn, never on
/// what anyone is paid. It comes back `lockTime` after it was asked for, and does not count in between: staking for one batch costs
/// the use of the money for both times.
interface IConsumerStakes {
    /// @param lockTime seconds from the request until the stake is a balance again.
    /// @param activation seconds until a new stake counts.
    /// @param stakes active stakes from which the three tiers begin, ascending.
    /// @param discountBps part of the burn that each tier saves, ascending, at most 3000.
    struct StakeParams {
        uint64 lockTime;
        uint64 activation;
        uint128[3] stakes;
        uint16[3] discountBps;
    }

    /// @param active counts for the discount, as of the last change.
    /// @param pending counts from `activeAt` on.
    /// @param leaving comes back at `releaseAt`.
    struct ConsumerStake {
        uint128 active;
        uint128 pending;
        uint128 leaving;
        uint64 activeAt;
        uint64 releaseAt;
    }

    event ConsumerStaked(address indexed account, uint256 amount, uint64 activeAt);
    event ConsumerUnstakeRequested(address indexed account, uint256 amount, uint64 releaseAt);
    event ConsumerUnstaked(address indexed account, uint256 amount);

    error BadStakeParams();
    /// @notice Nothing, or more than there is.
    error StakeTooSmall(uint256 staked, uint256 wanted);
    error StakeLocked(uint64 releaseAt);
    error NothingLeaving(address account);

    /// @notice Moves part of the caller's balance to its stake. What is still pending starts anew with it.
    function stake(uint256 amount) external;

    /// @notice Asks for part of the caller's stake back, pending stake first. A second request moves the date for the first too.
    function requestUnstake(uint256 amount) external;

    /// @notice Returns what is due to the caller's balance.
    function unstake() external;

    function stakeOf(address account) external view returns (ConsumerStake memory);

    /// @notice Part of the burn that a consumer's fees save now, in basis points.
    function discountOf(address account) external view returns (uint16);

    function stakeParams() external view returns (StakeParams memory);
}
