pragma circom 2.2.0;

include "leaf.circom";

// Whether a value is zero. Unlike circomlib's IsZero it leaves no wire free (there, `inverse` is when the value is 0),
// so that a test may demand of every wire that changing it breaks a constraint.
template ZeroBit() {
    signal input in;
    signal output out;
    signal inverse;
    inverse <-- in != 0 ? 1 / in : 0;
    out <== 1 - in * inverse;
    in * out === 0;
    inverse * out === 0;
}

// Picks values[index], index = sum bits[i] * 2^i, for 2^n values: 2^n - 1 products.
template Select(n) {
    signal input values[2 ** n];
    signal input bits[n];
    signal output out;

    signal level[2 ** n - 1];
    var at = 0;
    var from = 0;
    for (var i = 0; i < n; i++) {
        var width = 2 ** (n - 1 - i);
        for (var j = 0; j < width; j++) {
            if (i == 0) {
                level[at + j] <== values[2 * j] + bits[0] * (values[2 * j + 1] - values[2 * j]);
            } else {
                level[at + j] <== level[from + 2 * j] + bits[i] * (level[from + 2 * j + 1] - level[from + 2 * j]);
            }
        }
        from = at;
        at += width;
    }
    out <== level[2 ** n - 2];
}

// 64 pairs of two leaves, related by a table or by the clamp of a saturated tile.
//
// Public, in this order (72): a, b, hi (leaf commitments), mode (0 table, 1 clamp), mask, tol,
// binding, knot_0..knot_64 (signed, mod r).
//
// For every j with bit j of mask set, with limbs x of a, y of b, h of hi (all in [0, 2^16)):
//   table: i = x >> 10, f = x mod 1024, T = K_i + floor(((K_{i+1} - K_i) f + 512) / 1024),
//          |y - 2^15 - T| <= tol
//   clamp: y = x if h = 2^15, 65535 if h > 2^15, 0 if h < 2^15;  and tol = 0
// Pairs outside the mask are opened (their limbs are limbs) and otherwise free.
//
// Who fixes what, when: the three leaves are anchored before the challenge, mode, mask, tol and
// knots are public inputs that each verifier derives from manifest and statement. Everything else
// is a function of the limbs' bits: the segment is picked by the top six bits themselves, so no
// knot can be looked up at another place, and the rounding remainder is determined (below).
//
// Bounds, all far from r, so that every equality mod r is one of integers:
//   tol in [0, 2^16), K in [-2^17, 2^17) (both constrained here), |K_{i+1} - K_i| < 2^18, f < 2^10
//   N = 1024 K_i + (K_{i+1} - K_i) f + 512           |N| < 2^27 + 2^28 + 2^9 < 2^29
//   V = 1024 (y - 2^15) - N                          |V| < 2^25 + 2^29 < 2^30
//   The prover gives ten bits rem in [0, 1024); d = (V + rem) / 1024 in the field. With both
//   tol + d and tol - d in [0, 2^17): |d| < 2^17, |1024 d - rem| < 2^28, so V = 1024 d - rem over
//   the integers and there is one such (d, rem) for each V: d = y - 2^15 - floor(N / 1024).
//   Their sum 2 tol < 2^17 is what makes 17 bits enough for any honest d.
template Pointwise() {
    signal input a;
    signal input b;
    signal input hi;
    signal input mode;
    signal input mask;
    signal input tol;
    signal input binding;
    signal input knot[65];

    signal input aLimbs[64];
    signal input bLimbs[64];
    signal input hiLimbs[64];
    signal input aSalt;
    signal input bSalt;
    signal input hiSalt;

    component aOpen = OpenLeaf();
    aOpen.limbs <== aLimbs;
    aOpen.salt <== aSalt;
    a === aOpen.leaf;
    component bOpen = OpenLeaf();
    bOpen.limbs <== bLimbs;
    bOpen.salt <== bSalt;
    b === bOpen.leaf;
    component hiOpen = OpenLeaf();
    hiOpen.limbs <== hiLimbs;
    hiOpen.salt <== hiSalt;
    hi === hiOpen.leaf;

    mode * (mode - 1) === 0;
    // A clamp is exact: no other value of tol has a meaning there.
    mode * tol === 0;
    component active = Num2Bits(64);
    active.in <== mask;
    component tolRange = Num2Bits(16);
    tolRange.in <== tol;
    component knotRange[65];
    for (var i = 0; i < 65; i++) {
        knotRange[i] = Num2Bits(18);
        knotRange[i].in <== knot[i] + (1 << 17);
    }
    signal bindingSquared <== binding * binding;

    component even[64];
    component odd[64];
    component next[64];
    component remRange[64];
    component low[64];
    component above[64];
    component below[64];
    signal left[64];
    signal right[64];
    signal slope[64];
    signal rem[64];
    signal clamps[64];
    signal off[64];
    signal exact[64];
    signal chosen[64];
    for (var j = 0; j < 64; j++) {
        clamps[j] <== active.out[j] * mode;
        var tables = active.out[j] - clamps[j];

        // Segment i = 2 m + s. Knots K_i and K_{i+1} come from three selections by m, which cost
        // less than two by i: K_{2m}, K_{2m+1} and K_{2m+2}, swapped by s.
        even[j] = Select(5);
        odd[j] = Select(5);
        next[j] = Select(5);
        for (var k = 0; k < 5; k++) {
            even[j].bits[k] <== aOpen.bits[j][11 + k];
            odd[j].bits[k] <== aOpen.bits[j][11 + k];
            next[j].bits[k] <== aOpen.bits[j][11 + k];
        }
        for (var m = 0; m < 32; m++) {
            even[j].values[m] <== knot[2 * m];
            odd[j].values[m] <== knot[2 * m + 1];
            next[j].values[m] <== knot[2 * m + 2];
        }
        left[j] <== even[j].out + aOpen.bits[j][10] * (odd[j].out - even[j].out);
        right[j] <== odd[j].out + aOpen.bits[j][10] * (next[j].out - odd[j].out);
        var f = 0;
        for (var k = 0; k < 10; k++) {
            f += aOpen.bits[j][k] * (1 << k);
        }
        slope[j] <== (right[j] - left[j]) * f;

        // Zero where the pair is masked out or the mode is clamp, and then d = rem = 0 satisfies.
        off[j] <== tables * (1024 * (bLimbs[j] - (1 << 15) - left[j]) - slope[j] - 512);
        // -off mod 1024; 2^40 is a multiple of 1024 that makes the dividend positive.
        rem[j] <-- ((1 << 40) - off[j]) % 1024;
        remRange[j] = Num2Bits(10);
        remRange[j].in <== rem[j];
        var d = (off[j] + rem[j]) / 1024;
        above[j] = Num2Bits(17);
        above[j].in <== tol - d;
        below[j] = Num2Bits(17);
        below[j].in <== tol + d;

        // h = 2^15 exactly when its top bit is set and the other fifteen are zero.
        var rest = 0;
        for (var k = 0; k < 15; k++) {
            rest += hiOpen.bits[j][k] * (1 << k);
        }
        low[j] = ZeroBit();
        low[j].in <== rest;
        exact[j] <== hiOpen.bits[j][15] * low[j].out;
        chosen[j] <== exact[j] * aLimbs[j];
        clamps[j] * (bLimbs[j] - chosen[j] - 65535 * (hiOpen.bits[j][15] - exact[j])) === 0;
    }
}

component main {public [a, b, hi, mode, mask, tol, binding, knot]} = Pointwise();
