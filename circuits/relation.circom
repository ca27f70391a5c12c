pragma circom 2.2.0;

include "leaf.circom";

// One segment of a linear relation over committed limbs.
//
// Public, in this order (653): leaf_0..leaf_9, accIn, accOut, binding, u_0..u_639,
// where u_{64 k + j} multiplies limb j of leaf k.
//
// The prover knows limbs, salts, a and two blinds such that
//   leaf_k = the commitment of 64 limbs in [0, 2^16)           (leaf.circom)
//   accIn  = Poseidon(a, blindIn)
//   accOut = Poseidon(a + sum u_i * z_i mod r, blindOut)
//
// Who fixes what, when: leaves stand in the anchored trace before the challenge exists, and with
// them every limb (bits, no look-up argument). The u are public inputs that each verifier derives
// from manifest and challenge. The running sum is hidden between segments but cannot be changed:
// the verifier hands the accOut of one segment as the accIn of the next, starts from Poseidon(0, 0)
// and ends at Poseidon(c, 0), and Poseidon binds both its arguments. Blinds may be chosen late;
// nothing but the hiding depends on them.
//
// Bounds: z_i < 2^16; the sum is meant mod r, so there is nothing that could wrap.
template Relation(leaves) {
    signal input leaf[leaves];
    signal input accIn;
    signal input accOut;
    signal input binding;
    signal input u[64 * leaves];

    signal input limbs[leaves][64];
    signal input salt[leaves];
    signal input acc;
    signal input blindIn;
    signal input blindOut;

    signal products[64 * leaves];
    component open[leaves];
    var sum = acc;
    for (var k = 0; k < leaves; k++) {
        open[k] = OpenLeaf();
        open[k].limbs <== limbs[k];
        open[k].salt <== salt[k];
        leaf[k] === open[k].leaf;
        for (var j = 0; j < 64; j++) {
            products[64 * k + j] <== u[64 * k + j] * limbs[k][j];
            sum += products[64 * k + j];
        }
    }

    component before = Poseidon(2);
    before.inputs[0] <== acc;
    before.inputs[1] <== blindIn;
    accIn === before.out;

    component after = Poseidon(2);
    after.inputs[0] <== sum;
    after.inputs[1] <== blindOut;
    accOut === after.out;

    // Ties the job, the challenge and the statement to this proof: a public input in no constraint
    // would be a candidate for removal by a later compiler or setup.
    signal bindingSquared <== binding * binding;
}

component main {public [leaf, accIn, accOut, binding, u]} = Relation(10);
