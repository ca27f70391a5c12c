import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type SelectedTile, selectTiles } from '../../models/draw.ts'
import { isLinear, type Manifest } from '../../models/manifest.ts'
import { elementCount, tapsPerOutput } from '../../models/tiling.ts'
import { commitJob } from '../../node/attestation/commit.ts'
import { jobMultiplyAdds, MAX_JOB_MULTIPLY_ADDS } from '../../node/attestation/cost.ts'
import { planJob } from '../../node/attestation/layout.ts'
import { openPlan } from '../../node/attestation/prove.ts'
import { segmentsOf } from '../../node/attestation/segments.ts'
import { worstCost } from '../../node/model/cost.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { encode } from '../../protocol/codec.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { JobAttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { randomModel } from '../models/random-model.ts'
import { idealProofs } from './attestation-ideal.ts'
import {
  attest,
  bytes32,
  committer,
  DIGITS,
  factsOf,
  image,
  makeWorld,
  modelOf,
  nearly,
  verify,
} from './attestation-world.ts'

const world = makeWorld({ receipts: [2, 0] })

/** Sizes of the plan that a challenge gives, with every tile flagged or none. */
async function actual(
  parts: { manifest: Manifest; weights: Uint8Array },
  inputs: Int16Array[],
  seed: number,
  draws: number,
) {
  const model = await modelOf(parts)
  const challenge = jobChallenge(
    factsOf(world, bytes32(`trace ${seed}`)).challenge,
    bytes32('receipt'),
    model.cid.bytes,
  )
  const plan = planJob(model, challenge, draws, () => true, false)
  const job = commitJob(committer, model, {
    receiptHash: bytes32('receipt'),
    jobKey: bytes32('key'),
    inputs,
    served: nearly(model, inputs),
  })
  const statements = plan.statements.map((statement) => ({
    segments: (statement.kind === 'relation' ? segmentsOf(statement) : [0]).map(() => ({
      proof: new Uint8Array(256),
      accumulator: new Uint8Array(32),
    })),
  }))
  return {
    bytes: encode(JobAttestationSchema, { ...openPlan(job, plan), statements }).length,
    leaves: plan.leaves.length,
    proofs: statements.flatMap(({ segments }) => segments).length,
  }
}

test('no challenge asks for more than the bound, for the digits model and for random ones', async () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = randomModel(seed)
    const { manifest, weights, inputs } = seed % 10 === 0 ? { ...DIGITS, inputs: [image(seed)] } : random
    const draws = 2 + (seed % 5)
    const found = await actual({ manifest, weights }, inputs, seed, draws)
    const bound = worstCost(manifest, draws)
    for (const what of ['leaves', 'proofs', 'bytes'] as const)
      assert.ok(found[what] <= bound[what], `${what} of model ${seed}: ${found[what]} > ${bound[what]}`)
  }
})

test('the bound of the digits model is of the size of what is really sent', async () => {
  const bound = worstCost(DIGITS.manifest, 4)
  const found = await actual(DIGITS, [image(1)], 1, 4)
  assert.ok(bound.proofs < 6 * found.proofs && bound.bytes < 6 * found.bytes, JSON.stringify({ bound, found }))
})

/** A gemm of one row over `depth` inputs: within all limits of a manifest. */
const wide = (depth: number): Manifest => {
  const { manifest } = randomModel(1)
  return {
    ...manifest,
    tensors: [
      { name: 'x', shape: [depth], exponent: 0, viewOf: null },
      { name: 'y', shape: [1], exponent: 0, viewOf: null },
    ],
    inputs: [{ name: 'x', tensor: 0, shape: [depth] }],
    outputs: [{ ...manifest.outputs[0]!, tensor: 1, shape: [1] }],
    ops: [
      {
        ...{ kind: 'gemm', name: 'wide', input: 0, output: 1 },
        weights: { offset: 0, count: depth },
        biases: { offset: 0, count: 1 },
      },
    ],
    units: elementCount([depth]),
    tiles: 1,
    layers: 1,
  }
}

test('no challenge asks for more coefficients than the bound', () => {
  for (let seed = 0; seed < 200; seed++) {
    const { manifest } = randomModel(seed)
    const draws = 2 + (seed % 5)
    const adds = (selected: SelectedTile[]): number =>
      selected.reduce((sum, { op }) => {
        const drawn = manifest.ops[op]!
        return sum + (isLinear(drawn) ? 64 * tapsPerOutput(manifest, drawn) : 0)
      }, 0)
    const found = adds(selectTiles(manifest, seededRandomness(bytes32(`seed ${seed}`)), draws))
    assert.ok(found <= jobMultiplyAdds(manifest, draws), `model ${seed}`)
  }
})

test('a manifest that would keep verifiers busy for minutes is invalid, and found to be so at once', async () => {
  // 16 tiles of the last op, each row of 2^17 taps: 2^27 multiply-adds, all rows on the same weights.
  const heavy: Manifest = {
    ...wide(2 ** 17),
    tensors: [
      { name: 'x', shape: [2 ** 17], exponent: 0, viewOf: null },
      { name: 'y', shape: [1024], exponent: 0, viewOf: null },
    ],
  }
  assert.ok(jobMultiplyAdds(heavy, 2) > MAX_JOB_MULTIPLY_ADDS)
  const started = performance.now()
  const { pool, verifier } = await idealProofs()
  const attested = await attest(world, pool, { points: [0n, 0n] })
  const { units } = DIGITS.manifest
  const model = { ...DIGITS, manifest: { ...heavy, units } }
  const { findings, verdicts } = await verify(attested, verifier, { model })
  assert.equal([findings[0]!.fault, verdicts], ['MANIFEST_INVALID', ['forged', 'forged']])
  assert.ok(performance.now() - started < 10_000)
})

test.run()
