pragma circom 2.2.0;

include "circomlib/circuits/bitify.circom";
include "stage.circom";

// One segment of windows of staged gaps: none is negative, and in each window one is zero.
//
// Public, in this order (8): commitment, accIn, accOut, binding, gamma, first, ends_0, ends_1. Bit d of ends_0 + 2^128 ends_1
// says that gap d is the last of its window.
//
// The prover knows gaps v_0 … v_{n-1}, each in [0, 2^32), a, and blinds such that
//   commitment = the staged commitment of the gaps, seven to an element: e_k = sum_{j < 7} v_{7k+j} 2^(32 j)
//   in each window, a run of gaps that ends where `ends` says, one gap is 0; the last gap ends a window
//   accIn  = Poseidon(a, blindIn)
//   accOut = Poseidon(a + sum_i first · gamma^i · v_i mod r, blindOut)
//
// A gap is (result - element) of a maximum: all gaps of a window non-negative and one zero says that the result is the largest
// element and one of them.
//
// Who fixes what, when. Every gap is decomposed into 32 bits that are constrained one by one, so it is in [0, 2^32) whatever the
// prover does, and packing seven of them (at most 2^224 - 1, below r) is injective: the commitment fixes the gaps themselves,
// not merely their packing (that freedom is forgery (b) of DESIGN 5.2), and gamma is derived from it. That each gap is the
// form it must be follows as in product.circom. Which gaps belong to which window is public.
//
// Bounds: limbs are below 2^32, so a true gap lies in (-2^32, 2^32); a negative one is r minus a small number and no 32-bit
// value equals it.
template Extremum(n) {
    signal input commitment;
    signal input accIn;
    signal input accOut;
    signal input binding;
    signal input gamma;
    signal input first;
    signal input ends[2];

    signal input gaps[n];
    signal input stageBlind;
    signal input acc;
    signal input blindIn;
    signal input blindOut;

    component range[n];
    for (var i = 0; i < n; i++) {
        range[i] = Num2Bits(32);
        range[i].in <== gaps[i];
    }

    var elements = (n + 6) \ 7;
    component stage = StageCommitment(elements);
    for (var k = 0; k < elements; k++) {
        var packed = 0;
        for (var j = 0; j < 7 && 7 * k + j < n; j++) {
            packed += gaps[7 * k + j] * (1 << (32 * j));
        }
        stage.values[k] <== packed;
    }
    stage.blind <== stageBlind;
    commitment === stage.out;

    component last[2];
    for (var h = 0; h < 2; h++) {
        last[h] = Num2Bits(n \ 2);
        last[h].in <== ends[h];
    }
    // The last gap of a segment ends a window: what follows starts afresh in the next one.
    last[1].out[n \ 2 - 1] === 1;

    signal power[n];
    signal weighted[n];
    // Product of the gaps of a window so far.
    signal run[n];
    signal before[n];
    var sum = 0;
    for (var i = 0; i < n; i++) {
        var end = i < n \ 2 ? last[0].out[i % (n \ 2)] : last[1].out[i % (n \ 2)];
        if (i == 0) {
            power[i] <== first;
            before[i] <== 1;
        } else {
            var ended = i - 1 < n \ 2 ? last[0].out[(i - 1) % (n \ 2)] : last[1].out[(i - 1) % (n \ 2)];
            power[i] <== power[i - 1] * gamma;
            before[i] <== run[i - 1] + ended * (1 - run[i - 1]);
        }
        run[i] <== before[i] * gaps[i];
        end * run[i] === 0;
        weighted[i] <== power[i] * gaps[i];
        sum += weighted[i];
    }

    component link = ChainLink();
    link.accIn <== accIn;
    link.accOut <== accOut;
    link.acc <== acc;
    link.step <== sum;
    link.blindIn <== blindIn;
    link.blindOut <== blindOut;

    signal bindingSquared <== binding * binding;
}

component main {public [commitment, accIn, accOut, binding, gamma, first, ends]} = Extremum(256);
