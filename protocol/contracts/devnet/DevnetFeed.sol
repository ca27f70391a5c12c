// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title A price that its deployer sets, in the shape of Chainlink's AggregatorV3
/// @notice For development networks, where nothing has a price: the nodes read it as they would read a real feed.
contract DevnetFeed {
    uint8 public immutable decimals;
    string public description;
    address public immutable setter;
    uint256 public constant version = 1;

    int256 private _answer;
    uint80 private _round;
    uint256 private _updatedAt;

    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);

    error NotSetter(address caller);

    constructor(string memory description_, uint8 decimals_, int256 answer) {
        description = description_;
        decimals = decimals_;
        setter = msg.sender;
        _set(answer);
    }

    /// @notice Starts a new round with this answer.
    function set(int256 answer) external {
        if (msg.sender != setter) revert NotSetter(msg.sender);
        _set(answer);
    }

    function latestRoundData()
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)
    {
        return (_round, _answer, _updatedAt, _updatedAt, _round);
    }

    function _set(int256 answer) private {
        _answer = answer;
        _round++;
        _updatedAt = block.timestamp;
        emit AnswerUpdated(answer, _round, block.timestamp);
    }
}
