// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Capacity} from "../../protocol/contracts/Capacity.sol";
import {IBeacon} from "../../protocol/contracts/interfaces/IBeacon.sol";
import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {IHeaderBeacon} from "../../protocol/contracts/interfaces/IHeaderBeacon.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {IStrikes} from "../../protocol/contracts/interfaces/IStrikes.sol";
import {Pulses} from "../../protocol/contracts/libraries/Pulses.sol";
import {Lanes} from "./Lanes.sol";

/// @dev From a slot that is a pulse to capacity that is paid.
contract CapacityTest is Lanes {
    uint256 private constant KEY = 2;

    function measured(uint256 key) private view returns (uint256) {
        return emissions.classState(registry.classOf(vm.addr(key))).capacity;
    }

    // ---- opening

    function test_aSlotThatIsAPulseOpensOnceAndByAnyone() public {
        uint64 slot = openPulse();
        ICapacity.Pulse memory p = capacity.pulseOf(slot);
        eq(p.openedAt, vm.getBlockTimestamp(), "clock");
        eq(p.drawSlot, nextSlot() + 4, "draw slot");
        eq(capacity.lastPulse(), slot, "last");
        vm.expectRevert(abi.encodeWithSelector(ICapacity.PulseOpen.selector, slot));
        capacity.open(slot);
    }

    function test_otherSlotsDoNotOpen() public {
        uint64 slot = nextSlot();
        reach(slot, false);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.NotAPulse.selector, slot));
        capacity.open(slot);
    }

    function test_aSlotWhoseValueIsUnknownDoesNotOpen() public {
        uint64 slot = nextSlot();
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HashUnknown.selector, beacon.heightOf(slot)));
        capacity.open(slot);
    }

    function test_aSlotOpensWhileItIsFresh() public {
        uint64 slot = nextSlot();
        reach(slot, true);
        // 3 slots of 4 blocks: the first that is open to all is then 3 slots on.
        while (nextSlot() < slot + 3) mine(1);
        uint256 fresh = vm.snapshotState();
        while (nextSlot() == slot + 3) mine(1);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.PulseStale.selector, slot));
        capacity.open(slot);
        vm.revertToState(fresh);
        capacity.open(slot);
    }

    function test_noPulseOpensWhileAnotherRuns() public {
        uint64 slot = openPulse();
        uint64 second = nextSlot();
        reach(second, true);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.PulseRunning.selector, slot));
        capacity.open(second);
        skip(WINDOW);
        openPulse();
    }

    // ---- reports

    function test_thoseWhoAreDrawnReportOnceEach() public {
        uint64 slot = openPulse();
        address[] memory drawn = capacity.reportersOf(slot);
        eq(drawn.length, 3, "reporters");
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(drawn[i]);
            capacity.report(slot, keccak256(abi.encode(i)));
            eq(capacity.reportOf(slot, drawn[i]), keccak256(abi.encode(i)), "root");
        }
        vm.expectRevert(abi.encodeWithSelector(ICapacity.AlreadyReported.selector, slot, drawn[0]));
        vm.prank(drawn[0]);
        capacity.report(slot, keccak256("another"));
    }

    function test_nobodyElseReports() public {
        uint64 slot = openPulse();
        address[] memory drawn = capacity.reportersOf(slot);
        for (uint256 key = 1; key <= NODES; key++) {
            bool may = vm.addr(key) == drawn[0] || vm.addr(key) == drawn[1] || vm.addr(key) == drawn[2];
            if (may) continue;
            vm.expectRevert(abi.encodeWithSelector(ICapacity.NotAReporter.selector, slot, vm.addr(key)));
            vm.prank(vm.addr(key));
            capacity.report(slot, keccak256("root"));
        }
    }

    function test_anEmptyReportAndOneOfNoPulseAreRefused() public {
        uint64 slot = openPulse();
        address by = reporter(slot);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.EmptyReport.selector));
        vm.prank(by);
        capacity.report(slot, 0);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.PulseNotOpen.selector, slot + 1));
        vm.prank(by);
        capacity.report(slot + 1, keccak256("root"));
    }

    function test_aReportIsInTimeToTheLastSecond() public {
        uint64 slot = openPulse();
        skip(WINDOW);
        uint256 last = vm.snapshotState();
        report(slot, keccak256("root"));
        vm.revertToState(last);
        skip(1);
        address by = reporter(slot);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.ReportClosed.selector, slot));
        vm.prank(by);
        capacity.report(slot, keccak256("root"));
    }

    // ---- claims

    function test_whoShowsADrawnLaneHasItsCapacityReported() public {
        claim(KEY, examined(KEY, 0));
        eq(measured(KEY), UNITS * SHARE, "units");
        skip(1 days);
        emissions.roll(1);
        // 16% of the floor price, for want of any backing.
        eq(emissions.claim(vm.addr(KEY)), uint256(UNITS * SHARE) * 0.0005 ether * 16 / 100, "paid");
    }

    function testFuzz_whateverIsDrawnIsShown(uint256 seed) public {
        uint64 slot = nextSlot();
        reach(slot, true);
        capacity.open(slot);
        seed = bound(seed, 0, type(uint128).max);
        bytes32 hash;
        do hash = keccak256(abi.encode(seed++)); while (!drawnBy(slot, hash));
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        report(slot, root);
        draw(slot, hash);
        claim(KEY, claimOf(slot, KEY, 0, a, path));
        eq(measured(KEY), UNITS * SHARE, "units");
    }

    function drawnBy(uint64 slot, bytes32 hash) private view returns (bool) {
        Pulses.Draw memory d = Pulses.Draw(slot, valueOf(capacity.pulseOf(slot).drawSlot, hash), vm.addr(KEY), 0);
        return Pulses.isDrawn(d, SHARE);
    }

    function test_aLaneIsClaimedOnce() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        claim(KEY, c);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.AlreadyClaimed.selector, c.slot, vm.addr(KEY), 0));
        assert(capacity.claimed(c.slot, vm.addr(KEY), 0) && !capacity.claimed(c.slot, vm.addr(KEY), 1));
    }

    function test_eachLaneNeedsItsStake() public {
        ICapacity.Claim memory c = examined(KEY, 1);
        claim(KEY, c);
        skip(WINDOW);
        c = examined(KEY, 2);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.StakeTooLow.selector, STAKE, 6_000 ether));
    }

    function test_stakeCountsFromThePulseAfterItCame() public {
        token.approve(address(registry), 1_000 ether);
        registry.addStake(vm.addr(KEY), 1_000 ether);
        mine(1);
        // What was at stake when the pulse before was opened, or the contract deployed.
        ICapacity.Claim memory c = examined(KEY, 2);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.StakeTooLow.selector, STAKE, 6_000 ether));
        skip(WINDOW);
        claim(KEY, examined(KEY, 2));
    }

    function test_aLaneThatIsNotDrawnIsNotPaid() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, false);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        report(slot, root);
        draw(slot, hash);
        assert(!capacity.isDrawn(slot, vm.addr(KEY), 0));
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotDrawn.selector, slot, vm.addr(KEY), 0));
    }

    function test_nothingIsClaimedBeforeTheDraw() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        report(slot, root);
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        refuses(KEY, c, abi.encodeWithSelector(IBeacon.SlotNotRecorded.selector, capacity.pulseOf(slot).drawSlot));
    }

    function test_aClaimIsInTimeToTheLastSecond() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        skip(CLAIM_WINDOW);
        uint256 last = vm.snapshotState();
        claim(KEY, c);
        vm.revertToState(last);
        skip(1);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.ClaimClosed.selector, c.slot));
    }

    function test_everyPartOfAClaimCounts() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        bytes memory notInReport =
            abi.encodeWithSelector(ICapacity.NotInReport.selector, c.slot, c.reporter, vm.addr(KEY));
        c.path[3] ^= bytes32(uint256(1));
        refuses(KEY, c, notInReport);
        c.path[3] ^= bytes32(uint256(1));
        bytes32[] memory whole = c.path;
        c.path = new bytes32[](21);
        refuses(KEY, c, notInReport);
        c.path = whole;
        c.answers[0] ^= bytes32(uint256(1));
        refuses(KEY, c, notInReport);
        c.answers[0] ^= bytes32(uint256(1));
        c.index++;
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotAtIndex.selector, vm.addr(KEY), c.index));
        c.index = 1_000;
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotAtIndex.selector, vm.addr(KEY), c.index));
        c.index = placeOf(KEY);
        address by = c.reporter;
        c.reporter = vm.addr(99);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotReported.selector, c.slot, c.reporter));
        c.reporter = by;
        claim(KEY, c);
    }

    function test_everyEntryIsAskedFor() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        ICapacity.Entry[] memory all = c.entries;
        c.entries = new ICapacity.Entry[](3);
        for (uint256 i = 0; i < 3; i++) c.entries[i] = all[i];
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.WrongEntryCount.selector, 3, 4));
        c.entries = all;
        (c.entries[1], c.entries[2]) = (c.entries[2], c.entries[1]);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.EntryNotShown.selector, 1));
    }

    function test_whoIsExcludedEarnsNothing() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        vm.prank(address(batches));
        // A thousand strikes of full weight.
        strikes.record("batch", vm.addr(KEY), 1_000, 3_000_000, 0, 0);
        uint64 until = strikes.recordOf(vm.addr(KEY)).excludedUntil;
        refuses(KEY, c, abi.encodeWithSelector(IStrikes.Excluded.selector, vm.addr(KEY), until));
    }

    function test_aClassThatIsNotMeasuredIsRefused() public {
        enterAs(7, 107, STAKE, "gpu");
        uint64 slot = openPulse();
        report(slot, keccak256("root"));
        draw(slot, keccak256("draw"));
        ICapacity.Claim memory c;
        c.slot = slot;
        refuses(7, c, abi.encodeWithSelector(ICapacity.ClassNotMeasured.selector, keccak256("gpu")));
    }

    function test_afterALongSilenceEpochsAreEndedFirst() public {
        skip(5 days);
        ICapacity.Claim memory c = examined(KEY, 0);
        refuses(KEY, c, abi.encodeWithSelector(IEmissions.EpochsBehind.selector, 2, 5));
        emissions.roll(5);
        claim(KEY, c);
        eq(measured(KEY), UNITS * SHARE, "units");
    }

    // ---- deployment

    function test_parametersThatMakeNoSenseAreRefused() public {
        ICapacity.Params memory p = pulseParams();
        p.rarity = 0;
        refused(p, capacityClasses(), "rarity");
        p = pulseParams();
        p.window = 0;
        refused(p, capacityClasses(), "window");
        p = pulseParams();
        p.claimWindow = 0;
        refused(p, capacityClasses(), "claimWindow");
        p = pulseParams();
        p.freshSlots = 0;
        refused(p, capacityClasses(), "freshSlots");
        p = pulseParams();
        p.reporters = 0;
        refused(p, capacityClasses(), "reporters");
    }

    function test_classesThatMakeNoSenseAreRefused() public {
        for (uint256 i = 0; i < 11; i++) {
            ICapacity.Class[] memory list = capacityClasses();
            ICapacity.Class memory c = list[0];
            if (i == 0) c.n = 128;
            if (i == 1) c.n = 16_384;
            if (i == 2) c.n = 768;
            if (i == 3) c.steps = 0;
            if (i == 4) c.steps = 131_072;
            if (i == 5) c.steps = 6;
            if (i == 6) c.entries = 0;
            if (i == 7) c.units = type(uint64).max / 2 + 1;
            if (i == 8) c.stakePerLane = 0;
            if (i == 9) c.share = 0;
            if (i == 10) list = twice(c);
            bytes32[11] memory what =
                [bytes32("n"), "n", "n", "steps", "steps", "steps", "entries", "units", "stakePerLane", "share", "class"];
            refused(pulseParams(), list, what[i]);
        }
    }

    function twice(ICapacity.Class memory c) private pure returns (ICapacity.Class[] memory list) {
        list = new ICapacity.Class[](2);
        (list[0], list[1]) = (c, c);
    }

    function refused(ICapacity.Params memory p, ICapacity.Class[] memory list, bytes32 what) private {
        vm.expectRevert(abi.encodeWithSelector(ICapacity.BadCapacityParams.selector, what));
        new Capacity(registry, beacon, strikes, emissions, p, list);
    }
}
