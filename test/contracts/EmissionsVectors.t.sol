// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {World} from "./World.sol";

/// @dev The contracts against the vectors' network, epoch by epoch.
contract EmissionsVectorsTest is World {
    string private json;
    address[2] private nodes;

    function emissionParams() internal pure override returns (IEmissions.Params memory p) {
        p = super.emissionParams();
        p.emission0 = 5 ether;
    }

    function setUp() public override {
        super.setUp();
        json = vm.readFile("protocol/vectors/economics.json");
        enterAs(8, 108, 5_000 ether, "cpu");
        enterAs(9, 109, 1_000 ether, "gpu");
        nodes = [vm.addr(8), vm.addr(9)];
        mine(1);
    }

    function number(string memory path, string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, key));
    }

    function test_everyEpochIsThatOfTheVectors() public {
        uint256 count = 0;
        while (vm.keyExistsJson(json, string.concat(".epochs[", vm.toString(count), "]"))) {
            oneEpoch(string.concat(".epochs[", vm.toString(count++), "]"));
        }
        eq(count, 24, "epochs");
        eq(emissions.creditOf(nodes[0]) + emissions.creditOf(nodes[1]), emissions.credited(), "credits");
    }

    function oneEpoch(string memory path) private {
        uint256[] memory units = vm.parseJsonUintArray(json, string.concat(path, ".units"));
        uint256 beta = emissions.betaBps();
        for (uint256 i = 0; i < 2; i++) if (units[i] > 0) emissions.report(nodes[i], uint64(units[i]));
        for (uint256 i = 0; i < 3; i++) {
            string memory at_ = string.concat(path, ".batches[", vm.toString(i), "]");
            address node = nodes[number(at_, ".node")];
            uint256 before = emissions.creditOf(node);
            vm.prank(address(batches));
            emissions.settleWork(node, number(at_, ".fees"), number(at_, ".netBurn"), beta, vm.getBlockNumber() - 1);
            eq(emissions.creditOf(node) - before, number(at_, ".minted"), at_);
        }
        skip(1 days);
        emissions.roll(1);
        compare(path);
    }

    function compare(string memory path) private view {
        IEmissions.Epoch memory e = emissions.epoch();
        eq(e.betaPpm, number(path, ".betaPpm"), "beta");
        eq(e.gammaPpm, number(path, ".gammaPpm"), "gamma");
        eq(e.schedule, number(path, ".schedule"), "schedule");
        eq(e.smoothedBurn, number(path, ".smoothedBurn"), "smoothed burn");
        eq(emissions.credited(), number(path, ".credited"), "credited");
        uint256[] memory each = vm.parseJsonUintArray(json, string.concat(path, ".perUnit"));
        uint256[] memory priced = vm.parseJsonUintArray(json, string.concat(path, ".prices"));
        uint256[] memory backing = vm.parseJsonUintArray(json, string.concat(path, ".backing"));
        for (uint256 i = 0; i < 2; i++) {
            bytes32 class = index.classAt(i).class;
            eq(emissions.perUnit(class, e.index - 1), each[i], "per unit");
            eq(index.classAt(i).price, priced[i], "price");
            eq(emissions.classState(class).backing, backing[i], "backing");
        }
    }
}
