// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Epochs, the burn rate, and all that is minted
/// @notice Two things mint: settled work, at most γ < 1 of what its own batch burned, and measured capacity. What a class's capacity
/// earns beyond a base that no job can move is paid out of that class's backing, α of its net
/// burn at the lowest β. Because γ + α < 1, nobody mints
/// by jobs of its own as much as they burn. Credits are minted when they are claimed; what the schedule leaves is never minted.
interface IEmissions {
    /// @notice Immutable parameters. Shares in basis points (1/10000), parts per million where the name says so, times in seconds.
    /// @param epochLength length of an epoch.
    /// @param emission0 S_0, most that the first epoch mints.
    /// @param lambdaPpm λ: S_{e+1} = λ·S_e. Below one, so that all epochs together are bounded by S_0 / (1 − λ).
    /// @param workBps w: part of S_e for work.
    /// @param availabilityBps a: part of S_e for capacity; w + a at most 1.
    /// @param gammaBps γ: most of a batch's net burn that is minted again.
    /// @param alphaBps α: part of a class's net burn, as it were at β_min, that backs its availability pay; γ + α below 1.
    /// @param smoothingEpochs epochs over which the burn is smoothed for γ_e.
    /// @param releaseEpochs one in so many of a class's backing can be spent in an epoch.
    /// @param betaBps β_0, share of the fees that burns.
    /// @param betaMinBps lowest β.
    /// @param betaMaxBps highest β.
    /// @param kappaBps κ: step of β for a utilisation that is 1 off its target.
    /// @param betaStepBps most that β moves in an epoch.
    /// @param betaReturnEpochs time constant with which β returns to β_0.
    /// @param targetPpm U*.
    /// @param tierStakes stakes from which the second and third tier begin.
    /// @param tierBps multipliers of the three tiers, ascending, at most 1.
    struct Params {
        uint64 epochLength;
        uint128 emission0;
        uint32 lambdaPpm;
        uint16 workBps;
        uint16 availabilityBps;
        uint16 gammaBps;
        uint16 alphaBps;
        uint16 smoothingEpochs;
        uint16 releaseEpochs;
        uint16 betaBps;
        uint16 betaMinBps;
        uint16 betaMaxBps;
        uint16 kappaBps;
        uint16 betaStepBps;
        uint16 betaReturnEpochs;
        uint32 targetPpm;
        uint128[2] tierStakes;
        uint16[3] tierBps;
    }

    /// @notice The epoch that is open, as the last transaction left it.
    /// @param index number of epochs that have ended.
    /// @param schedule S_e.
    /// @param gammaPpm γ_e.
    /// @param burned net burn of the batches that settled in it.
    /// @param smoothedBurn mean of the epochs before.
    /// @param workMinted credited for work in it.
    struct Epoch {
        uint64 index;
        uint32 betaPpm;
        uint32 gammaPpm;
        uint128 schedule;
        uint128 burned;
        uint128 smoothedBurn;
        uint128 workMinted;
    }

    /// @param capacity units measured in the open epoch.
    /// @param used units of settled work in it, for each node at most what was measured of it.
    /// @param backing base units that availability may still be paid above its base.
    struct ClassState {
        uint64 capacity;
        uint64 used;
        uint128 backing;
    }

    /// @param betaPpm like the two after it, of the epoch that begins.
    event EpochClosed(
        uint64 indexed epoch,
        uint256 usedPpm,
        uint256 burned,
        uint256 workMinted,
        uint256 available,
        uint256 betaPpm,
        uint256 gammaPpm,
        uint256 schedule
    );
    /// @param perUnit base units that a unit of capacity of the class earned.
    event AvailabilityPriced(uint64 indexed epoch, bytes32 indexed class, uint256 units, uint256 perUnit, uint256 backing);
    event WorkCredited(address indexed operator, uint64 indexed epoch, uint256 netBurn, uint256 amount);
    event CapacityReported(address indexed operator, uint64 indexed epoch, uint256 units);
    event AvailabilityCredited(address indexed operator, uint64 indexed epoch, uint256 amount);
    event Claimed(address indexed operator, address indexed payout, uint256 amount);

    error BadEmissionParams(string field);
    error NotBatches(address caller);
    error NotCapacity(address caller);
    error EpochsBehind(uint64 index, uint64 now_);
    error ClassNotPriced(bytes32 class);
    error NothingToClaim(address operator);

    /// @notice Ends epochs whose time is over, at most `most`. Anyone's, any time; the other functions end a few themselves.
    /// @return index the epoch that is open then.
    function roll(uint256 most) external returns (uint64 index);

    /// @notice Credits the work mint of a batch; by Batches only. Never reverts for a registered provider.
    /// @param fees of the batch.
    /// @param netBurn what they burn, the consumers' discounts taken off; 0 earns nothing.
    /// @param beta the batch's share of fees that burns, in basis points.
    /// @param atBlock block before the anchor: the stake of that block makes the tier.
    function settleWork(address provider, uint256 fees, uint256 netBurn, uint256 beta, uint256 atBlock) external;

    /// @notice Adds measured capacity of a node to the open epoch; by the capacity contract only.
    /// @param units work that the node could have done in an epoch, as measured.
    function report(address operator, uint64 units) external;

    /// @notice Mints a node's credit to its payout address. Anyone may ask; the cost does not depend on how many nodes there are.
    /// @return amount what was minted; less than the credit only where the token's cap is reached.
    function claim(address operator) external returns (uint256 amount);

    function params() external view returns (Params memory);

    /// @notice β of the open epoch, which a batch keeps from its anchor on.
    function betaBps() external view returns (uint16);

    function epoch() external view returns (Epoch memory);

    /// @notice Epoch that the clock says, whether or not those before it were ended.
    function epochNow() external view returns (uint64);

    function classState(bytes32 class) external view returns (ClassState memory);

    /// @notice Base units that a unit of the class's capacity earned in an epoch that has ended.
    function perUnit(bytes32 class, uint64 epochIndex) external view returns (uint256);

    /// @notice What `claim` would mint now, the cap aside.
    function creditOf(address operator) external view returns (uint256);

    /// @notice Everything credited so far; never more than the schedule of the epochs so far.
    function credited() external view returns (uint256);

    /// @notice Multiplier of γ for a stake.
    function tierOf(uint256 stake) external view returns (uint256 multiplierBps);
}
