// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {IBeacon} from "./interfaces/IBeacon.sol";
import {IReferee} from "./interfaces/IReferee.sol";
import {ISeats} from "./interfaces/ISeats.sol";
import {Benches} from "./libraries/Benches.sol";
import {Claims} from "./libraries/Claims.sol";
import {Groth16} from "./libraries/Groth16.sol";
import {Receipts} from "./libraries/Receipts.sol";
import {Sha256Tree} from "./libraries/Sha256Tree.sol";
import {SumTree} from "./libraries/SumTree.sol";

/// @title Referee, documented in {IReferee}
contract Referee is IReferee {
    using BitMaps for BitMaps.BitMap;

    /// @dev A chunk and its path in one transaction stay far below what pools forward (128 KiB).
    uint256 public constant CHUNK_BYTES = 16_384;
    uint8 private constant CIRCUITS = 4;

    IBatches public immutable batches;
    IBeacon public immutable beacon;
    ISeats public immutable seats;

    mapping(bytes32 batchId => Fault) public faultOf;
    /// @dev keccak256 of each circuit's key, words concatenated: relation, pointwise, product, extremum.
    bytes32[CIRCUITS] public keyOf;
    mapping(bytes32 batchId => BitMaps.BitMap) private _chunks;
    /// @dev Chunks that are missing + 1; 0 before the first.
    mapping(bytes32 batchId => uint256) private _left;

    constructor(IBatches batches_, IBeacon beacon_, ISeats seats_, bytes32[4] memory keys) {
        batches = batches_;
        beacon = beacon_;
        seats = seats_;
        keyOf = keys;
    }

    /// @inheritdoc IReferee
    function post(bytes32 batchId, Parts calldata parts, uint256 index, bytes calldata chunk, bytes32[] calldata path)
        external
    {
        _committed(batchId, parts);
        uint256 count = (uint256(parts.length) + CHUNK_BYTES - 1) / CHUNK_BYTES;
        bool whole = chunk.length == (index + 1 < count ? CHUNK_BYTES : parts.length - (count - 1) * CHUNK_BYTES);
        if (!whole || !Sha256Tree.holds(parts.chunks, sha256(chunk), index, count, path)) revert NotChunk(index);
        if (_chunks[batchId].get(index)) revert ChunkPostedBefore(index);
        _chunks[batchId].set(index);
        uint256 left = _left[batchId];
        left = (left == 0 ? count + 1 : left) - 1;
        _left[batchId] = left;
        emit ChunkPosted(batchId, index, left - 1, chunk);
    }

    /// @inheritdoc IReferee
    function provePlace(bytes32 batchId, Parts calldata parts, Leaf calldata leaf, Place calldata claim) external {
        IBatches.Batch memory b = _claimed(batchId, parts, leaf, Claims.place(claim));
        (bool ok, uint128 start) =
            SumTree.fold(b.root, b.total, claim.receiptHash, claim.price, claim.index, claim.path);
        if (ok && _drawn(batchId, start, claim.price)) revert NoFault();
        _convict(batchId, b, Fault.Place);
    }

    /// @inheritdoc IReferee
    function proveTrace(bytes32 batchId, Parts calldata parts, Leaf calldata leaf, InTrace calldata claim) external {
        IBatches.Batch memory b = _claimed(batchId, parts, leaf, Claims.inTrace(claim));
        if (claim.path.length % 32 == 0) {
            bytes32 job = Claims.jobRoot(claim.receiptHash, claim.manifest, claim.tensors);
            if (Sha256Tree.holds(b.traceRoot, job, claim.job, claim.jobs, Sha256Tree.split(claim.path))) revert NoFault();
        }
        _convict(batchId, b, Fault.Trace);
    }

    /// @inheritdoc IReferee
    function proveProof(
        bytes32 batchId,
        Parts calldata parts,
        Leaf calldata leaf,
        Proof calldata claim,
        uint8 circuit,
        uint256[] calldata signals,
        uint256[] calldata key
    ) external {
        IBatches.Batch memory b =
            _claimed(batchId, parts, leaf, Claims.proof(claim, Claims.signalsHash(circuit, signals)));
        // A circuit that there is not has no proofs.
        if (circuit < CIRCUITS) {
            if (keccak256(abi.encodePacked(key)) != keyOf[circuit]) revert NotKey(circuit);
            if (Groth16.verify(key, signals, claim.proof)) revert NoFault();
        }
        _convict(batchId, b, Fault.Proof);
    }

    /// @inheritdoc IReferee
    function proveBinding(
        bytes32 batchId,
        Parts calldata parts,
        Leaf calldata leaf,
        Proof calldata claim,
        uint8 circuit,
        uint256[] calldata signals,
        Leaf calldata traceLeaf,
        InTrace calldata trace
    ) external {
        IBatches.Batch memory b =
            _claimed(batchId, parts, leaf, Claims.proof(claim, Claims.signalsHash(circuit, signals)));
        _claimed(batchId, parts, traceLeaf, Claims.inTrace(trace));
        if (trace.job != claim.job) revert NotClaimed(traceLeaf.index);
        bytes32 seed = Claims.seed(batches, batchId, b, beacon.value(b.challengeSlot), trace);
        uint256 place = bindingPlace(circuit);
        if (place < signals.length && signals[place] == Claims.binding(seed, claim.statement, claim.segment)) revert NoFault();
        _convict(batchId, b, Fault.Binding);
    }

    /// @inheritdoc IReferee
    function proveRoots(
        bytes32 batchId,
        Parts calldata parts,
        Leaf calldata leaf,
        InTrace calldata claim,
        TwoRoots calldata roots
    ) external {
        IBatches.Batch memory b = _claimed(batchId, parts, leaf, Claims.inTrace(claim));
        if (Receipts.hash(roots.receipt) != claim.receiptHash) revert NotReceipt();
        bytes32 named = Receipts.record(roots.named);
        bytes32 traced = Receipts.record(roots.traced);
        if (
            Receipts.ioRoot(roots.output, roots.records) != Receipts.rootOf(roots.receipt.payload, roots.output)
                || roots.item >= roots.records.length || roots.records[roots.item] != named
                || roots.named.tensor != roots.traced.tensor || roots.named.tree != roots.traced.tree
                // However many trees there are: a path of this length leads to one leaf.
                || !Sha256Tree.holds(
                    bytes32(claim.tensors), traced, roots.place, 1 << roots.path.length, roots.path
                )
        ) revert NotRecorded();
        if (named == traced) revert NoFault();
        // Voters see the records that stand where the manifest has them. Of this one, which may stand anywhere, only its provider has to know.
        if (b.status > IBatches.Status.SlashPending) revert BatchIsFinal(batchId);
        _convict(batchId, b, Fault.Roots);
    }

    /// @inheritdoc IReferee
    function unseat(bytes32 batchId, address[] calldata voters) external {
        IBatches.Batch memory b = batches.batchOf(batchId);
        if (faultOf[batchId] == Fault.None || b.status != IBatches.Status.Paid) revert NotRefuted(batchId);
        // The verdict that paid is the last. An earlier one was another, and the chain has not refuted it.
        (uint256 lost,) = Benches.slash(seats, Benches.last(seats, batchId, b.attempt), voters, address(0), 0);
        if (lost == 0) revert NothingLeft(batchId);
    }

    /// @inheritdoc IReferee
    function posted(bytes32 batchId) external view returns (bool) {
        return _left[batchId] == 1;
    }

    /// @inheritdoc IReferee
    function chunkPosted(bytes32 batchId, uint256 index) external view returns (bool) {
        return _chunks[batchId].get(index);
    }

    /// @notice Where `binding` stands among a circuit's signals (circuits.md); beyond all of them for a circuit that there is not.
    function bindingPlace(uint8 circuit) public pure returns (uint256) {
        if (circuit == 0) return 12;
        if (circuit == 1) return 6;
        return circuit < CIRCUITS ? 3 : type(uint256).max;
    }

    /// @dev A point of the sample, or an audit, lies in the receipt's interval.
    function _drawn(bytes32 batchId, uint128 start, uint128 price) private view returns (bool) {
        uint256[] memory points = batches.samplePoints(batchId);
        for (uint256 i = 0; i < points.length; i++) {
            if (points[i] >= start && points[i] - start < price) return true;
        }
        return false;
    }

    /// @dev The parts are those of the digest that the batch's provider committed to.
    function _committed(bytes32 batchId, Parts calldata parts) private view returns (IBatches.Batch memory b) {
        b = batches.batchOf(batchId);
        if (b.attestation == 0 || b.attestation != Claims.digest(parts)) revert NotCommitted(batchId);
    }

    /// @dev The claim is one that the provider committed to.
    function _claimed(bytes32 batchId, Parts calldata parts, Leaf calldata leaf, bytes32 claim)
        private
        view
        returns (IBatches.Batch memory b)
    {
        b = _committed(batchId, parts);
        if (!Sha256Tree.holds(parts.claims, claim, leaf.index, parts.claimCount, leaf.path)) revert NotClaimed(leaf.index);
    }

    /// @dev Also of a batch that is final: its voters answer for what they said of it.
    function _convict(bytes32 batchId, IBatches.Batch memory b, Fault fault) private {
        if (faultOf[batchId] != Fault.None) revert FaultProvenBefore(batchId);
        faultOf[batchId] = fault;
        emit FaultProven(batchId, fault, msg.sender);
        if (b.status == IBatches.Status.Committed || b.status == IBatches.Status.SlashPending) batches.convict(batchId);
    }
}
