// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Reference price of a unit of work, per hardware class
/// @notice A unit is 10^12 multiply-adds. The index is where bidding starts from and what utilisation is measured in; nobody
/// has to bid at it. The classes of a network are fixed at its deployment.
interface IPriceIndex {
    /// @param class keccak256 of the class's name, as in the registry.
    /// @param price base units for a unit of work.
    /// @param floor the price never falls below it, and availability pays by it.
    struct ClassPrice {
        bytes32 class;
        uint128 price;
        uint128 floor;
    }

    event PriceMoved(bytes32 indexed class, uint256 price, uint256 usedPpm);

    error NotEmissions(address caller);
    error BadPrices(uint256 index);
    error UnknownClass(bytes32 class);

    /// @notice Moves a class's price by the utilisation of an epoch that has ended; by Emissions only.
    function update(bytes32 class, uint256 usedPpm) external;

    function classCount() external view returns (uint256);

    /// @notice The classes in the order of the deployment.
    function classAt(uint256 index) external view returns (ClassPrice memory);

    /// @notice Price and floor of a class, zero for one that the network does not have.
    function priceOf(bytes32 class) external view returns (uint256 price, uint256 floor);
}
