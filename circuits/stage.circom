pragma circom 2.2.0;

include "circomlib/circuits/poseidon.circom";

// The commitment to staged values: a fixed number of Poseidon calls of 16 inputs, each taking the one before it,
//   h = Poseidon(blind, e_0, …, e_14),  h = Poseidon(h, e_15, …, e_29),  …
// the last filled with zeros. The number of elements is fixed by the circuit, so two different openings of one
// commitment are a collision of Poseidon; the blind in the first call hides all of them.
template StageCommitment(n) {
    signal input values[n];
    signal input blind;
    signal output out;

    var calls = (n + 14) \ 15;
    component hash[calls];
    for (var i = 0; i < calls; i++) {
        hash[i] = Poseidon(16);
        if (i == 0) {
            hash[i].inputs[0] <== blind;
        } else {
            hash[i].inputs[0] <== hash[i - 1].out;
        }
        for (var j = 0; j < 15; j++) {
            if (15 * i + j < n) {
                hash[i].inputs[1 + j] <== values[15 * i + j];
            } else {
                hash[i].inputs[1 + j] <== 0;
            }
        }
    }
    out <== hash[calls - 1].out;
}

// A link of the accumulator chain: in = Poseidon(acc, blindIn), out = Poseidon(acc + step, blindOut).
template ChainLink() {
    signal input accIn;
    signal input accOut;
    signal input acc;
    signal input step;
    signal input blindIn;
    signal input blindOut;

    component before = Poseidon(2);
    before.inputs[0] <== acc;
    before.inputs[1] <== blindIn;
    accIn === before.out;

    component after = Poseidon(2);
    after.inputs[0] <== acc + step;
    after.inputs[1] <== blindOut;
    accOut === after.out;
}
