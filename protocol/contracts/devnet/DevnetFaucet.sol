// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Start money for a development network: tokens and ether, once per address
contract DevnetFaucet {
    using SafeERC20 for IERC20;

    IERC20 public immutable token;
    /// @notice Token base units per address.
    uint256 public immutable tokenAmount;
    /// @notice Wei per address.
    uint256 public immutable etherAmount;

    mapping(address account => bool) public dripped;

    event Dripped(address indexed to, uint256 tokenAmount, uint256 etherAmount);

    error AlreadyDripped(address to);
    error EtherRefused(address to);

    constructor(IERC20 token_, uint256 tokenAmount_, uint256 etherAmount_) payable {
        token = token_;
        tokenAmount = tokenAmount_;
        etherAmount = etherAmount_;
    }

    receive() external payable {}

    function drip(address to) external {
        if (dripped[to]) revert AlreadyDripped(to);
        dripped[to] = true;
        emit Dripped(to, tokenAmount, etherAmount);
        token.safeTransfer(to, tokenAmount);
        (bool sent,) = to.call{value: etherAmount}("");
        if (!sent) revert EtherRefused(to);
    }
}
