// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IPriceIndex} from "./interfaces/IPriceIndex.sol";
import {Economics} from "./libraries/Economics.sol";

/// @title PriceIndex, documented in {IPriceIndex}
contract PriceIndex is IPriceIndex {
    /// @dev An epoch's end visits every class.
    uint256 public constant MAX_CLASSES = 8;

    address public immutable emissions;
    uint32 public immutable targetPpm;
    uint16 public immutable deltaBps;

    ClassPrice[] private _classes;
    /// @dev Index + 1; 0 for a class that the network does not have.
    mapping(bytes32 class => uint256) private _indexOf;

    /// @param targetPpm_ utilisation at which prices stand still.
    /// @param deltaBps_ most that a price moves in an epoch.
    constructor(address emissions_, uint32 targetPpm_, uint16 deltaBps_, ClassPrice[] memory classes) {
        if (targetPpm_ == 0 || targetPpm_ >= Economics.PPM || deltaBps_ >= Economics.BPS) revert BadPrices(classes.length);
        if (classes.length > MAX_CLASSES) revert BadPrices(MAX_CLASSES);
        emissions = emissions_;
        targetPpm = targetPpm_;
        deltaBps = deltaBps_;
        for (uint256 i = 0; i < classes.length; i++) {
            ClassPrice memory c = classes[i];
            bool inOrder = c.floor > 0 && c.floor <= c.price && c.price <= Economics.PRICE_MAX;
            if (!inOrder || _indexOf[c.class] != 0) revert BadPrices(i);
            _classes.push(c);
            _indexOf[c.class] = i + 1;
        }
    }

    /// @inheritdoc IPriceIndex
    function update(bytes32 class, uint256 usedPpm) external {
        if (msg.sender != emissions) revert NotEmissions(msg.sender);
        uint256 index = _indexOf[class];
        if (index == 0) revert UnknownClass(class);
        ClassPrice storage c = _classes[index - 1];
        uint256 price = Economics.priceNext(c.price, usedPpm, targetPpm, deltaBps, c.floor);
        c.price = uint128(price);
        emit PriceMoved(class, price, usedPpm);
    }

    /// @inheritdoc IPriceIndex
    function classCount() external view returns (uint256) {
        return _classes.length;
    }

    /// @inheritdoc IPriceIndex
    function classAt(uint256 index) external view returns (ClassPrice memory) {
        return _classes[index];
    }

    /// @inheritdoc IPriceIndex
    function priceOf(bytes32 class) external view returns (uint256 price, uint256 floor) {
        uint256 index = _indexOf[class];
        if (index == 0) return (0, 0);
        ClassPrice storage c = _classes[index - 1];
        return (c.price, c.floor);
    }
}
