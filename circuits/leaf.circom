pragma circom 2.2.0;

include "circomlib/circuits/bitify.circom";
include "circomlib/circuits/poseidon.circom";

// A leaf is 64 unsigned 16-bit limbs and a salt, committed as
//   leaf = Poseidon(e_0, …, e_4, salt),  e_i = sum_{j < 15} limb[15 i + j] * 2^(16 j)
// with four limbs in e_4.
//
// Each limb is decomposed into 16 bits and each bit is constrained to 0 or 1, so every limb is in
// [0, 2^16) whatever the prover does: nothing here depends on a challenge, and there is no
// second decomposition of the same packed element (that freedom is forgery (b) of DESIGN 5.2).
//
// Bounds. A limb is at most 2^16 - 1 and a packed element at most 2^240 - 1, below r (about
// 2^253.6): packing is injective over the integers, hence also mod r. Two different openings of
// one commitment are therefore a collision of Poseidon.
//
// The commitment is an output: the caller decides which public signal it must equal.
template OpenLeaf() {
    signal input limbs[64];
    signal input salt;
    signal output bits[64][16];
    signal output leaf;

    component range[64];
    for (var j = 0; j < 64; j++) {
        range[j] = Num2Bits(16);
        range[j].in <== limbs[j];
        bits[j] <== range[j].out;
    }

    component hash = Poseidon(6);
    for (var i = 0; i < 5; i++) {
        var packed = 0;
        for (var j = 0; j < 15 && 15 * i + j < 64; j++) {
            packed += limbs[15 * i + j] * (1 << (16 * j));
        }
        hash.inputs[i] <== packed;
    }
    hash.inputs[5] <== salt;
    leaf <== hash.out;
}
