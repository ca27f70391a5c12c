// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Bn254} from "./Bn254.sol";

/// @title Groth16 over BN254, as circuits.md §9 has it
/// @notice A key is words: alpha (2), beta, gamma, delta (4 each, imaginary parts first), then IC_0, IC_1, … (2 each). Keys of many inputs
/// do not fit in a contract's code (IC of `relation` alone has 41 KB), so a key is an argument, and who calls pins its hash.
library Groth16 {
    uint256 internal constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant HEAD = 14;
    uint256 private constant PROOF_BYTES = 256;

    /// @notice Whether the proof is one under the key for these signals. Everything that is malformed is no proof: a wrong number of
    /// signals, one of r or more, other than 256 bytes, coordinates of q or more, points off the curve, outside of the subgroup, at infinity.
    /// @param key of at least `HEAD` + 2 words, its points on their curves. It is the caller's to know that.
    function verify(uint256[] calldata key, uint256[] calldata signals, bytes calldata proof)
        internal
        view
        returns (bool)
    {
        if (key.length != HEAD + 2 * (signals.length + 1) || proof.length != PROOF_BYTES) return false;
        uint256[8] memory p = abi.decode(proof, (uint256[8]));
        if (!Bn254.isPoint(p[0], p[1]) || !Bn254.isPoint(p[6], p[7])) return false;
        if (!Bn254.isKey([p[2], p[3], p[4], p[5]])) return false;
        (bool ok, uint256 x, uint256 y) = _combine(key[HEAD:], signals);
        return ok && _pairing(key, p, x, y);
    }

    /// @dev IC_0 + Σ s_i · IC_{i+1}. A signal of zero costs nothing: most coefficients of a short statement are.
    function _combine(uint256[] calldata ic, uint256[] calldata signals)
        private
        view
        returns (bool ok, uint256 x, uint256 y)
    {
        ok = true;
        (x, y) = (ic[0], ic[1]);
        uint256[4] memory slot;
        for (uint256 i = 0; i < signals.length; i++) {
            uint256 signal = signals[i];
            if (signal >= R) return (false, 0, 0);
            if (signal == 0) continue;
            (slot[0], slot[1], slot[2]) = (ic[2 * i + 2], ic[2 * i + 3], signal);
            assembly ("memory-safe") {
                // The product over the point, then the sum so far behind it.
                ok := staticcall(gas(), 7, slot, 0x60, slot, 0x40)
                mstore(add(slot, 0x40), x)
                mstore(add(slot, 0x60), y)
                ok := and(ok, staticcall(gas(), 6, slot, 0x80, slot, 0x40))
            }
            if (!ok) return (false, 0, 0);
            (x, y) = (slot[0], slot[1]);
        }
    }

    /// @dev e(−A, B) · e(α, β) · e(IC, γ) · e(C, δ) = 1.
    function _pairing(uint256[] calldata key, uint256[8] memory p, uint256 x, uint256 y) private view returns (bool) {
        bytes memory input = abi.encodePacked(
            abi.encodePacked(p[0], (Bn254.P - p[1]) % Bn254.P, p[2], p[3], p[4], p[5]),
            abi.encodePacked(key[0:6], x, y, key[6:10]),
            abi.encodePacked(p[6], p[7], key[10:14])
        );
        (bool ok, bytes memory out) = address(8).staticcall(input);
        return ok && out.length == 32 && uint256(bytes32(out)) == 1;
    }
}
