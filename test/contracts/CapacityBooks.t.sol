// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Harness} from "./Harness.sol";
import {Measuring} from "./Measuring.sol";

/// @dev Whatever nodes do in whatever order: capacity is reported once for each lane that was drawn, computed and has stake.
contract CapacityBooksTest is Harness {
    Measuring private nodes;

    function setUp() public {
        nodes = new Measuring();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(nodes);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory s = new bytes4[](9);
        (s[0], s[1], s[2]) = (Measuring.advance.selector, Measuring.next.selector, Measuring.drawOne.selector);
        for (uint256 i = 3; i < 6; i++) s[i] = Measuring.answerLast.selector;
        for (uint256 i = 6; i < 9; i++) s[i] = Measuring.claimOne.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(nodes), s);
    }

    function invariant_onlyWhatWasExaminedPaysAndOnce() public view {
        eq(nodes.reported(), nodes.total(), "reported");
        assert(!nodes.paidTwice());
        assert(!nodes.paidForNothing());
    }

    /// @dev That the nodes above are paid at all: the same steps, in the order that an honest node takes them.
    function test_theNodesOfTheBooksArePaidWhereTheyShouldBe() public {
        for (uint256 i = 0; i < 12; i++) {
            nodes.next();
            for (uint256 by = 0; by < 6; by++) nodes.answerLast(by, by, i % 3, by != 0);
            nodes.drawOne(0);
            for (uint256 which = 0; which < 6; which++) nodes.claimOne(which, 1, false);
        }
        assert(nodes.paid() > 4);
        eq(nodes.reported(), nodes.total(), "reported");
        assert(!nodes.paidTwice() && !nodes.paidForNothing());
    }
}
