// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ConsumerStakes} from "./ConsumerStakes.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {SinterToken} from "./SinterToken.sol";

/// @title Escrow, documented in {IEscrow}
/// @dev Several calls of one account fit in a transaction: a deposit with its permit, then the stake or the session that it is for.
contract Escrow is IEscrow, ConsumerStakes, EIP712, Multicall {
    using SafeERC20 for SinterToken;

    bytes32 private constant VOUCHER_TYPEHASH =
        keccak256("Voucher(bytes32 session,uint64 seq,uint256 cumulative,bytes32 receiptHash)");
    bytes32 private constant OPENING_TYPEHASH = keccak256(
        "OpenSession(address consumer,address provider,uint256 ceiling,uint64 expiry,address signer,uint256 nonce,uint256 deadline)"
    );

    SinterToken public immutable token;
    address public immutable registry;
    address public immutable batches;
    uint64 public immutable closeWindow;

    mapping(address account => uint256) public balanceOf;
    mapping(bytes32 pot => uint256) public potOf;
    mapping(address consumer => uint256) public sessionNonce;
    mapping(bytes32 session => Session) private _sessions;

    modifier onlyBatches() {
        if (msg.sender != batches) revert NotBatches(msg.sender);
        _;
    }

    constructor(
        SinterToken token_,
        address registry_,
        address batches_,
        uint64 closeWindow_,
        StakeParams memory stakeParams_
    ) ConsumerStakes(stakeParams_) EIP712("Sinter", "1") {
        token = token_;
        registry = registry_;
        batches = batches_;
        closeWindow = closeWindow_;
    }

    /// @inheritdoc IEscrow
    function deposit(uint256 amount) external {
        depositFor(msg.sender, amount);
    }

    /// @inheritdoc IEscrow
    function depositFor(address account, uint256 amount) public {
        if (amount == 0) revert ZeroAmount();
        balanceOf[account] += amount;
        emit Deposited(account, amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IEscrow
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        try token.permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        depositFor(msg.sender, amount);
    }

    /// @inheritdoc IEscrow
    function withdraw(uint256 amount) external {
        if (amount == 0) revert ZeroAmount();
        _debit(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IEscrow
    function openSession(address provider, uint256 ceiling, uint64 expiry, address signer) external returns (bytes32) {
        return _openSession(msg.sender, provider, ceiling, expiry, signer);
    }

    /// @inheritdoc IEscrow
    function openSessionFor(Opening calldata o, bytes calldata signature) external returns (bytes32) {
        if (block.timestamp > o.deadline) revert OpeningExpired(o.deadline);
        uint256 next = sessionNonce[o.consumer];
        if (o.nonce != next) revert BadNonce(o.consumer, o.nonce, next);
        // The consumer stands in what is signed: two wallets of one owner may take the same signatures.
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(OPENING_TYPEHASH, o)));
        if (!SignatureChecker.isValidSignatureNowCalldata(o.consumer, digest, signature)) revert BadOpening(o.consumer);
        return _openSession(o.consumer, o.provider, o.ceiling, o.expiry, o.signer);
    }

    /// @inheritdoc IEscrow
    function topUp(bytes32 session, uint256 amount) external {
        Session storage s = _open(session);
        if (msg.sender != s.consumer) revert NotConsumer(msg.sender);
        if (amount == 0) revert ZeroAmount();
        _debit(msg.sender, amount);
        s.ceiling = _u128(s.ceiling + amount);
        emit SessionToppedUp(session, amount, s.ceiling);
    }

    /// @inheritdoc IEscrow
    function requestClose(bytes32 session) external {
        Session storage s = _open(session);
        if (msg.sender != s.consumer && msg.sender != s.signer) revert NotConsumer(msg.sender);
        // A second request would move the date, and with it what the provider relies on.
        if (s.closesAt != 0) revert CloseAlreadyRequested(session);
        s.closesAt = uint64(block.timestamp) + closeWindow;
        emit SessionCloseRequested(session, s.closesAt);
    }

    /// @inheritdoc IEscrow
    function closeSession(bytes32 session) external {
        Session storage s = _open(session);
        if (msg.sender != s.provider) {
            // The consumer fixed `expiry`; a date beyond 64 bits means it never comes by itself.
            uint256 due = uint256(s.expiry) + closeWindow;
            if (s.closesAt != 0 && s.closesAt < due) due = s.closesAt;
            if (block.timestamp < due) revert TooEarlyToClose(uint64(due));
        }
        uint256 refund = s.ceiling - s.anchored;
        s.closed = true;
        balanceOf[s.consumer] += refund;
        emit SessionClosed(session, refund);
    }

    /// @inheritdoc IEscrow
    function consume(bytes32 pot, address provider, Range[] calldata ranges)
        external
        onlyBatches
        returns (Consumed[] memory consumed)
    {
        consumed = new Consumed[](ranges.length);
        uint256 sum = 0;
        for (uint256 i = 0; i < ranges.length; i++) {
            consumed[i] = _consume(pot, provider, ranges[i]);
            sum += consumed[i].fee;
        }
        potOf[pot] += sum;
    }

    /// @inheritdoc IEscrow
    function prepay(bytes32 pot, address account, uint256 amount) external onlyBatches {
        _debit(account, amount);
        potOf[pot] += amount;
        emit PotFunded(pot, account, amount);
    }

    /// @inheritdoc IEscrow
    function fundPot(bytes32 pot, uint256 amount) external {
        if (msg.sender != registry) revert NotRegistry(msg.sender);
        potOf[pot] += amount;
        emit PotFunded(pot, msg.sender, amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IEscrow
    function pay(bytes32 pot, address account, uint256 amount) external onlyBatches {
        _take(pot, amount);
        balanceOf[account] += amount;
        emit PotPaid(pot, account, amount);
    }

    /// @inheritdoc IEscrow
    function burn(bytes32 pot, uint256 amount) external onlyBatches {
        _take(pot, amount);
        emit PotBurned(pot, amount);
        token.burn(amount);
    }

    /// @inheritdoc IEscrow
    function sessionOf(bytes32 session) external view returns (Session memory) {
        return _sessions[session];
    }

    /// @inheritdoc IEscrow
    function sessionId(address consumer, uint256 nonce) public view returns (bytes32) {
        return keccak256(abi.encode("sinter/session/1", block.chainid, address(this), consumer, nonce));
    }

    function _openSession(address consumer, address provider, uint256 ceiling, uint64 expiry, address signer)
        private
        returns (bytes32 session)
    {
        if (ceiling == 0) revert ZeroAmount();
        if (provider == address(0)) revert BadProvider(provider);
        if (signer == address(0)) revert BadSigner(signer);
        if (expiry <= block.timestamp) revert BadExpiry(expiry);
        IBatches(batches).strikes().requireServing(provider);
        _debit(consumer, ceiling);
        session = sessionId(consumer, sessionNonce[consumer]++);
        Session storage s = _sessions[session];
        (s.consumer, s.expiry) = (consumer, expiry);
        s.provider = provider;
        s.signer = signer;
        s.ceiling = _u128(ceiling);
        emit SessionOpened(session, consumer, provider, signer, ceiling, expiry);
    }

    /// @dev Vouchers are verified here rather than by the committee: otherwise ranges that no consumer acknowledged could
    /// dilute the sample at no cost. A key signs them, whatever the consumer is (no ERC-1271: a contract could take its signature
    /// back after the work is done).
    function _consume(bytes32 pot, address provider, Range calldata range) private returns (Consumed memory) {
        Session storage s = _open(range.session);
        if (s.provider != provider) revert NotProviderOfSession(range.session, provider);
        uint64 cursor = s.cursor;
        if (range.toSeq <= cursor) revert RangeNotContiguous(range.session, cursor, range.toSeq);
        if (range.cumulative > s.ceiling) revert AboveCeiling(range.session, range.cumulative, s.ceiling);
        if (range.cumulative <= s.anchored) revert FeeNotPositive(range.session);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(VOUCHER_TYPEHASH, range.session, range.toSeq, range.cumulative, range.receiptHash))
        );
        (address signer, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, range.signature);
        if (err != ECDSA.RecoverError.NoError || signer != s.signer) revert BadVoucher(range.session);
        uint128 fee = uint128(range.cumulative) - s.anchored;
        s.cursor = range.toSeq;
        s.anchored = uint128(range.cumulative);
        emit SessionConsumed(range.session, pot, range.toSeq, fee);
        return Consumed(s.consumer, signer, cursor + 1, fee, discountOf(s.consumer));
    }

    function _open(bytes32 session) private view returns (Session storage s) {
        s = _sessions[session];
        if (s.consumer == address(0)) revert UnknownSession(session);
        if (s.closed) revert SessionIsClosed(session);
    }

    function _debit(address account, uint256 amount) internal override {
        uint256 balance = balanceOf[account];
        if (amount > balance) revert InsufficientBalance(account, balance, amount);
        balanceOf[account] = balance - amount;
    }

    function _credit(address account, uint256 amount) internal override {
        balanceOf[account] += amount;
    }

    function _take(bytes32 pot, uint256 amount) private {
        uint256 held = potOf[pot];
        if (amount > held) revert InsufficientPot(pot, held, amount);
        potOf[pot] = held - amount;
    }

    function _u128(uint256 amount) private pure returns (uint128) {
        if (amount > type(uint128).max) revert AmountTooLarge(amount);
        return uint128(amount);
    }
}
