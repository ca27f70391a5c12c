// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {IConsumerStakes} from "../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {World} from "./World.sol";

/// @dev Deposits by ERC-2612, alone and with what they are for in one transaction.
contract PermitsTest is World {
    uint256 private constant HOLDER = 51;
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    address private holder = vm.addr(HOLDER);

    struct Signature {
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    function setUp() public override {
        super.setUp();
        token.transfer(holder, 2_000 ether);
    }

    function permit(uint256 amount, uint256 deadline) private view returns (Signature memory p) {
        bytes32 content =
            keccak256(abi.encode(PERMIT, holder, address(escrow), amount, token.nonces(holder), deadline));
        (p.v, p.r, p.s) =
            vm.sign(HOLDER, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), content)));
    }

    function depositAs(address account, uint256 amount, uint256 deadline, Signature memory p) private {
        vm.prank(account);
        escrow.depositWithPermit(amount, deadline, p.v, p.r, p.s);
    }

    function refusal(address spender, uint256 allowed, uint256 wanted) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, spender, allowed, wanted);
    }

    function test_oneTransactionDepositsAndLeavesNoAllowance() public {
        depositAs(holder, 100 ether, vm.getBlockTimestamp(), permit(100 ether, vm.getBlockTimestamp()));
        eq(escrow.balanceOf(holder), 100 ether, "balance");
        eq(token.allowance(holder, address(escrow)), 0, "allowance");
    }

    function test_aPermitThatWasFrontRunDepositsAllTheSame() public {
        Signature memory p = permit(100 ether, vm.getBlockTimestamp());
        // Anyone who sees it may use it before.
        token.permit(holder, address(escrow), 100 ether, vm.getBlockTimestamp(), p.v, p.r, p.s);
        depositAs(holder, 100 ether, vm.getBlockTimestamp(), p);
        eq(escrow.balanceOf(holder), 100 ether, "balance");
    }

    function test_aPermitIsForItsAmountInTimeAndOnce() public {
        uint256 deadline = vm.getBlockTimestamp();
        Signature memory p = permit(100 ether, deadline);
        vm.expectRevert(refusal(address(escrow), 0, 100 ether + 1));
        depositAs(holder, 100 ether + 1, deadline, p);
        skip(1);
        vm.expectRevert(refusal(address(escrow), 0, 100 ether));
        depositAs(holder, 100 ether, deadline, p);
        vm.warp(deadline);
        depositAs(holder, 100 ether, deadline, p);
        vm.expectRevert(refusal(address(escrow), 0, 100 ether));
        depositAs(holder, 100 ether, deadline, p);
    }

    /// @dev Were a bad permit passed over for whom it names, everybody who has approved the escrow could be made to deposit.
    function test_nobodyDepositsTheTokensOfAnother() public {
        vm.prank(holder);
        token.approve(address(escrow), type(uint256).max);
        address thief = vm.addr(HOLDER + 1);
        Signature memory p = permit(100 ether, vm.getBlockTimestamp());
        vm.expectRevert(refusal(address(escrow), 0, 100 ether));
        depositAs(thief, 100 ether, vm.getBlockTimestamp(), p);
        eq(token.balanceOf(holder), 2_000 ether, "tokens");
        eq(escrow.balanceOf(thief), 0, "the thief's balance");
    }

    function test_aDepositAndTheStakeItIsForAreOneTransaction() public {
        Signature memory p = permit(1_000 ether, vm.getBlockTimestamp());
        bytes[] memory calls = new bytes[](2);
        calls[0] =
            abi.encodeCall(IEscrow.depositWithPermit, (1_000 ether, vm.getBlockTimestamp(), p.v, p.r, p.s));
        calls[1] = abi.encodeCall(IConsumerStakes.stake, (1_000 ether));
        vm.prank(holder);
        escrow.multicall(calls);
        eq(escrow.stakeOf(holder).pending, 1_000 ether, "stake");
        eq(escrow.balanceOf(holder), 0, "balance");
    }

    function test_aDepositAndTheSessionItIsForAreOneTransactionOrNone() public {
        Signature memory p = permit(100 ether, vm.getBlockTimestamp());
        uint64 expiry = uint64(vm.getBlockTimestamp() + 1_000);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(IEscrow.depositWithPermit, (100 ether, vm.getBlockTimestamp(), p.v, p.r, p.s));
        calls[1] = abi.encodeCall(IEscrow.openSession, (provider, 100 ether + 1, expiry, holder));
        vm.prank(holder);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.InsufficientBalance.selector, holder, 100 ether, 100 ether + 1)
        );
        escrow.multicall(calls);
        eq(token.balanceOf(holder), 2_000 ether, "nothing was taken");
        calls[1] = abi.encodeCall(IEscrow.openSession, (provider, 100 ether, expiry, holder));
        vm.prank(holder);
        bytes[] memory results = escrow.multicall(calls);
        eq(escrow.sessionOf(abi.decode(results[1], (bytes32))).ceiling, 100 ether, "ceiling");
    }

    /// @dev Only Batches moves fees, and it does so in no list of calls that somebody else makes.
    function test_aListOfCallsGivesNobodyMoreRights() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(IEscrow.pay, ("pot", holder, 1));
        vm.prank(holder);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotBatches.selector, holder));
        escrow.multicall(calls);
    }
}
