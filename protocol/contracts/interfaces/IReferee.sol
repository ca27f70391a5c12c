// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title What the chain itself can see of an attestation
/// @notice `commitAttestation` fixes a digest of two trees: one over the attestation's bytes in chunks, so that it can be posted in pieces
/// that fit in transactions, and one over claims, the facts in it that the chain can judge (attestation.md §7). Whoever shows that a claim
/// does not hold convicts the batch, whatever a committee has said or would say. A claim that holds convicts nobody, so nobody lays down a
/// bond here, and nobody is paid: there is nothing to gain by being first.
interface IReferee {
    /// @notice Which claim was shown not to hold.
    enum Fault {
        None,
        Place,
        Trace,
        Proof,
        Binding,
        Roots
    }

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

    /// @notice Where a claim stands in the tree of claims; `path` from the leaf up.
    struct Leaf {
        uint256 index;
        bytes32[] path;
    }

    /// @notice "This receipt stands at this leaf of the batch's sum tree." `path`: for each level hash and u128 sum, 48 bytes.
    struct Place {
        uint32 job;
        bytes32 receiptHash;
        uint128 price;
        uint32 index;
        bytes path;
    }

    /// @notice "The trees of this receipt's job have the root `tensors`, and stand at place `job` of `jobs` under the trace that was anchored."
    struct InTrace {
        uint32 job;
        uint32 jobs;
        bytes32 receiptHash;
        bytes manifest;
        bytes tensors;
        bytes path;
    }

    /// @notice "This is a proof for the signals whose hash I give." The hash is over the circuit and the signals.
    struct Proof {
        uint32 job;
        uint32 statement;
        uint32 segment;
        bytes proof;
    }

    /// @notice A signed receipt, without its signature: what its hash is of.
    struct Receipt {
        bytes32 networkId;
        address signer;
        bytes payload;
    }

    /// @notice A tree of a job and its root: `tree` 0 has a tensor's values, 3 what was served of an output. `shape`: each dimension as a u32.
    struct Tree {
        uint32 tensor;
        uint8 tree;
        int32 exponent;
        bytes shape;
        bytes32 root;
    }

    /// @notice Two records of one tree of one job: the receipt's, which is the `item`th among the records of its input or output root, and the
    /// trace's, which stands at `place` under the job's `tensors`.
    /// @param output whether the output root is opened, or the input root.
    /// @param path siblings from the record up.
    struct TwoRoots {
        Receipt receipt;
        bool output;
        bytes32[] records;
        uint256 item;
        Tree named;
        Tree traced;
        uint256 place;
        bytes32[] path;
    }

    /// @dev The bytes are here besides, for whoever reads them: what they add is less than the floor of what call data costs.
    event ChunkPosted(bytes32 indexed batchId, uint256 index, uint256 left, bytes chunk);
    event FaultProven(bytes32 indexed batchId, Fault fault, address indexed by);

    error NotCommitted(bytes32 batchId);
    error ChunkPostedBefore(uint256 index);
    error NotChunk(uint256 index);
    error NotClaimed(uint256 index);
    error NotKey(uint8 circuit);
    /// @notice The bytes are no receipt, or not the claim's.
    error NotReceipt();
    /// @notice The records are not of the receipt or of the trace, or not of one tree.
    error NotRecorded();
    /// @notice The claim holds.
    error NoFault();
    error FaultProvenBefore(bytes32 batchId);
    error NotRefuted(bytes32 batchId);
    error BatchIsFinal(bytes32 batchId);
    error NothingLeft(bytes32 batchId);

    /// @notice Posts one chunk of the attestation that a batch has committed to; by anyone, once, in any order. Its bytes are in the call.
    /// @param path siblings from the leaf up.
    function post(bytes32 batchId, Parts calldata parts, uint256 index, bytes calldata chunk, bytes32[] calldata path)
        external;

    /// @notice Convicts a batch whose receipt does not stand where it claims to in the anchored sum tree, or was not drawn.
    function provePlace(bytes32 batchId, Parts calldata parts, Leaf calldata leaf, Place calldata claim) external;

    /// @notice Convicts a batch whose attestation speaks of another trace than was anchored: the roots are unequal.
    function proveTrace(bytes32 batchId, Parts calldata parts, Leaf calldata leaf, InTrace calldata claim) external;

    /// @notice Convicts a batch that has a proof which is none for the signals it claims: by their number or range, by its form, or because the
    /// pairing fails.
    /// @param key verification key, in words as `Groth16` takes it; needs to have the hash that was pinned for the circuit.
    function proveProof(
        bytes32 batchId,
        Parts calldata parts,
        Leaf calldata leaf,
        Proof calldata claim,
        uint8 circuit,
        uint256[] calldata signals,
        uint256[] calldata key
    ) external;

    /// @notice Convicts a batch that claims signals which belong elsewhere: not bound to this chain, batch, provider, trace, challenge, job and
    /// place.
    /// @param trace the claim of the same job that names its receipt and manifest, at `traceLeaf`.
    function proveBinding(
        bytes32 batchId,
        Parts calldata parts,
        Leaf calldata leaf,
        Proof calldata claim,
        uint8 circuit,
        uint256[] calldata signals,
        Leaf calldata traceLeaf,
        InTrace calldata trace
    ) external;

    /// @notice Convicts a batch whose receipt names other inputs or outputs than its trace has: for one tree of one job there are two roots.
    /// Only until it is final: where the record stands that differs, its voters need not have looked.
    /// @dev Nothing has to be known of the model. Whichever tensors its inputs and outputs are, both the receipt and the trace say which tree a root
    /// is of, and no job has two of them.
    function proveRoots(
        bytes32 batchId,
        Parts calldata parts,
        Leaf calldata leaf,
        InTrace calldata claim,
        TwoRoots calldata roots
    ) external;

    /// @notice Takes the seats of voters whose verdict paid a batch that has been convicted since; once for each. All of it burns. Up to 48 in a call:
    /// whoever goes on calls again, until nothing is left.
    /// @param voters of the verdict, as `BatchSettled` has them.
    function unseat(bytes32 batchId, address[] calldata voters) external;

    /// @notice Whether every byte of the attestation that a batch has committed to was posted.
    function posted(bytes32 batchId) external view returns (bool);

    /// @notice Whether this chunk was.
    function chunkPosted(bytes32 batchId, uint256 index) external view returns (bool);

    /// @notice The fault that a batch was convicted for.
    function faultOf(bytes32 batchId) external view returns (Fault);
}
