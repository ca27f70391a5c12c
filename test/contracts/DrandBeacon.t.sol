// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {DrandBeacon} from "../../protocol/contracts/DrandBeacon.sol";
import {IBeacon} from "../../protocol/contracts/interfaces/IBeacon.sol";
import {IDrandBeacon} from "../../protocol/contracts/interfaces/IDrandBeacon.sol";
import {Bn254} from "../../protocol/contracts/libraries/Bn254.sol";
import {Harness} from "./Harness.sol";

contract DrandBeaconTest is Harness {
    bytes private constant DST = "BLS_SIG_BN254G1_XMD:KECCAK-256_SVDW_RO_NUL_";
    string private json;
    uint256[4] private localKey;
    uint256 private secret;
    DrandBeacon private beacon;

    function setUp() public {
        vm.roll(1_000);
        vm.warp(2_000_000_000);
        json = vm.readFile("protocol/vectors/drand.json");
        localKey = key(".local.publicKey");
        secret = vm.parseJsonUint(json, ".local.secret");
        beacon = new DrandBeacon(localKey, 1_900_000_000, 3, 4, 30);
    }

    // ---- helpers

    function key(string memory at) private view returns (uint256[4] memory k) {
        bytes32[] memory words = vm.parseJsonBytes32Array(json, at);
        for (uint256 i = 0; i < 4; i++) k[i] = uint256(words[i]);
    }

    function entry(string memory network, uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(network, ".rounds[", vm.toString(i), "]", field);
    }

    function signatureAt(string memory network, uint256 i) private view returns (bytes memory) {
        bytes32[] memory words = vm.parseJsonBytes32Array(json, entry(network, i, ".signature"));
        return abi.encodePacked(words[0], words[1]);
    }

    function pointOf(uint64 round) private view returns (uint256[2] memory) {
        return Bn254.hashToPoint(DST, keccak256(abi.encodePacked(round)));
    }

    /// @dev The local source: the precompile multiplies the round's point by the secret.
    function sign(uint64 round) private view returns (bytes memory) {
        uint256[2] memory p = pointOf(round);
        (bool ok, bytes memory out) = address(7).staticcall(abi.encode(p[0], p[1], secret));
        assert(ok && out.length == 64);
        return out;
    }

    function on(uint256[4] memory k) private returns (DrandBeacon) {
        return new DrandBeacon(k, 1_900_000_000, 3, 1, 1);
    }

    function requireVectors(string memory network) private {
        DrandBeacon each = on(key(string.concat(network, ".publicKey")));
        uint256 count = 0;
        for (; vm.keyExistsJson(json, entry(network, count, ".round")); count++) {
            uint64 round = uint64(vm.parseJsonUint(json, entry(network, count, ".round")));
            bytes32[] memory point = vm.parseJsonBytes32Array(json, entry(network, count, ".point"));
            uint256[2] memory mine = pointOf(round);
            eq(mine[0], uint256(point[0]), "x");
            eq(mine[1], uint256(point[1]), "y");
            bytes memory signature = signatureAt(network, count);
            each.recordWithSignature(round, signature);
            bytes32 expected =
                keccak256(abi.encode("sinter/beacon/1", block.chainid, address(each), uint256(round), keccak256(signature)));
            eq(each.value(round), expected, "value");
            eq(each.recordedAt(round), block.timestamp, "recordedAt");
        }
        assert(count >= 2);
    }

    function refuses(uint256 slot, bytes memory signature, bytes memory reason) private {
        vm.expectRevert(reason);
        beacon.recordWithSignature(slot, signature);
        eq(beacon.recordedAt(slot), 0, "recordedAt");
    }

    // ---- known answers

    function test_roundsOfDrandsEvmnetAreTaken() public {
        requireVectors(".evmnet");
    }

    function test_roundsOfTheLocalSourceAreTaken() public {
        requireVectors(".local");
    }

    // ---- any round

    function testFuzz_aRoundsOwnSignatureIsTakenAndNoOther(uint64 slot, uint64 other) public {
        slot = uint64(bound(slot, 1, type(uint64).max / 4));
        other = uint64(bound(other, 1, type(uint64).max / 4));
        uint64 round = beacon.roundOf(slot);
        if (other != slot) {
            refuses(slot, sign(beacon.roundOf(other)), abi.encodeWithSelector(IDrandBeacon.SignatureWrong.selector, round));
        }
        beacon.recordWithSignature(slot, sign(round));
        assert(beacon.value(slot) != 0);
    }

    function testFuzz_theMapLandsOnTheCurve(uint256 u) public view {
        u = u % Bn254.P;
        (uint256 x, uint256 y) = Bn254.map(u);
        assert(Bn254.isPoint(x, y));
        assert(y % 2 == u % 2);
    }

    function test_theMapTakesItsExceptionalValues() public view {
        // 0, and ±1/2 where one of the factors vanishes.
        uint256 half = (Bn254.P + 1) / 2;
        uint256[4] memory list = [uint256(0), half, Bn254.P - half, Bn254.P - 1];
        for (uint256 i = 0; i < list.length; i++) {
            (uint256 x, uint256 y) = Bn254.map(list[i]);
            assert(Bn254.isPoint(x, y));
        }
    }

    // ---- refusals

    function test_malformedSignaturesAreRefused() public {
        bytes memory good = sign(beacon.roundOf(7));
        (uint256 x, uint256 y) = abi.decode(good, (uint256, uint256));
        bytes memory malformed = abi.encodeWithSelector(IDrandBeacon.SignatureMalformed.selector);
        refuses(7, "", malformed);
        refuses(7, abi.encodePacked(x, uint248(y)), malformed);
        refuses(7, abi.encodePacked(good, uint8(0)), malformed);
        // Infinity, off the curve, and the same point with a coordinate that is not reduced.
        refuses(7, abi.encode(0, 0), malformed);
        refuses(7, abi.encode(x, y + 1), malformed);
        refuses(7, abi.encode(x + 1, y), malformed);
        refuses(7, abi.encode(x + Bn254.P, y), malformed);
        refuses(7, abi.encode(x, y + Bn254.P), malformed);
        beacon.recordWithSignature(7, good);
    }

    function test_otherPointsOfTheCurveAreRefused() public {
        uint64 round = beacon.roundOf(7);
        (uint256 x, uint256 y) = abi.decode(sign(round), (uint256, uint256));
        uint256[2] memory unsigned = pointOf(round);
        bytes memory wrong = abi.encodeWithSelector(IDrandBeacon.SignatureWrong.selector, round);
        refuses(7, abi.encode(x, Bn254.P - y), wrong);
        refuses(7, abi.encode(unsigned[0], unsigned[1]), wrong);
        refuses(7, abi.encode(1, 2), wrong);
    }

    function testFuzz_noiseIsRefused(bytes memory noise) public {
        if (noise.length == 64) {
            (uint256 x, uint256 y) = abi.decode(noise, (uint256, uint256));
            if (Bn254.isPoint(x, y)) return;
        }
        refuses(7, noise, abi.encodeWithSelector(IDrandBeacon.SignatureMalformed.selector));
    }

    function test_keysThatAreNoneAreRefused() public {
        bytes memory bad = abi.encodeWithSelector(IDrandBeacon.BadBeaconParams.selector);
        uint256[4] memory k;
        vm.expectRevert(bad);
        on(k);
        k = key(".outsideSubgroup");
        vm.expectRevert(bad);
        on(k);
        k = localKey;
        k[2] += 1;
        vm.expectRevert(bad);
        on(k);
        k = localKey;
        k[0] += Bn254.P;
        vm.expectRevert(bad);
        on(k);
        k = localKey;
        (k[0], k[1], k[2], k[3]) = (k[1], k[0], k[3], k[2]);
        vm.expectRevert(bad);
        on(k);
    }

    function test_parametersWithoutSenseAreRefused() public {
        bytes memory bad = abi.encodeWithSelector(IDrandBeacon.BadBeaconParams.selector);
        uint64[3] memory p = [uint64(3), 4, 30];
        for (uint256 i = 0; i < 3; i++) {
            uint64[3] memory q = p;
            q[i] = 0;
            vm.expectRevert(bad);
            new DrandBeacon(localKey, 1, q[0], q[1], q[2]);
        }
    }

    // ---- slots

    function testFuzz_theSlotAfterABlockIsDueAfterTheDelayAndIsTheFirst(uint64 time) public {
        time = uint64(bound(time, 1, 1e12));
        vm.warp(time);
        uint64 slot = beacon.slotAfter(vm.getBlockNumber());
        assert(beacon.timeOf(slot) >= uint256(time) + 30);
        assert(slot == 1 || beacon.timeOf(slot - 1) < uint256(time) + 30);
    }

    function test_onlyTheBlockThatIsMinedHasASlotAfterIt() public {
        for (uint256 i = 0; i < 2; i++) {
            uint256 other = vm.getBlockNumber() + 1 - 2 * i;
            vm.expectRevert(abi.encodeWithSelector(IDrandBeacon.NotThisBlock.selector, other));
            beacon.slotAfter(other);
        }
    }

    function test_slotsWithoutARoundAreRefused() public {
        uint256[3] memory list = [uint256(0), uint256(type(uint64).max) / 4 + 1, type(uint256).max];
        for (uint256 i = 0; i < list.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(IDrandBeacon.NoSuchRound.selector, list[i]));
            beacon.roundOf(list[i]);
            bytes memory signature = sign(1);
            vm.expectRevert(abi.encodeWithSelector(IDrandBeacon.NoSuchRound.selector, list[i]));
            beacon.recordWithSignature(list[i], signature);
        }
        eq(beacon.roundOf(type(uint64).max / 4), type(uint64).max - 3, "last round");
    }

    function test_withoutItsSignatureASlotHasNoValue() public {
        vm.expectRevert(abi.encodeWithSelector(IDrandBeacon.SignatureNeeded.selector, uint64(28)));
        beacon.record(7);
        vm.expectRevert(abi.encodeWithSelector(IBeacon.SlotNotRecorded.selector, 7));
        beacon.value(7);
    }

    function test_aRecordedValueNeverChanges() public {
        beacon.recordWithSignature(7, sign(28));
        bytes32 value = beacon.value(7);
        uint64 since = beacon.recordedAt(7);
        skip(100);
        beacon.recordWithSignature(7, sign(32));
        beacon.record(7);
        eq(beacon.value(7), value, "value");
        eq(beacon.recordedAt(7), since, "recordedAt");
    }

    function test_recordingCostsWhatTheSpecSays() public {
        bytes memory signature = sign(28);
        uint256 before = gasleft();
        beacon.recordWithSignature(7, signature);
        assert(before - gasleft() < 260_000);
    }
}
