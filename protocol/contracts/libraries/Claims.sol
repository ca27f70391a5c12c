// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";
import {IReferee} from "../interfaces/IReferee.sol";

/// @title The hashes of an attestation's parts and claims (attestation.md §7)
/// @notice H(domain, parts) = SHA-256("sinter/1/" ‖ domain ‖ 0 ‖ for each part u32 length ‖ part). The twin in TypeScript is
/// protocol/claims.ts.
library Claims {
    function digest(IReferee.Parts calldata p) internal pure returns (bytes32) {
        return sha256(
            abi.encodePacked(
                "sinter/1/attestation",
                uint8(0),
                uint32(4),
                p.length,
                uint32(32),
                p.chunks,
                uint32(4),
                p.claimCount,
                uint32(32),
                p.claims
            )
        );
    }

    function place(IReferee.Place calldata c) internal pure returns (bytes32) {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("sinter/1/claim/place", uint8(0), uint32(4), c.job, uint32(32), c.receiptHash),
                abi.encodePacked(uint32(16), c.price, uint32(4), c.index, uint32(c.path.length), c.path)
            )
        );
    }

    function inTrace(IReferee.InTrace calldata c) internal pure returns (bytes32) {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("sinter/1/claim/trace", uint8(0), uint32(4), c.job, uint32(4), c.jobs),
                abi.encodePacked(uint32(32), c.receiptHash, uint32(c.manifest.length), c.manifest),
                abi.encodePacked(uint32(c.tensors.length), c.tensors, uint32(c.path.length), c.path)
            )
        );
    }

    function proof(IReferee.Proof calldata c, bytes32 signals) internal pure returns (bytes32) {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("sinter/1/claim/proof", uint8(0), uint32(4), c.job, uint32(4), c.statement),
                abi.encodePacked(uint32(4), c.segment, uint32(32), signals, uint32(c.proof.length), c.proof)
            )
        );
    }

    /// @notice What a segment's `signals` commits to: the circuit, then each public signal as 32 bytes.
    function signalsHash(uint8 circuit, uint256[] calldata signals) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(circuit, signals));
    }

    /// @notice A job's leaf in the trace.
    function jobRoot(bytes32 receiptHash, bytes calldata manifest, bytes calldata tensors)
        internal
        pure
        returns (bytes32)
    {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("sinter/1/job", uint8(0), uint32(32), receiptHash),
                abi.encodePacked(uint32(manifest.length), manifest, uint32(tensors.length), tensors)
            )
        );
    }

    /// @notice Seed of a job's challenge (attestation.md §4).
    function seed(
        IBatches batches,
        bytes32 batchId,
        IBatches.Batch memory b,
        bytes32 beaconValue,
        IReferee.InTrace calldata c
    ) internal view returns (bytes32) {
        return sha256(
            abi.encodePacked(
                abi.encodePacked(
                    "sinter/1/challenge", uint8(0), uint32(32), block.chainid, uint32(20), batches, uint32(32), batchId
                ),
                abi.encodePacked(uint32(20), b.provider, uint32(32), b.traceRoot, uint32(32), beaconValue),
                abi.encodePacked(uint32(32), c.receiptHash, uint32(c.manifest.length), c.manifest)
            )
        );
    }

    /// @notice The signal that ties a proof to its place under a seed: 31 bytes.
    function binding(bytes32 seed_, uint32 statement, uint32 segment) internal pure returns (uint256) {
        return uint256(
            sha256(
                abi.encodePacked("sinter/1/binding", uint8(0), uint32(32), seed_, uint32(8), statement, segment)
            )
        ) >> 8;
    }
}
