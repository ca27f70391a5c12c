// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {ICanaries} from "./interfaces/ICanaries.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {ISeats} from "./interfaces/ISeats.sol";
import {Benches} from "./libraries/Benches.sol";
import {SinterToken} from "./SinterToken.sol";

/// @title Canaries, documented in {ICanaries}
contract Canaries is ICanaries, EIP712 {
    using SafeERC20 for SinterToken;

    bytes32 private constant CONSENT_TYPEHASH = keccak256("CanaryConsent(bytes32 batch)");
    uint256 private constant BPS = 10_000;

    SinterToken public immutable token;
    INodeRegistry public immutable registry;
    IBatches public immutable batches;
    ISeats public immutable seats;
    uint64 public immutable revealWindow;
    uint64 public immutable period;
    uint16 public immutable rewardBps;

    mapping(address maker => Canary) private _canaries;
    /// @dev Of benches with more voters than one transaction slashes.
    mapping(bytes32 batchId => address) private _makerOf;

    /// @param rewardBps_ less than all: whoever is maker and voter must not move its seat for nothing.
    constructor(
        SinterToken token_,
        INodeRegistry registry_,
        IBatches batches_,
        ISeats seats_,
        uint64 revealWindow_,
        uint64 period_,
        uint16 rewardBps_
    ) EIP712("Sinter", "1") {
        if (revealWindow_ == 0 || rewardBps_ >= BPS) revert BadCanaryParams();
        token = token_;
        registry = registry_;
        batches = batches_;
        seats = seats_;
        revealWindow = revealWindow_;
        period = period_;
        rewardBps = rewardBps_;
    }

    /// @inheritdoc ICanaries
    function bury(bytes32 seal, uint128 bond) external {
        if (registry.payoutOf(msg.sender) == address(0)) revert NotANode(msg.sender);
        if (seal == 0) revert EmptySeal();
        Canary storage c = _canaries[msg.sender];
        if (c.seal != 0) revert CanaryPending(msg.sender);
        if (block.timestamp < c.nextAt) revert TooSoon(c.nextAt);
        c.seal = seal;
        c.bond = bond;
        c.buriedBlock = uint48(block.number);
        c.revealBy = uint64(block.timestamp) + revealWindow;
        c.nextAt = uint64(block.timestamp) + period;
        emit CanaryBuried(msg.sender, seal, bond, c.revealBy);
        token.safeTransferFrom(msg.sender, address(this), bond);
    }

    /// @inheritdoc ICanaries
    function reveal(bytes32 batchId, bytes32 salt, address[] calldata voters, bytes[] calldata consents) external {
        Canary storage c = _pending(msg.sender);
        if (block.timestamp > c.revealBy) revert RevealClosed(c.revealBy);
        IBatches.Batch memory b = batches.batchOf(batchId);
        // The seal came before the anchor, so before the sample, and the trap is what was anchored: a provider that finds itself in trouble
        // later has no canary to declare, and a batch whose trace is one cannot be a canary.
        if (
            c.seal != sealOf(batchId, salt) || b.provider != msg.sender || b.anchorBlock <= c.buriedBlock
                || b.traceRoot != trapOf(batchId, salt)
        ) revert NotThisBatch(batchId);
        // A forger that buries a canary for each forgery either says so, and is paid for nothing, or loses more than its pay.
        if (c.bond < b.total) revert BondTooSmall(c.bond, b.total);
        if (b.status < IBatches.Status.SlashPending) revert NotJudgedYet(batchId);
        uint128 bond = c.bond;
        (c.seal, c.bond) = (0, 0);
        uint256 lost = 0;
        uint256 rewarded = 0;
        if (b.status == IBatches.Status.SlashPending) batches.pardon(batchId);
        if (b.status == IBatches.Status.Paid) {
            _requireConsents(batchId, consents);
            if (voters.length > Benches.AT_ONCE) _makerOf[batchId] = msg.sender;
            (lost, rewarded) = _slash(batchId, b.attempt, voters, msg.sender);
        }
        emit CanaryRevealed(batchId, msg.sender, b.status, lost, rewarded);
        token.safeTransfer(msg.sender, bond);
    }

    /// @inheritdoc ICanaries
    function takeRest(bytes32 batchId, address[] calldata voters) external {
        address maker = _makerOf[batchId];
        uint8 attempt = batches.batchOf(batchId).attempt;
        (uint256 lost, uint256 rewarded) = maker == address(0) ? (0, 0) : _slash(batchId, attempt, voters, maker);
        if (lost == 0) revert NothingLeft(batchId);
        emit RestTaken(batchId, maker, lost, rewarded);
    }

    /// @inheritdoc ICanaries
    function forfeit(address maker) external {
        Canary storage c = _pending(maker);
        if (block.timestamp <= c.revealBy) revert RevealOpen(c.revealBy);
        uint128 bond = c.bond;
        (c.seal, c.bond) = (0, 0);
        emit CanaryForfeited(maker, bond);
        token.burn(bond);
    }

    /// @inheritdoc ICanaries
    function canaryOf(address maker) external view returns (Canary memory) {
        return _canaries[maker];
    }

    /// @inheritdoc ICanaries
    function trapOf(bytes32 batchId, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode("sinter/canary/1", block.chainid, address(this), batchId, salt));
    }

    /// @inheritdoc ICanaries
    function sealOf(bytes32 batchId, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(trapOf(batchId, salt), salt));
    }

    /// @dev All of them: a batch is paid only by votes that found nothing forged. A bench that was released has nothing to lose.
    function _slash(bytes32 batchId, uint8 attempt, address[] calldata voters, address maker)
        private
        returns (uint256, uint256)
    {
        bytes32 bench = Benches.last(seats, batchId, attempt);
        if (seats.benchOf(bench).voters == 0) return (0, 0);
        return Benches.slash(seats, bench, voters, maker, rewardBps);
    }

    /// @dev Else a forger could sell answers that are none and, when nobody looked, take the voters' seats on top.
    function _requireConsents(bytes32 batchId, bytes[] calldata consents) private view {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(CONSENT_TYPEHASH, batchId)));
        uint256 count = batches.rangeCount(batchId);
        for (uint256 i = 0; i < count; i++) {
            address consumer = batches.rangeOf(batchId, i).consumer;
            if (i >= consents.length || !SignatureChecker.isValidSignatureNow(consumer, digest, consents[i])) {
                revert NoConsent(i);
            }
        }
    }

    function _pending(address maker) private view returns (Canary storage c) {
        c = _canaries[maker];
        if (c.seal == 0) revert NoCanary(maker);
    }
}
