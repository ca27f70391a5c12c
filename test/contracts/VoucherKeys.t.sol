// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {Wallet} from "./Wallet.sol";
import {World} from "./World.sol";

/// @dev Sessions whose vouchers another key signs than that of the account that pays; and accounts that are contracts.
contract VoucherKeysTest is World {
    uint256 private constant OWNER = 41;
    uint256 private constant VOUCHER_KEY = 42;
    uint256 private constant RELAYER = 43;
    bytes32 private constant OPENING = keccak256(
        "OpenSession(address consumer,address provider,uint256 ceiling,uint64 expiry,address signer,uint256 nonce,uint256 deadline)"
    );

    Wallet private wallet;

    function setUp() public override {
        super.setUp();
        wallet = new Wallet(vm.addr(OWNER));
        token.approve(address(escrow), 2_000 ether);
        escrow.depositFor(address(wallet), 1_000 ether);
    }

    function opening(address account, address key) private view returns (IEscrow.Opening memory o) {
        uint64 now_ = uint64(vm.getBlockTimestamp());
        o = IEscrow.Opening(account, provider, 100 ether, now_ + 10_000, key, escrow.sessionNonce(account), now_ + 60);
    }

    function signOpening(uint256 key, IEscrow.Opening memory o) private view returns (bytes memory) {
        return signed(key, block.chainid, address(escrow), keccak256(abi.encode(OPENING, o)));
    }

    /// @dev Opened by a stranger, with what the wallet has signed.
    function openForWallet() private returns (bytes32) {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes memory signature = signOpening(OWNER, o);
        vm.prank(vm.addr(RELAYER));
        return escrow.openSessionFor(o, signature);
    }

    function refuseRange(IEscrow.Range memory range, bytes memory err) private {
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = range;
        vm.prank(provider);
        vm.expectRevert(err);
        batches.anchorBatch("root", list);
    }

    function anchorRange(IEscrow.Range memory range) private returns (bytes32) {
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = range;
        return anchor(keccak256(abi.encode(range.session, range.toSeq)), list);
    }

    // ---- what it is for

    function test_aContractWalletPaysThroughASignatureAndHasBackWhatIsLeft() public {
        bytes32 id = openForWallet();
        eq(escrow.balanceOf(address(wallet)), 900 ether, "reserved");
        bytes32 batchId = anchorRange(nextRange(VOUCHER_KEY, id, 3, 10 ether));
        toCommittee(batchId);
        settle(batchId, VALID);
        uint256 before = escrow.balanceOf(ownerOf(1));
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(ownerOf(1)) - before, 10 ether - 0.3 ether - 0.5 ether, "the provider's part");

        bytes memory close = abi.encodeCall(IEscrow.requestClose, (id));
        vm.prank(vm.addr(OWNER));
        wallet.execute(address(escrow), close);
        skip(300);
        escrow.closeSession(id);
        eq(escrow.balanceOf(address(wallet)), 990 ether, "what is left");
        vm.prank(vm.addr(OWNER));
        wallet.execute(address(escrow), abi.encodeCall(IEscrow.withdraw, (990 ether)));
        eq(token.balanceOf(address(wallet)), 990 ether, "withdrawn");
    }

    function test_aContractWalletOpensASessionByItself() public {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes memory data = abi.encodeCall(IEscrow.openSession, (provider, 100 ether, o.expiry, o.signer));
        vm.prank(vm.addr(OWNER));
        bytes32 id = abi.decode(wallet.execute(address(escrow), data), (bytes32));
        eq(escrow.sessionOf(id).consumer, address(wallet), "consumer");
        anchorRange(nextRange(VOUCHER_KEY, id, 1, 1 ether));
    }

    function test_aConsumerWithoutGasIsServedByWhoeverRelays() public {
        IEscrow.Opening memory o = opening(vm.addr(OTHER_CONSUMER), vm.addr(OTHER_CONSUMER));
        bytes memory signature = signOpening(OTHER_CONSUMER, o);
        vm.prank(vm.addr(RELAYER));
        bytes32 id = escrow.openSessionFor(o, signature);
        eq(id, escrow.sessionId(vm.addr(OTHER_CONSUMER), 0), "the id is known beforehand");
        anchorRange(nextRange(OTHER_CONSUMER, id, 1, 1 ether));
    }

    // ---- after the work nothing can be taken back

    function test_aWalletThatTakesItsSignatureBackPaysAllTheSame() public {
        bytes32 id = openForWallet();
        IEscrow.Range memory range = nextRange(VOUCHER_KEY, id, 3, 10 ether);
        vm.prank(vm.addr(OWNER));
        wallet.fallSilent();
        anchorRange(range);
        eq(escrow.sessionOf(id).anchored, 10 ether, "paid");
    }

    function test_aWalletCannotSignVouchers() public {
        IEscrow.Opening memory o = opening(address(wallet), address(wallet));
        bytes32 id = escrow.openSessionFor(o, signOpening(OWNER, o));
        // Its owner's key is not its address, so the ceiling only waits for the session's end.
        refuseRange(nextRange(OWNER, id, 1, 1 ether), abi.encodeWithSelector(IEscrow.BadVoucher.selector, id));
    }

    function test_closingLeavesOutstandingVouchersTheirWindow() public {
        bytes32 id = openForWallet();
        IEscrow.Range memory range = nextRange(VOUCHER_KEY, id, 3, 10 ether);
        vm.prank(vm.addr(OWNER));
        wallet.execute(address(escrow), abi.encodeCall(IEscrow.requestClose, (id)));
        skip(299);
        vm.expectPartialRevert(IEscrow.TooEarlyToClose.selector);
        escrow.closeSession(id);
        anchorRange(range);
    }

    function test_theVoucherKeyMayAskForTheEndAndForNothingElse() public {
        bytes32 id = openForWallet();
        address key = vm.addr(VOUCHER_KEY);
        bytes memory refusal = abi.encodeWithSelector(IEscrow.NotConsumer.selector, key);
        vm.prank(key);
        vm.expectRevert(refusal);
        escrow.topUp(id, 1);
        vm.prank(key);
        vm.expectPartialRevert(IEscrow.InsufficientBalance.selector);
        escrow.withdraw(1);
        vm.prank(vm.addr(RELAYER));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotConsumer.selector, vm.addr(RELAYER)));
        escrow.requestClose(id);
        vm.prank(key);
        escrow.requestClose(id);
        skip(300);
        escrow.closeSession(id);
        eq(escrow.balanceOf(address(wallet)), 1_000 ether, "all of it went back to the wallet");
        eq(escrow.balanceOf(key), 0, "and nothing to the key");
    }

    function test_auditsAreTheConsumersWhoseMoneyAndJobsTheyAre() public {
        bytes32 batchId = anchorRange(nextRange(VOUCHER_KEY, openForWallet(), 3, 10 ether));
        vm.prank(vm.addr(VOUCHER_KEY));
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotConsumer.selector, vm.addr(VOUCHER_KEY)));
        batches.audit(batchId, 0, 1);
        vm.prank(vm.addr(OWNER));
        wallet.execute(address(batches), abi.encodeCall(IBatches.audit, (batchId, 0, 1)));
        eq(batches.auditsOf(batchId).length, 1, "audits");
        eq(escrow.balanceOf(address(wallet)), 900 ether - 0.5 ether, "its fee is the wallet's");
    }

    // ---- somebody else's key

    function test_theConsumersOwnKeySignsNothingWhereAnotherWasNamed() public {
        uint64 expiry = uint64(vm.getBlockTimestamp() + 1_000);
        vm.prank(consumer);
        bytes32 id = escrow.openSession(provider, 100 ether, expiry, vm.addr(VOUCHER_KEY));
        refuseRange(nextRange(CONSUMER, id, 1, 1 ether), abi.encodeWithSelector(IEscrow.BadVoucher.selector, id));
        anchorRange(nextRange(VOUCHER_KEY, id, 1, 1 ether));
        eq(escrow.sessionOf(session).anchored, 0, "its other session is untouched");
    }

    /// @dev Whoever names a stranger as signer has reserved its own money for vouchers that nobody makes.
    function test_namingAStrangersKeyTouchesNeitherItsMoneyNorItsSessions() public {
        uint64 expiry = uint64(vm.getBlockTimestamp() + 1_000);
        vm.prank(vm.addr(OTHER_CONSUMER));
        bytes32 bait = escrow.openSession(provider, 100 ether, expiry, consumer);
        eq(escrow.balanceOf(consumer), 90_000 ether, "the stranger's balance");
        // What the stranger signs for its own sessions fits no other.
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        range.session = bait;
        refuseRange(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, bait));
        eq(escrow.sessionNonce(consumer), 1, "and its sessions keep their numbers");
    }

    /// @dev No more than what the consumer could do by handing out vouchers: one session's ceiling, judged like any work.
    function test_aProviderThatIsTheVoucherKeyTakesThatCeilingAtMost() public {
        uint64 expiry = uint64(vm.getBlockTimestamp() + 1_000);
        vm.prank(consumer);
        bytes32 id = escrow.openSession(provider, 100 ether, expiry, provider);
        refuseRange(
            nextRange(1, id, 1, 100 ether + 1),
            abi.encodeWithSelector(IEscrow.AboveCeiling.selector, id, 100 ether + 1, 100 ether)
        );
        refuseRange(nextRange(1, session, 1, 1 ether), abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));
        bytes32 batchId = anchorRange(nextRange(1, id, 1, 100 ether));
        toCommittee(batchId);
        settle(batchId, FORGED);
        requireStatus(batchId, IBatches.Status.SlashPending);
    }

    function test_nobodyIsTheVoucherKeyOfASession() public {
        uint64 expiry = uint64(vm.getBlockTimestamp() + 1_000);
        vm.prank(consumer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BadSigner.selector, address(0)));
        escrow.openSession(provider, 100 ether, expiry, address(0));
    }

    // ---- replay of openings

    function test_anOpeningIsUsedOnceInItsTurnAndInTime() public {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes memory signature = signOpening(OWNER, o);
        vm.warp(o.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.OpeningExpired.selector, o.deadline));
        escrow.openSessionFor(o, signature);
        vm.warp(o.deadline);
        escrow.openSessionFor(o, signature);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BadNonce.selector, address(wallet), 0, 1));
        escrow.openSessionFor(o, signature);
        o.nonce = 2;
        signature = signOpening(OWNER, o);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BadNonce.selector, address(wallet), 2, 1));
        escrow.openSessionFor(o, signature);
    }

    function test_aConsumerTakesASignedOpeningBackByOpeningAnother() public {
        IEscrow.Opening memory o = opening(consumer, consumer);
        bytes memory signature = signOpening(CONSUMER, o);
        open(CONSUMER, provider, 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BadNonce.selector, consumer, 1, 2));
        escrow.openSessionFor(o, signature);
    }

    function test_anOpeningWithAnythingChangedIsRefused() public {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes memory signature = signOpening(OWNER, o);
        for (uint256 field = 0; field < 6; field++) {
            IEscrow.Opening memory other = abi.decode(abi.encode(o), (IEscrow.Opening));
            if (field == 0) other.provider = vm.addr(2);
            if (field == 1) other.ceiling++;
            if (field == 2) other.expiry++;
            if (field == 3) other.signer = vm.addr(RELAYER);
            if (field == 4) other.deadline++;
            if (field == 5) other.consumer = vm.addr(OWNER);
            vm.expectRevert(abi.encodeWithSelector(IEscrow.BadOpening.selector, other.consumer));
            escrow.openSessionFor(other, signature);
        }
    }

    /// @dev One owner, two wallets, the same nonce: what one has signed must not open a session of the other.
    function test_anOpeningOfAnotherWalletOfTheSameOwnerIsRefused() public {
        Wallet second = new Wallet(vm.addr(OWNER));
        escrow.depositFor(address(second), 100 ether);
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes memory signature = signOpening(OWNER, o);
        o.consumer = address(second);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BadOpening.selector, address(second)));
        escrow.openSessionFor(o, signature);
    }

    function test_anOpeningForAnotherChainOrContractIsRefused() public {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes32 content = keccak256(abi.encode(OPENING, o));
        bytes memory refusal = abi.encodeWithSelector(IEscrow.BadOpening.selector, address(wallet));
        bytes memory elsewhere = signed(OWNER, block.chainid + 1, address(escrow), content);
        vm.expectRevert(refusal);
        escrow.openSessionFor(o, elsewhere);
        elsewhere = signed(OWNER, block.chainid, address(batches), content);
        vm.expectRevert(refusal);
        escrow.openSessionFor(o, elsewhere);
        bytes memory good = signOpening(OWNER, o);
        vm.chainId(999);
        vm.expectRevert(refusal);
        escrow.openSessionFor(o, good);
    }

    function test_aWalletThatHasTakenItsSignatureBackOpensNothing() public {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        bytes memory signature = signOpening(OWNER, o);
        vm.prank(vm.addr(OWNER));
        wallet.fallSilent();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BadOpening.selector, address(wallet)));
        escrow.openSessionFor(o, signature);
    }

    function test_aRelayerCannotReserveMoreThanThereIs() public {
        IEscrow.Opening memory o = opening(address(wallet), vm.addr(VOUCHER_KEY));
        o.ceiling = 1_000 ether + 1;
        bytes memory signature = signOpening(OWNER, o);
        vm.expectPartialRevert(IEscrow.InsufficientBalance.selector);
        escrow.openSessionFor(o, signature);
        eq(escrow.sessionNonce(address(wallet)), 0, "nonce");
    }
}
