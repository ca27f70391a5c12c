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

    /// @dev Value i of a vector, as the definition has it.
    function value(bytes32 seed, uint32 which, uint256 i) private pure returns (uint256) {
        bytes32 h = keccak256(abi.encodePacked(seed, which, uint32(i / 16)));
        return uint16(bytes2(h << 16 * (i % 16))) % 2897;
    }

    function entryOfMatrix(uint256 r, uint256 k) private pure returns (uint256) {
        bytes32 h = keccak256(abi.encodePacked("sinter/pulse/matrix/1", uint32(r), uint32(k / 128)));
        return uint256(h) >> (254 - 2 * (k % 128)) & 3;
    }

    /// @dev Four at a time in lanes of a word is what one at a time is.
    function testFuzz_anEntryIsWhatItsDefinitionSays(bytes32 seed, uint256 r, uint256 c, bool first) public view {
        (r, c) = (bound(r, 0, 8191), bound(c, 0, 8191));
        bytes memory operand = new bytes(first ? 0 : 256);
        uint256 sum = 0;
        (uint256 alpha, uint256 gamma) = (value(seed, 0, c), value(seed, 2, c));
        for (uint256 k = 0; k < 256; k++) {
            uint256 x = first ? 0 : uint8(bytes1(keccak256(abi.encode(seed, k))));
            if (!first) operand[k] = bytes1(uint8(x));
            uint256 h = (alpha * value(seed, 1, k) + gamma * value(seed, 3, k)) % 2897;
            sum += entryOfMatrix(r, k) * ((x + h) % 64);
        }
        eq(prover.computed(seed, r, c, 256, operand), sum % 64, "entry");
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
        return ICapacity.Class("cpu", 256, 4, 8, 1, 4, 1);
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
