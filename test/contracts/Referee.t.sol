// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IReferee} from "../../protocol/contracts/interfaces/IReferee.sol";
import {ISeats} from "../../protocol/contracts/interfaces/ISeats.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {Bn254} from "../../protocol/contracts/libraries/Bn254.sol";
import {Groth16} from "../../protocol/contracts/libraries/Groth16.sol";
import {Hashes} from "./Hashes.sol";
import {World} from "./World.sol";

/// @dev A batch of one receipt for 90, whose attestation claims its place, its trace and one proof of the circuit `product`.
contract RefereeTest is World {
    uint8 private constant PRODUCT = 2;
    bytes32 private constant RECEIPT = keccak256("receipt");

    Hashes private hashes = new Hashes();
    uint8 private circuit = PRODUCT;
    uint256[] private key;
    uint256[] private signals;
    bytes private proof;
    IReferee.Place private place;
    IReferee.InTrace private inTrace;
    IReferee.Proof private claimed;
    IReferee.Parts private parts;
    bytes32[3] private leaves;
    /// @dev Of the tree. Kept, since a hash is a call, and the cheat codes speak of the next call.
    bytes32[2] private halves;

    function setUp() public override {
        string memory json = vm.readFile("test/contracts/groth16.json");
        key = vm.parseJsonUintArray(json, ".key");
        signals = vm.parseJsonUintArray(json, ".signals");
        proof = vm.parseJsonBytes(json, ".proof");
        super.setUp();
        place = IReferee.Place(0, RECEIPT, 90 ether, 0, "");
        inTrace = IReferee.InTrace(0, 1, RECEIPT, "manifest", abi.encode(bytes32("tensors")), "");
        claimed = IReferee.Proof(0, 7, 1, proof);
    }

    function keys() internal view override returns (bytes32[4] memory pinned) {
        pinned[PRODUCT] = keccak256(abi.encodePacked(key));
    }

    // ---- a batch with these claims

    function leafHash(bytes32 leaf) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), leaf));
    }

    function node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, right));
    }

    function claim() private {
        leaves = [leafHash(hashes.place(place)), leafHash(hashes.inTrace(inTrace)), leafHash(hashes.proof(claimed, circuit, signals))];
        (halves[0], halves[1]) = (node(leaves[0], leaves[1]), node(leaves[2], 0));
        bytes32 root = node(halves[0], halves[1]);
        parts = IReferee.Parts(5, leafHash(sha256("bytes")), 3, root);
    }

    function leaf(uint256 at) private view returns (IReferee.Leaf memory l) {
        l.index = at;
        l.path = new bytes32[](2);
        (l.path[0], l.path[1]) = at == 2 ? (bytes32(0), halves[0]) : (leaves[1 - at], halves[1]);
    }

    /// @dev Anchored, traced honestly and committed to the claims as they stand.
    function committed() private returns (bytes32 batchId) {
        claim();
        bytes32 root = keccak256(abi.encodePacked(uint8(0), RECEIPT, uint128(90 ether)));
        batchId = anchor(root, ranges(90 ether));
        recordSlot(batches.batchOf(batchId).sampleSlot);
        passAudits(batchId);
        bytes32 traceRoot = leafHash(hashes.jobRoot(RECEIPT, "manifest", abi.encode(bytes32("tensors"))));
        vm.prank(provider);
        batches.anchorTrace(batchId, traceRoot);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        bytes32 digest = hashes.digest(parts);
        vm.prank(provider);
        batches.commitAttestation(batchId, digest);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    function refused(bytes4 code) private {
        vm.expectPartialRevert(code);
    }

    /// @dev Nothing can be said against it, and the slash comes when it is due.
    function requireConvicted(bytes32 batchId, IReferee.Fault fault) private {
        requireStatus(batchId, IBatches.Status.SlashPending);
        refused(IBatches.NotAppealable.selector);
        batches.appeal(batchId);
        refused(IBatches.NotAppealable.selector);
        batches.rebut(batchId);
        skip(30);
        batches.finalize(batchId);
        requireStatus(batchId, IBatches.Status.Slashed);
        eq(uint256(referee.faultOf(batchId)), uint256(fault), "fault");
    }

    // ---- claims that hold

    function test_nobodyCanConvictAnHonestBatch() public {
        bytes32 batchId = committed();
        refused(IReferee.NoFault.selector);
        referee.provePlace(batchId, parts, leaf(0), place);
        refused(IReferee.NoFault.selector);
        referee.proveTrace(batchId, parts, leaf(1), inTrace);
        refused(IReferee.NoFault.selector);
        referee.proveProof(batchId, parts, leaf(2), claimed, PRODUCT, signals, key);
        requireStatus(batchId, IBatches.Status.Committed);
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
    }

    function test_onlyWhatWasCommittedIsJudged() public {
        bytes32 batchId = committed();
        IReferee.Parts memory other = parts;
        other.length++;
        refused(IReferee.NotCommitted.selector);
        referee.provePlace(batchId, other, leaf(0), place);
        refused(IReferee.NotCommitted.selector);
        referee.provePlace(keccak256("no batch"), parts, leaf(0), place);
        // A claim with one thing changed is not the provider's.
        IReferee.Place memory wrong = place;
        wrong.price++;
        refused(IReferee.NotClaimed.selector);
        referee.provePlace(batchId, parts, leaf(0), wrong);
        IReferee.Proof memory forged = claimed;
        forged.segment++;
        refused(IReferee.NotClaimed.selector);
        referee.proveProof(batchId, parts, leaf(2), forged, PRODUCT, signals, key);
        uint256[] memory changed = signals;
        changed[0]++;
        refused(IReferee.NotClaimed.selector);
        referee.proveProof(batchId, parts, leaf(2), claimed, PRODUCT, changed, key);
        // Nor is a circuit, a leaf or a path of somebody else's choice.
        refused(IReferee.NotClaimed.selector);
        referee.proveProof(batchId, parts, leaf(2), claimed, 3, signals, key);
        IReferee.Leaf memory elsewhere = leaf(2);
        elsewhere.index = 3;
        refused(IReferee.NotClaimed.selector);
        referee.proveProof(batchId, parts, elsewhere, claimed, PRODUCT, signals, key);
        uint256[] memory otherKey = key;
        otherKey[20]++;
        refused(IReferee.NotKey.selector);
        referee.proveProof(batchId, parts, leaf(2), claimed, PRODUCT, signals, otherKey);
    }

    function test_nobodyButTheRefereeConvicts() public {
        bytes32 batchId = committed();
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotReferee.selector, address(this)));
        batches.convict(batchId);
    }

    // ---- faults

    function test_aReceiptThatStandsElsewhereConvicts() public {
        place.price = 89 ether;
        bytes32 batchId = committed();
        uint256 supply = token.totalSupply();
        referee.provePlace(batchId, parts, leaf(0), place);
        requireConvicted(batchId, IReferee.Fault.Place);
        eq(supply - token.totalSupply(), 180 ether, "the whole lock burns: nobody voted");
        eq(registry.nodeOf(provider).locked, 0, "lock");
        batches.collect(batchId, 0);
        eq(escrow.balanceOf(consumer), 90_090 ether, "fees back");
        eq(escrow.potOf(batchId), 0, "pot");
        refused(IReferee.FaultProvenBefore.selector);
        referee.provePlace(batchId, parts, leaf(0), place);
    }

    function testFuzz_noMalformedPlaceHolds(uint64 index, bytes calldata path, uint128 price) public {
        place.index = uint32(index);
        place.path = path;
        place.price = price;
        bool honest = uint32(index) == 0 && path.length == 0 && price == 90 ether;
        bytes32 batchId = committed();
        if (honest) refused(IReferee.NoFault.selector);
        referee.provePlace(batchId, parts, leaf(0), place);
    }

    function test_aTraceOtherThanTheAnchoredOneConvicts() public {
        inTrace.tensors = abi.encode(bytes32("other tensors"));
        bytes32 batchId = committed();
        referee.proveTrace(batchId, parts, leaf(1), inTrace);
        requireConvicted(batchId, IReferee.Fault.Trace);
    }

    function test_aPathInTheTraceOfAnotherLengthConvicts() public {
        inTrace.path = hex"00";
        bytes32 batchId = committed();
        referee.proveTrace(batchId, parts, leaf(1), inTrace);
        requireConvicted(batchId, IReferee.Fault.Trace);
    }

    function test_aPairingThatFailsConvicts() public {
        signals[0] = addmod(signals[0], 1, Groth16.R);
        bytes32 batchId = committed();
        referee.proveProof(batchId, parts, leaf(2), claimed, PRODUCT, signals, key);
        requireConvicted(batchId, IReferee.Fault.Proof);
    }

    function test_aCircuitThatThereIsNotConvicts() public {
        circuit = 9;
        bytes32 batchId = committed();
        referee.proveProof(batchId, parts, leaf(2), claimed, 9, signals, key);
        requireConvicted(batchId, IReferee.Fault.Proof);
    }

    function test_aProofBoundElsewhereConvicts() public {
        bytes32 batchId = committed();
        referee.proveBinding(batchId, parts, leaf(2), claimed, PRODUCT, signals, leaf(1), inTrace);
        requireConvicted(batchId, IReferee.Fault.Binding);
    }

    // ---- proofs

    function test_everythingMalformedIsNoProof() public view {
        assert(hashes.verify(key, signals, proof));
        assert(!hashes.verify(key, signals, ""));
        assert(!hashes.verify(key, signals, bytes.concat(proof, hex"00")));
        uint256[] memory changed = new uint256[](5);
        assert(!hashes.verify(key, changed, proof));
        changed = signals;
        // The same residue, another spelling.
        changed[0] = signals[0] + Groth16.R;
        assert(!hashes.verify(key, changed, proof));
    }

    function testFuzz_noOtherPointsVerify(uint256 which, uint256 value) public view {
        uint256 at = which % 8;
        uint256[8] memory words = abi.decode(proof, (uint256[8]));
        if (words[at] == value) return;
        words[at] = value;
        assert(!hashes.verify(key, signals, abi.encode(words)));
        // An unreduced coordinate of the right point, and infinity.
        words = abi.decode(proof, (uint256[8]));
        words[at] += Bn254.P;
        assert(!hashes.verify(key, signals, abi.encode(words)));
        words[at] = 0;
        assert(!hashes.verify(key, signals, abi.encode(words)));
    }

    function test_infinityIsNoPointOfAProof() public view {
        assert(!hashes.verify(key, signals, new bytes(256)));
    }

    // ---- who answers

    function test_aPendingVerdictThatWasRightIsPaidByTheConviction() public {
        place.price = 89 ether;
        bytes32 batchId = committed();
        settle(batchId, FORGED);
        address[] memory voters = batches.committee(batchId);
        referee.provePlace(batchId, parts, leaf(0), place);
        requireConvicted(batchId, IReferee.Fault.Place);
        for (uint256 i = 0; i < voters.length; i++) {
            // A tenth of the lock and the floor, as a slash without the referee would have given them.
            eq(escrow.balanceOf(registry.payoutOf(voters[i])), 9.5 ether, "voters");
        }
    }

    function test_votersWhoPaidWhatTheChainRefutesLoseTheirSeats() public {
        place.price = 89 ether;
        bytes32 batchId = committed();
        address[] memory voters = batches.committee(batchId);
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
        refused(IReferee.NotRefuted.selector);
        referee.unseat(batchId, voters);
        referee.provePlace(batchId, parts, leaf(0), place);
        requireStatus(batchId, IBatches.Status.Paid);
        uint256 supply = token.totalSupply();
        referee.unseat(batchId, voters);
        eq(supply - token.totalSupply(), 2 * uint256(seats.seatStake()), "burned");
        for (uint256 i = 0; i < voters.length; i++) {
            eq(registry.nodeOf(voters[i]).stake, STAKE - seats.seatStake(), "stake");
            eq(registry.nodeOf(voters[i]).locked, 0, "locked");
        }
        refused(IReferee.NothingLeft.selector);
        referee.unseat(batchId, voters);
        eq(registry.nodeOf(voters[0]).stake, STAKE - seats.seatStake(), "once");
    }

    function test_thoseWhoseVerdictFellOnAppealKeepTheirSeats() public {
        place.price = 89 ether;
        bytes32 batchId = committed();
        address[] memory right = batches.committee(batchId);
        settle(batchId, FORGED);
        vm.prank(provider);
        batches.appeal(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        address[] memory wrong = batches.committee(batchId);
        settle(batchId, VALID);
        referee.provePlace(batchId, parts, leaf(0), place);
        refused(ISeats.UnknownBench.selector);
        referee.unseat(batchId, right);
        referee.unseat(batchId, wrong);
        // The two who were right then were wrong later, like the other three.
        eq(registry.nodeOf(right[0]).stake, STAKE - seats.seatStake(), "one seat, not two");
        eq(registry.nodeOf(right[0]).locked, seats.seatStake(), "the first seat is still held, not taken");
    }

    // ---- posting

    function post(bytes32 batchId) private {
        referee.post(batchId, parts, 0, "bytes", new bytes32[](0));
    }

    function test_silenceIsRebuttedByPostingAndTheNextCommitteeCannotAllegeIt() public {
        bytes32 batchId = committed();
        settleSilently(batchId);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotPosted.selector, batchId));
        batches.rebut(batchId);
        refused(IReferee.NotChunk.selector);
        referee.post(batchId, parts, 0, "bytez", new bytes32[](0));
        assert(!referee.posted(batchId));
        post(batchId);
        assert(referee.posted(batchId));
        refused(IReferee.ChunkPostedBefore.selector);
        post(batchId);
        batches.rebut(batchId);
        requireStatus(batchId, IBatches.Status.Committed);
        eq(batches.appealsOf(batchId).length, 0, "for no bond");
        recordSlot(batches.batchOf(batchId).committeeSlot);
        Said[] memory said = silentVotes(batchId);
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IVotes.SilenceWasRebutted.selector, 0));
        settle(batchId, VALID);
        requireStatus(batchId, IBatches.Status.Paid);
        eq(registry.freeStake(provider), STAKE, "lock back");
    }

    function test_aVerdictThatFoundAFaultIsNotRebuttedByPosting() public {
        bytes32 batchId = committed();
        settle(batchId, FORGED);
        post(batchId);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotAppealable.selector, batchId));
        batches.rebut(batchId);
    }

    function test_afterTheSlashIsDueNothingIsRebutted() public {
        bytes32 batchId = committed();
        settleSilently(batchId);
        post(batchId);
        vm.warp(batches.batchOf(batchId).slashAt);
        refused(IBatches.DeadlinePassed.selector);
        batches.rebut(batchId);
        batches.finalize(batchId);
        requireStatus(batchId, IBatches.Status.Slashed);
    }

    function test_aRebuttedBatchThatNobodyJudgesIsAbandoned() public {
        bytes32 batchId = committed();
        settleSilently(batchId);
        post(batchId);
        batches.rebut(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        vm.warp(batches.deadlineOf(batchId) + 41);
        batches.abandon(batchId);
        requireStatus(batchId, IBatches.Status.Abandoned);
        eq(registry.freeStake(provider), STAKE, "lock back");
        batches.collect(batchId, 0);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function silentVotes(bytes32 batchId) private view returns (Said[] memory said) {
        address[] memory members = batches.committee(batchId);
        said = new Said[](batches.quorumOf(members.length));
        for (uint256 i = 0; i < said.length; i++) said[i] = Said(keyOf(members[i]), FORGED, 0);
    }

    function settleSilently(bytes32 batchId) private {
        Said[] memory said = silentVotes(batchId);
        settleAs(provider, batchId, said);
        requireStatus(batchId, IBatches.Status.SlashPending);
    }
}
