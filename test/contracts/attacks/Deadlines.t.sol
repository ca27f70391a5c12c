// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IVotes} from "../../../protocol/contracts/interfaces/IVotes.sol";
import {Settling} from "./Settling.sol";

/// @dev Blocks are stuffed, or a transaction is held back, up to a deadline. Every second of every window is tried: in each exactly one side may
/// act, the last second of a window is as good as its first, and no two ends of a state are open at once.
contract DeadlinesTest is Settling {
    function setUp() public override {
        super.setUp();
        IBatches.Params memory p = defaults();
        p.auditWindow = 20;
        (p.traceWindow, p.attestWindow) = (30, 30);
        rebuild(p);
    }

    function can(address by, bytes memory data) private returns (bool ok) {
        uint256 start = vm.snapshotState();
        vm.prank(by);
        (ok,) = address(batches).call(data);
        vm.revertToState(start);
    }

    function anyone(bytes memory data) private returns (bool) {
        return can(address(0xbeef), data);
    }

    function test_aTraceIsTakenOrTheBatchExpiresNeverBothNorNeither() public {
        bytes32 batchId = anchor(10 ether);
        passAudits(batchId);
        recordSlot(batches.batchOf(batchId).sampleSlot);
        uint256 start = vm.getBlockTimestamp();
        for (uint256 wait = 0; wait <= 33; wait++) {
            vm.warp(start + wait);
            bool taken = can(provider, abi.encodeCall(batches.anchorTrace, (batchId, "trace")));
            assert(taken == (wait <= 30));
            assert(taken != anyone(abi.encodeCall(batches.expire, (batchId))));
        }
    }

    function test_anAuditIsNamedOrTheTraceIsAnchoredNeverBothNorNeither() public {
        bytes32 batchId = anchor(10 ether);
        uint256 until = batches.batchOf(batchId).auditUntil;
        recordSlot(batches.batchOf(batchId).sampleSlot);
        for (uint256 time = vm.getBlockTimestamp(); time <= until + 3; time++) {
            vm.warp(time);
            bool named = can(consumer, abi.encodeCall(batches.audit, (batchId, 0, 1)));
            assert(named == (time <= until));
            assert(named != can(provider, abi.encodeCall(batches.anchorTrace, (batchId, "trace"))));
        }
    }

    function test_anAttestationIsTakenOrTheBatchExpiresNeverBothNorNeither() public {
        bytes32 batchId = anchor(10 ether);
        trace(batchId);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        uint256 start = vm.getBlockTimestamp();
        for (uint256 wait = 0; wait <= 33; wait++) {
            vm.warp(start + wait);
            bool taken = can(provider, abi.encodeCall(batches.commitAttestation, (batchId, "attestation")));
            assert(taken == (wait <= 30));
            assert(taken != anyone(abi.encodeCall(batches.expire, (batchId))));
        }
    }

    /// @dev Nobody opens a vote while another can still be committed to.
    function test_aVoteIsCommittedOrOpenedNeverBothNorNeither() public {
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        bytes32 batchId = judged(10 ether);
        uint256 start = vm.getBlockTimestamp();
        Said[] memory said = quorumVotes(batchId, FORGED);
        cast(batchId, said);
        bytes memory found =
            abi.encodeCall(batches.settle, (batchId, committedOf(batchId), opened(batchId, said), new IBatches.Opening[](0)));
        address last = batches.committee(batchId)[2];
        IVotes.Signed[] memory late = new IVotes.Signed[](1);
        late[0] = entry(batchId, 2, keyOf(last), commitmentOf(batchId, vote(keyOf(last), FORGED)));
        for (uint256 wait = 0; wait <= COMMIT_WINDOW + 3; wait++) {
            vm.warp(start + wait);
            uint256 snapshot = vm.snapshotState();
            (bool taken,) = address(votes).call(abi.encodeCall(votes.commitVotes, (batchId, 0, late)));
            vm.revertToState(snapshot);
            assert(taken == (wait <= COMMIT_WINDOW));
            assert(taken != can(provider, found));
        }
    }

    /// @dev A forged batch that its committee has found: whatever second it is, somebody can bring the verdict in, and until the window's end
    /// nobody can ask for another committee.
    function test_aQuorumCanAlwaysBeBroughtIn() public {
        bytes32 batchId = judged(10 ether);
        uint256 start = vm.getBlockTimestamp();
        bytes memory found = settling(batchId, FORGED);
        // Past the time after which it could be abandoned where all sit.
        for (uint256 wait = 0; wait <= 103; wait++) {
            vm.warp(start + wait);
            assert(can(provider, found));
            assert(anyone(found) == (wait >= 10));
            assert(anyone(abi.encodeCall(batches.redraw, (batchId))) == (wait > 60));
            assert(!anyone(abi.encodeCall(batches.abandon, (batchId))));
        }
    }

    function test_whereAllSitABatchIsRedrawnNoMoreAndAbandonedOnlyAfterItsWindows() public {
        bytes32 batchId = judged(10 ether);
        skip(61);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        uint256 start = vm.getBlockTimestamp();
        bytes memory found = settling(batchId, FORGED);
        for (uint256 wait = 55; wait <= 103; wait++) {
            vm.warp(start + wait);
            assert(!anyone(abi.encodeCall(batches.redraw, (batchId))));
            assert(can(provider, found));
            assert(anyone(abi.encodeCall(batches.abandon, (batchId))) == (wait > 100));
        }
    }

    function test_aCondemnedBatchIsAppealedOrSlashedNeverBothAtOnce() public {
        bytes32 batchId = judged(10 ether);
        settle(batchId, FORGED);
        uint256 start = vm.getBlockTimestamp();
        for (uint256 wait = 0; wait <= 33; wait++) {
            vm.warp(start + wait);
            assert(can(provider, abi.encodeCall(batches.appeal, (batchId))) == (wait <= 20));
            assert(anyone(abi.encodeCall(batches.finalize, (batchId))) == (wait >= 30));
            // A canary's maker is heard until then.
            assert(can(address(this), abi.encodeCall(batches.pardon, (batchId))));
        }
    }

    /// @dev Nobody's clock runs before its slot is recorded, and whoever would gain by delay cannot keep others from recording.
    function testFuzz_aHaltedChainCostsNobodyTime(uint256 halt) public {
        bytes32 batchId = anchor(10 ether);
        mine(10);
        vm.warp(vm.getBlockTimestamp() + bound(halt, 0, 365 days));
        vm.expectPartialRevert(bytes4(keccak256("SlotNotRecorded(uint256)")));
        batches.expire(batchId);
        beacon.record(batches.batchOf(batchId).sampleSlot);
        eq(batches.deadlineOf(batchId), vm.getBlockTimestamp() + 30, "the whole window");
    }
}
