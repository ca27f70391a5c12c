// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ICapacity} from "../interfaces/ICapacity.sol";

/// @title Arithmetic and commitments of capacity pulses
/// @notice The twin in TypeScript is protocol/pulse.ts; spec/capacity.md says what each part withstands.
library Pulses {
    /// @dev Levels of a report's tree. All paths are as long, so the registry's place of a node is one place in a report.
    uint256 internal constant REPORT_DEPTH = 20;
    /// @dev Largest prime with 2·(p − 1)² < 2^24: exact in float32.
    uint256 private constant PRIME = 2897;
    uint256 private constant STATE_MASK = 63;
    /// @dev ⌈2^41/p⌉.
    uint256 private constant RECIPROCAL = 759069126;
    /// @dev Values of a vector in a hash.
    uint256 private constant PER_HASH = 16;

    /// @dev The lowest bits of each lane.
    uint256 private constant LANES_2 = 0x0000000000000003000000000000000300000000000000030000000000000003;
    uint256 private constant LANES_6 = 0x000000000000003f000000000000003f000000000000003f000000000000003f;
    uint256 private constant LANES_8 = 0x00000000000000ff00000000000000ff00000000000000ff00000000000000ff;
    uint256 private constant LANES_16 = 0x000000000000ffff000000000000ffff000000000000ffff000000000000ffff;
    uint256 private constant LANES_23 = 0x00000000007fffff00000000007fffff00000000007fffff00000000007fffff;
    uint256 private constant LANES_32 = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
    /// @dev The lower half of each half.
    uint256 private constant HALVES = 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;

    /// @param slot of the pulse.
    /// @param value of its draw slot.
    struct Draw {
        uint64 slot;
        bytes32 value;
        address operator;
        uint32 lane;
    }

    /// @param step from 0.
    /// @param row, column of the entry in the state after the step.
    struct Position {
        uint256 step;
        uint256 row;
        uint256 column;
    }

    function isPulse(bytes32 value, uint256 rarity) internal pure returns (bool) {
        return uint256(keccak256(abi.encodePacked("sinter/pulse/slot/1", value))) % rarity == 0;
    }

    function reportersSeed(bytes32 value) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("sinter/pulse/reporters/1", value));
    }

    function laneSeed(address capacity, bytes32 value, address operator, uint32 lane) internal view returns (bytes32) {
        return keccak256(abi.encodePacked("sinter/pulse/lane/1", block.chainid, capacity, value, operator, lane));
    }

    /// @dev Each step is bound to the lane, not only the first: else two nodes could answer with one machine's chain.
    function stepSeed(bytes32 lane, uint256 step, bytes32 root) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("sinter/pulse/step/1", lane, uint32(step), root));
    }

    function isDrawn(Draw memory d, uint256 share) internal pure returns (bool) {
        return uint256(keccak256(abi.encodePacked("sinter/pulse/draw/1", d.slot, d.value, d.operator, d.lane))) % share == 0;
    }

    /// @dev Of nothing that a node has answered: of all it could have reported, it covers no more than it has computed.
    function positionOf(Draw memory d, uint256 entry, uint256 n, uint256 steps)
        internal
        pure
        returns (Position memory)
    {
        uint256 h = uint256(
            keccak256(abi.encodePacked("sinter/pulse/entry/1", d.slot, d.value, d.operator, d.lane, uint32(entry)))
        );
        return Position((h >> 224) % steps, uint32(h >> 192) % n, uint32(h >> 160) % n);
    }

    function leafOf(address operator, bytes32[] calldata answers) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), operator, answers));
    }

    /// @notice Whether an entry was computed, under a lane's answer.
    function shows(
        ICapacity.Entry calldata e,
        Position memory place,
        ICapacity.Class memory class,
        bytes32 lane,
        bytes32 answer
    ) internal pure returns (bool) {
        if (!_before(e, place, class, answer) || !_after(e, place, class, answer)) return false;
        bytes32 seed = stepSeed(lane, place.step, e.before);
        return uint8(e.result[place.column]) == computed(seed, place.row, place.column, class.n, e.operand);
    }

    /// @notice Whether a path of `depth` hashes leads from a node at `index` of its level to `root`.
    function leads(bytes32 node, uint256 index, bytes32[] calldata path, uint256 depth, bytes32 root)
        internal
        pure
        returns (bool)
    {
        if (path.length != depth || index >> depth != 0) return false;
        for (uint256 level = 0; level < depth; level++) {
            node = (index >> level) & 1 == 1 ? _node(path[level], node) : _node(node, path[level]);
        }
        return node == root;
    }

    /// @notice Entry [r, c] after a step: Σ_k A[r,k]·((x_k + H[c,k]) mod 64) mod 64 with H[c,k] = (α_c·β_k + γ_c·δ_k) mod p.
    /// @param x row c of the state before, n bytes, or none where it is zero.
    /// @dev Thousands of terms, hence assembly, four at a time in lanes of 64 bits. A hash has 16 values of β, or of δ, and 128 entries of A. Residues are
    /// taken once, of the sum: below 2^29, so that h − p·⌊h·⌈2^41/p⌉/2^41⌋ is exact. The lanes of A stand in reverse, so the highest of a product of words is the sum
    /// of the products of their lanes.
    function computed(bytes32 seed, uint256 r, uint256 c, uint256 n, bytes calldata x)
        internal
        pure
        returns (uint256 sum)
    {
        uint256 alpha = _value(seed, 0, c);
        uint256 gamma = _value(seed, 2, c);
        // "sinter/pulse/matrix/1" ‖ u32 row ‖ u32 block, 29 bytes.
        uint256 rowOf = uint256(bytes32("sinter/pulse/matrix/1")) | r << 56;
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore(buffer, seed)
            let a := 0
            for { let block_ := 0 } lt(block_, shr(4, n)) { block_ := add(block_, 1) } {
                if iszero(and(block_, 7)) {
                    mstore(0, or(rowOf, shl(24, shr(3, block_))))
                    a := keccak256(0, 29)
                }
                mstore(add(buffer, 32), or(shl(224, 1), shl(192, block_)))
                let beta := keccak256(buffer, 40)
                mstore(add(buffer, 32), or(shl(224, 3), shl(192, block_)))
                let delta := keccak256(buffer, 40)
                let word := 0
                if x.length { word := shr(128, calldataload(add(x.offset, shl(4, block_)))) }
                // Its four groups of 32 bits, to the lanes.
                word := and(or(word, shl(64, word)), HALVES)
                word := and(or(word, shl(32, word)), LANES_32)
                let entries := shr(224, a)
                a := shl(32, a)
                entries := or(
                    or(shl(192, and(entries, 0xff)), shl(120, and(entries, 0xff00))),
                    or(shl(48, and(entries, 0xff0000)), shr(24, entries))
                )
                for { let i := 0 } lt(i, 4) { i := add(i, 1) } {
                    let h := add(mul(alpha, and(beta, LANES_16)), mul(gamma, and(delta, LANES_16)))
                    h := sub(h, mul(PRIME, and(shr(41, mul(h, RECIPROCAL)), LANES_23)))
                    h := and(add(h, and(word, LANES_8)), LANES_6)
                    sum := add(sum, shr(192, mul(h, and(entries, LANES_2))))
                    beta := shr(16, beta)
                    delta := shr(16, delta)
                    word := shr(8, word)
                    entries := shr(2, entries)
                }
            }
        }
        return sum & STATE_MASK;
    }

    /// @dev The state before step 0 is zero, and needs no showing.
    function _before(
        ICapacity.Entry calldata e,
        Position memory place,
        ICapacity.Class memory class,
        bytes32 answer
    ) private pure returns (bool) {
        if (place.step == 0) return e.before == 0 && e.operand.length == 0;
        return e.operand.length == class.n
            && leads(_rowHash(e.operand), place.column, e.operandPath, _log2(class.n), e.before)
            && leads(e.before, place.step - 1, e.beforePath, _log2(class.steps), answer);
    }

    function _after(
        ICapacity.Entry calldata e,
        Position memory place,
        ICapacity.Class memory class,
        bytes32 answer
    ) private pure returns (bool) {
        return e.result.length == class.n
            && leads(_rowHash(e.result), place.row, e.resultPath, _log2(class.n), e.afterwards)
            && leads(e.afterwards, place.step, e.afterPath, _log2(class.steps), answer);
    }

    /// @dev Value `index` of a step's vector.
    function _value(bytes32 seed, uint32 which, uint256 index) private pure returns (uint256) {
        bytes32 words = keccak256(abi.encodePacked(seed, which, uint32(index / PER_HASH)));
        return uint16(uint256(words) >> (240 - 16 * (index % PER_HASH))) % PRIME;
    }

    function _rowHash(bytes calldata row) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), row));
    }

    function _node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, right));
    }

    /// @dev Of a power of two.
    function _log2(uint256 x) private pure returns (uint256 log) {
        while (x > 1) (x, log) = (x >> 1, log + 1);
    }
}
