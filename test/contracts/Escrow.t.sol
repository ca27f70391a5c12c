// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {World} from "./World.sol";

contract EscrowTest is World {
    function refuse(IEscrow.Range memory range, bytes memory err) private {
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = range;
        vm.prank(address(batches));
        vm.expectRevert(err);
        escrow.consume("pot", provider, list);
    }

    function consume(IEscrow.Range memory range) private {
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = range;
        vm.prank(address(batches));
        escrow.consume("pot", provider, list);
    }

    function test_aCeilingIsReservedAndCannotBeSpentTwice() public {
        eq(escrow.balanceOf(consumer), 90_000 ether, "balance");
        vm.prank(consumer);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.InsufficientBalance.selector, consumer, 90_000 ether, 90_001 ether)
        );
        escrow.withdraw(90_001 ether);
        vm.prank(consumer);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.InsufficientBalance.selector, consumer, 90_000 ether, 90_001 ether)
        );
        escrow.openSession(provider, 90_001 ether, uint64(vm.getBlockTimestamp() + 1), consumer);
    }

    function test_aRangeListedTwiceIsRefused() public {
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        consume(range);
        refuse(range, abi.encodeWithSelector(IEscrow.RangeNotContiguous.selector, session, 3, 3));
    }

    function test_aRangeListedTwiceInOneBatchIsRefused() public {
        IEscrow.Range[] memory list = new IEscrow.Range[](2);
        list[0] = nextRange(CONSUMER, session, 3, 10 ether);
        list[1] = list[0];
        vm.prank(address(batches));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.RangeNotContiguous.selector, session, 3, 3));
        escrow.consume("pot", provider, list);
    }

    function test_receiptsTheConsumerNeverAcknowledgedAreRefused() public {
        bytes memory refusal = abi.encodeWithSelector(IEscrow.BadVoucher.selector, session);
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        range.cumulative += 1;
        refuse(range, refusal);
        range.cumulative -= 1;
        range.toSeq += 1;
        refuse(range, refusal);
        range.toSeq -= 1;
        range.receiptHash = "other";
        refuse(range, refusal);
        refuse(nextRange(OTHER_CONSUMER, session, 3, 10 ether), refusal);
        range.signature = "";
        refuse(range, refusal);
    }

    function test_aVoucherOfAnotherSessionChainOrContractIsRefused() public {
        bytes32 second = open(CONSUMER, provider, 100 ether);
        IEscrow.Range memory range = nextRange(CONSUMER, second, 3, 10 ether);
        range.session = session;
        refuse(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));

        range = nextRange(CONSUMER, session, 3, 10 ether);
        bytes32 content = voucherContent(session, range.toSeq, range.cumulative, range.receiptHash);
        range.signature = signed(CONSUMER, block.chainid + 1, address(escrow), content);
        refuse(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));
        range.signature = signed(CONSUMER, block.chainid, address(batches), content);
        refuse(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));
    }

    function test_aForkedChainTakesNoOldVouchers() public {
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        vm.chainId(999);
        refuse(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));
    }

    function test_theCeilingIsTheLastGoodAndOneMoreTheFirstBadAmount() public {
        refuse(
            nextRange(CONSUMER, session, 1, 10_000 ether + 1),
            abi.encodeWithSelector(IEscrow.AboveCeiling.selector, session, 10_000 ether + 1, 10_000 ether)
        );
        consume(nextRange(CONSUMER, session, 1, 10_000 ether));
        eq(escrow.potOf("pot"), 10_000 ether, "pot");
        vm.prank(consumer);
        escrow.topUp(session, 1);
        consume(nextRange(CONSUMER, session, 1, 1));
    }

    function test_aRangeWithoutAFeeIsRefused() public {
        refuse(nextRange(CONSUMER, session, 1, 0), abi.encodeWithSelector(IEscrow.FeeNotPositive.selector, session));
    }

    function test_anotherProvidersSessionIsRefused() public {
        bytes32 foreign = open(CONSUMER, vm.addr(2), 100 ether);
        refuse(
            nextRange(CONSUMER, foreign, 1, 1),
            abi.encodeWithSelector(IEscrow.NotProviderOfSession.selector, foreign, provider)
        );
    }

    function test_closingLeavesTheProviderItsWindow() public {
        vm.prank(consumer);
        escrow.requestClose(session);
        uint64 due = uint64(vm.getBlockTimestamp() + 300);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.CloseAlreadyRequested.selector, session));
        escrow.requestClose(session);
        skip(299);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarlyToClose.selector, due));
        escrow.closeSession(session);
        consume(nextRange(CONSUMER, session, 1, 4_000 ether));
        skip(1);
        escrow.closeSession(session);
        eq(escrow.balanceOf(consumer), 96_000 ether, "refund");
        refuse(nextRange(CONSUMER, session, 1, 1), abi.encodeWithSelector(IEscrow.SessionIsClosed.selector, session));
    }

    function test_anExpiredSessionClosesAfterTheWindowToo() public {
        uint64 due = escrow.sessionOf(session).expiry + 300;
        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarlyToClose.selector, due));
        escrow.closeSession(session);
        vm.warp(due);
        escrow.closeSession(session);
        eq(escrow.balanceOf(consumer), 100_000 ether, "refund");
    }

    function test_theProviderMayCloseAtOnce() public {
        vm.prank(provider);
        escrow.closeSession(session);
        eq(escrow.balanceOf(consumer), 100_000 ether, "refund");
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.SessionIsClosed.selector, session));
        escrow.closeSession(session);
    }

    function test_onlyBatchesMovesFeesAndPots() public {
        bytes memory refusal = abi.encodeWithSelector(IEscrow.NotBatches.selector, address(this));
        vm.expectRevert(refusal);
        escrow.consume("pot", provider, new IEscrow.Range[](0));
        vm.expectRevert(refusal);
        escrow.prepay("pot", provider, 1);
        vm.expectRevert(refusal);
        escrow.pay("pot", provider, 1);
        vm.expectRevert(refusal);
        escrow.burn("pot", 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotRegistry.selector, address(this)));
        escrow.fundPot("pot", 1);
    }

    function test_aPotPaysOnlyWhatItHolds() public {
        consume(nextRange(CONSUMER, session, 1, 5));
        vm.prank(address(batches));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.InsufficientPot.selector, bytes32("pot"), 5, 6));
        escrow.pay("pot", provider, 6);
    }
}
