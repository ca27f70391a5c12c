import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { allTiles } from '../../models/draw.ts'
import { type Manifest, manifestBytes, parseManifest } from '../../models/manifest.ts'
import { buildStatements } from '../../models/statements.ts'
import { countWork, elementCount } from '../../models/tiling.ts'
import { validateInTurns, validateManifest } from '../../models/validate.ts'
import { weightsWriter } from '../../models/weights.ts'
import { isCheckable } from '../../node/attestation/cost.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { INVALID_MODEL } from '../../node/stages/vote.ts'
import { assetPath } from '../../protocol/assets.ts'
import { toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'
import type { StagedStatement } from '../../protocol/statement.ts'
import { randomModel } from '../models/random-model.ts'
import { axis, gainModel, gramModel, modelFrom, operand, zooInput, zooModel } from '../node/attestation-models.ts'
import { challengeOf, holds } from './detection.ts'

/**
 * Manifests as weapons. Whoever publishes one chooses every number in it, so each that is valid must mean the same to whoever
 * evaluates it and to whoever verifies: on no input may an honest provider be left with a trace that cannot be proven.
 */

type Model = Pick<LoadedModel, 'manifest' | 'weights'>

/** All tiles of an honest trace on some inputs. */
function provable({ manifest, weights }: Model, inputs: Int16Array[]): boolean {
  const trace = evaluate(manifest, weights, inputs)
  const whole = withServed(manifest, trace, traceOutputs(manifest, trace))
  const { rho } = challengeOf({ cid: { bytes: new Uint8Array(36) } } as LoadedModel, 'manifest')
  return holds({ manifest, weights } as LoadedModel, whole, allTiles(manifest), rho)
}

/** The same with counts and hash as they must be. */
function consistent({ manifest, weights }: Model): Model {
  const { units, tiles, layers } = countWork(manifest)
  const file = { ...manifest.weights, sha256: toHex(sha256(weights)).slice(2), bytes: weights.length }
  return { manifest: { ...manifest, units, tiles, layers, weights: file }, weights }
}

type Path = (string | number)[]
function numberPaths(value: unknown, path: Path = []): Path[] {
  if (typeof value === 'number') return [path]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    numberPaths(inner, [...path, Array.isArray(value) ? Number(key) : key]),
  )
}

function edited(manifest: Manifest, path: Path, value: number): void {
  const parent = path.slice(0, -1).reduce((at: unknown, key) => (at as Record<string, unknown>)[key], manifest)
  ;(parent as Record<string | number, unknown>)[path.at(-1)!] = value
}

const VALUES = [-32_770, -32_769, -32_768, -2, -1, 0, 1, 2, 3, 16, 32, 64, 65_535, 65_536, 2 ** 31 - 1, -(2 ** 31) - 1]
const EXTREMES = [-32_768, -32_767, -1, 0, 1, 7, 12_345, 32_766, 32_767]

const bases: Model[] = [
  await zooModel(),
  await gramModel(5),
  await gainModel(18),
  ...Array.from({ length: 12 }, (_, seed) => randomModel(seed)),
].map(({ manifest, weights }) => ({ manifest, weights }))

test('whatever numbers a valid manifest has, its honest traces can be proven on every input', () => {
  const outcomes = new Map<string, number>()
  const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  const edits = fc.array(
    fc.tuple(fc.nat(1 << 20), fc.oneof(fc.constantFrom(...VALUES), fc.integer({ min: -4, max: 70 }))),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  const bytes = fc.array(fc.tuple(fc.nat(1 << 20), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), { maxLength: 3 })
  fc.assert(
    fc.property(fc.nat(bases.length - 1), edits, bytes, fc.integer(), (base, changes, pokes, seed) => {
      const draft = structuredClone(bases[base]!)
      const paths = numberPaths({ ops: draft.manifest.ops, tensors: draft.manifest.tensors })
      for (const [which, value] of changes) edited(draft.manifest, paths[which % paths.length]!, value)
      for (const [at, value] of pokes) draft.weights[at % draft.weights.length] = value
      let model: Model
      try {
        model = consistent({ ...draft, manifest: parseManifest(manifestBytes(draft.manifest)) })
        validateManifest(model.manifest, model.weights)
      } catch (error) {
        if (!(error instanceof SinterError)) throw error
        count(error.code)
        return
      }
      if (model.manifest.units > 2 ** 16) return
      const inputs = model.manifest.inputs.map(({ shape }, i) =>
        Int16Array.from({ length: elementCount(shape) }, (_, k) => EXTREMES[Math.abs(seed + i + 5 * k * k + k) % 9]!),
      )
      assert.ok(provable(model, inputs), JSON.stringify({ base, changes, pokes, seed }))
      count('provable')
    }),
    { numRuns: Number(process.env.RUNS ?? 400) },
  )
  console.log(`# ${JSON.stringify(Object.fromEntries(outcomes))}`)
  assert.ok(outcomes.get('provable')! > 60 && outcomes.size > 4)
})

const refusal = ({ manifest, weights }: Model): string | null => {
  try {
    validateManifest(manifest, weights)
    return null
  } catch (error) {
    if (error instanceof SinterError) return error.code
    throw error
  }
}

test('a maximum leaves its operand’s zero point aside, in its statements as in its value', async () => {
  for (const zero of [1, -1, 32_769, -(2 ** 31)]) {
    const { manifest, weights } = structuredClone(await zooModel())
    for (const op of manifest.ops) if (op.kind === 'extremum') op.input.zero = zero
    assert.is(refusal({ manifest, weights }), null)
    assert.ok(provable({ manifest, weights }, [zooInput(1)]), `${zero}`)
  }
})

test('a divisor that a table leads out of its tensor is none', async () => {
  const writer = weightsWriter()
  const inside = writer.weights([1, 0, 2, 1])
  const outside = writer.weights([1, 0, 3, 1])
  const weights = writer.finish()
  const model = (table: typeof inside) =>
    modelFrom({
      name: 'leads',
      weights,
      tensors: [
        { name: 'x', shape: [3] },
        { name: 'y', shape: [4] },
      ],
      ops: [
        {
          ...{ kind: 'divide', name: 'leads', output: 1, tile: 4, weight: 5, bias: 0 },
          a: operand(0, [{ ...axis(0), offset: 1 }]),
          b: operand(0, [{ ...axis(1), table }], -32_769),
        },
      ],
      output: 1,
      quanta: 65_535,
    })
  const good = await model(inside)
  assert.is(refusal(good), null)
  assert.ok(provable(good, [Int16Array.of(7, -32_768, 32_767)]))
  // Its honest trace would have a remainder of a division by nothing, and no proof.
  const bad = await model(outside)
  assert.is(refusal(bad), 'DIVISOR_BOUND')
  assert.not(provable(bad, [Int16Array.of(7, -32_768, 32_767)]))
})

test('a job of many maxima has its statement, however many segments they fill', async () => {
  const size = 96
  const model = await modelFrom({
    name: 'maxima',
    tensors: [
      { name: 'x', shape: [size, size] },
      { name: 'y', shape: [size * 2, size] },
    ],
    ops: [
      {
        ...{ kind: 'extremum', name: 'maxima', output: 1, tile: 64, reduce: [3, 3] },
        input: operand(0, [
          { ...axis(1, 0, 1, 0), offset: -1 },
          { ...axis(0, 1, 0, 1), offset: -1 },
        ]),
      },
    ],
    output: 1,
    quanta: 0,
  })
  assert.ok(isCheckable(model.manifest, 4, 'full'))
  const [statement] = buildStatements(model.manifest, model.weights, allTiles(model.manifest), () => false, 3n)
  assert.ok(statement!.kind === 'extremum')
  // 28 windows of nine gaps to a segment.
  const { forms, ends } = statement as StagedStatement
  assert.is(forms.length, 256 * Math.ceil((2 * size * size) / 28))
  assert.is(ends.length, forms.length)
})

test('a manifest that would take minutes to bound is refused at once', async () => {
  const writer = weightsWriter()
  const side = 2 ** 12
  const slices = Array.from({ length: 20 }, () => writer.weights(new Array(2 * side).fill(1)))
  const weights = writer.finish()
  const model = (count: number) =>
    modelFrom({
      name: 'bound',
      weights,
      tensors: [
        { name: 'x', shape: [side] },
        ...slices.slice(0, count).map((_, i) => ({ name: `y${i}`, shape: [side] })),
      ],
      // Row and tap both move along one small array: 2^24 places of it to look at, for 32 KiB of weights.
      ops: slices.slice(0, count).map((slice, i) => ({
        ...{ kind: 'linear' as const, name: `y${i}`, output: i + 1, tile: 64 as const, drop: 1 as const, bias: 32_768 },
        terms: [{ ...operand(0, [axis(0, 1)]), reduce: [side], weight: { ...slice, strides: [1, 1] } }],
      })),
      output: count,
      quanta: 0,
    })
  const one = await model(1)
  assert.is(refusal(one), null)
  const started = performance.now()
  assert.is(refusal(await model(17)), 'SHAPE')
  assert.ok(performance.now() - started < 1_000)
  // Nor does one that is as large as may be stop everything else meanwhile.
  let turns = 0
  const others = setInterval(() => turns++, 0)
  await validateInTurns(one.manifest, one.weights)
  clearInterval(others)
  assert.ok(turns > 5, `${turns}`)
})

test('nor one of many terms with a tap each, in as many rows', async () => {
  const writer = weightsWriter()
  const side = 2 ** 10
  const slices = Array.from({ length: 8 }, () => writer.weights(new Array(2 * side).fill(1)))
  const weights = writer.finish()
  const model = (rows: number) =>
    modelFrom({
      name: 'terms',
      weights,
      tensors: ['x', 'y'].map((name) => ({ name, shape: [rows, side] })),
      ops: [
        {
          ...{ kind: 'linear', name: 'terms', output: 1, tile: 64, drop: 1, bias: 0 },
          terms: slices.map((slice) => ({
            ...{ ...operand(0, [axis(1, 0), axis(0, 1)]), reduce: [] },
            weight: { ...slice, strides: [1, 1] },
          })),
        },
      ],
      output: 1,
      quanta: 0,
    })
  // 2^20 rows of eight terms would be looked at one by one.
  const started = performance.now()
  assert.is(refusal(await model(side)), 'SHAPE')
  assert.ok(performance.now() - started < 1_000)
  assert.is(refusal(await model(2)), null)
})

test('whatever a manifest or model file is refused for is the prover’s fault, and nothing else is', () => {
  const sources = [
    'models/validate.ts',
    'models/bounds.ts',
    'models/manifest.ts',
    'node/model/load.ts',
    'node/net/content.ts',
  ]
  const codes = sources.flatMap((path) =>
    [...readFileSync(assetPath(path), 'utf8').matchAll(/(?:refuse|SinterError)\(\s*'([A-Z_]+)'/g)].map(
      ([, code]) => code!,
    ),
  )
  const own = ['STORE_OPEN', 'CONTENT_ABORTED', 'CONTENT_UNAVAILABLE']
  assert.equal([...new Set(codes)].filter((code) => !own.includes(code)).sort(), [...INVALID_MODEL].sort())
})

test.run()
