// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The network's token: 18 decimals, permit, burnable, capped, owned by nobody
/// @notice The cap bounds every amount far below 2^128, on which the packed amounts of the other contracts rely. Besides the genesis
/// amount, tokens come from one contract that is named at deployment and follows a schedule.
contract SinterToken is ERC20, ERC20Permit, ERC20Burnable, ERC20Capped {
    /// @notice `Emissions`. Zero: nothing is ever minted.
    address public immutable minter;
    /// @notice Everything that was ever minted, genesis included: supply = minted − burned.
    uint256 public minted;

    error CapTooLarge(uint256 cap);
    error NotMinter(address caller);

    /// @param holder receives the genesis amount.
    constructor(address holder, uint256 genesis, uint256 cap_, address minter_)
        ERC20("Sinter", "SNTR")
        ERC20Permit("Sinter")
        ERC20Capped(cap_)
    {
        if (cap_ > type(uint96).max) revert CapTooLarge(cap_);
        minter = minter_;
        _create(holder, genesis);
    }

    /// @notice Mints; by the minter only, up to the cap.
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert NotMinter(msg.sender);
        _create(to, amount);
    }

    function _create(address to, uint256 amount) private {
        minted += amount;
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Capped) {
        super._update(from, to, amount);
    }
}
