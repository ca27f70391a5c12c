// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {SinterToken} from "./SinterToken.sol";
import {StakeDraw} from "./libraries/StakeDraw.sol";
import {StakeTree} from "./libraries/StakeTree.sol";

/// @title NodeRegistry, documented in {INodeRegistry}
contract NodeRegistry is INodeRegistry, EIP712 {
    using Checkpoints for Checkpoints.Trace208;
    using SafeCast for uint256;
    using SafeERC20 for SinterToken;
    using StakeTree for StakeTree.Tree;

    bytes32 private constant CONSENT_TYPEHASH = keccak256("PayoutConsent(address operator,address payout)");
    uint256 private constant MAX_CLASS_BYTES = 64;
    /// @inheritdoc INodeRegistry
    /// @dev With this many the last committee is drawn and its votes are counted within the 2^24 gas of one transaction (EIP-7825).
    uint256 public constant MAX_DRAWN = 127;
    /// @inheritdoc INodeRegistry
    /// @dev A draw leaves out each of the owner's nodes by a path of its own.
    uint256 public constant MAX_NODES_OF_OWNER = 64;
    /// @dev Weights are whole parts of the least stake: 28 bits of them reach for 2^20 least stakes, and a node loses less than one in 256.
    uint256 private constant WEIGHTS_IN_MIN_STAKE = 256;

    SinterToken public immutable token;
    IEscrow public immutable escrow;
    address public immutable batches;
    address public immutable seats;
    uint64 public immutable unbondingDelay;
    uint256 public immutable minStake;

    mapping(address operator => Node) private _nodes;
    mapping(address operator => Checkpoints.Trace208) private _stakes;
    mapping(bytes32 lockId => Lock) private _locks;
    Unbond[] private _unbonds;
    address[] private _operators;
    /// @dev Leaf i is the node that `_operators` has at i.
    StakeTree.Tree private _tree;
    mapping(address operator => uint256) private _leafOf;
    mapping(address payout => uint256[]) private _leavesOf;

    modifier onlyBatches() {
        if (msg.sender != batches) revert NotBatches(msg.sender);
        _;
    }

    modifier onlySeats() {
        if (msg.sender != seats) revert NotSeats(msg.sender);
        _;
    }

    /// @param minStake_ at least 256, so that a weight in a draw is never zero.
    constructor(
        SinterToken token_,
        IEscrow escrow_,
        address batches_,
        address seats_,
        uint64 unbondingDelay_,
        uint256 minStake_
    ) EIP712("Sinter", "1") {
        if (unbondingDelay_ == 0 || minStake_ < WEIGHTS_IN_MIN_STAKE) revert BadRegistryParams();
        token = token_;
        escrow = escrow_;
        batches = batches_;
        seats = seats_;
        unbondingDelay = unbondingDelay_;
        minStake = minStake_;
    }

    /// @inheritdoc INodeRegistry
    function register(
        bytes calldata publicKey,
        address payout,
        string calldata hardwareClass,
        uint256 stake,
        bytes calldata payoutConsent
    ) external {
        Node storage node = _nodes[msg.sender];
        if (node.payout != address(0)) revert AlreadyRegistered(msg.sender);
        if (publicKey.length != 64 || address(uint160(uint256(keccak256(publicKey)))) != msg.sender) {
            revert KeyNotOfOperator(msg.sender);
        }
        if (bytes(hardwareClass).length == 0 || bytes(hardwareClass).length > MAX_CLASS_BYTES) revert BadHardwareClass();
        if (stake < minStake) revert StakeTooLow(stake, minStake);
        bytes32 consent = _hashTypedDataV4(keccak256(abi.encode(CONSENT_TYPEHASH, msg.sender, payout)));
        if (payout == address(0) || !SignatureChecker.isValidSignatureNow(payout, consent, payoutConsent)) {
            revert BadPayoutConsent(payout);
        }
        node.payout = payout;
        node.registeredAt = uint64(block.timestamp);
        node.publicKey = publicKey;
        node.hardwareClass = hardwareClass;
        _operators.push(msg.sender);
        if (_leavesOf[payout].length == MAX_NODES_OF_OWNER) revert TooManyNodesOfOwner(payout);
        _leavesOf[payout].push(_leafOf[msg.sender] = _tree.append());
        emit NodeRegistered(msg.sender, payout, publicKey, hardwareClass);
        _addStake(node, msg.sender, stake);
    }

    /// @inheritdoc INodeRegistry
    function addStake(address operator, uint256 amount) external {
        if (amount == 0) revert ZeroAmount();
        _addStake(_node(operator), operator, amount);
    }

    /// @inheritdoc INodeRegistry
    function requestUnbond(address operator, uint256 amount) external returns (uint256 unbondId) {
        Node storage node = _node(operator);
        if (msg.sender != operator && msg.sender != node.payout) revert NotOperatorNorPayout(msg.sender);
        if (amount == 0) revert ZeroAmount();
        _requireFree(node, amount);
        node.stake -= uint128(amount);
        _checkpoint(operator, node.stake);
        unbondId = _unbonds.length;
        uint64 releaseAt = uint64(block.timestamp) + unbondingDelay;
        _unbonds.push(Unbond(operator, uint128(amount), releaseAt));
        emit UnbondRequested(operator, unbondId, amount, releaseAt);
    }

    /// @inheritdoc INodeRegistry
    function withdraw(uint256 unbondId) external {
        if (unbondId >= _unbonds.length || _unbonds[unbondId].amount == 0) revert UnknownUnbond(unbondId);
        Unbond memory unbond = _unbonds[unbondId];
        if (block.timestamp < unbond.releaseAt) revert StillUnbonding(unbond.releaseAt);
        _unbonds[unbondId].amount = 0;
        address payout = _nodes[unbond.operator].payout;
        emit StakeWithdrawn(unbond.operator, unbondId, payout, unbond.amount);
        token.safeTransfer(payout, unbond.amount);
    }

    /// @inheritdoc INodeRegistry
    function lock(bytes32 lockId, address operator, uint256 amount) external onlyBatches {
        Node storage node = _node(operator);
        if (_locks[lockId].operator != address(0)) revert LockExists(lockId);
        _requireFree(node, amount);
        node.locked += uint128(amount);
        _locks[lockId] = Lock(operator, uint128(amount));
        emit StakeLocked(lockId, operator, amount);
    }

    /// @inheritdoc INodeRegistry
    function unlock(bytes32 lockId) external onlyBatches {
        Lock storage held = _locks[lockId];
        (address operator, uint128 amount) = (held.operator, held.amount);
        held.amount = 0;
        _nodes[operator].locked -= amount;
        emit StakeUnlocked(lockId, operator, amount);
    }

    /// @inheritdoc INodeRegistry
    function slash(bytes32 lockId, uint256 burned, uint256 rewarded) external onlyBatches {
        Lock storage held = _locks[lockId];
        uint256 amount = burned + rewarded;
        if (amount > held.amount) revert LockTooSmall(held.amount, amount);
        address operator = held.operator;
        held.amount -= uint128(amount);
        _takeLocked(operator, amount);
        emit StakeSlashed(lockId, operator, burned, rewarded);
        if (burned > 0) token.burn(burned);
        if (rewarded > 0) {
            token.approve(address(escrow), rewarded);
            escrow.fundPot(lockId, rewarded);
        }
    }

    /// @inheritdoc INodeRegistry
    function lockSeats(address[] calldata voters, uint256 amount) external onlySeats {
        for (uint256 i = 0; i < voters.length; i++) {
            Node storage node = _nodes[voters[i]];
            _requireFree(node, amount);
            node.locked += uint128(amount);
        }
    }

    /// @inheritdoc INodeRegistry
    function unlockSeats(address[] calldata voters, uint256 amount) external onlySeats {
        for (uint256 i = 0; i < voters.length; i++) _nodes[voters[i]].locked -= uint128(amount);
    }

    /// @inheritdoc INodeRegistry
    function slashSeat(address operator, uint256 burned, uint256 rewarded, address to) external onlySeats {
        _takeLocked(operator, burned + rewarded);
        emit SeatStakeSlashed(operator, to, burned, rewarded);
        if (burned > 0) token.burn(burned);
        if (rewarded > 0) {
            token.approve(address(escrow), rewarded);
            escrow.depositFor(to, rewarded);
        }
    }

    /// @inheritdoc INodeRegistry
    function nodeOf(address operator) external view returns (Node memory) {
        return _nodes[operator];
    }

    /// @inheritdoc INodeRegistry
    function payoutOf(address operator) external view returns (address) {
        return _nodes[operator].payout;
    }

    /// @inheritdoc INodeRegistry
    function classOf(address operator) external view returns (bytes32) {
        return keccak256(bytes(_nodes[operator].hardwareClass));
    }

    /// @inheritdoc INodeRegistry
    function freeStake(address operator) external view returns (uint256) {
        return _nodes[operator].stake - _nodes[operator].locked;
    }

    /// @inheritdoc INodeRegistry
    function lockOf(bytes32 lockId) external view returns (Lock memory) {
        return _locks[lockId];
    }

    /// @inheritdoc INodeRegistry
    function unbondOf(uint256 unbondId) external view returns (Unbond memory) {
        if (unbondId >= _unbonds.length) revert UnknownUnbond(unbondId);
        return _unbonds[unbondId];
    }

    /// @inheritdoc INodeRegistry
    function operatorCount() external view returns (uint256) {
        return _operators.length;
    }

    /// @inheritdoc INodeRegistry
    function operators(uint256 offset, uint256 limit) external view returns (address[] memory page) {
        uint256 count = _operators.length;
        uint256 size = offset >= count ? 0 : (count - offset < limit ? count - offset : limit);
        page = new address[](size);
        for (uint256 i = 0; i < size; i++) page[i] = _operators[offset + i];
    }

    /// @inheritdoc INodeRegistry
    function stakeAt(address operator, uint256 atBlock) public view returns (uint256) {
        if (atBlock >= block.number) revert NotYetFrozen(atBlock);
        return _stakes[operator].upperLookupRecent(uint48(atBlock));
    }

    /// @inheritdoc INodeRegistry
    function drawable(uint256 atBlock, address excludedOperator) public view returns (uint256) {
        if (atBlock >= block.number) revert NotYetFrozen(atBlock);
        uint256 count = _tree.positiveAt(atBlock);
        uint256[] storage excluded = _leavesOf[_nodes[excludedOperator].payout];
        for (uint256 i = 0; i < excluded.length; i++) {
            if (stakeAt(_operators[excluded[i]], atBlock) >= minStake) count--;
        }
        return count < MAX_DRAWN ? count : MAX_DRAWN;
    }

    /// @inheritdoc INodeRegistry
    function draw(bytes32 seed, uint256 atBlock, uint256 n, address excludedOperator)
        external
        view
        returns (address[] memory drawn)
    {
        uint256 most = drawable(atBlock, excludedOperator);
        uint256[] memory leaves = StakeDraw.pick(
            _tree, _tree.frozenAt(atBlock), seed, n < most ? n : most, _leavesOf[_nodes[excludedOperator].payout]
        );
        drawn = new address[](leaves.length);
        for (uint256 i = 0; i < leaves.length; i++) drawn[i] = _operators[leaves[i]];
    }

    function _node(address operator) private view returns (Node storage node) {
        node = _nodes[operator];
        if (node.payout == address(0)) revert NotRegistered(operator);
    }

    /// @dev Locked stake that is gone.
    function _takeLocked(address operator, uint256 amount) private {
        Node storage node = _nodes[operator];
        node.locked -= uint128(amount);
        node.stake -= uint128(amount);
        _checkpoint(operator, node.stake);
    }

    function _requireFree(Node storage node, uint256 amount) private view {
        uint256 free = node.stake - node.locked;
        if (amount > free) revert InsufficientFreeStake(free, amount);
    }

    function _addStake(Node storage node, address operator, uint256 amount) private {
        node.stake = (node.stake + amount).toUint128();
        _checkpoint(operator, node.stake);
        emit StakeAdded(operator, msg.sender, amount, node.stake);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    function _checkpoint(address operator, uint256 stake) private {
        _stakes[operator].push(uint48(block.number), uint208(stake));
        _tree.set(_leafOf[operator], stake < minStake ? 0 : stake * WEIGHTS_IN_MIN_STAKE / minStake);
    }
}
