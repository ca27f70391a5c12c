// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {Draws} from "../../protocol/contracts/libraries/Draws.sol";
import {SumTree} from "../../protocol/contracts/libraries/SumTree.sol";
import {Harness} from "./Harness.sol";
import {NaiveTree} from "./NaiveTree.sol";

contract SumTreeOpener {
    function open(bytes32 root, uint128 total, IBatches.Opening calldata leaf) external pure returns (bool, uint128) {
        return SumTree.open(root, total, leaf);
    }
}

/// @dev The library against a naive tree, and against the vectors that the TypeScript twin is held to.
contract SumTreeTest is Harness, NaiveTree {
    SumTreeOpener private opener = new SumTreeOpener();

    function testFuzz_everyLeafOpensAtItsOwnInterval(uint256 count, uint256 seed) public view {
        uint128[] memory prices = new uint128[](bound(count, 1, 12));
        for (uint256 i = 0; i < prices.length; i++) prices[i] = uint128(1 + uint256(keccak256(abi.encode(seed, i))) % 1e24);
        IBatches.Sibling[][] memory levels = build(prices);
        IBatches.Sibling memory root = levels[levels.length - 1][0];
        uint256 before = 0;
        for (uint256 i = 0; i < prices.length; i++) {
            IBatches.Opening memory opening = openingOf(levels, i, prices[i]);
            (bool ok, uint128 start) = opener.open(root.hash, root.sum, opening);
            assert(ok);
            eq(start, before, "start");
            before += prices[i];
            (ok,) = opener.open(root.hash, root.sum + 1, opening);
            assert(!ok);
            opening.price += 1;
            (ok,) = opener.open(root.hash, root.sum, opening);
            assert(!ok);
            opening.price -= 1;
            opening.index += uint64(1 << opening.path.length);
            (ok,) = opener.open(root.hash, root.sum, opening);
            assert(!ok);
        }
        eq(before, root.sum, "total");
    }

    function testFuzz_aPathOfAnotherLeafIsRefused(uint256 a, uint256 b) public view {
        uint128[] memory prices = new uint128[](8);
        for (uint256 i = 0; i < 8; i++) prices[i] = uint128(10 + i);
        (a, b) = (bound(a, 0, 7), bound(b, 0, 7));
        if (a == b) return;
        IBatches.Sibling[][] memory levels = build(prices);
        IBatches.Opening memory opening = openingOf(levels, a, prices[a]);
        opening.index = uint64(b);
        (bool ok,) = opener.open(levels[3][0].hash, levels[3][0].sum, opening);
        assert(!ok);
    }

    function test_padsAndSumsBeyond128BitsAreRefused() public view {
        uint128[] memory prices = new uint128[](3);
        for (uint256 i = 0; i < 3; i++) prices[i] = 5;
        IBatches.Sibling[][] memory levels = build(prices);
        IBatches.Opening memory pad = openingOf(levels, 3, 0);
        (bool ok,) = opener.open(levels[2][0].hash, levels[2][0].sum, pad);
        assert(!ok);
        IBatches.Opening memory wide = openingOf(levels, 0, 5);
        wide.path[0].sum = type(uint128).max;
        (ok,) = opener.open(levels[2][0].hash, 4, wide);
        assert(!ok);
    }

    function test_agreesWithTheSharedSumTreeVectors() public view {
        string memory json = vm.readFile("protocol/vectors/sum-tree.json");
        uint256 cases = 0;
        for (; vm.keyExistsJson(json, entry(cases, "")); cases++) {
            bytes32 root = vm.parseJsonBytes32(json, entry(cases, ".root"));
            uint128 total = uint128(vm.parseJsonUint(json, entry(cases, ".total")));
            uint256 before = 0;
            for (uint256 i = 0; vm.keyExistsJson(json, entry(cases, leaf(".leaves", i, ""))); i++) {
                IBatches.Opening memory opening = vectorOpening(json, cases, i);
                (bool ok, uint128 start) = opener.open(root, total, opening);
                assert(ok);
                eq(start, before, "start");
                before += opening.price;
            }
            eq(before, total, "total");
        }
        assert(cases > 0);
    }

    function vectorOpening(string memory json, uint256 c, uint256 i)
        private
        view
        returns (IBatches.Opening memory opening)
    {
        opening.index = uint64(i);
        opening.receiptHash = vm.parseJsonBytes32(json, entry(c, leaf(".leaves", i, ".receiptHash")));
        opening.price = uint128(vm.parseJsonUint(json, entry(c, leaf(".leaves", i, ".price"))));
        string memory path = entry(c, leaf(".paths", i, ""));
        uint256 depth = 0;
        while (vm.keyExistsJson(json, leaf(path, depth, ""))) depth++;
        opening.path = new IBatches.Sibling[](depth);
        for (uint256 d = 0; d < depth; d++) {
            opening.path[d].hash = vm.parseJsonBytes32(json, leaf(path, d, ".hash"));
            opening.path[d].sum = uint128(vm.parseJsonUint(json, leaf(path, d, ".sum")));
        }
    }

    function test_agreesWithTheSharedDrawVectors() public view {
        string memory json = vm.readFile("protocol/vectors/draw.json");
        uint256 cases = 0;
        for (; vm.keyExistsJson(json, entry(cases, "")); cases++) {
            bytes32 batch = vm.parseJsonBytes32(json, entry(cases, ".batch"));
            bytes32 value = vm.parseJsonBytes32(json, entry(cases, ".beacon"));
            uint256 total = vm.parseJsonUint(json, entry(cases, ".total"));
            uint256[] memory expected = vm.parseJsonUintArray(json, entry(cases, ".points"));
            uint256[] memory points = Draws.points(batch, value, total, expected.length);
            for (uint256 i = 0; i < points.length; i++) eq(points[i], expected[i], "point");
        }
        assert(cases > 0);
    }

    function entry(uint256 index, string memory rest) private pure returns (string memory) {
        return string.concat("$[", vm.toString(index), "]", rest);
    }

    function leaf(string memory head, uint256 index, string memory rest) private pure returns (string memory) {
        return string.concat(head, "[", vm.toString(index), "]", rest);
    }
}
