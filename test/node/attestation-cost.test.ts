import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Op } from '../../models/manifest.ts'
import { buildStatements } from '../../models/statements.ts'
import { opTiles } from '../../models/tiling.ts'
import { validateManifest } from '../../models/validate.ts'
import { commitJob } from '../../node/attestation/commit.ts'
import {
  isCheckable,
  jobMultiplyAdds,
  MAX_JOB_MULTIPLY_ADDS,
  statementBytes,
  tileMultiplyAdds,
} from '../../node/attestation/cost.ts'
import { flagLeaves, planJob } from '../../node/attestation/layout.ts'
import { openPlan } from '../../node/attestation/prove.ts'
import { leafKey, leavesOf, proofCount } from '../../node/attestation/segments.ts'
import { fieldsOf, opCost, tilesCost, worstCost } from '../../node/model/cost.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { dearestRun, operandLeaves } from '../../node/model/reach.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { countFields, encode } from '../../protocol/codec.ts'
import { JobAttestationSchema } from '../../protocol/gen/sinter_pb.js'
import type { Statement } from '../../protocol/statement.ts'
import { idealProofs } from './attestation-ideal.ts'
import { axis, gramModel, imageModel, modelFrom, operand, zooInput, zooModel } from './attestation-models.ts'
import { attest, bytes32, committer, DIGITS, factsOf, image, makeWorld, nearly, verify } from './attestation-world.ts'

const world = makeWorld({ receipts: [2, 0] })

/** Models with what they are given. */
async function makeModels(): Promise<[string, LoadedModel, Int16Array[]][]> {
  const wavy = (length: number) => [Int16Array.from({ length }, (_, i) => ((i * 7_919) % 4_001) - 2_000)]
  const images = await Promise.all(
    [0, 1, 2, 3, 4, 5, 6, 7].map(async (seed): Promise<[string, LoadedModel, Int16Array[]]> => {
      const model = await imageModel(seed)
      const [channels, height, width] = model.manifest.inputs[0]!.shape as [number, number, number]
      return [`image ${seed}`, model, wavy(channels * height * width)]
    }),
  )
  return [
    ['digits', DIGITS, [image(1)]],
    ['zoo', await zooModel(), [zooInput(1)]],
    ['gram', await gramModel(70), wavy(210)],
    ...images,
  ]
}

const models = await makeModels()

/** Sizes of the plan that a challenge gives, with every leaf flagged or none. */
async function actual(model: LoadedModel, inputs: Int16Array[], seed: number, draws: number) {
  const challenge = jobChallenge(
    factsOf(world, bytes32(`trace ${seed}`)).challenge,
    bytes32('receipt'),
    model.cid.bytes,
  )
  const plan = planJob(model, { policy: 'zk', tileDraws: draws, challenge }, () => seed % 2 === 0, false)
  const job = await commitJob(committer, model, {
    receiptHash: bytes32('receipt'),
    jobKey: bytes32('key'),
    inputs,
    served: nearly(model, inputs),
  })
  const segment = { proof: new Uint8Array(256), accumulator: new Uint8Array(32), stage: new Uint8Array(32) }
  const statements = plan.statements.map((statement) => ({
    segments: new Array(proofCount(statement)).fill(segment),
  }))
  const bytes = encode(JobAttestationSchema, { ...openPlan(job, plan), statements })
  return {
    bytes: bytes.length,
    fields: 2 ** 24 - countFields(JobAttestationSchema, bytes, 2 ** 24),
    leaves: plan.leaves.length,
    proofs: statements.flatMap(({ segments }) => segments).length,
  }
}

test('no challenge asks for more than the bound, whatever the model', async () => {
  for (const [name, model, inputs] of models) {
    for (let seed = 0; seed < 6; seed++) {
      const draws = 2 + (seed % 5)
      const found = await actual(model, inputs, seed, draws)
      const worst = worstCost(model.manifest, draws)
      const bound = { ...worst, fields: fieldsOf(worst) }
      for (const what of ['leaves', 'proofs', 'bytes', 'fields'] as const)
        assert.ok(found[what] <= bound[what], `${what} of ${name}: ${found[what]} > ${bound[what]}`)
    }
  }
})

test('no tile of any op costs more than the bound, when it is drawn alone or with its neighbours', async () => {
  for (const [name, model] of models) {
    const { manifest, weights } = model
    for (const [op, target] of manifest.ops.entries()) {
      const tiles = opTiles(manifest, target)
      const cost = opCost(manifest, target)
      for (let tile = 0; tile < tiles; tile += Math.max(1, Math.floor(tiles / 40)))
        for (const count of [1, 2, 5]) {
          const selected = Array.from({ length: Math.min(count, tiles - tile) }, (_, i) => ({ op, tile: tile + i }))
          for (const flagged of [true, false]) {
            const statements = buildStatements(manifest, weights, selected, () => flagged, 5n).filter(
              (each) => each.op >= 0,
            )
            const leaves = new Set([...flagLeaves(manifest, selected), ...statements.flatMap(leavesOf)].map(leafKey))
            const proofs = statements.reduce((sum, each) => sum + proofCount(each), 0)
            const most = tilesCost(target, cost, selected.length)
            const what = `${name} ${target.name} tile ${tile}+${count}`
            assert.ok(leaves.size <= most.leaves, `leaves of ${what}: ${leaves.size} > ${most.leaves}`)
            assert.ok(proofs <= most.proofs, `proofs of ${what}: ${proofs} > ${most.proofs}`)
            const adds = statements.reduce((sum, each) => sum + coefficients(each), 0)
            assert.ok(adds <= selected.length * tileMultiplyAdds(manifest, target), `coefficients of ${what}: ${adds}`)
          }
        }
    }
  }
})

/** Coefficients that a verifier computes: those of terms that are not 0, and of forms. */
const coefficients = (statement: Statement): number => {
  if (statement.kind === 'pointwise') return 0
  const terms = statement.terms.reduce((sum, { u }) => sum + u.filter((each) => each !== 0n).length, 0)
  if (statement.kind === 'relation') return terms
  return terms + statement.forms.reduce((sum, { limbs }) => sum + limbs.length, 0)
}

test('the bound of the digits model is of the size of what is really sent', async () => {
  const bound = worstCost(DIGITS.manifest, 4)
  const found = await actual(DIGITS, [image(1)], 1, 4)
  assert.ok(bound.proofs < 6 * found.proofs && bound.bytes < 6 * found.bytes, JSON.stringify({ bound, found }))
})

test('a manifest that would keep verifiers busy for minutes is invalid, and found to be so at once', async () => {
  // 16 tiles of the last op, each row of 2^17 taps: 2^27 multiply-adds, all rows on the same weights.
  const heavy = await modelFrom({
    name: 'heavy',
    tensors: [
      { name: 'x', shape: [2 ** 17] },
      { name: 'y', shape: [1024] },
    ],
    ops: [
      {
        ...{ kind: 'linear', name: 'heavy', output: 1, tile: 64, drop: 1, bias: 0 },
        terms: [{ ...operand(0, [axis(0, 1)]), reduce: [2 ** 17], weight: 1 }],
      },
    ],
    output: 1,
    quanta: 0,
  })
  assert.ok(jobMultiplyAdds(heavy.manifest, 2) > MAX_JOB_MULTIPLY_ADDS)
  const started = performance.now()
  const { pool, verifier } = await idealProofs()
  const attested = await attest(world, pool, { points: [0n, 0n] })
  const { units } = DIGITS.manifest
  const model = { ...DIGITS, manifest: { ...heavy.manifest, units } }
  const { findings, verdicts } = await verify(attested, verifier, { model })
  assert.equal([findings[0]!.fault, verdicts], ['MANIFEST_INVALID', ['forged', 'forged']])
  assert.ok(performance.now() - started < 10_000)
})

/** `count` ops of two elements, each reading an element of every leaf of a tensor of `leaves` leaves: few multiply-adds. */
const scattered = (count: number, leaves: number) =>
  modelFrom({
    name: 'scattered',
    tensors: [
      { name: 'x', shape: [64 * leaves] },
      ...Array.from({ length: count }, (_, i) => ({ name: `y${i}`, shape: [2] })),
    ],
    ops: Array.from(
      { length: count },
      (_, i): Op => ({
        ...{ kind: 'linear', name: `y${i}`, output: i + 1, tile: 2, drop: 1, bias: 32_768 },
        terms: [{ ...operand(0, [axis(32 * leaves, 64)]), reduce: [leaves / 2], weight: 1 }],
      }),
    ),
    output: count,
    quanta: 0,
  })

test('a manifest that would take verifiers gigabytes is invalid, however few multiply-adds it has', async () => {
  for (const [count, fits] of [
    [2, true],
    [3, false],
  ] as const) {
    const { manifest, weights } = await scattered(count, 2 ** 18)
    validateManifest(manifest, weights)
    assert.ok(jobMultiplyAdds(manifest, 8) < MAX_JOB_MULTIPLY_ADDS / 32)
    assert.is(isCheckable(manifest, 8, 'zk'), fits)
  }
})

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

test('statements take no more memory than is counted', async () => {
  const image = models.map(([, model]) => model).slice(3, 6)
  for (const { manifest, weights } of [
    await scattered(1, 2 ** 12),
    await gramModel(70),
    await gramModel(2_000),
    ...image,
  ])
    for (const [op, target] of manifest.ops.entries()) {
      const count = Math.min(64, opTiles(manifest, target))
      const selected = Array.from({ length: count }, (_, tile) => ({ op, tile }))
      const build = () => buildStatements(manifest, weights, selected, () => false, 5n)
      const statements = build()
      // The least of several: what else the engine keeps meanwhile is not theirs.
      const sizes = [1, 2, 3].map(() => {
        gc()
        const before = process.memoryUsage().heapUsed
        const made = build()
        gc()
        return made.length === 0 ? 0 : process.memoryUsage().heapUsed - before
      })
      const kept = Math.min(...sizes)
      const tolerances = statements.filter((each) => each.op < 0).length
      const counted = statementBytes(manifest, target, count) + 4_096 * tolerances
      assert.ok(kept <= counted + 2 ** 16, `${target.name} of ${manifest.name}: ${kept} of ${counted}`)
    }
})

test('bounding a manifest takes no longer than reading it, whatever its shapes', () => {
  // A million tiles that lie in a million different ways, each reading all of two million elements.
  const manifest = {
    ...DIGITS.manifest,
    tensors: [2 ** 21, 2 ** 21 - 1].map((dim) => ({ ...DIGITS.manifest.tensors[0]!, shape: [dim] })),
  }
  const started = performance.now()
  const box = (): number => operandLeaves(manifest, operand(0, [axis(1, 1)]), [1, 2 ** 10])
  assert.is(dearestRun([3, 2 ** 19 + 1], 2, box, 2 ** 15), 2 ** 15)
  assert.ok(performance.now() - started < 200)
})

test('nor however many operands it has', async () => {
  // 16,384 terms, each of which could be looked at in 65,536 places.
  const side = 2 ** 17 - 1
  const terms = Array.from({ length: 64 }, () => ({ ...operand(0, [axis(1)]), reduce: [], weight: 1 }))
  const { manifest } = await modelFrom({
    name: 'many',
    tensors: Array.from({ length: 256 }, (_, i) => ({ name: `t${i}`, shape: [side] })),
    ops: Array.from(
      { length: 255 },
      (_, i): Op => ({ kind: 'linear', name: `t${i + 1}`, output: i + 1, tile: 2, drop: 1, bias: 0, terms }),
    ),
    output: 255,
    quanta: 0,
  })
  const started = performance.now()
  assert.ok(worstCost(manifest, 4).leaves > 0)
  assert.ok(performance.now() - started < 10_000)
})

test.run()
