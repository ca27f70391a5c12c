// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "./IBatches.sol";

/// @title Batches whose forgery is known to their maker beforehand, to find voters who do not look
/// @notice The maker is a provider. Before it anchors the batch it buries a seal of it, with a bond; as trace root it anchors a trap, a hash that no
/// tree of traces can have. Whoever checks any path into the trace finds the batch forged. After the vote the maker reveals: where the batch was found
/// forged nothing is slashed; where it was paid, every voter loses its seat, and a share of the seats is the maker's.
interface ICanaries {
    /// @param seal `sealOf(batchId, salt)`, 0 where nothing is buried.
    /// @param buriedBlock the batch has to be anchored in a later block.
    /// @param revealBy last second (timestamp) to reveal; the bond burns afterwards.
    /// @param nextAt timestamp (seconds) from which its maker may bury another.
    struct Canary {
        bytes32 seal;
        uint128 bond;
        uint48 buriedBlock;
        uint64 revealBy;
        uint64 nextAt;
    }

    event CanaryBuried(address indexed maker, bytes32 seal, uint256 bond, uint64 revealBy);
    event CanaryRevealed(
        bytes32 indexed batchId, address indexed maker, IBatches.Status found, uint256 seats, uint256 rewarded
    );
    event RestTaken(bytes32 indexed batchId, address indexed maker, uint256 seats, uint256 rewarded);
    event CanaryForfeited(address indexed maker, uint256 bond);

    error BadCanaryParams();
    error NotANode(address caller);
    error EmptySeal();
    error CanaryPending(address maker);
    error TooSoon(uint64 nextAt);
    error NoCanary(address maker);
    error NotThisBatch(bytes32 batchId);
    error BondTooSmall(uint256 bond, uint256 fees);
    error NotJudgedYet(bytes32 batchId);
    error RevealClosed(uint64 revealBy);
    error RevealOpen(uint64 revealBy);
    error NoConsent(uint256 range);
    error NothingLeft(bytes32 batchId);

    /// @notice Buries a seal; by a registered node, one at a time and one in `period`. Takes approved tokens as the bond, which has to be at least
    /// the fees of the batch. A seal is not zero.
    function bury(bytes32 seal, uint128 bond) external;

    /// @notice Ends the canary after the vote, by its maker, and gives the bond back. In time to be pardoned, or for the seats, it has to come before the
    /// slash is carried out, or the seats are released.
    /// @param voters of the bench, as `SeatsTaken` has them; ignored where the batch was not paid. The first 48 lose their seats here, the others by
    /// `takeRest`: until then their seats are held for as long again.
    /// @param consents where the batch was paid, for each range an EIP-712 signature (or ERC-1271) by its consumer over CanaryConsent(bytes32 batch):
    /// that the answers were none was its wish.
    function reveal(bytes32 batchId, bytes32 salt, address[] calldata voters, bytes[] calldata consents) external;

    /// @notice Takes the next 48 seats of a bench that paid a canary which was revealed; by anyone, for its maker.
    function takeRest(bytes32 batchId, address[] calldata voters) external;

    /// @notice Burns the bond of a canary that was not revealed in time; by anyone.
    function forfeit(address maker) external;

    function canaryOf(address maker) external view returns (Canary memory);

    /// @notice What the maker anchors as trace root: keccak256(abi.encode("sinter/canary/1", chain id, this, batchId, salt)).
    function trapOf(bytes32 batchId, bytes32 salt) external view returns (bytes32);

    /// @notice keccak256(abi.encode(trapOf(batchId, salt), salt)): the trap alone does not lead to its seal.
    function sealOf(bytes32 batchId, bytes32 salt) external view returns (bytes32);

    /// @notice Seconds from burying to the end of the reveal.
    function revealWindow() external view returns (uint64);

    /// @notice Seconds between two canaries of one maker.
    function period() external view returns (uint64);

    /// @notice Share of a lost seat that is the maker's (basis points); the rest burns.
    function rewardBps() external view returns (uint16);
}
