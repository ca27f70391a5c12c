import { bn254 } from '@noble/curves/bn254.js'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createProverPool } from '../../circuits/pool.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import type { Fault } from '../../node/attestation/faults.ts'
import { bigintToBytes, bytesToBigint, concat } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { type Payload, seal } from '../../protocol/envelope.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { attestationDigest, judgeAttestation } from '../../protocol/rules/attestation.ts'
import { remembering } from './attestation-ideal.ts'
import { gainModel, zooInput, zooModel } from './attestation-models.ts'
import { type Attested, attest, bytes32, copyOf, makeWorld, NETWORK, PROVIDER, verify } from './attestation-world.ts'

/** The whole attestation with real proofs, made once. */

const pool = createProverPool({ workers: 1 })
const checker = await createVerifier()
const verifier = remembering(checker)
const world = makeWorld()
let honest: Attested

test.before(async () => {
  honest = await attest(world, pool)
})
test.after(async () => {
  await pool.close()
  await checker.close()
})

type Message = Payload<'attestation'>
const faultsAfter = async (change: (message: Message) => void): Promise<(Fault | null)[]> => {
  const message = copyOf(honest.message)
  change(message)
  const { findings } = await verify({ facts: honest.facts, message }, verifier, world)
  return findings.map(({ fault }) => fault)
}

const proofOf = (message: Message, job = 0) => message.jobs[job]!.statements.at(-1)!.segments[0]!

test('the honest attestation of the digits model is valid for every draw', async () => {
  const { verdicts, proofs } = await verify(honest, verifier, world)
  assert.equal(verdicts, ['valid', 'valid'])
  assert.is(
    proofs,
    honest.message.jobs.flatMap(({ statements }) => statements.flatMap(({ segments }) => segments)).length,
  )
})

test('a wrong point, a wrong pairing and a proof of another place each have their fault', async () => {
  const at = (bytes: (proof: Uint8Array) => Uint8Array) => (message: Message) => {
    proofOf(message).proof = bytes(proofOf(message).proof)
  }
  assert.equal(await faultsAfter(at(() => new Uint8Array())), ['PROOF_POINTS', null])
  assert.equal(await faultsAfter(at(() => new Uint8Array(256))), ['PROOF_POINTS', null])
  assert.equal(await faultsAfter(at(() => new Uint8Array(256).fill(255))), ['PROOF_POINTS', null])
  assert.equal(await faultsAfter(at((proof) => concat(proof, new Uint8Array(1)))), ['PROOF_POINTS', null])
  assert.equal(
    await faultsAfter(
      at((proof) => {
        proof[3]! ^= 4
        return proof
      }),
    ),
    ['PROOF_POINTS', null],
  )
  // −A is on the curve, and the equation no longer holds.
  const negated = (proof: Uint8Array): Uint8Array => {
    const a = bn254.G1.Point.fromAffine({
      x: bytesToBigint(proof.subarray(0, 32)),
      y: bytesToBigint(proof.subarray(32, 64)),
    })
    return concat(proof.subarray(0, 32), bigintToBytes(a.negate().toAffine().y, 32), proof.subarray(64))
  }
  assert.equal(await faultsAfter(at(negated)), ['PROOF_PAIRING', null])
  const spliced = await faultsAfter((message) => {
    proofOf(message).proof = proofOf(message, 1).proof
  })
  assert.equal(spliced, ['PROOF_PAIRING', null])
})

test('a chain with another link in the middle does not verify on either side', async () => {
  const at = honest.message.jobs.findIndex(({ statements }) => statements.some(({ segments }) => segments.length > 1))
  assert.ok(at >= 0, 'no statement has two segments')
  const found = await faultsAfter((message) => {
    const chained = message.jobs[at]!.statements.find(({ segments }) => segments.length > 1)!
    chained.segments[0]!.accumulator = bigintToBytes(bytesToBigint(chained.segments[0]!.accumulator) ^ 1n, 32)
  })
  assert.is(found[at], 'PROOF_PAIRING')
})

/** Another proof of the same statement, made from a proof alone: (A, B, C) to (k·A, k⁻¹·B, C). */
function rerandomised(proof: Uint8Array, k: bigint): Uint8Array {
  const word = (i: number): bigint => bytesToBigint(proof.subarray(32 * i, 32 * (i + 1)))
  const a = bn254.G1.Point.fromAffine({ x: word(0), y: word(1) })
  const b = bn254.G2.Point.fromAffine({ x: { c0: word(3), c1: word(2) }, y: { c0: word(5), c1: word(4) } })
  const A = a.multiply(k).toAffine()
  const B = b.multiply(bn254.fields.Fr.inv(k)).toAffine()
  const words = [A.x, A.y, B.x.c1, B.x.c0, B.y.c1, B.y.c0]
  return concat(...words.map((value) => bigintToBytes(value, 32)), proof.subarray(192))
}

test('a re-randomised proof proves the same, and names nothing', async () => {
  const message = copyOf(honest.message)
  const segment = proofOf(message)
  segment.proof = rerandomised(segment.proof, 12_345_678_901_234_567_890n % FIELD_PRIME)
  assert.not.equal(segment.proof, proofOf(honest.message).proof)
  const [again, before] = [
    await verify({ facts: honest.facts, message }, verifier, world),
    await verify(honest, verifier, world),
  ]
  assert.equal(again, before)
  // The chain knows the attestation by its digest, so the other spelling is no second attestation of the batch.
  const other = seal('attestation', NETWORK, PROVIDER.key, { batch: message.batch, jobs: message.jobs })
  const judged = await judgeAttestation(other.bytes, {
    networkId: NETWORK,
    batch: async () => ({
      provider: PROVIDER.address,
      digest: attestationDigest(encode(AttestationSchema, honest.message), NETWORK),
    }),
    seen: () => false,
  })
  assert.equal(judged, { action: 'reject', code: 'ATTESTATION_DIGEST' })
})

test('nothing of one batch serves another: chain, contract, provider, trace, beacon, batch', async () => {
  const { challenge } = honest.facts
  for (const other of [
    { ...challenge, chainId: 1 },
    { ...challenge, batches: `0x${'bb'.repeat(20)}` as const },
    { ...challenge, provider: `0x${'bb'.repeat(20)}` as const },
    { ...challenge, traceRoot: bytes32('another trace') },
    { ...challenge, beacon: bytes32('another beacon') },
    { ...challenge, batch: bytes32('another batch') },
  ]) {
    const message = copyOf(honest.message)
    message.batch = other.batch
    const { verdicts } = await verify({ facts: { ...honest.facts, challenge: other }, message }, verifier, world)
    assert.equal(verdicts, ['forged', 'forged'])
  }
})

test('a saturated tile: relation, clamp and tolerance are proven for real', async () => {
  const model = await gainModel(18)
  const input = Int16Array.from({ length: 64 }, (_, i) => [8191, 8192, -8192, -8193, 32_767, -32_768, 0, 5][i % 8]!)
  const saturated = makeWorld({
    model,
    receipts: [2, 0],
    input: () => [input],
    serve: ({ manifest, weights }, inputs) => traceOutputs(manifest, evaluate(manifest, weights, inputs)),
  })
  const points = [1_500n, 1_600n]
  const attested = await attest(saturated, pool, { points })
  const { verdicts, proofs } = await verify(attested, verifier, saturated)
  assert.equal([verdicts, proofs], [['valid', 'valid'], 3])
})

test('products, quotients, roots and maxima are proven for real', async () => {
  const model = await zooModel()
  const staged = makeWorld({ model, receipts: [2, 0], input: (i) => [zooInput(i)] })
  const attested = await attest(staged, pool, { points: [1_500n, 1_600n] })
  const { verdicts } = await verify(attested, verifier, staged)
  assert.equal(verdicts, ['valid', 'valid'])
  const message = copyOf(attested.message)
  const { segments } = message.jobs[0]!.statements[0]!
  segments[0]!.stage = bigintToBytes(bytesToBigint(segments[0]!.stage) ^ 1n, 32)
  const changed = await verify({ ...attested, message }, verifier, staged)
  assert.equal(
    changed.findings.map(({ fault }) => fault),
    ['PROOF_PAIRING'],
  )
})

test('an attestation does not say more than roots, commitments and proofs', () => {
  const bytes = Buffer.from(honest.sealed)
  for (const { index } of honest.message.jobs) {
    const { jobKey, inputs, served } = world.jobs[index]!
    for (const secret of [jobKey, ...inputs, ...served])
      assert.is(bytes.indexOf(Buffer.from(secret.subarray(0, 20))), -1)
  }
})

test.run()
