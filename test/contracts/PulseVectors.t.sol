// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {Pulses} from "../../protocol/contracts/libraries/Pulses.sol";
import {Harness} from "./Harness.sol";
import {Prover} from "./Prover.sol";

/// @dev The library against the vectors that the TypeScript twin is held to.
contract PulseVectorsTest is Harness {
    string private json;
    Prover private prover;

    function setUp() public {
        json = vm.readFile("protocol/vectors/pulse.json");
        prover = new Prover();
    }

    function has(string memory path) private view returns (bool) {
        return vm.keyExistsJson(json, path);
    }

    function item(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(i), "]");
    }

    function number(string memory path, string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, key));
    }

    function word(string memory path, string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, key));
    }

    function words(string memory path, string memory key) private view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, string.concat(path, key));
    }

    function text(string memory path, string memory key) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(path, key));
    }

    function account(string memory path, string memory key) private view returns (address) {
        return address(bytes20(text(path, key)));
    }

    function test_slotsAndSeeds() public view {
        uint256 i = 0;
        for (; has(item(".slots", i)); i++) {
            bool pulse = Pulses.isPulse(word(item(".slots", i), ".value"), number("", ".rarity"));
            assert(pulse == vm.parseJsonBool(json, string.concat(item(".slots", i), ".pulse")));
        }
        eq(i, 24, "slots");
        eq(Pulses.reportersSeed(word(".reporters", ".value")), word(".reporters", ".seed"), "reporters");
        bytes32 seed = Pulses.laneSeed(
            account(".lane", ".capacity"), word(".lane", ".value"), account(".lane", ".operator"), uint32(number(".lane", ".lane"))
        );
        eq(block.chainid, number(".lane", ".chainId"), "chain");
        eq(seed, word(".lane", ".seed"), "lane");
    }

    function test_draws() public view {
        uint256 i = 0;
        for (; has(item(".draws", i)); i++) {
            Pulses.Draw memory d = Pulses.Draw(
                uint64(number(".lane", ".slot")),
                word(item(".draws", i), ".value"),
                account(".lane", ".operator"),
                uint32(number(item(".draws", i), ".lane"))
            );
            bool drawn = Pulses.isDrawn(d, number("", ".share"));
            assert(drawn == vm.parseJsonBool(json, string.concat(item(".draws", i), ".drawn")));
        }
        eq(i, 12, "draws");
    }

    function test_entries() public view {
        uint256 i = 0;
        for (; has(item(".entries", i)); i++) {
            string memory e = item(".entries", i);
            uint256 result = prover.computed(
                word(e, ".seed"), number(e, ".row"), number(e, ".column"), number(e, ".n"), text(e, ".operand")
            );
            eq(result, number(e, ".result"), e);
        }
        eq(i, 6, "entries");
    }

    function opening(uint256 i) private view returns (ICapacity.Entry memory e) {
        string memory path = item(".lane.openings", i);
        e.before = word(path, ".before");
        e.beforePath = words(path, ".beforePath");
        e.operand = text(path, ".operand");
        e.operandPath = words(path, ".operandPath");
        e.afterwards = word(path, ".afterwards");
        e.afterPath = words(path, ".afterPath");
        e.result = text(path, ".result");
        e.resultPath = words(path, ".resultPath");
    }

    function place(uint256 i) private view returns (Pulses.Position memory p) {
        Pulses.Draw memory d = Pulses.Draw(
            uint64(number(".lane", ".slot")), word(".lane", ".draw"), account(".lane", ".operator"), 1
        );
        p = Pulses.positionOf(d, i, 256, 4);
        string memory path = item(".lane.positions", i);
        eq(p.step, number(path, ".step"), "step");
        eq(p.row, number(path, ".row"), "row");
        eq(p.column, number(path, ".column"), "column");
    }

    function class() private pure returns (ICapacity.Class memory) {
        return ICapacity.Class("cpu", 256, 4, 8, 1, 1);
    }

    function test_whatAnHonestLaneShows() public view {
        for (uint256 i = 0; i < 8; i++) {
            assert(prover.shows(opening(i), place(i), class(), word(".lane", ".seed"), word(".lane", ".answer")));
        }
    }

    /// @dev One bit of any part, and what is shown is nothing.
    function testFuzz_everyBitOfAnOpeningCounts(uint256 which, uint256 part, uint256 at) public view {
        which = bound(which, 0, 7);
        ICapacity.Entry memory e = opening(which);
        Pulses.Position memory p = place(which);
        part = bound(part, 0, 7);
        // The first state is zero: nothing is shown of it.
        if (p.step == 0 && (part == 1 || part == 2 || part == 3)) return;
        if (part == 0) e.before ^= bytes32(1 << at % 256);
        if (part == 1) flip(e.beforePath, at);
        if (part == 2) flip(e.operand, at);
        if (part == 3) flip(e.operandPath, at);
        if (part == 4) e.afterwards ^= bytes32(1 << at % 256);
        if (part == 5) flip(e.afterPath, at);
        if (part == 6) flip(e.result, at);
        if (part == 7) flip(e.resultPath, at);
        assert(!prover.shows(e, p, class(), word(".lane", ".seed"), word(".lane", ".answer")));
    }

    function flip(bytes32[] memory path, uint256 at) private pure {
        path[at % path.length] ^= bytes32(1 << (at >> 32) % 256);
    }

    function flip(bytes memory row, uint256 at) private pure {
        row[at % row.length] ^= bytes1(uint8(1 << (at >> 32) % 8));
    }

    function test_theReport() public view {
        bytes32[] memory answers = words(".lane.report", ".answers");
        bytes32 leaf = sha256(abi.encodePacked(uint8(0), account(".lane", ".operator"), answers));
        eq(leaf, word(".lane.report", ".leaf"), "leaf");
        assert(prover.leads(leaf, number(".lane.report", ".index"), words(".lane.report", ".path"), word(".lane.report", ".root")));
        assert(!prover.leads(leaf, number(".lane.report", ".index") + 1, words(".lane.report", ".path"), word(".lane.report", ".root")));
    }
}
