// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICanaries} from "../../../protocol/contracts/interfaces/ICanaries.sol";
import {IEscrow} from "../../../protocol/contracts/interfaces/IEscrow.sol";
import {INodeRegistry} from "../../../protocol/contracts/interfaces/INodeRegistry.sol";
import {IVotes} from "../../../protocol/contracts/interfaces/IVotes.sol";
import {Settling} from "./Settling.sol";

/// @dev A signature counts for one thing in one spelling: no other chain, contract, session, batch, attempt or attestation, and none of the
/// other forms that recover the same key.
contract SignaturesTest is Settling {
    /// @dev Order of secp256k1.
    uint256 private constant N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    /// @dev Other spellings of a good signature, and broken ones.
    function variants(bytes memory good) private pure returns (bytes[] memory list) {
        (bytes32 r, uint256 s, uint8 v) = split(good);
        list = new bytes[](10);
        // The other of the two signatures that the curve allows: high s, the parity turned over.
        list[0] = abi.encodePacked(r, N - s, v == 27 ? uint8(28) : uint8(27));
        // The same with v left alone, and v as some libraries write it.
        list[1] = abi.encodePacked(r, N - s, v);
        list[2] = abi.encodePacked(r, s, v - 27);
        // EIP-2098.
        list[3] = abi.encodePacked(r, bytes32(s | (uint256(v - 27) << 255)));
        list[4] = abi.encodePacked(r, s);
        list[5] = abi.encodePacked(good, uint8(0));
        list[6] = abi.encodePacked(good, good);
        list[7] = new bytes(65);
        list[8] = "";
        list[9] = abi.encodePacked(r, s, uint8(29));
    }

    function split(bytes memory good) private pure returns (bytes32 r, uint256 s, uint8 v) {
        assert(good.length == 65);
        assembly {
            r := mload(add(good, 32))
            s := mload(add(good, 64))
            v := byte(0, mload(add(good, 96)))
        }
    }

    // ---- vouchers

    function consume(IEscrow.Range memory range, bytes memory err) private {
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = range;
        vm.prank(address(batches));
        if (err.length > 0) vm.expectRevert(err);
        escrow.consume("pot", provider, list);
    }

    function test_aVoucherHasOneSpelling() public {
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        bytes memory good = range.signature;
        bytes[] memory others = variants(good);
        for (uint256 i = 0; i < others.length; i++) {
            range.signature = others[i];
            consume(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));
        }
        range.signature = good;
        consume(range, "");
    }

    /// @dev Nobody can acknowledge in the name of an address that has no key, the zero address least of all.
    function test_aSignatureThatRecoversNobodyIsNobodys() public {
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        range.session = keccak256("a session that nobody opened");
        range.signature = new bytes(65);
        consume(range, abi.encodeWithSelector(IEscrow.UnknownSession.selector, range.session));
    }

    function testFuzz_aVoucherWithAnyByteChangedIsNone(uint256 at, uint8 by) public {
        IEscrow.Range memory range = nextRange(CONSUMER, session, 3, 10 ether);
        if (by == 0) return;
        range.signature[at % 65] = bytes1(uint8(range.signature[at % 65]) ^ by);
        consume(range, abi.encodeWithSelector(IEscrow.BadVoucher.selector, session));
    }

    // ---- votes (their spelling and what they are bound to: Votes.t.sol)

    function test_aForkedChainTakesNoOldVotes() public {
        bytes32 batchId = judged(10 ether);
        uint256 key = keyOf(batches.committee(batchId)[0]);
        IVotes.Signed[] memory list = new IVotes.Signed[](1);
        list[0] = entry(batchId, 0, key, commitmentOf(batchId, vote(key, VALID)));
        uint256 chain = block.chainid;
        vm.chainId(999);
        vm.expectRevert(abi.encodeWithSelector(IVotes.NotTheMembers.selector, 0));
        votes.commitVotes(batchId, 0, list);
        vm.chainId(chain);
        votes.commitVotes(batchId, 0, list);
    }

    // ---- consents of payout addresses

    function register(uint256 key, address payout, bytes memory consent, bool good) private {
        address operator = vm.addr(key);
        bytes memory publicKey = publicKeyOf(key);
        vm.prank(operator);
        if (!good) vm.expectRevert(abi.encodeWithSelector(INodeRegistry.BadPayoutConsent.selector, payout));
        registry.register(publicKey, payout, "cpu", 1_000 ether, consent);
    }

    function consentIn(address operator, uint256 chain, address contract_) private pure returns (bytes memory) {
        bytes32 typeHash = keccak256("PayoutConsent(address operator,address payout)");
        return signed(109, chain, contract_, keccak256(abi.encode(typeHash, operator, vm.addr(109))));
    }

    function test_aPayoutConsentHasOneSpellingAndOneUse() public {
        address operator = vm.addr(9);
        address payout = vm.addr(109);
        token.transfer(operator, 1_000 ether);
        vm.prank(operator);
        token.approve(address(registry), 1_000 ether);
        bytes memory good = consentIn(operator, block.chainid, address(registry));
        bytes[] memory others = variants(good);
        for (uint256 i = 0; i < others.length; i++) register(9, payout, others[i], false);
        register(9, payout, consentIn(operator, block.chainid + 1, address(registry)), false);
        register(9, payout, consentIn(operator, block.chainid, address(escrow)), false);
        // Another operator cannot take it, nor its owner be named for another address.
        register(10, payout, good, false);
        register(9, vm.addr(110), good, false);
        register(9, payout, good, true);
        bytes memory publicKey = publicKeyOf(9);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.AlreadyRegistered.selector, operator));
        registry.register(publicKey, payout, "cpu", 1_000 ether, good);
    }

    // ---- consents of consumers to canaries

    function test_aCanaryConsentHasOneSpellingAndOneBatch() public {
        bytes32 salt = "salt";
        (bytes32 batchId, address[] memory voters) = paidCanary(salt);
        bytes memory good = canaryConsent(batchId, block.chainid, address(canaries));
        bytes[] memory others = variants(good);
        for (uint256 i = 0; i < others.length; i++) reveal(batchId, salt, voters, others[i], false);
        reveal(batchId, salt, voters, canaryConsent(keccak256("other"), block.chainid, address(canaries)), false);
        reveal(batchId, salt, voters, canaryConsent(batchId, block.chainid + 1, address(canaries)), false);
        reveal(batchId, salt, voters, canaryConsent(batchId, block.chainid, address(batches)), false);
        reveal(batchId, salt, voters, good, true);
    }

    function canaryConsent(bytes32 batchId, uint256 chain, address contract_) private pure returns (bytes memory) {
        return signed(CONSUMER, chain, contract_, keccak256(abi.encode(keccak256("CanaryConsent(bytes32 batch)"), batchId)));
    }

    function reveal(bytes32 batchId, bytes32 salt, address[] memory voters, bytes memory consent, bool good) private {
        bytes[] memory consents = new bytes[](1);
        consents[0] = consent;
        vm.prank(provider);
        if (!good) vm.expectRevert(abi.encodeWithSelector(ICanaries.NoConsent.selector, 0));
        canaries.reveal(batchId, salt, voters, consents);
    }

    // ---- permits

    function permitOf(uint256 amount, uint256 nonce) private view returns (bytes memory) {
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 content =
            keccak256(abi.encode(typeHash, consumer, address(escrow), amount, nonce, type(uint256).max));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(CONSUMER, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), content)));
        return abi.encodePacked(r, s, v);
    }

    function permit(uint256 amount, bytes memory signature, bytes4 err) private {
        (bytes32 r, uint256 s, uint8 v) = split(signature);
        if (err != 0) vm.expectPartialRevert(err);
        token.permit(consumer, address(escrow), amount, type(uint256).max, v, r, bytes32(s));
    }

    function test_aPermitIsTakenOnceInOneSpelling() public {
        bytes memory good = permitOf(5 ether, 0);
        permit(5 ether, variants(good)[0], bytes4(keccak256("ECDSAInvalidSignatureS(bytes32)")));
        permit(6 ether, good, bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
        permit(5 ether, good, 0);
        eq(token.allowance(consumer, address(escrow)), 5 ether, "allowed");
        permit(5 ether, good, bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
    }
}
