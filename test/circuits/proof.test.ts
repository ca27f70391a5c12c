import { bn254 } from '@noble/curves/bn254.js'
import * as snarkjs from 'snarkjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readVerifyingKey } from '../../circuits/artifacts.ts'
import { BASE_PRIME, type ProofVerdict, prepareVerifier, type VerifyingKey } from '../../circuits/groth16.ts'
import { createProver, type Proved } from '../../circuits/prove.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../../circuits/signals.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { bigintToBytes, bytesToBigint, concat } from '../../protocol/bytes.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'
import { childIds, clampInput, codeOf, leaf, ownWork, pointwiseInput, relationInput } from './fixtures.ts'

const curve = await snarkjs.curves.getCurveFromName('bn128', { singleThread: true })
const prover = await createProver()
const verifier = await createVerifier()
const proofs: [label: string, kind: CircuitKind, proved: Proved][] = [
  ['relation', 'relation', await prover.proveRelation(relationInput())],
  ['table', 'pointwise', await prover.provePointwise(pointwiseInput({ tol: 2 }))],
  ['clamp', 'pointwise', await prover.provePointwise(clampInput())],
]
const [, , relation] = proofs[0]!
const [, , table] = proofs[1]!

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
  const again = await prover.provePointwise(pointwiseInput({ tol: 2 }))
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

test('aliased, missing and extra signals are refused before the pairing', async () => {
  const { publicSignals: signals, proof } = table
  for (const at of [0, 3, 71]) {
    assert.is(await judge('pointwise', signals.with(at, signals[at]! + FIELD_PRIME), proof), 'SIGNAL_RANGE')
    assert.is(await judge('pointwise', signals.with(at, signals[at]! - FIELD_PRIME), proof), 'SIGNAL_RANGE')
  }
  assert.is(await judge('pointwise', signals.slice(0, -1), proof), 'SIGNAL_COUNT')
  assert.is(await judge('pointwise', [...signals, 0n], proof), 'SIGNAL_COUNT')
  assert.is(await judge('pointwise', [], proof), 'SIGNAL_COUNT')
  assert.is(await judge('relation', signals, proof), 'SIGNAL_COUNT')
  assert.is(await judge('relation', relation.publicSignals, proof), 'PAIRING')
})

test('malformed proofs are refused, each for its reason', async () => {
  const { publicSignals: signals, proof } = table
  const judgeProof = (bytes: Uint8Array) => judge('pointwise', signals, bytes)
  assert.is(await judgeProof(proof.subarray(1)), 'PROOF_LENGTH')
  assert.is(await judgeProof(new Uint8Array(257)), 'PROOF_LENGTH')
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
})

test('a point of the twist outside the subgroup is refused as such', async () => {
  const { Fp2 } = bn254.fields
  const twist = bn254.G2.Point.CURVE().b
  let point: { x: { c0: bigint; c1: bigint }; y: { c0: bigint; c1: bigint } } | null = null
  for (let i = 1n; point === null; i++) {
    const x = { c0: i, c1: 5n }
    const square = Fp2.add(Fp2.mul(Fp2.sqr(x), x), twist)
    try {
      point = { x, y: Fp2.sqrt(square) }
    } catch {
      // Not a square: no point with this x.
    }
  }
  let bytes = table.proof
  for (const [i, value] of [point.x.c1, point.x.c0, point.y.c1, point.y.c0].entries())
    bytes = withCoordinate(bytes, 2 + i, value)
  assert.is(await judge('pointwise', table.publicSignals, bytes), 'POINT_SUBGROUP')
})

test('re-randomised proofs verify: their bytes are no identity', async () => {
  // (A, B, C) and (−A, −B, C) are the same to the pairing, for anybody who has one of them.
  let { proof } = table
  for (const i of [1, 4, 5]) proof = withCoordinate(proof, i, BASE_PRIME - coordinate(proof, i))
  assert.not.equal(proof, table.proof)
  assert.is(await judge('pointwise', table.publicSignals, proof), 'OK')
})

test('another key, and a key without phase 2, are refused', async () => {
  const key = await readVerifyingKey('pointwise')
  const other: VerifyingKey = { ...key, vk_alpha_1: key.IC[0]! }
  assert.is(code(await prepareVerifier(curve, other)(table.publicSignals, table.proof)), 'PAIRING')
  assert.is(code(await prepareVerifier(curve, key)(table.publicSignals, table.proof)), 'OK')
  const skipped: VerifyingKey = { ...key, vk_delta_2: key.vk_gamma_2 }
  assert.is(await codeOf(() => prepareVerifier(curve, skipped)), 'KEY_NO_PHASE2')
  assert.is(await codeOf(() => prepareVerifier(curve, { ...key, nPublic: 71 })), 'KEY_FORMAT')
  assert.is(await codeOf(() => prepareVerifier(curve, { ...key, protocol: 'plonk' })), 'KEY_FORMAT')
  const moved = [...key.IC.slice(0, -1), ['1', '1', '1']]
  assert.is(await codeOf(() => prepareVerifier(curve, { ...key, IC: moved })), 'KEY_FORMAT')
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
  assert.is(await codeOf(() => prover.provePointwise({ ...input, b })), 'WITNESS_UNSATISFIED')
  assert.is(await codeOf(() => prover.provePointwise(clampInput({ b: leaf('other', () => 9) }))), 'WITNESS_UNSATISFIED')
})

test('a closed verifier says so', async () => {
  const own = await createVerifier()
  const pending = codeOf(() => own.verify('pointwise', table.publicSignals, table.proof))
  await new Promise((resolve) => setImmediate(resolve))
  await own.close()
  assert.is(await pending, 'VERIFIER_CLOSED')
  assert.is(await codeOf(() => own.verify('pointwise', table.publicSignals, table.proof)), 'VERIFIER_CLOSED')
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
