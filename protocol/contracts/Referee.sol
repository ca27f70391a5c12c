// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {IBatches} from "./interfaces/IBatches.sol";
import {IReferee} from "./interfaces/IReferee.sol";
import {Sha256Tree} from "./libraries/Sha256Tree.sol";

/// @title Referee, documented in {IReferee}
contract Referee is IReferee {
    using BitMaps for BitMaps.BitMap;

    /// @dev A chunk and its path in one transaction stay far below what pools forward (128 KiB).
    uint256 public constant CHUNK_BYTES = 16_384;

    IBatches public immutable batches;

    mapping(bytes32 batchId => BitMaps.BitMap) private _chunks;
    /// @dev Chunks that are missing + 1; 0 before the first.
    mapping(bytes32 batchId => uint256) private _left;

    constructor(IBatches batches_) {
        batches = batches_;
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
        emit ChunkPosted(batchId, index, left - 1);
    }

    /// @inheritdoc IReferee
    function posted(bytes32 batchId) external view returns (bool) {
        return _left[batchId] == 1;
    }

    /// @inheritdoc IReferee
    function chunkPosted(bytes32 batchId, uint256 index) external view returns (bool) {
        return _chunks[batchId].get(index);
    }

    /// @dev The parts are those of the digest that the batch's provider committed to.
    function _committed(bytes32 batchId, Parts calldata p) private view returns (IBatches.Batch memory b) {
        b = batches.batchOf(batchId);
        bytes32 digest = _hash(
            "attestation",
            abi.encodePacked(
                uint32(4), p.length, uint32(32), p.chunks, uint32(4), p.claimCount, uint32(32), p.claims
            )
        );
        if (b.attestation == 0 || b.attestation != digest) revert NotCommitted(batchId);
    }

    /// @dev H of gossip.md, its parts framed already.
    function _hash(bytes memory domain, bytes memory framed) private pure returns (bytes32) {
        return sha256(abi.encodePacked("sinter/1/", domain, uint8(0), framed));
    }
}
