// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title What the chain itself can see of an attestation
/// @notice `commitAttestation` fixes a digest of two trees: one over the attestation's bytes in chunks, so that it can be posted in pieces
/// that fit in transactions, and one over claims, the facts in it that the chain can judge (attestation.md §7).
interface IReferee {
    /// @notice What the digest of an attestation is made of: H("attestation", u32 length, chunks, u32 claimCount, claims).
    /// @param length bytes of the attestation.
    /// @param chunks root over the SHA-256 of each `CHUNK_BYTES` of it.
    /// @param claims root over the hashes of its claims.
    struct Parts {
        uint32 length;
        bytes32 chunks;
        uint32 claimCount;
        bytes32 claims;
    }

    event ChunkPosted(bytes32 indexed batchId, uint256 index, uint256 left);

    error NotCommitted(bytes32 batchId);
    error ChunkPostedBefore(uint256 index);
    error NotChunk(uint256 index);

    /// @notice Posts one chunk of the attestation that a batch has committed to; by anyone, once, in any order. Its bytes are in the call.
    /// @param path siblings from the leaf up.
    function post(bytes32 batchId, Parts calldata parts, uint256 index, bytes calldata chunk, bytes32[] calldata path)
        external;

    /// @notice Whether every byte of the attestation that a batch has committed to was posted.
    function posted(bytes32 batchId) external view returns (bool);

    /// @notice Whether this chunk was.
    function chunkPosted(bytes32 batchId, uint256 index) external view returns (bool);
}
