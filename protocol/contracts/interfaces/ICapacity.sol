// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title Capacity that machines were seen to have, on nobody's word
/// @notice Some slots of the beacon are pulses, which nobody knows beforehand. Every node then runs lanes, chains of matrix products that are its own,
/// and in time has the root of its answers in the report of one of the few that the stake draws. A later slot names the lanes that are examined,
/// and entries of theirs: who shows that each was computed has its capacity reported to Emissions. What is not examined does not pay,
/// and an answer that is not shown costs its pay and nothing else. No funds are held here.
interface ICapacity {
    /// @notice Immutable parameters. Times in seconds.
    /// @param rarity one slot in so many is a pulse.
    /// @param window from a pulse's opening to its last report.
    /// @param claimWindow from the record of the draw slot to the last claim.
    /// @param freshSlots a pulse opens while the first slot that is open to all is at most so many after its own.
    /// @param drawMargin slots from the first that is open to all, when the pulse opens, to its draw slot.
    /// @param reporters nodes drawn to report a pulse.
    struct Params {
        uint32 rarity;
        uint64 window;
        uint64 claimWindow;
        uint16 freshSlots;
        uint16 drawMargin;
        uint16 reporters;
    }

    /// @notice What a hardware class computes.
    /// @param class keccak256 of its name.
    /// @param n rows and columns, a power of two from 256 to 8192.
    /// @param steps products of a lane, a power of two up to 65536.
    /// @param entries examined of a drawn lane.
    /// @param units work (10^12 multiply-adds) that a lane stands for at each pulse.
    /// @param share one lane in so many is examined, and stands for as many.
    /// @param stakePerLane base units at stake for each lane.
    struct Class {
        bytes32 class;
        uint16 n;
        uint32 steps;
        uint16 entries;
        uint64 units;
        uint32 share;
        uint128 stakePerLane;
    }

    /// @param openedAt timestamp (seconds) from which answers are timed; 0 where the slot is not open.
    /// @param snapshot block whose stakes count, that of the opening before.
    /// @param drawSlot slot that names what is examined.
    struct Pulse {
        uint64 openedAt;
        uint64 snapshot;
        uint64 drawSlot;
    }

    /// @notice Shows one entry of a state. The state before step 0 is zero: there `before` is zero, and `operand` and the paths to both are empty.
    /// @param before root of the state before the step.
    /// @param beforePath from it to the lane's answer.
    /// @param operand the row of that state that has the entry's column as its number, one byte an entry.
    /// @param operandPath from the operand to `before`.
    /// @param afterwards root of the state after the step.
    /// @param afterPath from it to the lane's answer.
    /// @param result the row of that state with the entry.
    /// @param resultPath from it to `afterwards`.
    struct Entry {
        bytes32 before;
        bytes32[] beforePath;
        bytes operand;
        bytes32[] operandPath;
        bytes32 afterwards;
        bytes32[] afterPath;
        bytes result;
        bytes32[] resultPath;
    }

    /// @param slot of the pulse.
    /// @param reporter whose report has the caller's answers.
    /// @param index the caller's place in the registry, and of its leaf in the report.
    /// @param path from its leaf to the report's root.
    /// @param answers of all its lanes.
    /// @param lane which of them this is about.
    /// @param entries that the draw names, in its order.
    struct Claim {
        uint64 slot;
        address reporter;
        uint32 index;
        bytes32[] path;
        bytes32[] answers;
        uint32 lane;
        Entry[] entries;
    }

    event PulseOpened(uint64 indexed slot, bytes32 value, uint64 drawSlot, uint64 until);
    event PulseReported(uint64 indexed slot, address indexed reporter, bytes32 root);
    event CapacityClaimed(uint64 indexed slot, address indexed operator, uint32 lane, uint64 units);

    error BadCapacityParams(bytes32 what);
    error NotAPulse(uint64 slot);
    error PulseStale(uint64 slot);
    error PulseOpen(uint64 slot);
    error PulseRunning(uint64 slot);
    error PulseNotOpen(uint64 slot);
    error NotAReporter(uint64 slot, address caller);
    error AlreadyReported(uint64 slot, address reporter);
    error EmptyReport();
    error ReportClosed(uint64 slot);
    error NotReported(uint64 slot, address reporter);
    error ClassNotMeasured(bytes32 class);
    error NotAtIndex(address operator, uint32 index);
    error NotInReport(uint64 slot, address reporter, address operator);
    error NotDrawn(uint64 slot, address operator, uint32 lane);
    error ClaimClosed(uint64 slot);
    error AlreadyClaimed(uint64 slot, address operator, uint32 lane);
    error StakeTooLow(uint256 stake, uint256 wanted);
    error WrongEntryCount(uint256 given, uint256 wanted);
    error EntryNotShown(uint256 entry);

    /// @notice Opens a pulse, by anyone: records its slot where the beacon can, fixes the draw slot, and starts the clock. Only while the slot is fresh,
    /// and not while another pulse runs.
    function open(uint64 slot) external;

    /// @notice Brings the root of what nodes have answered, by one of those drawn, once, in time and while the draw slot's value is open to all.
    function report(uint64 slot, bytes32 root) external;

    /// @notice Shows the drawn entries of a drawn lane of the caller's and has its capacity reported; once for each lane of each pulse.
    function claim(Claim calldata claim_) external;

    function params() external view returns (Params memory);

    function classOf(bytes32 class) external view returns (Class memory);

    /// @notice All classes that are measured.
    function classes() external view returns (Class[] memory);

    function pulseOf(uint64 slot) external view returns (Pulse memory);

    /// @notice Slot of the pulse that was opened last, 0 before the first.
    function lastPulse() external view returns (uint64);

    /// @notice Whether a beacon value makes its slot a pulse.
    function isPulse(bytes32 value) external view returns (bool);

    /// @notice Those who may report an open pulse.
    function reportersOf(uint64 slot) external view returns (address[] memory);

    function reportOf(uint64 slot, address reporter) external view returns (bytes32 root);

    /// @notice Whether a lane is examined. Reverts with `SlotNotRecorded` before the draw.
    function isDrawn(uint64 slot, address operator, uint32 lane) external view returns (bool);

    function claimed(uint64 slot, address operator, uint32 lane) external view returns (bool);
}
