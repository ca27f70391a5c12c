import { bn254 } from '@noble/curves/bn254.js'
import * as snarkjs from 'snarkjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readVerifyingKey } from '../../circuits/artifacts.ts'
import { BASE_PRIME, type ProofVerdict, prepareVerifier, type VerifyingKey } from '../../circuits/groth16.ts'
import { createProver, type Proved } from '../../circuits/prove.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../../circuits/signals.ts'
import { createVerifier, type ProofClaim } from '../../circuits/verify.ts'
import { bigintToBytes, bytesToBigint, concat } from '../../protocol/bytes.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'
import {
  childIds,
  clampInput,
  codeOf,
  extremumInput,
  leaf,
  ownWork,
  pointwiseInput,
  productInput,
  relationInput,
} from './fixtures.ts'

const curve = await snarkjs.curves.getCurveFromName('bn128', { singleThread: true })
const prover = await createProver()
const verifier = await createVerifier()
const proofs: [label: string, kind: CircuitKind, proved: Proved][] = [
  ['relation', 'relation', await prover.prove('relation', relationInput())],
  ['table', 'pointwise', await prover.prove('pointwise', pointwiseInput({ tol: 2 }))],
  ['clamp', 'pointwise', await prover.prove('pointwise', clampInput())],
  ['product', 'product', await prover.prove('product', productInput())],
  ['extremum', 'extremum', await prover.prove('extremum', extremumInput())],
]
const [, , relation] = proofs[0]!
const [, , table] = proofs[1]!
const claims: ProofClaim[] = proofs.map(([, kind, { publicSignals, proof }]) => ({
  kind,
  signals: publicSignals,
  proof,
}))

test.after(async () => {
  await verifier.close()
  await prover.close()
})

const code = (verdict: ProofVerdict) => (verdict.ok ? 'OK' : verdict.code)
const judge = async (kind: CircuitKind, signals: readonly bigint[], proof: Uint8Array) =>
  code(await verifier.verify(kind, signals, proof))
/** The proof with coordinate `index` (0 to 7) replaced. */
const withCoordinate = (proof: Uint8Array, index: number, value: bigint): Uint8Array => {
  const out = proof.slice()
  out.set(bigintToBytes(value, 32), 32 * index)
  return out
}
const coordinate = (proof: Uint8Array, index: number) => bytesToBigint(proof.subarray(32 * index, 32 * index + 32))

test('true statements of every kind verify', async () => {
  for (const [label, kind, { publicSignals, proof }] of proofs)
    assert.is(await judge(kind, publicSignals, proof), 'OK', label)
})

test('snarkjs reads the same proof from the documented encoding and agrees', async () => {
  for (const [, kind, { publicSignals, proof }] of proofs) {
    const [ax, ay, bx1, bx0, by1, by0, cx, cy] = Array.from({ length: 8 }, (_, i) => String(coordinate(proof, i)))
    const points = {
      pi_a: [ax, ay, '1'],
      pi_b: [
        [bx0, bx1],
        [by0, by1],
        ['1', '0'],
      ],
      pi_c: [cx, cy, '1'],
      protocol: 'groth16',
      curve: 'bn128',
    }
    assert.ok(await snarkjs.groth16.verify(await readVerifyingKey(kind), publicSignals.map(String), points))
  }
  await (await snarkjs.curves.getCurveFromName('bn128')).terminate()
})

test('the same statement proven twice gives different bytes', async () => {
  const again = await prover.prove('pointwise', pointwiseInput({ tol: 2 }))
  assert.equal(again.publicSignals, table.publicSignals)
  assert.not.equal(again.proof, table.proof)
})

for (const [label, kind, { publicSignals, proof }] of proofs)
  test(`changing any one public signal of a ${label} proof is refused`, async () => {
    for (let i = 0; i < publicSignals.length; i++)
      assert.is(await judge(kind, publicSignals.with(i, mod(publicSignals[i]! + 1n)), proof), 'PAIRING', `signal ${i}`)
  })

test('no public signal has a zero point in the key, so that none can be changed by any amount', async () => {
  for (const kind of CIRCUIT_KINDS)
    for (const point of (await readVerifyingKey(kind)).IC) assert.not.equal(point, ['0', '1', '0'])
})

for (const [label, kind, { publicSignals: signals, proof }] of proofs) {
  test(`aliased, missing and extra signals of a ${label} proof are refused before the pairing`, async () => {
    for (const at of [0, 3, signals.length - 1]) {
      assert.is(await judge(kind, signals.with(at, signals[at]! + FIELD_PRIME), proof), 'SIGNAL_RANGE')
      assert.is(await judge(kind, signals.with(at, signals[at]! - FIELD_PRIME), proof), 'SIGNAL_RANGE')
    }
    assert.is(await judge(kind, signals.slice(0, -1), proof), 'SIGNAL_COUNT')
    assert.is(await judge(kind, [...signals, 0n], proof), 'SIGNAL_COUNT')
    assert.is(await judge(kind, [], proof), 'SIGNAL_COUNT')
    for (const other of CIRCUIT_KINDS) if (other !== kind) assert.is(await judge(other, signals, proof), 'SIGNAL_COUNT')
    for (const [, other, { publicSignals, proof: foreign }] of proofs)
      if (other !== kind) assert.is(await judge(other, publicSignals, proof), 'PAIRING', `${foreign.length}`)
  })

  test(`malformed ${label} proofs are refused, each for its reason`, async () => {
    const judgeProof = (bytes: Uint8Array) => judge(kind, signals, bytes)
    assert.is(await judgeProof(proof.subarray(1)), 'PROOF_LENGTH')
    assert.is(await judgeProof(concat(proof, new Uint8Array(1))), 'PROOF_LENGTH')
    assert.is(await judgeProof(new Uint8Array()), 'PROOF_LENGTH')
    for (let i = 0; i < 8; i++) {
      const value = coordinate(proof, i)
      assert.is(await judgeProof(withCoordinate(proof, i, BASE_PRIME)), 'POINT_RANGE')
      assert.is(await judgeProof(withCoordinate(proof, i, value + BASE_PRIME)), 'POINT_RANGE')
      assert.is(await judgeProof(withCoordinate(proof, i, 2n ** 256n - 1n)), 'POINT_RANGE')
      assert.is(await judgeProof(withCoordinate(proof, i, (value + 1n) % BASE_PRIME)), 'POINT_OFF_CURVE')
    }
    assert.is(await judgeProof(new Uint8Array(256)), 'POINT_OFF_CURVE')
    for (const [from, to] of [
      [0, 64],
      [64, 192],
      [192, 256],
    ])
      assert.is(await judgeProof(proof.slice().fill(0, from, to)), 'POINT_OFF_CURVE', 'the point at infinity')
    // −A is on the curve and another proof.
    assert.is(await judgeProof(withCoordinate(proof, 1, BASE_PRIME - coordinate(proof, 1))), 'PAIRING')
    assert.is(await judgeProof(outsideSubgroup(proof)), 'POINT_SUBGROUP')
  })
}

/** The proof with a point of the twist for B that lies outside the subgroup. */
function outsideSubgroup(proof: Uint8Array): Uint8Array {
  const { Fp2 } = bn254.fields
  const twist = bn254.G2.Point.CURVE().b
  for (let i = 1n; ; i++) {
    const x = { c0: i, c1: 5n }
    try {
      const y = Fp2.sqrt(Fp2.add(Fp2.mul(Fp2.sqr(x), x), twist))
      return [x.c1, x.c0, y.c1, y.c0].reduce((bytes, value, at) => withCoordinate(bytes, 2 + at, value), proof)
    } catch {
      // Not a square: no point with this x.
    }
  }
}

test('re-randomised proofs verify: their bytes are no identity', async () => {
  // (A, B, C) and (−A, −B, C) are the same to the pairing, for anybody who has one of them.
  let { proof } = table
  for (const i of [1, 4, 5]) proof = withCoordinate(proof, i, BASE_PRIME - coordinate(proof, i))
  assert.not.equal(proof, table.proof)
  assert.is(await judge('pointwise', table.publicSignals, proof), 'OK')
})

test('another key, and a key without phase 2, are refused', async () => {
  for (const { kind, signals, proof } of claims) {
    const key = await readVerifyingKey(kind)
    const other: VerifyingKey = { ...key, vk_alpha_1: key.IC[0]! }
    assert.is(code(await prepareVerifier(curve, other)(signals, proof)), 'PAIRING')
    assert.is(code(await prepareVerifier(curve, key)(signals, proof)), 'OK')
    const skipped: VerifyingKey = { ...key, vk_delta_2: key.vk_gamma_2 }
    assert.is(await codeOf(() => prepareVerifier(curve, skipped)), 'KEY_NO_PHASE2')
    assert.is(await codeOf(() => prepareVerifier(curve, { ...key, nPublic: key.nPublic - 1 })), 'KEY_FORMAT')
    assert.is(await codeOf(() => prepareVerifier(curve, { ...key, protocol: 'plonk' })), 'KEY_FORMAT')
    const moved = [...key.IC.slice(0, -1), ['1', '1', '1']]
    assert.is(await codeOf(() => prepareVerifier(curve, { ...key, IC: moved })), 'KEY_FORMAT')
  }
})

test('the keys of all circuits come from one phase 1 and differ in the second', async () => {
  const keys = await Promise.all(CIRCUIT_KINDS.map(readVerifyingKey))
  for (const key of keys) {
    assert.equal(key.vk_alpha_1, keys[0]!.vk_alpha_1)
    assert.equal(key.vk_beta_2, keys[0]!.vk_beta_2)
  }
  assert.is(new Set(keys.map((key) => key.vk_delta_2.flat().join())).size, keys.length)
})

test('many proofs together get the verdict that they get one by one', async () => {
  assert.equal(await verifier.verifyAll([]), { ok: true })
  assert.equal(await verifier.verifyAll(claims.slice(0, 1)), { ok: true })
  const many = [...claims, ...claims, ...claims]
  assert.equal(await verifier.verifyAll(many), { ok: true })
  const replaced = (at: number, change: Partial<ProofClaim>, from = many) => from.with(at, { ...from[at]!, ...change })
  const bumped = ({ signals }: ProofClaim) => signals.with(0, mod(signals[0]! + 1n))
  for (let at = 0; at < many.length; at++) {
    const bad = replaced(at, { signals: bumped(many[at]!) })
    assert.equal(await verifier.verifyAll(bad), { ok: false, index: at, code: 'PAIRING' })
  }
  // The first bad one counts, for whatever reason it is bad.
  const { signals, proof } = many[9]!
  const faults: [string, Partial<ProofClaim>][] = [
    ['SIGNAL_COUNT', { signals: [...signals, 0n] }],
    ['SIGNAL_RANGE', { signals: signals.with(0, FIELD_PRIME) }],
    ['PROOF_LENGTH', { proof: proof.subarray(1) }],
    ['POINT_RANGE', { proof: withCoordinate(proof, 0, BASE_PRIME) }],
    ['POINT_OFF_CURVE', { proof: new Uint8Array(256) }],
    ['POINT_SUBGROUP', { proof: outsideSubgroup(proof) }],
  ]
  for (const [expected, fault] of faults) {
    const one = replaced(9, fault)
    assert.equal(await verifier.verifyAll(one), { ok: false, index: 9, code: expected })
    const later = replaced(11, { signals: bumped(one[11]!) }, one)
    assert.equal(await verifier.verifyAll(later), { ok: false, index: 9, code: expected })
    const earlier = replaced(2, { signals: bumped(one[2]!) }, one)
    assert.equal(await verifier.verifyAll(earlier), { ok: false, index: 2, code: 'PAIRING' })
  }
})

test('two wrongs that cancel in an unweighted batch are refused', async () => {
  // Two proofs of one statement with C + D and C − D: the product of their equations is that of the honest ones.
  const { G1 } = curve
  const point = (bytes: Uint8Array) => G1.fromRprUncompressed(new Uint8Array(bytes), 192)
  const again = await prover.prove('product', productInput())
  const { kind, signals, proof } = claims[3]!
  const shifted = (bytes: Uint8Array, by: bigint) =>
    concat(
      bytes.subarray(0, 192),
      G1.toUncompressed(G1.toAffine(G1.add(point(bytes), G1.timesScalar(G1.oneAffine, mod(by))))),
    )
  const pair = (by: bigint) => [
    { kind, signals, proof: shifted(proof, by) },
    { kind, signals, proof: shifted(again.proof, -by) },
  ]
  assert.equal(await verifier.verifyAll(pair(0n)), { ok: true })
  assert.equal(await verifier.verifyAll(pair(5n)), { ok: false, index: 0, code: 'PAIRING' })
})

test('with gamma = delta anybody proves anything to a verifier that does not look: so we look', async () => {
  const key = await readVerifyingKey('pointwise')
  const { G1, G2 } = curve
  const read = (value: unknown): unknown => (Array.isArray(value) ? value.map(read) : BigInt(value as string))
  const g1 = (point: unknown) => G1.toAffine(G1.fromObject(read(point) as unknown[]))
  const signals = table.publicSignals.with(0, 12345n)
  const inputs = signals.reduce(
    (sum, signal, i) => G1.add(sum, G1.timesScalar(g1(key.IC[i + 1]), signal)),
    g1(key.IC[0]),
  )
  // A = alpha, B = beta, C = −inputs: e(A, B) is e(alpha, beta), and the other two pairings cancel.
  const c = G1.toAffine(G1.neg(inputs))
  const forged = { pi_a: key.vk_alpha_1, pi_b: key.vk_beta_2, pi_c: G1.toObject(c).map(String), protocol: 'groth16' }
  const skipped = { ...key, vk_delta_2: key.vk_gamma_2 }
  assert.ok(await snarkjs.groth16.verify(skipped, signals.map(String), forged))
  await (await snarkjs.curves.getCurveFromName('bn128')).terminate()
  const beta = G2.toUncompressed(G2.toAffine(G2.fromObject(read(key.vk_beta_2) as unknown[])))
  const bytes = concat(G1.toUncompressed(g1(key.vk_alpha_1)), beta, G1.toUncompressed(c))
  assert.is(await judge('pointwise', signals, bytes), 'PAIRING')
})

test('false statements are not proven', async () => {
  const input = pointwiseInput()
  const b = { limbs: input.b.limbs.with(7, input.b.limbs[7]! ^ 1), salt: input.b.salt }
  assert.is(await codeOf(() => prover.prove('pointwise', { ...input, b })), 'WITNESS_UNSATISFIED')
  assert.is(
    await codeOf(() => prover.prove('pointwise', clampInput({ b: leaf('other', () => 9) }))),
    'WITNESS_UNSATISFIED',
  )
  const { values } = extremumInput()
  assert.is(
    await codeOf(() => prover.prove('extremum', extremumInput({ values: values.with(0, 1n) }))),
    'WITNESS_UNSATISFIED',
  )
  assert.is(await codeOf(() => prover.prove('extremum', extremumInput({ values: values.with(1, -1n) }))), 'STAGE_RANGE')
})

test('a closed verifier says so', async () => {
  const own = await createVerifier()
  const pending = codeOf(() => own.verify('pointwise', table.publicSignals, table.proof))
  await new Promise((resolve) => setImmediate(resolve))
  await own.close()
  assert.is(await pending, 'VERIFIER_CLOSED')
  assert.is(await codeOf(() => own.verify('pointwise', table.publicSignals, table.proof)), 'VERIFIER_CLOSED')
  assert.is(await codeOf(() => own.verifyAll(claims)), 'VERIFIER_CLOSED')
})

test('a verifier whose child dies loses the proofs in flight and nothing else', async () => {
  const before = new Set(childIds())
  const own = await createVerifier()
  const [pid] = childIds().filter((id) => !before.has(id))
  if (pid !== undefined) {
    const pending = codeOf(() => own.verify('relation', relation.publicSignals, relation.proof))
    await new Promise((resolve) => setImmediate(resolve))
    process.kill(pid, 'SIGKILL')
    assert.is(await pending, 'VERIFIER_DIED')
    const both = [0, 1].map(() => own.verify('relation', relation.publicSignals, relation.proof))
    assert.equal(await Promise.all(both), [{ ok: true }, { ok: true }])
  }
  await own.close()
  assert.equal(new Set(childIds()), before)
})

test('verifying is not done in the calling process', async () => {
  const work = await ownWork(async () => {
    const all = Array.from({ length: 12 }, () => judge('relation', relation.publicSignals, relation.proof))
    assert.equal(await Promise.all(all), new Array(12).fill('OK'))
  })
  // Twelve proofs are about 450 ms of computing.
  assert.ok(work < 200, `${work} ms`)
})

test.run()
