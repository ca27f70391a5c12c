// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IConsumerStakes} from "./IConsumerStakes.sol";

/// @title All money of users and batches
/// @notice Four kinds of claims, which always add up to the tokens held: balances of accounts, stakes of consumers, reserves of
/// sessions, pots of batches. Money reaches people only as a balance, which they pull with `withdraw`.
interface IEscrow is IConsumerStakes {
    /// @param consumer the account that pays, and that has back what is left: any account, also a contract.
    /// @param expiry timestamp (seconds) after which anyone may close, once the closing window has passed too.
    /// @param cursor highest receipt sequence number that a batch has consumed.
    /// @param signer the voucher key: the one whose signatures move this session's money, fixed for its life.
    /// @param closesAt timestamp from which a requested closing takes effect, 0 if none was requested.
    /// @param ceiling base units the consumer reserved for the session in all.
    /// @param anchored part of the ceiling that batches have consumed; the rest is the reserve.
    struct Session {
        address consumer;
        uint64 expiry;
        address provider;
        uint64 cursor;
        address signer;
        uint64 closesAt;
        bool closed;
        uint128 ceiling;
        uint128 anchored;
    }

    /// @notice What a consumer signs for a session that somebody else opens for it.
    /// @param expiry of the session, as in `openSession`.
    /// @param nonce the consumer's `sessionNonce`, which fixes the session's id, and lets the signature be used once.
    /// @param deadline last timestamp (seconds) at which the session may be opened.
    struct Opening {
        address consumer;
        address provider;
        uint256 ceiling;
        uint64 expiry;
        address signer;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice The receipts of one session from its cursor + 1 up to `toSeq`, with the voucher for the last of them.
    /// @param cumulative base units the session owes in all up to `toSeq`.
    /// @param receiptHash hash of receipt `toSeq`, which commits to all before it.
    /// @param signature the voucher key's EIP-712 signature over Voucher(session, toSeq, cumulative, receiptHash).
    struct Range {
        bytes32 session;
        uint64 toSeq;
        uint256 cumulative;
        bytes32 receiptHash;
        bytes signature;
    }

    /// @notice What a range turned out to be.
    /// @param discountBps part of its burn that the consumer's stake saves, as of now.
    struct Consumed {
        address consumer;
        address signer;
        uint64 fromSeq;
        uint128 fee;
        uint16 discountBps;
    }

    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);
    event SessionOpened(
        bytes32 indexed session,
        address indexed consumer,
        address indexed provider,
        address signer,
        uint256 ceiling,
        uint64 expiry
    );
    event SessionToppedUp(bytes32 indexed session, uint256 amount, uint256 ceiling);
    event SessionCloseRequested(bytes32 indexed session, uint64 closesAt);
    event SessionClosed(bytes32 indexed session, uint256 refunded);
    event SessionConsumed(bytes32 indexed session, bytes32 indexed pot, uint64 toSeq, uint256 fee);
    event PotFunded(bytes32 indexed pot, address indexed from, uint256 amount);
    event PotPaid(bytes32 indexed pot, address indexed account, uint256 amount);
    event PotBurned(bytes32 indexed pot, uint256 amount);

    error NotBatches(address caller);
    error NotRegistry(address caller);
    error ZeroAmount();
    error AmountTooLarge(uint256 amount);
    error InsufficientBalance(address account, uint256 balance, uint256 wanted);
    error InsufficientPot(bytes32 pot, uint256 held, uint256 wanted);
    error BadExpiry(uint64 expiry);
    error BadProvider(address provider);
    error BadSigner(address signer);
    error OpeningExpired(uint256 deadline);
    /// @notice A signed opening is for the consumer's next session, and for no other.
    error BadNonce(address consumer, uint256 nonce, uint256 next);
    error BadOpening(address consumer);
    error UnknownSession(bytes32 session);
    error SessionIsClosed(bytes32 session);
    error NotConsumer(address caller);
    error CloseAlreadyRequested(bytes32 session);
    error TooEarlyToClose(uint64 closesAt);
    error NotProviderOfSession(bytes32 session, address caller);
    /// @notice A range must start right after the session's cursor; one that ends at or before it was consumed already.
    error RangeNotContiguous(bytes32 session, uint64 cursor, uint64 toSeq);
    error FeeNotPositive(bytes32 session);
    error AboveCeiling(bytes32 session, uint256 cumulative, uint256 ceiling);
    error BadVoucher(bytes32 session);

    /// @notice Takes approved tokens from the caller into its balance.
    function deposit(uint256 amount) external;

    /// @notice Takes approved tokens from the caller into the balance of `account`.
    function depositFor(address account, uint256 amount) external;

    /// @notice Takes tokens from the caller into its balance, by its own ERC-2612 permit for exactly `amount`. A permit that somebody has
    /// used already (anyone may, once it is seen) is passed over: what counts is what the token then allows. Of the caller's own tokens
    /// only, or whoever has approved this contract could be made to deposit by others.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Pays out from the caller's balance.
    function withdraw(uint256 amount) external;

    /// @notice Reserves `ceiling` out of the caller's balance for jobs by `provider`.
    /// @param expiry timestamp (seconds), in the future.
    /// @param signer the voucher key: the caller itself, or another key that it trusts with the ceiling. A contract cannot be one, since it
    /// could take its signature back after the work.
    /// @return session keccak256(abi.encode("sinter/session/1", chain id, this, consumer, nonce)).
    function openSession(address provider, uint256 ceiling, uint64 expiry, address signer) external returns (bytes32 session);

    /// @notice The same for a consumer that has signed for it, out of its balance; by anyone.
    /// @param signature the consumer's, over OpenSession(address consumer,address provider,uint256 ceiling,uint64 expiry,address signer,
    /// uint256 nonce,uint256 deadline): EIP-712 by a key, ERC-1271 by a contract, asked now and never again.
    function openSessionFor(Opening calldata opening, bytes calldata signature) external returns (bytes32 session);

    /// @notice Reserves more for a session; by its consumer.
    function topUp(bytes32 session, uint256 amount) external;

    /// @notice Announces the end of a session; by its consumer or its voucher key. The provider has `closeWindow` to anchor what it holds.
    function requestClose(bytes32 session) external;

    /// @notice Returns what is left of the ceiling to the consumer. The provider may do this at once, anyone else when a
    /// requested closing is due or `closeWindow` after expiry.
    function closeSession(bytes32 session) external;

    /// @notice Verifies vouchers, moves the sessions' cursors for ever and their fees into a pot; by Batches only.
    function consume(bytes32 pot, address provider, Range[] calldata ranges) external returns (Consumed[] memory consumed);

    /// @notice Moves part of an account's balance into a pot; by Batches only.
    function prepay(bytes32 pot, address account, uint256 amount) external;

    /// @notice Takes approved tokens into a pot; by the registry only (a slash's reward).
    function fundPot(bytes32 pot, uint256 amount) external;

    /// @notice Moves money from a pot to an account's balance; by Batches only.
    function pay(bytes32 pot, address account, uint256 amount) external;

    /// @notice Burns money of a pot; by Batches only.
    function burn(bytes32 pot, uint256 amount) external;

    /// @notice Seconds that a closing leaves to the provider.
    function closeWindow() external view returns (uint64);

    function balanceOf(address account) external view returns (uint256);

    function potOf(bytes32 pot) external view returns (uint256);

    function sessionOf(bytes32 session) external view returns (Session memory);

    /// @notice Number of sessions a consumer has opened: the nonce of the next one.
    function sessionNonce(address consumer) external view returns (uint256);

    /// @notice Id of a consumer's session number `nonce`.
    function sessionId(address consumer, uint256 nonce) external view returns (bytes32);
}
