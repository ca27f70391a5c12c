// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IConsumerStakes} from "./interfaces/IConsumerStakes.sol";

/// @title ConsumerStakes, documented in {IConsumerStakes}
abstract contract ConsumerStakes is IConsumerStakes {
    /// @dev Most of the burn that a stake saves.
    uint256 private constant MOST_BPS = 3_000;

    StakeParams private _params;
    mapping(address account => ConsumerStake) private _stakes;

    constructor(StakeParams memory p) {
        bool ascending = p.stakes[0] > 0 && p.stakes[0] <= p.stakes[1] && p.stakes[1] <= p.stakes[2]
            && p.discountBps[0] <= p.discountBps[1] && p.discountBps[1] <= p.discountBps[2];
        // Without a delay the stake could come and go around a single batch.
        if (!ascending || p.discountBps[2] > MOST_BPS || p.lockTime == 0 || p.activation == 0) revert BadStakeParams();
        _params = p;
    }

    /// @inheritdoc IConsumerStakes
    function stake(uint256 amount) external {
        if (amount == 0) revert StakeTooSmall(0, 0);
        _debit(msg.sender, amount);
        ConsumerStake storage s = _matured(msg.sender);
        s.pending += uint128(amount);
        s.activeAt = uint64(block.timestamp) + _params.activation;
        emit ConsumerStaked(msg.sender, amount, s.activeAt);
    }

    /// @inheritdoc IConsumerStakes
    function requestUnstake(uint256 amount) external {
        ConsumerStake storage s = _matured(msg.sender);
        uint256 staked = uint256(s.active) + s.pending;
        if (amount == 0 || amount > staked) revert StakeTooSmall(staked, amount);
        uint256 fromPending = amount < s.pending ? amount : s.pending;
        s.pending -= uint128(fromPending);
        s.active -= uint128(amount - fromPending);
        s.leaving += uint128(amount);
        s.releaseAt = uint64(block.timestamp) + _params.lockTime;
        emit ConsumerUnstakeRequested(msg.sender, amount, s.releaseAt);
    }

    /// @inheritdoc IConsumerStakes
    function unstake() external {
        ConsumerStake storage s = _stakes[msg.sender];
        uint256 amount = s.leaving;
        if (amount == 0) revert NothingLeaving(msg.sender);
        if (block.timestamp < s.releaseAt) revert StakeLocked(s.releaseAt);
        s.leaving = 0;
        emit ConsumerUnstaked(msg.sender, amount);
        _credit(msg.sender, amount);
    }

    /// @inheritdoc IConsumerStakes
    function stakeOf(address account) external view returns (ConsumerStake memory) {
        return _stakes[account];
    }

    /// @inheritdoc IConsumerStakes
    function stakeParams() external view returns (StakeParams memory) {
        return _params;
    }

    /// @inheritdoc IConsumerStakes
    function discountOf(address account) public view returns (uint16 discount) {
        ConsumerStake storage s = _stakes[account];
        uint256 active = s.active;
        if (s.pending > 0 && block.timestamp >= s.activeAt) active += s.pending;
        // Most accounts have no stake: they pay for one or two reads.
        if (active == 0) return 0;
        StakeParams storage p = _params;
        for (uint256 tier = 0; tier < 3 && active >= p.stakes[tier]; tier++) discount = p.discountBps[tier];
    }

    function _matured(address account) private returns (ConsumerStake storage s) {
        s = _stakes[account];
        if (s.pending == 0 || block.timestamp < s.activeAt) return s;
        s.active += s.pending;
        s.pending = 0;
    }

    /// @dev Takes from a balance; reverts when it does not suffice, so that amounts stay below 2^128.
    function _debit(address account, uint256 amount) internal virtual;

    function _credit(address account, uint256 amount) internal virtual;
}
