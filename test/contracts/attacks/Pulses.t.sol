// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICapacity} from "../../../protocol/contracts/interfaces/ICapacity.sol";
import {Pulses} from "../../../protocol/contracts/libraries/Pulses.sol";
import {Lanes} from "../Lanes.sol";

/// @dev Being paid for capacity that is not there, is another's, or was there at another time.
contract PulsesTest is Lanes {
    uint256 private constant KEY = 2;
    uint256 private constant OTHER = 3;

    function notShown(uint256 entry) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ICapacity.EntryNotShown.selector, entry);
    }

    function isFound(ICapacity.Claim memory c) private {
        vm.expectPartialRevert(ICapacity.EntryNotShown.selector);
        claim(KEY, c);
    }

    // ---- what was not computed

    function testFuzz_oneDrawnEntryThatIsOffIsFound(uint256 which, uint256 seed) public {
        uint64 slot = openPulse();
        which = bound(which, 0, 3);
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true, bound(seed, 0, 1e9));
        bytes32 lane = laneSeed(slot, vm.addr(KEY), 0);
        Answered memory a = answerWith(slot, vm.addr(KEY), 0, 1, hash, lane, which);
        refuses(KEY, reported(slot, KEY, 0, a, hash), notShown(which));
    }

    /// @dev All states zero: nothing was computed.
    function test_statesOfZerosAreFound() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        // The right entries of a draw that did not come.
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, keccak256("another draw"));
        isFound(reported(slot, KEY, 0, a, hash));
    }

    // ---- what is another's

    function test_anotherNodesLaneIsNotOnesOwn() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        bytes32 theirs = laneSeed(slot, vm.addr(OTHER), 0);
        Answered memory a = answerWith(slot, vm.addr(KEY), 0, 1, hash, theirs, prover.NONE());
        isFound(reported(slot, KEY, 0, a, hash));
    }

    function test_aLaneIsNotAnotherLaneOfTheSameNode() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 1, true);
        bytes32 first = laneSeed(slot, vm.addr(KEY), 0);
        Answered memory a = answerWith(slot, vm.addr(KEY), 1, 2, hash, first, prover.NONE());
        isFound(reported(slot, KEY, 1, a, hash));
    }

    function test_lanesAreNotExchanged() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 2, hash);
        (a.answers[0], a.answers[1]) = (a.answers[1], a.answers[0]);
        isFound(reported(slot, KEY, 0, a, hash));
    }

    function test_aCopiedClaimIsRefused() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        // Whether the copier is drawn is for its own hash; if so it is not the one in that place.
        bool drawn = capacity.isDrawn(c.slot, vm.addr(OTHER), 0);
        refuses(
            OTHER,
            c,
            drawn
                ? abi.encodeWithSelector(ICapacity.NotAtIndex.selector, vm.addr(OTHER), c.index)
                : abi.encodeWithSelector(ICapacity.NotDrawn.selector, c.slot, vm.addr(OTHER), 0)
        );
        claim(KEY, c);
    }

    // ---- what was at another time

    function test_anAnswerIsForItsPulse() public {
        uint64 slot = openPulse();
        bytes32 stale = laneSeed(slot, vm.addr(KEY), 0);
        skip(WINDOW);
        slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answerWith(slot, vm.addr(KEY), 0, 1, hash, stale, prover.NONE());
        isFound(reported(slot, KEY, 0, a, hash));
    }

    function test_anAnswerIsForItsChain() public {
        ICapacity.Claim memory c = examined(KEY, 0);
        vm.chainId(1);
        isFound(c);
    }

    function test_anAnswerThatNobodyReportedInTimeIsWorthNothing() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        draw(slot, hash);
        address by = reporter(slot);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.ReportClosed.selector, slot));
        vm.prank(by);
        capacity.report(slot, root);
        refuses(KEY, claimOf(slot, KEY, 0, a, path), abi.encodeWithSelector(ICapacity.NotReported.selector, slot, by));
    }

    // ---- several answers to choose from

    /// @dev Garbage is right in one entry of 64, so whoever may choose among thousands of answers after the draw has a few entries for nothing.
    /// A node has one place in a report: the registry's.
    function test_aReportHasOneAnswerOfANode() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        bytes32 leaf = leafOf(vm.addr(KEY), a.answers);
        uint32 elsewhere = 77;
        (bytes32 root, bytes32[] memory path) = prover.place(leaf, elsewhere, 20);
        report(slot, root);
        draw(slot, hash);
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotInReport.selector, slot, c.reporter, vm.addr(KEY)));
        c.index = elsewhere;
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotAtIndex.selector, vm.addr(KEY), elsewhere));
    }

    /// @dev Nor has it another by a shorter or a longer path along the same turns.
    function testFuzz_allPathsOfAReportAreAsLong(uint256 depth) public {
        depth = bound(depth, 4, 40);
        if (depth == 20) depth = 21;
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), depth);
        report(slot, root);
        draw(slot, hash);
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.NotInReport.selector, slot, c.reporter, vm.addr(KEY)));
    }

    /// @dev In the reports of several a lane is still one, and what is examined of it is the same.
    function test_aLaneInSeveralReportsIsClaimedOnce() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        address[] memory drawn = capacity.reportersOf(slot);
        for (uint256 i = 0; i < drawn.length; i++) {
            vm.prank(drawn[i]);
            capacity.report(slot, root);
        }
        draw(slot, hash);
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        claim(KEY, c);
        c.reporter = drawn[1];
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.AlreadyClaimed.selector, slot, vm.addr(KEY), 0));
    }

    // ---- the lottery

    /// @dev A draw is a hash of the operator's address: whoever waits for its value and grinds a key that wins it has no stake in this pulse.
    function test_anOperatorThatWasGroundToBeDrawnComesTooLate() public {
        uint64 slot = openPulse();
        bytes32 hash = keccak256("draw");
        bytes32 value = valueOf(capacity.pulseOf(slot).drawSlot, hash);
        uint256 key = 50;
        while (!Pulses.isDrawn(Pulses.Draw(slot, value, vm.addr(key), 0), SHARE)) key++;
        enterAs(key, 150, STAKE, "cpu");
        uint32 place = uint32(registry.operatorCount() - 1);
        Answered memory a = answer(slot, vm.addr(key), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(key), a.answers), place, 20);
        // With a reporter in its pocket besides.
        report(slot, root);
        draw(slot, hash);
        ICapacity.Claim memory c = ICapacity.Claim(slot, reporter(slot), place, path, a.answers, 0, a.entries);
        refuses(key, c, abi.encodeWithSelector(ICapacity.StakeTooLow.selector, 0, 2_000 ether));
    }

    /// @dev Stake that has asked to leave carries no lanes from the next pulse on, though it is there for weeks to be slashed.
    function test_stakeThatLeavesCarriesNoMoreLanes() public {
        openPulse();
        mine(1);
        vm.prank(vm.addr(KEY));
        registry.requestUnbond(vm.addr(KEY), STAKE - 1_000 ether);
        skip(WINDOW);
        // The pulse on whose opening it was still there, and the one after.
        uint256 start = vm.snapshotState();
        claim(KEY, examined(KEY, 1));
        vm.revertToState(start);
        openPulse();
        skip(WINDOW);
        refuses(
            KEY, examined(KEY, 0), abi.encodeWithSelector(ICapacity.StakeTooLow.selector, 1_000 ether, 2_000 ether)
        );
    }

    /// @dev Nobody chooses the value of a draw by recording it late, nor is a lane paid a second time by it. What is claimed counts in the epoch of the claim.
    function test_aDrawThatIsRecordedLatePaysOnce() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        report(slot, root);
        skip(2 days);
        draw(slot, hash);
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        claim(KEY, c);
        (, uint64 now_) = (emissions.roll(0), emissions.epochNow());
        eq(emissions.epoch().index, now_, "epoch");
        eq(emissions.classState(CLASS).capacity, UNITS * SHARE, "units");
        refuses(KEY, c, abi.encodeWithSelector(ICapacity.AlreadyClaimed.selector, slot, vm.addr(KEY), 0));
    }

    /// @dev Not even while it is fresh, when another has run since: its reports and draw are what they were.
    function test_aPulseIsNotOpenedAgain() public {
        uint64 slot = nextSlot();
        reach(slot, true);
        uint64 second = slot + 1;
        capacity.open(slot);
        report(slot, keccak256("root"));
        reach(second, true);
        vm.warp(vm.getBlockTimestamp() + WINDOW + 1);
        capacity.open(second);
        vm.warp(vm.getBlockTimestamp() + WINDOW + 1);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.PulseOpen.selector, slot));
        capacity.open(slot);
    }

    // ---- who opens and who reports

    function test_whoOpensAPulseChoosesNothing() public {
        uint64 slot = nextSlot();
        reach(slot, true);
        uint256 start = vm.snapshotState();
        vm.prank(vm.addr(99));
        capacity.open(slot);
        bytes32 theirs = keccak256(abi.encode(capacity.pulseOf(slot), capacity.reportersOf(slot)));
        vm.revertToState(start);
        capacity.open(slot);
        eq(keccak256(abi.encode(capacity.pulseOf(slot), capacity.reportersOf(slot))), theirs, "pulse");
    }

    /// @dev Who has seen the value and then moves its stake is drawn as it was before.
    function test_stakeThatComesAfterTheValueDrawsNoReporter() public {
        uint64 slot = nextSlot();
        reach(slot, true);
        uint256 start = vm.snapshotState();
        capacity.open(slot);
        bytes32 drawn = keccak256(abi.encode(capacity.reportersOf(slot)));
        vm.revertToState(start);
        enterAs(7, 107, 1_000_000 ether, "cpu");
        mine(1);
        capacity.open(slot);
        eq(keccak256(abi.encode(capacity.reportersOf(slot))), drawn, "reporters");
    }

    /// @dev A root is a proof of time for whatever is under it: the copier vouches for the same answers.
    function test_aCopiedReportServesTheSameAnswers() public {
        uint64 slot = openPulse();
        bytes32 hash = steer(slot, vm.addr(KEY), 0, true);
        Answered memory a = answer(slot, vm.addr(KEY), 0, 1, hash);
        (bytes32 root, bytes32[] memory path) = prover.place(leafOf(vm.addr(KEY), a.answers), placeOf(KEY), 20);
        address copier = capacity.reportersOf(slot)[2];
        vm.prank(copier);
        capacity.report(slot, root);
        report(slot, root);
        draw(slot, hash);
        ICapacity.Claim memory c = claimOf(slot, KEY, 0, a, path);
        c.reporter = copier;
        claim(KEY, c);
    }
}

/// @dev A window that is longer than the draw slot is unknown.
contract KnownDrawTest is Lanes {
    function pulseParams() internal pure override returns (ICapacity.Params memory p) {
        p = super.pulseParams();
        (p.window, p.drawMargin) = (100, 0);
    }

    function test_nobodyReportsOnceTheDrawIsKnown() public {
        uint64 slot = openPulse();
        uint64 drawSlot = capacity.pulseOf(slot).drawSlot;
        while (nextSlot() == drawSlot) mine(1);
        // Its block is still to come, so the last report was blind.
        assert(vm.getBlockNumber() <= beacon.heightOf(drawSlot));
        uint256 closed = vm.snapshotState();
        mine(1);
        address by = reporter(slot);
        vm.expectRevert(abi.encodeWithSelector(ICapacity.ReportClosed.selector, slot));
        vm.prank(by);
        capacity.report(slot, keccak256("root"));
        vm.revertToState(closed);
        vm.roll(vm.getBlockNumber() - 1);
        vm.prank(by);
        capacity.report(slot, keccak256("root"));
    }
}
