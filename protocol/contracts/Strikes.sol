// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IStrikes} from "./interfaces/IStrikes.sol";

/// @title Strikes, documented in {IStrikes}
contract Strikes is IStrikes {
    address public immutable batches;

    uint64 private immutable _gain;
    uint64 private immutable _loss;
    uint64 private immutable _threshold;
    uint64 private immutable _grace;
    uint64 private immutable _exclusion;
    uint16 private immutable _fullBps;

    mapping(address provider => Record) private _records;

    constructor(address batches_, StrikeParams memory p) {
        // One strike alone excludes nobody, and an exclusion outlasts its grace.
        if (p.loss == 0 || p.gain <= p.loss || p.threshold <= p.gain || p.exclusion <= p.grace || p.fullBps == 0) {
            revert BadStrikeParams();
        }
        batches = batches_;
        (_gain, _loss, _threshold) = (p.gain, p.loss, p.threshold);
        (_grace, _exclusion, _fullBps) = (p.grace, p.exclusion, p.fullBps);
    }

    /// @inheritdoc IStrikes
    function record(
        bytes32 batchId,
        address provider,
        uint256 struck,
        uint256 struckBps,
        uint256 valid,
        uint256 validBps
    ) external {
        if (msg.sender != batches) revert NotBatches(msg.sender);
        Record storage r = _records[provider];
        uint256 score = r.score;
        if (struckBps == 0 && score == 0) return;
        score += struckBps * _gain / _fullBps;
        uint256 taken = valid * validBps * _loss / _fullBps;
        score = score > taken ? score - taken : 0;
        if (struckBps > 0) {
            r.strikes += uint64(struck);
            emit Struck(batchId, provider, struckBps * 10_000 / _fullBps, uint64(score));
        }
        if (score >= _threshold && struckBps > 0) {
            // It begins anew when it comes back.
            score = 0;
            // Who is excluded already has had its grace: another would come with every strike, which it can have a consumer of its own deal it.
            if (block.timestamp >= r.excludedUntil) r.graceUntil = uint64(block.timestamp) + _grace;
            r.excludedUntil = uint64(block.timestamp) + _exclusion;
            emit ProviderExcluded(provider, r.graceUntil, r.excludedUntil);
        }
        r.score = uint64(score);
    }

    /// @inheritdoc IStrikes
    function requireServing(address provider) external view {
        uint64 until = _records[provider].excludedUntil;
        if (block.timestamp < until) revert Excluded(provider, until);
    }

    /// @inheritdoc IStrikes
    function requireAnchoring(address provider) external view {
        Record memory r = _records[provider];
        if (block.timestamp > r.graceUntil && block.timestamp < r.excludedUntil) {
            revert Excluded(provider, r.excludedUntil);
        }
    }

    /// @inheritdoc IStrikes
    function recordOf(address provider) external view returns (Record memory) {
        return _records[provider];
    }

    /// @inheritdoc IStrikes
    function strikeParams() external view returns (StrikeParams memory) {
        return StrikeParams(_gain, _loss, _threshold, _grace, _exclusion, _fullBps);
    }
}
