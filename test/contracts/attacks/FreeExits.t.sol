// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../../protocol/contracts/interfaces/IEscrow.sol";
import {NaiveTree} from "../NaiveTree.sol";
import {World} from "../World.sol";

/// @dev A provider whose answers are off, or made up, and that knows its sample: whatever it does next, answering is its best choice, and
/// serving as it should have been the better one. Eight receipts of one price.
contract FreeExitsTest is World, NaiveTree {
    uint256 private constant RECEIPTS = 8;
    bytes32 private _batchId;
    uint128 private _price;

    function tree() private view returns (IBatches.Sibling[][] memory) {
        uint128[] memory prices = new uint128[](RECEIPTS);
        for (uint256 i = 0; i < RECEIPTS; i++) prices[i] = _price;
        return build(prices);
    }

    function prepare(uint128 price) private {
        _price = price;
        IEscrow.Range[] memory list = new IEscrow.Range[](1);
        list[0] = nextRange(CONSUMER, session, uint64(RECEIPTS), RECEIPTS * uint256(price));
        _batchId = anchor(tree()[3][0].hash, list);
        recordSlot(batches.batchOf(_batchId).sampleSlot);
        passAudits(_batchId);
    }

    /// @dev Stake, balances and what was minted, the owner's included.
    function wealth() private view returns (uint256) {
        return registry.nodeOf(provider).stake + escrow.balanceOf(provider) + escrow.balanceOf(ownerOf(1))
            + emissions.creditOf(provider);
    }

    function toVotes() private {
        trace(_batchId);
        commit(_batchId);
        recordSlot(batches.batchOf(_batchId).committeeSlot);
    }

    /// @dev Settles with the draws of `mask` off tolerance.
    function answer(uint256 mask) private returns (uint256) {
        toVotes();
        uint256[] memory points = batches.samplePoints(_batchId);
        bytes32 verdicts;
        bool[RECEIPTS] memory off;
        uint256 count = 0;
        for (uint256 draw = 0; draw < points.length; draw++) {
            bool bad = mask >> draw & 1 == 1;
            verdicts |= bytes32((bad ? 2 : uint256(1)) << (248 - 8 * draw));
            uint256 leaf = points[draw] / _price;
            if (bad && !off[leaf]) (off[leaf], count) = (true, count + 1);
        }
        IBatches.Opening[] memory openings = new IBatches.Opening[](count);
        IBatches.Sibling[][] memory levels = tree();
        for (uint256 leaf = 0; leaf < RECEIPTS; leaf++) if (off[leaf]) openings[--count] = openingOf(levels, leaf, _price);
        settleAs(provider, _batchId, quorumVotes(_batchId, verdicts), openings);
        return ended();
    }

    function untraced() private returns (uint256) {
        vm.warp(batches.deadlineOf(_batchId) + 1);
        vm.prank(provider);
        vm.expectPartialRevert(IBatches.DeadlinePassed.selector);
        batches.anchorTrace(_batchId, "late");
        batches.expire(_batchId);
        return ended();
    }

    function silent() private returns (uint256) {
        trace(_batchId);
        recordSlot(batches.batchOf(_batchId).challengeSlot);
        vm.warp(batches.deadlineOf(_batchId) + 1);
        // The reveal that comes a second late.
        vm.prank(provider);
        vm.expectPartialRevert(IBatches.DeadlinePassed.selector);
        batches.commitAttestation(_batchId, "late");
        batches.expire(_batchId);
        skip(30);
        batches.finalize(_batchId);
        return ended();
    }

    function found() private returns (uint256) {
        toVotes();
        settle(_batchId, FORGED);
        skip(30);
        batches.finalize(_batchId);
        return ended();
    }

    function ended() private returns (uint256) {
        batches.collect(_batchId, 0);
        eq(escrow.potOf(_batchId), 0, "pot");
        return wealth();
    }

    /// @dev `exit` instead of an answer. From one base unit a receipt, where shares round away, to as much as the stake covers. Each run lives a
    /// batch twice.
    /// forge-config: default.fuzz.runs = 250
    function testFuzz_noExitIsBetterThanToAnswer(uint256 price, uint256 mask, uint256 exit) public {
        uint256 before = wealth();
        prepare(uint128(1 + (bound(price, 0, 200 ether) >> bound(exit / 8, 0, 67))));
        mask = bound(mask, 1, 15);
        uint256 start = vm.snapshotState();
        uint256 off = answer(mask);
        vm.revertToState(start);
        exit %= 5;
        uint256 instead = exit == 0 ? untraced() : exit == 1 ? silent() : exit == 2 ? found() : answer(exit == 3 ? 0 : 15);
        if (exit == 3) {
            // Each draw that is off costs three eighths of the fees at least: who served as it should has more, but for what rounds.
            assert(instead + 4 >= off + RECEIPTS * uint256(_price) * 3 / 8);
        } else {
            // Whose answers are all off, or who hides them, ends with less than it began with.
            assert(instead < before && instead <= off);
        }
    }

    /// @dev Seen the other way: of all ends each is worse than the one before.
    function test_theEndsInTheirOrder() public {
        uint256 before = wealth();
        prepare(10 ether);
        uint256[6] memory ends;
        for (uint256 i = 0; i < 6; i++) {
            uint256 start = vm.snapshotState();
            ends[i] = i == 0 ? answer(0) : i == 1 ? answer(1) : i == 2 ? answer(15) : i == 3 ? untraced() : i == 4 ? found() : silent();
            vm.revertToState(start);
            if (i > 0) assert(ends[i] < ends[i - 1] || (i == 5 && ends[i] <= ends[4] + 1 ether));
        }
        assert(ends[0] > before && ends[2] < before);
    }
}
