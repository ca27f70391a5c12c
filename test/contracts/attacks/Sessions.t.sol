// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../../protocol/contracts/interfaces/IEscrow.sol";
import {World} from "../World.sol";

/// @dev Who gets what when a consumer closes while its provider anchors: what was acknowledged and anchored in time is the provider's, the
/// rest of the ceiling the consumer's, to the unit, in whatever order their transactions are mined.
contract SessionsTest is World {
    uint256 private constant CEILING = 10_000 ether;
    uint256 private constant RICH = 90_000 ether;

    function closed() private view returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.SessionIsClosed.selector, session);
    }

    function anchorRefused(bytes32 root, IEscrow.Range[] memory list, bytes memory err) private {
        vm.prank(provider);
        vm.expectRevert(err);
        batches.anchorBatch(root, list);
    }

    function requestClose() private {
        vm.prank(consumer);
        escrow.requestClose(session);
    }

    function test_anAnchorInTheBlockOfTheCloseCountsWhereItComesFirst() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        requestClose();
        skip(300);
        uint256 snapshot = vm.snapshotState();
        anchor("first", list);
        escrow.closeSession(session);
        eq(escrow.balanceOf(consumer), RICH + CEILING - 10 ether, "the rest");
        vm.revertToState(snapshot);
        // The window was the provider's time. In the second in which it is over, whoever is mined first is right.
        escrow.closeSession(session);
        anchorRefused("first", list, closed());
        eq(escrow.balanceOf(consumer), RICH + CEILING, "all");
    }

    function test_beforeTheWindowIsOverNoCloseIsInFrontOfAnAnchor() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        requestClose();
        uint64 due = uint64(vm.getBlockTimestamp() + 300);
        skip(299);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarlyToClose.selector, due));
        escrow.closeSession(session);
        anchor("last second", list);
        eq(escrow.sessionOf(session).anchored, 10 ether, "anchored");
    }

    /// @dev Asked to close, then topped up, then asked again: the date stands.
    function test_nothingTheConsumerDoesShortensTheWindow() public {
        requestClose();
        uint64 due = escrow.sessionOf(session).closesAt;
        skip(10);
        vm.prank(consumer);
        escrow.topUp(session, 1 ether);
        eq(escrow.balanceOf(consumer), RICH - 1 ether, "what is added is reserved once");
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.CloseAlreadyRequested.selector, session));
        escrow.requestClose(session);
        eq(escrow.sessionOf(session).closesAt, due, "date");
    }

    /// @dev The consumer signs two vouchers for the same receipts, or the provider puts one into two batches: the second has nothing.
    function test_oneVoucherIsPaidInOneBatch() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        anchor("one", list);
        anchorRefused("two", list, abi.encodeWithSelector(IEscrow.RangeNotContiguous.selector, session, 3, 3));
        // An older voucher, kept back: nothing of it is left.
        IEscrow.Range[] memory more = ranges(5 ether);
        more[0].toSeq = 2;
        anchorRefused("three", more, abi.encodeWithSelector(IEscrow.RangeNotContiguous.selector, session, 3, 2));
        // A later one for less than was anchored, which an honest consumer never signs.
        IEscrow.Range[] memory less = new IEscrow.Range[](1);
        less[0] = IEscrow.Range(session, 4, 10 ether, "receipt", "");
        less[0].signature =
            signed(CONSUMER, block.chainid, address(escrow), voucherContent(session, 4, 10 ether, "receipt"));
        anchorRefused("four", less, abi.encodeWithSelector(IEscrow.FeeNotPositive.selector, session));
    }

    function test_vouchersOfAClosedSessionAreWorthNothingInTheNext() public {
        IEscrow.Range[] memory list = ranges(10 ether);
        vm.prank(provider);
        escrow.closeSession(session);
        bytes32 next = open(CONSUMER, provider, CEILING);
        assert(next != session);
        anchorRefused("old", list, closed());
        list[0].session = next;
        anchorRefused("moved", list, abi.encodeWithSelector(IEscrow.BadVoucher.selector, next));
    }

    /// @dev A batch of many sessions is refused as a whole when one closes in front of it; nothing of it is consumed.
    function test_aBatchThatIsRefusedConsumesNothing() public {
        bytes32 other = open(OTHER_CONSUMER, provider, 100 ether);
        IEscrow.Range[] memory list = new IEscrow.Range[](2);
        list[0] = nextRange(CONSUMER, session, 3, 10 ether);
        list[1] = nextRange(OTHER_CONSUMER, other, 3, 10 ether);
        vm.prank(vm.addr(OTHER_CONSUMER));
        escrow.requestClose(other);
        skip(300);
        escrow.closeSession(other);
        anchorRefused("both", list, abi.encodeWithSelector(IEscrow.SessionIsClosed.selector, other));
        eq(escrow.sessionOf(session).cursor, 0, "cursor");
        IEscrow.Range[] memory one = new IEscrow.Range[](1);
        one[0] = list[0];
        anchor("one", one);
    }

    /// @dev Whoever acts when: both ends add up to the ceiling, and up to the window's end the provider gets what it holds.
    function testFuzz_closingSplitsTheCeiling(uint256 fee, uint256 asked, uint256 anchored, bool byProvider) public {
        fee = bound(fee, 1, 2_000 ether);
        asked = bound(asked, 0, 400);
        anchored = bound(anchored, 0, 800);
        IEscrow.Range[] memory list = ranges(fee);
        uint256 start = vm.getBlockTimestamp();
        bool inTime = anchored < asked + 300;
        if (inTime && anchored < asked) {
            vm.warp(start + anchored);
            anchor("root", list);
        }
        vm.warp(start + asked);
        requestClose();
        if (inTime && anchored >= asked) {
            vm.warp(start + anchored);
            anchor("root", list);
        }
        if (byProvider && inTime) vm.prank(provider);
        else vm.warp(start + asked + 300);
        escrow.closeSession(session);
        if (!inTime) {
            vm.warp(start + anchored);
            anchorRefused("root", list, closed());
        }
        uint256 kept = inTime ? fee : 0;
        eq(escrow.balanceOf(consumer), RICH + CEILING - kept, "consumer");
        eq(escrow.potOf(batches.batchIdOf(provider, "root")), inTime ? kept + 1 ether : 0, "pot");
    }
}
