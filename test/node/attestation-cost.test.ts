import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Manifest } from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { commitJob } from '../../node/attestation/commit.ts'
import { checkProvable, jobCost, MAX_JOB_MULTIPLY_ADDS } from '../../node/attestation/cost.ts'
import { planJob } from '../../node/attestation/layout.ts'
import { openPlan } from '../../node/attestation/prove.ts'
import { segmentsOf } from '../../node/attestation/segments.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { encode } from '../../protocol/codec.ts'
import { errorCode } from '../../protocol/errors.ts'
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
    const bound = jobCost(manifest, draws)
    for (const what of ['leaves', 'proofs', 'bytes'] as const)
      assert.ok(found[what] <= bound[what], `${what} of model ${seed}: ${found[what]} > ${bound[what]}`)
  }
})

test('the bound of the digits model is of the size of what is really sent', async () => {
  const bound = jobCost(DIGITS.manifest, 4)
  const found = await actual(DIGITS, [image(1)], 1, 4)
  assert.ok(bound.proofs < 6 * found.proofs && bound.bytes < 6 * found.bytes, JSON.stringify({ bound, found }))
  const limits = { draws: 8, tileDraws: 4, proofs: 400, multiplyAdds: 2 ** 24 }
  checkProvable(DIGITS.manifest, limits)
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

test('a model that cannot be attested within the limits is refused, each limit by itself', () => {
  const roomy = { draws: 8, tileDraws: 4, proofs: 10 ** 6, multiplyAdds: 10 ** 12 }
  const code = (manifest: Manifest, limits: typeof roomy): string => {
    try {
      checkProvable(manifest, limits)
      return 'none'
    } catch (error) {
      return errorCode(error)
    }
  }
  assert.is(code(wide(2 ** 12), roomy), 'none')
  assert.is(code(wide(2 ** 17), roomy), 'MODEL_UNPROVABLE')
  assert.is(code(wide(2 ** 17), { ...roomy, draws: 1 }), 'none')
  const { proofs, multiplyAdds } = jobCost(wide(2 ** 12), 4)
  assert.is(code(wide(2 ** 12), { ...roomy, proofs: 8 * proofs }), 'none')
  assert.is(code(wide(2 ** 12), { ...roomy, proofs: 8 * proofs - 1 }), 'MODEL_UNPROVABLE')
  assert.is(code(wide(2 ** 12), { ...roomy, multiplyAdds: 8 * multiplyAdds }), 'none')
  assert.is(code(wide(2 ** 12), { ...roomy, multiplyAdds: 8 * multiplyAdds - 1 }), 'MODEL_UNPROVABLE')
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
  assert.ok(jobCost(heavy, 2).multiplyAdds > MAX_JOB_MULTIPLY_ADDS)
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
