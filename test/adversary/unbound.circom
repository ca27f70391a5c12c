pragma circom 2.2.0;

include "../../circuits/leaf.circom";

// A weakened relation, for a test of what public coefficients buy: here the coefficients are the prover's, and the verifier sees
// of them only their digest at one point that is known beforehand.
template Unbound() {
    signal input leaf;
    signal input c;
    signal input kappa;
    signal input digest;

    signal input u[64];
    signal input limbs[64];
    signal input salt;

    component open = OpenLeaf();
    open.limbs <== limbs;
    open.salt <== salt;
    leaf === open.leaf;

    signal power[64];
    signal weighted[64];
    signal products[64];
    var sum = 0;
    var seen = 0;
    for (var i = 0; i < 64; i++) {
        power[i] <== i == 0 ? kappa : power[i - 1] * kappa;
        weighted[i] <== power[i] * u[i];
        products[i] <== u[i] * limbs[i];
        seen += weighted[i];
        sum += products[i];
    }
    c === sum;
    digest === seen;
}

component main {public [leaf, c, kappa, digest]} = Unbound();
