// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IReferee} from "../../protocol/contracts/interfaces/IReferee.sol";
import {Claims} from "../../protocol/contracts/libraries/Claims.sol";
import {Groth16} from "../../protocol/contracts/libraries/Groth16.sol";
import {Receipts} from "../../protocol/contracts/libraries/Receipts.sol";

/// @dev Hashes of calldata structs, for a test that has them in memory.
contract Hashes {
    function digest(IReferee.Parts calldata p) external pure returns (bytes32) {
        return Claims.digest(p);
    }

    function place(IReferee.Place calldata c) external pure returns (bytes32) {
        return Claims.place(c);
    }

    function inTrace(IReferee.InTrace calldata c) external pure returns (bytes32) {
        return Claims.inTrace(c);
    }

    function proof(IReferee.Proof calldata c, uint8 circuit, uint256[] calldata signals)
        external
        pure
        returns (bytes32)
    {
        return Claims.proof(c, Claims.signalsHash(circuit, signals));
    }

    function receipt(IReferee.Receipt calldata r) external pure returns (bytes32) {
        return Receipts.hash(r);
    }

    function rootOf(bytes calldata payload, bool output) external pure returns (bytes32) {
        return Receipts.rootOf(payload, output);
    }

    function ioRoot(bool output, bytes32[] calldata records) external pure returns (bytes32) {
        return Receipts.ioRoot(output, records);
    }

    function record(IReferee.Tree calldata t) external pure returns (bytes32) {
        return Receipts.record(t);
    }

    function jobRoot(bytes32 receipt, bytes calldata manifest, bytes calldata tensors) external pure returns (bytes32) {
        return Claims.jobRoot(receipt, manifest, tensors);
    }

    function verify(uint256[] calldata key, uint256[] calldata signals, bytes calldata proof_)
        external
        view
        returns (bool)
    {
        return Groth16.verify(key, signals, proof_);
    }
}
