pragma circom 2.2.0;

include "stage.circom";

// One segment of a sum of products of staged values.
//
// Public, in this order (6): commitment, accIn, accOut, binding, gamma, first.
//
// The prover knows values f_0 … f_{2n-1}, a, and blinds such that
//   commitment = the staged commitment of f                     (stage.circom)
//   accIn  = Poseidon(a, blindIn)
//   accOut = Poseidon(a + sum_d f_{2d} f_{2d+1} + sum_i first · gamma^i · f_i mod r, blindOut)
//
// Who fixes what, when. The values are linear forms of committed limbs, with coefficients from the challenge, so they
// cannot stand in the trace. They are committed here, field elements as they are and no packing of them, and
// gamma is derived from the commitments of all segments of the statement: the values exist before gamma does. The relation
// segments that follow on the same chain subtract gamma^(i+1) times the form that value i must be, and the chain ends in a
// public constant: as a polynomial in gamma that is
//   (sum of products + sum u z - c) + sum_i gamma^(i+1) (f_i - form_i),
// which vanishes at a random point only if every coefficient does, but for (number of forms) / r. So each value is its form,
// also in the slots that a statement leaves unused (their form is 0), and the sum of products is what the statement says.
// Without the commitment, values chosen after gamma could meet any sum.
//
// Bounds: everything is meant mod r, so there is nothing that could wrap; that products of forms over limbs say something about
// integers is for the statement (each row is below 2^64 in absolute value).
template Product(n) {
    signal input commitment;
    signal input accIn;
    signal input accOut;
    signal input binding;
    signal input gamma;
    signal input first;

    signal input values[2 * n];
    signal input stageBlind;
    signal input acc;
    signal input blindIn;
    signal input blindOut;

    component stage = StageCommitment(2 * n);
    stage.values <== values;
    stage.blind <== stageBlind;
    commitment === stage.out;

    signal power[2 * n];
    signal weighted[2 * n];
    signal products[n];
    var sum = 0;
    for (var i = 0; i < 2 * n; i++) {
        if (i == 0) {
            power[i] <== first;
        } else {
            power[i] <== power[i - 1] * gamma;
        }
        weighted[i] <== power[i] * values[i];
        sum += weighted[i];
    }
    for (var d = 0; d < n; d++) {
        products[d] <== values[2 * d] * values[2 * d + 1];
        sum += products[d];
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

component main {public [commitment, accIn, accOut, binding, gamma, first]} = Product(64);
