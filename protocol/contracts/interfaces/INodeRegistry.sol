// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Who runs a node, for whose account, and with how much at stake
/// @notice The operator address is the address of the node's libp2p key, so a peer id and a registration prove each other.
/// Stake leaves only towards the payout address (the owner), which can unbond without the operator's key.
interface INodeRegistry {
    /// @param payout owner: receives pay and unbonded stake. Fixed at registration.
    /// @param stake base units at stake, locked ones included, unbonding ones not.
    /// @param locked part of `stake` that answers for open batches and for votes.
    struct Node {
        address payout;
        uint128 stake;
        uint128 locked;
        uint64 registeredAt;
        bytes publicKey;
        string hardwareClass;
    }

    /// @param releaseAt timestamp (seconds) from which the amount can be withdrawn.
    struct Unbond {
        address operator;
        uint128 amount;
        uint64 releaseAt;
    }

    /// @param amount base units still held by the lock.
    struct Lock {
        address operator;
        uint128 amount;
    }

    event NodeRegistered(address indexed operator, address indexed payout, bytes publicKey, string hardwareClass);
    event StakeAdded(address indexed operator, address indexed from, uint256 amount, uint256 stake);
    event UnbondRequested(address indexed operator, uint256 indexed unbondId, uint256 amount, uint64 releaseAt);
    event StakeWithdrawn(address indexed operator, uint256 indexed unbondId, address indexed payout, uint256 amount);
    event StakeLocked(bytes32 indexed lockId, address indexed operator, uint256 amount);
    event StakeUnlocked(bytes32 indexed lockId, address indexed operator, uint256 amount);
    event StakeSlashed(bytes32 indexed lockId, address indexed operator, uint256 burned, uint256 rewarded);
    event SeatStakeSlashed(address indexed operator, address indexed to, uint256 burned, uint256 rewarded);

    error NotBatches(address caller);
    error NotSeats(address caller);
    error AlreadyRegistered(address operator);
    error NotRegistered(address operator);
    error KeyNotOfOperator(address operator);
    error BadPayoutConsent(address payout);
    error BadHardwareClass();
    error TooManyNodesOfOwner(address payout);
    error StakeTooLow(uint256 stake, uint256 minStake);
    error NotOperatorNorPayout(address caller);
    error InsufficientFreeStake(uint256 free, uint256 wanted);
    error UnknownUnbond(uint256 unbondId);
    error StillUnbonding(uint64 releaseAt);
    error LockExists(bytes32 lockId);
    error LockTooSmall(uint256 held, uint256 wanted);
    error NotYetFrozen(uint256 atBlock);
    error ZeroAmount();
    error BadRegistryParams();

    /// @notice Registers the caller as a node and takes its first stake (the token must be approved).
    /// @param publicKey uncompressed secp256k1 point X ‖ Y (64 bytes) whose address is the caller.
    /// @param payoutConsent signature by `payout` (EOA or ERC-1271) over PayoutConsent(address operator,address payout), so
    /// nobody can be made the owner of a node they do not know.
    function register(
        bytes calldata publicKey,
        address payout,
        string calldata hardwareClass,
        uint256 stake,
        bytes calldata payoutConsent
    ) external;

    /// @notice Adds the caller's tokens to a node's stake. They come back to the node's payout address only.
    function addStake(address operator, uint256 amount) external;

    /// @notice Starts to unbond free stake; by the operator or the payout address. Each request has its own clock, so a
    /// stolen operator key cannot push back what the owner asked for.
    function requestUnbond(address operator, uint256 amount) external returns (uint256 unbondId);

    /// @notice Pays a matured unbonding to the node's payout address; by anyone.
    function withdraw(uint256 unbondId) external;

    /// @notice Holds free stake for a batch; by Batches only.
    function lock(bytes32 lockId, address operator, uint256 amount) external;

    /// @notice Frees what is left of a lock; by Batches only.
    function unlock(bytes32 lockId) external;

    /// @notice Takes `burned + rewarded` out of a lock: burns the one, hands the other to the escrow's pot of the same
    /// id; by Batches only. Never more than the lock holds.
    function slash(bytes32 lockId, uint256 burned, uint256 rewarded) external;

    /// @notice Holds `amount` of free stake of each voter; by Seats only, which keeps who sits where.
    function lockSeats(address[] calldata voters, uint256 amount) external;

    /// @notice Frees `amount` of each voter that a seat has held; by Seats only.
    function unlockSeats(address[] calldata voters, uint256 amount) external;

    /// @notice Takes `burned + rewarded` that a seat holds: burns the one, hands the other to the escrow balance of `to`; by Seats only.
    function slashSeat(address operator, uint256 burned, uint256 rewarded, address to) external;

    /// @notice Seconds from a request to the release of unbonded stake; longer than every window of a batch.
    function unbondingDelay() external view returns (uint64);

    /// @notice Least stake that registers a node and lets it be drawn.
    function minStake() external view returns (uint256);

    function nodeOf(address operator) external view returns (Node memory);

    /// @notice Owner of a node, or the zero address if it is not registered.
    function payoutOf(address operator) external view returns (address);

    /// @notice keccak256 of the hardware class's name.
    function classOf(address operator) external view returns (bytes32);

    function freeStake(address operator) external view returns (uint256);

    function lockOf(bytes32 lockId) external view returns (Lock memory);

    function unbondOf(uint256 unbondId) external view returns (Unbond memory);

    function operatorCount() external view returns (uint256);

    /// @notice Operators in order of registration, at most `limit` from `offset` on.
    function operators(uint256 offset, uint256 limit) external view returns (address[] memory);

    /// @notice Most nodes that one draw takes.
    function MAX_DRAWN() external view returns (uint256);

    /// @notice Most nodes that one payout address ever registers.
    function MAX_NODES_OF_OWNER() external view returns (uint256);

    /// @notice Stake of a node at the end of a past block.
    function stakeAt(address operator, uint256 atBlock) external view returns (uint256);

    /// @notice How many nodes a draw without limit takes: all that had `minStake` and another owner, at most MAX_DRAWN.
    function drawable(uint256 atBlock, address excludedOperator) external view returns (uint256);

    /// @notice Stake-weighted draw without replacement on the stakes as they stood at the end of block `atBlock`; nothing that
    /// happens later changes it. A weight is ⌊256 · stake / minStake⌋, 0 below `minStake`. Leaves out every node that has the same payout address as
    /// `excludedOperator`.
    /// @return drawn at most `n` operators, fewer if fewer are drawable.
    function draw(bytes32 seed, uint256 atBlock, uint256 n, address excludedOperator)
        external
        view
        returns (address[] memory drawn);
}
