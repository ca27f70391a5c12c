// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

/// @title BLS signatures on BN254 through the precompiles: signatures in G1, keys in G2
/// @notice Hash to curve is RFC 9380: expand_message_xmd over keccak256, the map of Shallue and van de Woestijne with Z = 1.
/// G1 has cofactor 1, so a point of the curve is a point of the group.
library Bn254 {
    uint256 internal constant P = 21888242871839275222246405745257275088696311157297823662689037894645226208583;

    /// @dev The generator of G2 negated, imaginary parts first as EIP-197 wants them.
    uint256 private constant MINUS_G2_X1 = 11559732032986387107991004021392285783925812861821192530917403151452391805634;
    uint256 private constant MINUS_G2_X0 = 10857046999023057135944570762232829481370756359578518086990519993285655852781;
    uint256 private constant MINUS_G2_Y1 = 17805874995975841540914202342111839520379459829704422454583296818431106115052;
    uint256 private constant MINUS_G2_Y0 = 13392588948715843804641432497768002650278120570034223513918757245338268106653;

    /// @dev Constants of the map (RFC 9380 §6.6.1): g(Z) = 4, −Z/2, √(−3·g(Z)·Z²) with sgn0 = 0, −4·g(Z)/(3·Z²).
    uint256 private constant C1 = 4;
    uint256 private constant C2 = 0x183227397098d014dc2822db40c0ac2ecbc0b548b438e5469e10460b6c3e7ea3;
    uint256 private constant C3 = 0x16789af3a83522eb353c98fc6b36d713d5d8d1cc5dffffffa;
    uint256 private constant C4 = 0x10216f7ba065e00de81ac1e7808072c9dd2b2385cd7b438469602eb24829a9bd;

    error PrecompileFailed(uint256 number);

    /// @notice A point of G1 other than infinity, with canonical coordinates.
    function isPoint(uint256 x, uint256 y) internal pure returns (bool) {
        return x < P && y < P && mulmod(y, y, P) == _curve(x);
    }

    /// @notice Whether the precompile takes this as a point of G2 other than infinity. It checks curve and subgroup (EIP-197).
    function isKey(uint256[4] memory key) internal view returns (bool) {
        if (key[0] | key[1] | key[2] | key[3] == 0) return false;
        // e(G, key) · e(−G, key) = 1 for every point of the group.
        uint256[12] memory input =
            [1, 2, key[0], key[1], key[2], key[3], 1, P - 2, key[0], key[1], key[2], key[3]];
        // A malformed point takes all the gas that the precompile is given: twice what two pairs cost.
        (bool ok, bytes memory out) = address(8).staticcall{gas: 240_000}(abi.encodePacked(input));
        return ok && out.length == 32 && uint256(bytes32(out)) == 1;
    }

    /// @notice Whether `signature` is the key's on the point `message`. Both are points of G1, the key one of G2: with anything else the
    /// precompile fails, and so does this.
    function verify(uint256[2] memory signature, uint256[2] memory message, uint256[4] memory key)
        internal
        view
        returns (bool)
    {
        uint256[12] memory input = [
            signature[0],
            signature[1],
            MINUS_G2_X1,
            MINUS_G2_X0,
            MINUS_G2_Y1,
            MINUS_G2_Y0,
            message[0],
            message[1],
            key[0],
            key[1],
            key[2],
            key[3]
        ];
        bytes memory out = _call(8, abi.encodePacked(input));
        return uint256(bytes32(out)) == 1;
    }

    /// @notice RFC 9380 hash_to_curve of a 32-byte message. `dst` at most 255 bytes.
    function hashToPoint(bytes memory dst, bytes32 message) internal view returns (uint256[2] memory point) {
        (uint256 u0, uint256 u1) = _toField(dst, message);
        (uint256 x0, uint256 y0) = map(u0);
        (uint256 x1, uint256 y1) = map(u1);
        (point[0], point[1]) = abi.decode(_call(6, abi.encode(x0, y0, x1, y1)), (uint256, uint256));
    }

    /// @dev expand_message_xmd to 96 bytes, read as two field elements of 48 bytes each. The pad is one block of keccak256, 136 bytes.
    function _toField(bytes memory dst, bytes32 message) private pure returns (uint256 u0, uint256 u1) {
        bytes memory suffix = abi.encodePacked(dst, uint8(dst.length));
        bytes32 b0 = keccak256(abi.encodePacked(new bytes(136), message, uint16(96), uint8(0), suffix));
        bytes32 b1 = keccak256(abi.encodePacked(b0, uint8(1), suffix));
        bytes32 b2 = keccak256(abi.encodePacked(b0 ^ b1, uint8(2), suffix));
        bytes32 b3 = keccak256(abi.encodePacked(b0 ^ b2, uint8(3), suffix));
        // 48 bytes are b1 and half of b2, then the other half of b2 and b3.
        u0 = addmod(mulmod(uint256(b1), 1 << 128, P), uint256(b2) >> 128, P);
        u1 = addmod(mulmod(uint256(uint128(uint256(b2))), 1 << 255, P), 0, P);
        u1 = addmod(addmod(u1, u1, P), uint256(b3), P);
    }

    /// @notice The map of Shallue and van de Woestijne. `u` below P.
    function map(uint256 u) internal view returns (uint256 x, uint256 y) {
        uint256 scaled = mulmod(mulmod(u, u, P), C1, P);
        uint256 plus = addmod(1, scaled, P);
        uint256 minus = addmod(1, P - scaled, P);
        // The inverse of 0 is 0, which the exponent gives.
        uint256 inverse = _power(mulmod(plus, minus, P), P - 2);
        uint256 shift = mulmod(mulmod(mulmod(u, minus, P), inverse, P), C3, P);
        bool square;
        x = addmod(C2, P - shift, P);
        (square, y) = _root(_curve(x));
        if (!square) {
            x = addmod(C2, shift, P);
            (square, y) = _root(_curve(x));
        }
        if (!square) {
            uint256 ratio = mulmod(mulmod(plus, plus, P), inverse, P);
            x = addmod(1, mulmod(C4, mulmod(ratio, ratio, P), P), P);
            (square, y) = _root(_curve(x));
        }
        // One of the three always is (RFC 9380 §6.6.1).
        assert(square);
        if ((y ^ u) & 1 == 1) y = P - y;
    }

    function _curve(uint256 x) private pure returns (uint256) {
        return addmod(mulmod(mulmod(x, x, P), x, P), 3, P);
    }

    /// @dev P ≡ 3 mod 4.
    function _root(uint256 a) private view returns (bool square, uint256 root) {
        root = _power(a, (P + 1) / 4);
        square = mulmod(root, root, P) == a;
    }

    function _power(uint256 base, uint256 exponent) private view returns (uint256) {
        return uint256(bytes32(_call(5, abi.encode(32, 32, 32, base, exponent, P))));
    }

    function _call(uint256 number, bytes memory input) private view returns (bytes memory out) {
        bool ok;
        (ok, out) = address(uint160(number)).staticcall(input);
        if (!ok || out.length == 0) revert PrecompileFailed(number);
    }
}
