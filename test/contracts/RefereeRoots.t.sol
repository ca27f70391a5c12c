// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IReferee} from "../../protocol/contracts/interfaces/IReferee.sol";
import {Hashes} from "./Hashes.sol";
import {World} from "./World.sol";

/// @dev A batch of one receipt, that of protocol/vectors/job.json, whose trace has one input tree and one that was served. What the receipt names is
/// compared with what the trace has.
contract RefereeRootsTest is World {
    Hashes private hashes = new Hashes();
    IReferee.Receipt private receipt;
    bytes32 private receiptHash;
    bytes32 private inputRoot;
    bytes32 private outputRoot;
    /// @dev As the receipt has them: an input's values, and what was served of an output.
    IReferee.Tree private input;
    IReferee.Tree private output;
    /// @dev As the trace has them.
    IReferee.Tree[2] private traced;
    /// @dev What stands in the trace where no voter looks: a leaf beside those that are shown, or one that the manifest has no tree for.
    bytes32 private hidden;
    IReferee.InTrace private inTrace;
    IReferee.Parts private parts;

    function setUp() public override {
        super.setUp();
        string memory json = vm.readFile("protocol/vectors/job.json");
        receipt.networkId = vm.parseJsonBytes32(json, ".receipt.networkId");
        receipt.signer = address(bytes20(vm.parseJsonBytes(json, ".receipt.signer")));
        receipt.payload = vm.parseJsonBytes(json, ".receipt.payload");
        receiptHash = vm.parseJsonBytes32(json, ".receipt.hash");
        (inputRoot, outputRoot) = (vm.parseJsonBytes32(json, ".inputRoot"), vm.parseJsonBytes32(json, ".outputRoot"));
        uint32[3] memory image = [uint32(1), 8, 8];
        input = IReferee.Tree(0, 0, 14, abi.encodePacked(image[0], image[1], image[2]), vm.parseJsonBytes32(json, ".records[0].root"));
        output = IReferee.Tree(3, 3, -2, abi.encodePacked(uint32(10)), vm.parseJsonBytes32(json, ".records[1].root"));
        (traced[0], traced[1]) = (input, output);
    }

    // ---- the twin in TypeScript

    function test_hashesAreThoseOfTheProtocol() public view {
        eq(hashes.receipt(receipt), receiptHash, "receipt");
        eq(hashes.rootOf(receipt.payload, false), inputRoot, "input root");
        eq(hashes.rootOf(receipt.payload, true), outputRoot, "output root");
        eq(hashes.ioRoot(false, only(hashes.record(input))), inputRoot, "record of the input");
        eq(hashes.ioRoot(true, only(hashes.record(output))), outputRoot, "record of the output");
        eq(tensors(), vm.parseJsonBytes32(vm.readFile("protocol/vectors/job.json"), ".tensors"), "tensors");
    }

    function only(bytes32 one) private pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = one;
    }

    function leafHash(bytes32 content) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), content));
    }

    function node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, right));
    }

    function shown() private view returns (bytes32) {
        return node(leafHash(hashes.record(traced[0])), leafHash(hashes.record(traced[1])));
    }

    function tensors() private view returns (bytes32) {
        return hidden == 0 ? shown() : node(shown(), node(hidden, 0));
    }

    // ---- a batch

    function committed() private returns (bytes32 batchId) {
        inTrace = IReferee.InTrace(0, 1, receiptHash, "manifest", abi.encode(tensors()), "");
        parts = IReferee.Parts(5, leafHash(sha256("bytes")), 1, leafHash(hashes.inTrace(inTrace)));
        batchId = anchor(90 ether);
        bytes32 traceRoot = leafHash(hashes.jobRoot(receiptHash, "manifest", abi.encode(tensors())));
        bytes32 digest = hashes.digest(parts);
        trace(batchId, traceRoot);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        vm.prank(provider);
        batches.commitAttestation(batchId, digest);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    function claim(bool ofOutput) private view returns (IReferee.TwoRoots memory two) {
        uint256 place = ofOutput ? 1 : 0;
        IReferee.Tree memory named = ofOutput ? output : input;
        two.receipt = receipt;
        two.output = ofOutput;
        two.records = only(hashes.record(named));
        (two.named, two.traced, two.place) = (named, traced[place], place);
        two.path = only(leafHash(hashes.record(traced[1 - place])));
    }

    function prove(bytes32 batchId, IReferee.TwoRoots memory two, bytes4 refusal) private {
        IReferee.Leaf memory leaf;
        if (refusal != 0) vm.expectPartialRevert(refusal);
        referee.proveRoots(batchId, parts, leaf, inTrace, two);
    }

    function requireConvicted(bytes32 batchId) private view {
        requireStatus(batchId, IBatches.Status.SlashPending);
        eq(uint256(referee.faultOf(batchId)), uint256(IReferee.Fault.Roots), "fault");
    }

    // ---- faults

    /// @dev A cached output, with the trace that goes with it.
    function test_anotherInputThanWasSentConvicts() public {
        traced[0].root = "another input";
        bytes32 batchId = committed();
        prove(batchId, claim(true), IReferee.NoFault.selector);
        prove(batchId, claim(false), 0);
        requireConvicted(batchId);
    }

    function test_anotherOutputThanWasServedConvicts() public {
        traced[1].root = "another output";
        bytes32 batchId = committed();
        prove(batchId, claim(false), IReferee.NoFault.selector);
        prove(batchId, claim(true), 0);
        requireConvicted(batchId);
    }

    /// @dev The same limbs under another meaning are other values.
    function test_anotherExponentOrShapeConvicts() public {
        traced[0].exponent = 13;
        traced[1].shape = abi.encodePacked(uint32(2), uint32(5));
        bytes32 batchId = committed();
        uint256 start = vm.snapshotState();
        prove(batchId, claim(false), 0);
        requireConvicted(batchId);
        vm.revertToState(start);
        prove(batchId, claim(true), 0);
        requireConvicted(batchId);
    }

    // ---- what is none

    /// @dev Whatever is shown of an honest job, it convicts nobody.
    function test_anHonestJobCannotBeConvicted() public {
        bytes32 batchId = committed();
        for (uint256 i = 0; i < 2; i++) {
            IReferee.TwoRoots memory two = claim(i == 1);
            prove(batchId, two, IReferee.NoFault.selector);
            // The other record of the trace: it is of another tree.
            two.traced = traced[1 - i];
            two.place = 1 - i;
            two.path = only(leafHash(hashes.record(traced[i])));
            prove(batchId, two, IReferee.NotRecorded.selector);
            // The input's record in the list of the outputs, and the other way round.
            two = claim(i == 1);
            two.output = i == 0;
            prove(batchId, two, IReferee.NotRecorded.selector);
        }
    }

    /// @dev An output has two trees: its canonical values, and what was served, which may differ by the tolerance.
    function test_whatWasServedNeedNotBeWhatIsCanonical() public {
        traced[0] = IReferee.Tree(3, 0, -2, output.shape, "canonical values");
        bytes32 batchId = committed();
        IReferee.TwoRoots memory two = claim(true);
        (two.traced, two.place) = (traced[0], 0);
        two.path = only(leafHash(hashes.record(traced[1])));
        prove(batchId, two, IReferee.NotRecorded.selector);
    }

    /// @dev A trace has the values of every tensor; only the same tensor's are compared.
    function test_anotherTensorsValuesAreNotTheInputs() public {
        traced[1] = IReferee.Tree(1, 0, 14, input.shape, "values of a layer");
        bytes32 batchId = committed();
        IReferee.TwoRoots memory two = claim(false);
        (two.traced, two.place) = (traced[1], 1);
        two.path = only(leafHash(hashes.record(traced[0])));
        prove(batchId, two, IReferee.NotRecorded.selector);
    }

    function testFuzz_nothingThatIsChangedInAProofConvicts(uint256 what, bytes32 by) public {
        bytes32 batchId = committed();
        IReferee.TwoRoots memory two = claim(what & 1 == 1);
        what = (what >> 1) % 10;
        bytes4 refusal = IReferee.NotRecorded.selector;
        if (what == 0) two.named.root = by;
        else if (what == 1) two.traced.root = by;
        else if (what == 2) two.records = only(by);
        else if (what == 3) two.item = 1 + uint256(by) % 3;
        else if (what == 4) two.path = only(by);
        else if (what == 5) two.path = new bytes32[](uint256(by) % 4 == 1 ? 2 : uint256(by) % 4);
        else if (what == 6) two.place = 2 + uint256(by) % 100;
        else if (what == 7) two.traced.tensor = uint32(uint256(by) % 1000) + 5;
        else if (what == 8) (two.receipt.networkId, refusal) = (by, IReferee.NotReceipt.selector);
        else (two.receipt.signer, refusal) = (address(bytes20(by)), IReferee.NotReceipt.selector);
        prove(batchId, two, refusal);
    }

    /// @dev Neither the receipt of another job, nor bytes that are none.
    function testFuzz_onlyTheReceiptOfTheClaimCounts(uint256 which, uint8 by) public {
        bytes32 batchId = committed();
        IReferee.TwoRoots memory two = claim(true);
        which %= two.receipt.payload.length;
        two.receipt.payload[which] = bytes1(uint8(two.receipt.payload[which]) ^ (by == 0 ? 1 : by));
        prove(batchId, two, IReferee.NotReceipt.selector);
    }

    /// @dev A provider may claim the hash of anything: what is no receipt has no roots.
    function testFuzz_bytesThatAreNoReceiptHaveNoRoots(bytes calldata payload, bool ofOutput) public {
        if (payload.length >= 2 && payload[0] == 0x0a && uint8(payload[1]) < payload.length - 1) return;
        vm.expectRevert(IReferee.NotReceipt.selector);
        hashes.rootOf(payload, ofOutput);
    }

    /// @dev Wherever it is cut before the end of its output root.
    function test_aReceiptThatIsCutOffHasNoRoots() public {
        bytes memory whole = receipt.payload;
        uint256 last = endOfOutputRoot();
        hashes.rootOf(cut(whole, last), true);
        for (uint256 length = 0; length < last; length++) {
            vm.expectRevert(IReferee.NotReceipt.selector);
            hashes.rootOf(cut(whole, length), true);
        }
    }

    /// @dev A shorter root, with what would be read after it in its place, is none.
    function test_aRootOfAnotherLengthIsNone() public {
        uint256 last = endOfOutputRoot();
        for (uint8 length = 0; length < 64; length++) {
            if (length == 32) continue;
            bytes memory payload = bytes.concat(cut(receipt.payload, last - 33), bytes1(length), new bytes(length));
            vm.expectRevert(IReferee.NotReceipt.selector);
            hashes.rootOf(payload, true);
        }
    }

    function cut(bytes memory whole, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i = 0; i < length; i++) part[i] = whole[i];
    }

    function endOfOutputRoot() private view returns (uint256 at) {
        while (keccak256(cutFrom(receipt.payload, at)) != keccak256(bytes.concat(hex"2a20", outputRoot))) at++;
        return at + 34;
    }

    function cutFrom(bytes memory whole, uint256 from) private pure returns (bytes memory part) {
        part = new bytes(34);
        for (uint256 i = 0; i < 34; i++) part[i] = whole[from + i];
    }

    // ---- who answers for it

    /// @dev A second record of the input's tree, where nothing is drawn: whoever looks at what the manifest names finds nothing wrong.
    function paidWithASecondRecord() private returns (bytes32 batchId, IReferee.TwoRoots memory two) {
        IReferee.Tree memory second = input;
        second.root = "another input";
        hidden = leafHash(hashes.record(second));
        batchId = committed();
        two = claim(false);
        (two.traced, two.place, two.path) = (second, 2, new bytes32[](2));
        (two.path[0], two.path[1]) = (0, shown());
    }

    /// @dev Its provider is paid by honest voters, and shows what it has hidden from them to have their seats burned.
    function test_aRecordWhereNobodyLooksCostsNoVoterItsSeat() public {
        (bytes32 batchId, IReferee.TwoRoots memory two) = paidWithASecondRecord();
        settle(batchId, VALID);
        prove(batchId, two, IReferee.BatchIsFinal.selector);
        address[] memory voters = batches.committee(batchId);
        vm.expectRevert(abi.encodeWithSelector(IReferee.NotRefuted.selector, batchId));
        referee.unseat(batchId, voters);
        for (uint256 i = 0; i < voters.length; i++) eq(registry.nodeOf(voters[i]).stake, STAKE, "stake");
    }

    /// @dev It is the provider's fault all the same.
    function test_aSecondRecordConvictsWhoAnchoredIt() public {
        (bytes32 batchId, IReferee.TwoRoots memory two) = paidWithASecondRecord();
        prove(batchId, two, 0);
        requireConvicted(batchId);
    }
}
