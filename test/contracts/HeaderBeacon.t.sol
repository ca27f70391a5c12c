// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {HeaderBeacon} from "../../protocol/contracts/HeaderBeacon.sol";
import {IBeacon} from "../../protocol/contracts/interfaces/IBeacon.sol";
import {IHeaderBeacon} from "../../protocol/contracts/interfaces/IHeaderBeacon.sol";
import {Headers} from "../../protocol/contracts/libraries/Headers.sol";
import {Harness} from "./Harness.sol";

contract HeaderBeaconTest is Harness {
    HeaderBeacon private beacon;

    function setUp() public {
        vm.roll(1_000);
        beacon = new HeaderBeacon(5, 2);
    }

    function expected(uint256 slot, bytes32 hash) private view returns (bytes32) {
        return keccak256(abi.encode("sinter/beacon/1", block.chainid, address(beacon), slot, hash));
    }

    function testFuzz_theSlotAfterABlockLiesAtLeastTheDelayAheadAndIsTheFirst(uint256 height) public view {
        height = bound(height, 0, 1e12);
        uint256 slot = beacon.slotAfter(height);
        assert(beacon.heightOf(slot) >= height + 2);
        assert(slot == 0 || beacon.heightOf(slot - 1) < height + 2);
    }

    function test_aSlotHasNoValueBeforeItsBlockIsMined() public {
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HashUnknown.selector, 1_000));
        beacon.record(200);
        vm.expectRevert(abi.encodeWithSelector(IBeacon.SlotNotRecorded.selector, 200));
        beacon.value(200);
        eq(beacon.recordedAt(200), 0, "recordedAt");
    }

    function test_aRecordedValueNeverChanges() public {
        mine(1);
        vm.setBlockhash(1_000, keccak256("first"));
        beacon.record(200);
        eq(beacon.value(200), expected(200, keccak256("first")), "value");
        uint64 since = beacon.recordedAt(200);
        mine(1);
        vm.setBlockhash(1_000, keccak256("second"));
        beacon.record(200);
        beacon.recordWithHeaders(200, new bytes[](0));
        eq(beacon.value(200), expected(200, keccak256("first")), "value");
        eq(beacon.recordedAt(200), since, "recordedAt");
    }

    function test_anOldSlotNeedsHeadersThatLinkToAKnownHash() public {
        vm.roll(1_300);
        bytes32 hash = keccak256("block 1000");
        bytes[] memory headers = new bytes[](60);
        bytes32 parent = hash;
        for (uint256 i = 1; i <= 60; i++) {
            headers[60 - i] = header(parent, i);
            parent = keccak256(headers[60 - i]);
        }
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HashUnknown.selector, 1_000));
        beacon.record(200);
        vm.setBlockhash(1_060, keccak256("not ours"));
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HeaderMismatch.selector, 0));
        beacon.recordWithHeaders(200, headers);
        vm.setBlockhash(1_060, parent);
        bytes memory kept = headers[30];
        headers[30] = header(bytes32(uint256(1)), 30);
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HeaderMismatch.selector, 30));
        beacon.recordWithHeaders(200, headers);
        headers[30] = kept;
        beacon.recordWithHeaders(200, headers);
        eq(beacon.value(200), expected(200, hash), "value");
    }

    function test_theHistoryContractAnswersBeyond256Blocks() public {
        vm.roll(3_000);
        // PUSH32 hash, MSTORE at 0, RETURN 32 bytes.
        vm.etch(Headers.HISTORY, abi.encodePacked(hex"7f", keccak256("old"), hex"5f5260205ff3"));
        beacon.record(200);
        eq(beacon.value(200), expected(200, keccak256("old")), "value");
        // Not for blocks that do not exist yet.
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HashUnknown.selector, 3_000));
        beacon.record(600);
    }

    function test_aLongGapIsWalkedInSteps() public {
        vm.roll(1_300);
        bytes[] memory old = new bytes[](1);
        old[0] = header(keccak256("block 1000"), 0);
        bytes[] memory recent = new bytes[](59);
        bytes32 parent = keccak256(old[0]);
        for (uint256 i = 1; i <= 59; i++) {
            recent[59 - i] = header(parent, i);
            parent = keccak256(recent[59 - i]);
        }
        vm.setBlockhash(1_060, parent);
        beacon.proveHash(1_001, recent);
        beacon.recordWithHeaders(200, old);
        eq(beacon.value(200), expected(200, keccak256("block 1000")), "value");
    }

    function test_bytesThatAreNoHeaderAreRefused() public {
        bytes[] memory headers = new bytes[](1);
        headers[0] = hex"c0";
        vm.roll(1_300);
        vm.setBlockhash(1_296, keccak256(headers[0]));
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.HeaderMalformed.selector, 0));
        beacon.recordWithHeaders(259, headers);
    }

    function test_aBeaconWithoutDelayIsRefused() public {
        vm.expectRevert(abi.encodeWithSelector(IHeaderBeacon.BadBeaconParams.selector));
        new HeaderBeacon(5, 0);
    }

    /// @dev RLP list of 0x0210 bytes that starts with the parent hash, as every header does.
    function header(bytes32 parent, uint256 salt) private pure returns (bytes memory) {
        return abi.encodePacked(hex"f90210a0", parent, salt, new bytes(463));
    }
}
