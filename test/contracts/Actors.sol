// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Benches} from "../../protocol/contracts/libraries/Benches.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IConsumerStakes} from "../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {World} from "./World.sol";

/// @dev Two consumers, two providers and a committee doing everything they may, in any order. No action may revert.
contract Actors is World {
    bytes32[] public batchIds;
    bytes32[] public sessions;
    /// @dev Every batch has two receipts, the first for a third of the fees.
    mapping(bytes32 batchId => IBatches.Sibling[2]) private _leaves;
    mapping(bytes32 batchId => uint256) private _collected;
    uint256 public unbonding;
    uint256 public appeals;
    uint256 public equivocations;
    uint256[] private _unbonds;
    bytes32[] public benches;
    mapping(bytes32 bench => address[]) internal _voters;
    /// @dev Seats of a bench that are neither slashed nor released.
    mapping(bytes32 bench => uint256) public held;
    /// @dev Everybody who can hold tokens: an address costs a multiplication on the curve each time it is asked for.
    address[] internal holders;

    constructor() {
        setUp();
        fund(vm.addr(2), 1_000 ether);
        sessions.push(session);
        holders = [address(this), consumer, vm.addr(OTHER_CONSUMER)];
        for (uint256 key = 1; key <= NODES; key++) {
            holders.push(vm.addr(key));
            holders.push(ownerOf(key));
        }
    }

    // ---- money

    function deposit(uint256 who, uint256 amount) external {
        fund(vm.addr(CONSUMER + who % 2), bound(amount, 1, 100 ether));
    }

    function withdraw(uint256 who, uint256 amount) external {
        address account = who % 8 < 2 ? vm.addr(CONSUMER + who % 8) : ownerOf(who % 8 - 1);
        uint256 held = escrow.balanceOf(account);
        if (held == 0) return;
        vm.prank(account);
        escrow.withdraw(bound(amount, 1, held));
    }

    function openSession(uint256 who, uint256 to, uint256 ceiling) external {
        uint256 held = escrow.balanceOf(vm.addr(CONSUMER + who % 2));
        if (held == 0 || sessions.length > 12) return;
        sessions.push(open(CONSUMER + who % 2, vm.addr(1 + to % 2), bound(ceiling, 1, held > 500 ether ? 500 ether : held)));
    }

    function topUp(uint256 which, uint256 amount) external {
        (bytes32 id, IEscrow.Session memory s) = pick(which);
        uint256 held = escrow.balanceOf(s.consumer);
        if (s.closed || held == 0) return;
        vm.prank(s.consumer);
        escrow.topUp(id, bound(amount, 1, held > 50 ether ? 50 ether : held));
    }

    function close(uint256 which, bool byProvider) external {
        (bytes32 id, IEscrow.Session memory s) = pick(which);
        if (s.closed || which % 4 != 0) return;
        if (byProvider) {
            vm.prank(s.provider);
        } else {
            if (s.closesAt == 0) {
                vm.prank(s.consumer);
                escrow.requestClose(id);
            }
            skip(300);
        }
        escrow.closeSession(id);
    }

    // ---- stake

    function unbond(uint256 who, uint256 amount) external {
        address operator = vm.addr(1 + who % NODES);
        uint256 free = registry.freeStake(operator);
        // Enough stays to draw a committee and to lock a batch.
        if (free < 2_000 ether) return;
        amount = bound(amount, 1, 100 ether);
        vm.prank(ownerOf(1 + who % NODES));
        _unbonds.push(registry.requestUnbond(operator, amount));
        unbonding += amount;
    }

    function release(uint256 which) external {
        if (_unbonds.length == 0) return;
        uint256 id = _unbonds[which % _unbonds.length];
        INodeRegistry.Unbond memory u = registry.unbondOf(id);
        if (u.amount == 0) return;
        if (vm.getBlockTimestamp() < u.releaseAt) vm.warp(u.releaseAt);
        registry.withdraw(id);
        unbonding -= u.amount;
    }

    // ---- batches

    function anchorOne(uint256 which, uint256 fee) external {
        (bytes32 id, IEscrow.Session memory s) = pick(which);
        uint256 left = s.ceiling - s.anchored;
        if (s.closed || left < 3 || batchIds.length > 12) return;
        fee = bound(fee, 3, left > 300 ether ? 300 ether : left);
        if (registry.freeStake(s.provider) < batches.lockFor(fee) || escrow.balanceOf(s.provider) < 1 ether) return;
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = nextRange(s.consumer == consumer ? CONSUMER : OTHER_CONSUMER, id, 1, fee);
        IBatches.Sibling[2] memory leaves;
        for (uint256 i = 0; i < 2; i++) {
            leaves[i].sum = uint128(i == 0 ? fee / 3 : fee - fee / 3);
            leaves[i].hash = keccak256(abi.encodePacked(hex"00", receiptOf(i), leaves[i].sum));
        }
        bytes32 root = keccak256(
            abi.encodePacked(hex"01", leaves[0].hash, leaves[0].sum, leaves[1].hash, leaves[1].sum)
        );
        // The same root again would be the same batch.
        if (status(batches.batchIdOf(s.provider, root)) != IBatches.Status.None) return;
        vm.prank(s.provider);
        bytes32 batchId = batches.anchorBatch(root, list);
        batchIds.push(batchId);
        for (uint256 i = 0; i < 2; i++) _leaves[batchId][i] = leaves[i];
        if (which % 2 == 0 && escrow.balanceOf(s.consumer) >= 0.5 ether) {
            vm.prank(s.consumer);
            batches.audit(batchId, 0, uint128(fee / 2));
        }
        passAudits(batchId);
        recordSlot(batches.batchOf(batchId).sampleSlot);
    }

    function advance(uint256 which, uint256 choice) external {
        uint256 from = 0;
        // The oldest two that are not done, so that batches reach their ends within a run.
        while (from < batchIds.length && _collected[batchIds[from]] == 1) from++;
        if (from == batchIds.length) return;
        if (which % 2 == 1 && from + 1 < batchIds.length) from++;
        bytes32 batchId = batchIds[from];
        IBatches.Batch memory b = batches.batchOf(batchId);
        uint64 deadline = batches.deadlineOf(batchId);
        bool late = vm.getBlockTimestamp() > deadline;
        if (b.status == IBatches.Status.Anchored || b.status == IBatches.Status.Traced) {
            if (!late && choice % 4 == 0) vm.warp(deadline + 1);
            if (late || choice % 4 == 0) batches.expire(batchId);
            else if (b.status == IBatches.Status.Anchored) traceNow(batchId, b.provider);
            else commitNow(batchId, b.provider);
        } else if (b.status == IBatches.Status.Committed) {
            judge(batchId, b, choice % 5);
        } else if (b.status == IBatches.Status.SlashPending) {
            if (b.verdicts != 0 && vm.getBlockTimestamp() <= deadline - 10 && choice % 3 != 0) appealNow(batchId, choice);
            if (status(batchId) != IBatches.Status.SlashPending) return;
            if (!late) vm.warp(deadline);
            // This contract is a judge.
            if (choice % 4 == 0) batches.pardon(batchId);
            else batches.finalize(batchId);
        } else if (_collected[batchId] == 0) {
            _collected[batchId] = 1;
            batches.collect(batchId, 0);
        }
    }

    function traceNow(bytes32 batchId, address by) private {
        vm.prank(by);
        batches.anchorTrace(batchId, "trace");
        recordSlot(batches.batchOf(batchId).challengeSlot);
    }

    function commitNow(bytes32 batchId, address by) private {
        bytes32 digest = attestationOf(batchId);
        vm.prank(by);
        batches.commitAttestation(batchId, digest);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    /// @dev By the provider, or by a consumer who may be its Sybil. Where all nodes sit already there is no larger committee.
    function appealNow(bytes32 batchId, uint256 choice) private {
        address by = choice % 2 == 0 ? batches.batchOf(batchId).provider : vm.addr(CONSUMER + choice % 2);
        if (escrow.balanceOf(by) < batches.appealBond(batchId) || batches.batchOf(batchId).attempt > 0) return;
        vm.prank(by);
        batches.appeal(batchId);
        appeals++;
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    function judge(bytes32 batchId, IBatches.Batch memory b, uint256 choice) private {
        bool closed = vm.getBlockTimestamp() > batches.deadlineOf(batchId) - 20;
        if (choice == 4 || closed && missingOf(batchId) != 0) return nobodyVotes(batchId, b);
        // What some have committed to, they open.
        if (votes.ballotOf(batchId).members != 0 && votes.ballotOf(batchId).attempt == b.attempt) choice = 0;
        bytes32 verdicts = allOf(batchId, choice == 1 ? 5 : 1);
        IBatches.Opening[] memory openings = new IBatches.Opening[](0);
        if (choice >= 2) (verdicts, openings) = offTolerance(batchId, choice == 3);
        Said[] memory said = votesFor(batchId, verdicts);
        if (!sitsFor(batchId)) return;
        beforeSettling();
        settleAs(b.provider, batchId, said, openings);
        seated(batchId, Benches.named(batchId, b.attempt, b.verdicts == 0 && !b.rebutted));
        if (verdicts == allOf(batchId, 1)) afterPaid(batchId);
    }

    function attestationOf(bytes32) internal view virtual returns (bytes32) {
        return "attestation";
    }

    function votesFor(bytes32 batchId, bytes32 verdicts) internal view virtual returns (Said[] memory) {
        return quorumVotes(batchId, verdicts);
    }

    /// @dev Whether the voters of `quorumVotes` can all answer for their votes.
    function sitsFor(bytes32 batchId) private view returns (bool) {
        address[] memory members = batches.committee(batchId);
        for (uint256 i = 0; i < members.length; i++) if (registry.freeStake(members[i]) < SEAT) return false;
        return true;
    }

    function seated(bytes32 batchId, bytes32 bench) private {
        // All who committed: with these parameters nobody can be spared.
        IVotes.Commitment[] memory list = committedOf(batchId);
        address[] memory voters = new address[](list.length);
        for (uint256 i = 0; i < voters.length; i++) voters[i] = list[i].voter;
        benches.push(bench);
        _voters[bench] = voters;
        held[bench] = voters.length;
    }

    /// @dev Some members commit before the others.
    function commitVotes(uint256 which, uint256 mask) external {
        for (uint256 i = 0; i < batchIds.length; i++) {
            bytes32 batchId = batchIds[(which % batchIds.length + i) % batchIds.length];
            if (status(batchId) != IBatches.Status.Committed) continue;
            if (vm.getBlockTimestamp() > batches.deadlineOf(batchId) - 20) continue;
            Said[] memory all = quorumVotes(batchId, allOf(batchId, 1));
            Said[] memory some = new Said[](all.length);
            uint256 count = 0;
            for (uint256 j = 0; j < all.length; j++) if (mask >> j & 1 == 1) some[count++] = all[j];
            assembly ("memory-safe") {
                mstore(some, count)
            }
            return cast(batchId, some);
        }
    }

    /// @dev Of a batch that nobody else knows: whatever a voter is asked, it signs one answer.
    function equivocate(uint256 which) external {
        uint256 key = 1 + which % NODES;
        if (which % 8 != 0 || registry.freeStake(vm.addr(key)) < SEAT) return;
        bytes32 batchId = keccak256(abi.encode(which, vm.getBlockTimestamp()));
        bytes32 bench = keccak256(abi.encode("sinter/equivocation/1", batchId, uint8(0), bytes32(0), vm.addr(key)));
        IVotes.Signature memory one = signedCommitment(batchId, 0, key, "one");
        IVotes.Signature memory other = signedCommitment(batchId, 0, key, "other");
        if (seats.benchOf(bench).until != 0) return;
        vm.prank(holders[1 + which % 4]);
        votes.proveEquivocation(batchId, 0, 0, one, other);
        equivocations++;
    }

    function slashSeat(uint256 which, uint256 seat, uint256 rewardBps) external {
        if (benches.length == 0) return;
        bytes32 bench = benches[which % benches.length];
        seat %= _voters[bench].length;
        // Seldom, so that committees remain.
        if (which % 8 != 0 || seats.benchOf(bench).voters == 0 || seats.slashed(bench, seat)) return;
        seats.slashSeat(bench, _voters[bench], seat, holders[1 + which % 4], bound(rewardBps, 0, 10_000));
        held[bench]--;
    }

    function releaseSeats(uint256 which) external {
        if (benches.length == 0) return;
        bytes32 bench = benches[which % benches.length];
        if (seats.benchOf(bench).voters == 0) return;
        uint64 until = seats.benchOf(bench).until;
        if (vm.getBlockTimestamp() <= until) vm.warp(until + 1);
        seats.release(bench, _voters[bench]);
        held[bench] = 0;
    }

    function beforeSettling() internal virtual {}

    function afterPaid(bytes32 batchId) internal virtual {}

    /// @dev All draws off tolerance, or those of the first receipt only.
    function offTolerance(bytes32 batchId, bool all)
        private
        view
        returns (bytes32 verdicts, IBatches.Opening[] memory openings)
    {
        uint256[] memory points = batches.samplePoints(batchId);
        bool[2] memory hit;
        for (uint256 draw = 0; draw < points.length; draw++) {
            uint256 leaf = points[draw] < _leaves[batchId][0].sum ? 0 : 1;
            bool off = all || leaf == 0;
            if (off) hit[leaf] = true;
            verdicts |= bytes32((off ? 2 : uint256(1)) << (248 - 8 * draw));
        }
        openings = new IBatches.Opening[]((hit[0] ? 1 : 0) + (hit[1] ? 1 : 0));
        for (uint256 i = 0; i < openings.length; i++) {
            uint256 leaf = hit[0] && i == 0 ? 0 : 1;
            openings[i].index = uint64(leaf);
            openings[i].price = _leaves[batchId][leaf].sum;
            openings[i].receiptHash = receiptOf(leaf);
            openings[i].path = new IBatches.Sibling[](1);
            openings[i].path[0] = _leaves[batchId][1 - leaf];
        }
    }

    function receiptOf(uint256 leaf) private pure returns (bytes32) {
        return keccak256(abi.encode("receipt", leaf));
    }

    function nobodyVotes(bytes32 batchId, IBatches.Batch memory b) private {
        uint64 end = batches.deadlineOf(batchId);
        if (vm.getBlockTimestamp() <= end + 40) vm.warp(end + 41);
        if (b.attempt == 0) {
            batches.redraw(batchId);
            recordSlot(batches.batchOf(batchId).committeeSlot);
        } else {
            batches.abandon(batchId);
        }
    }

    function pick(uint256 which) private view returns (bytes32 id, IEscrow.Session memory s) {
        id = sessions[which % sessions.length];
        s = escrow.sessionOf(id);
    }

    // ---- what must hold

    function claims() external view returns (uint256 sum) {
        for (uint256 i = 0; i < holders.length; i++) {
            IConsumerStakes.ConsumerStake memory s = escrow.stakeOf(holders[i]);
            sum += escrow.balanceOf(holders[i]) + s.active + s.pending + s.leaving;
        }
        for (uint256 i = 0; i < sessions.length; i++) {
            IEscrow.Session memory s = escrow.sessionOf(sessions[i]);
            if (!s.closed) sum += s.ceiling - s.anchored;
        }
        for (uint256 i = 0; i < batchIds.length; i++) sum += escrow.potOf(batchIds[i]);
    }

    function escrowHolds() external view returns (uint256) {
        return token.balanceOf(address(escrow));
    }

    function registryHolds() external view returns (uint256) {
        return token.balanceOf(address(registry));
    }

    function stakes() external view returns (uint256 stake, uint256 locked, uint256 locks) {
        for (uint256 i = 3; i < holders.length; i += 2) {
            INodeRegistry.Node memory node = registry.nodeOf(holders[i]);
            assert(node.locked <= node.stake);
            stake += node.stake;
            locked += node.locked;
        }
        for (uint256 i = 0; i < batchIds.length; i++) locks += registry.lockOf(batchIds[i]).amount;
        for (uint256 i = 0; i < benches.length; i++) locks += held[benches[i]] * SEAT;
    }

    /// @dev Tokens of every holder there is; the rest of what was minted was burned.
    function everyToken() external view returns (uint256 sum, uint256 supply) {
        sum = token.balanceOf(address(escrow)) + token.balanceOf(address(registry));
        for (uint256 i = 0; i < holders.length; i++) sum += token.balanceOf(holders[i]);
        supply = token.totalSupply();
    }

    /// @dev A final batch holds no lock, and once collected no money.
    function finished() external view returns (bool) {
        for (uint256 i = 0; i < batchIds.length; i++) {
            bytes32 batchId = batchIds[i];
            if (status(batchId) < IBatches.Status.Paid) continue;
            if (registry.lockOf(batchId).amount != 0) return false;
            if (_collected[batchId] == 1 && escrow.potOf(batchId) != 0) return false;
        }
        return true;
    }
}
