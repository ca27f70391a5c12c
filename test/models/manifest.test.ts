import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate } from '../../models/canonical.ts'
import { loadDigits } from '../../models/digits.ts'
import {
  type ConvOp,
  type Manifest,
  manifestBytes,
  type PoolOp,
  parseManifest,
  type TableOp,
} from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { checkModel, validateManifest } from '../../models/validate.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'
import { randomModel } from './random-model.ts'

const digits = loadDigits()

const code = (run: () => unknown, wanted: string): void =>
  assert.throws(run, (error: unknown) => {
    if (!(error instanceof SinterError)) throw error
    assert.is(error.code, wanted, error.message)
    return true
  })

/** The digits manifest with one thing changed, and the weights it then names. */
function changed(edit: (manifest: Manifest, weights: Uint8Array) => void): { manifest: Manifest; weights: Uint8Array } {
  const manifest = structuredClone(digits.manifest)
  const weights = digits.weights.slice()
  edit(manifest, weights)
  manifest.weights = { ...manifest.weights, sha256: toHex(sha256(weights)).slice(2) }
  return { manifest, weights }
}

const invalid = (wanted: string, edit: (manifest: Manifest, weights: Uint8Array) => void): void => {
  const { manifest, weights } = changed(edit)
  code(() => validateManifest(manifest, weights), wanted)
}

const conv = (manifest: Manifest, op = 0): ConvOp => manifest.ops[op] as ConvOp
const table = (manifest: Manifest): TableOp => manifest.ops[1] as TableOp

test('canonical bytes: sorted keys, no whitespace, and the same after a round trip', () => {
  const bytes = manifestBytes(digits.manifest)
  assert.equal(parseManifest(bytes), digits.manifest)
  assert.equal(manifestBytes(parseManifest(bytes)), bytes)
  const shuffled = Object.fromEntries(Object.entries(digits.manifest).reverse()) as Manifest
  assert.equal(manifestBytes(shuffled), bytes)
  fc.assert(
    fc.property(fc.nat(100_000), (seed) => {
      const { manifest } = randomModel(seed)
      assert.equal(parseManifest(manifestBytes(manifest)), manifest)
    }),
    { numRuns: 50 },
  )
})

test('other spellings of the same manifest are refused', () => {
  const text = new TextDecoder().decode(digits.manifestBytes)
  code(() => parseManifest(utf8(`${text} `)), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(JSON.stringify(JSON.parse(text), null, 1))), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(text.replace('"exponent":13', '"exponent":13.0'))), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(text.replace('"exponent":13', '"exponent":1,"exponent":13'))), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(`\ufeff${text}`)), 'MANIFEST_MALFORMED')
})

test('what is not a manifest is refused, unknown fields and fractions included', () => {
  const malformed = (bytes: Uint8Array): void => code(() => parseManifest(bytes), 'MANIFEST_MALFORMED')
  malformed(new Uint8Array(0))
  malformed(Uint8Array.of(0xff, 0xfe))
  malformed(utf8('[]'))
  malformed(utf8('['.repeat(100_000)))
  const edited = (edit: (manifest: Record<string, unknown>) => void): Uint8Array => {
    const manifest = structuredClone(digits.manifest) as unknown as Record<string, unknown>
    edit(manifest)
    return manifestBytes(manifest as unknown as Manifest)
  }
  malformed(edited((manifest) => Object.assign(manifest, { extra: 1 })))
  malformed(edited((manifest) => Object.assign((manifest.ops as object[])[0]!, { extra: 1 })))
  malformed(edited((manifest) => Object.assign(manifest, { version: 2 })))
  malformed(edited((manifest) => Object.assign(manifest, { units: 1.5 })))
  malformed(edited((manifest) => Object.assign(manifest, { units: 2 ** 60 })))
  malformed(edited((manifest) => Object.assign(manifest, { name: '../../etc' })))
  malformed(edited((manifest) => Object.assign((manifest.ops as object[])[1]!, { knots: [1, 2] })))
  malformed(edited((manifest) => Object.assign((manifest.ops as object[])[0]!, { kind: 'maxpool' })))
  code(() => parseManifest(new Uint8Array(4 * 2 ** 20 + 1)), 'MANIFEST_TOO_LARGE')
})

test('the weights and the model must be the files that the manifest names', () => {
  validateManifest(digits.manifest, digits.weights)
  const other = digits.weights.slice()
  other[1000]! ^= 1
  code(() => validateManifest(digits.manifest, other), 'WEIGHTS_HASH')
  code(() => validateManifest(digits.manifest, digits.weights.subarray(8)), 'WEIGHTS_HASH')
  checkModel(digits.manifest, digits.model)
  const model = digits.model.slice()
  model[1000]! ^= 1
  code(() => checkModel(digits.manifest, model), 'MODEL_HASH')
})

test('the accumulator bound: the last good bias passes, the first bad one does not', () => {
  const bias = (manifest: Manifest, weights: Uint8Array, extra: bigint): void => {
    const op = conv(manifest)
    const view = new DataView(weights.buffer, weights.byteOffset)
    let sum = 0
    for (let tap = 0; tap < 9; tap++) sum += Math.abs(view.getInt32(op.weights.offset + 4 * tap, true)) * 32_768
    view.setBigInt64(op.biases.offset, 2n ** 47n - 2n ** 31n - BigInt(sum) - 1n + extra, true)
  }
  const good = changed((manifest, weights) => bias(manifest, weights, 0n))
  validateManifest(good.manifest, good.weights)
  invalid('ACCUMULATOR_BOUND', (manifest, weights) => bias(manifest, weights, 1n))
  invalid('ACCUMULATOR_BOUND', (manifest, weights) => {
    new DataView(weights.buffer).setBigInt64(conv(manifest).biases.offset, -(2n ** 63n), true)
  })
  invalid('ACCUMULATOR_BOUND', (manifest, weights) => {
    for (let tap = 0; tap < 9; tap++)
      new DataView(weights.buffer).setInt32(conv(manifest).weights.offset + 4 * tap, -(2 ** 31), true)
  })
  invalid('ACCUMULATOR_BOUND', (manifest) => {
    ;(manifest.ops[4] as PoolOp).weight = 2 ** 31 - 1
  })
})

test('a table must stay inside 16 signed bits at every input', () => {
  const good = changed((manifest) => {
    table(manifest).knots = Array.from({ length: 65 }, (_, i) => 1024 * i - 32_768)
  })
  validateManifest(good.manifest, good.weights)
  invalid('TABLE_RANGE', (manifest) => {
    table(manifest).knots[64] = 32_800
  })
  invalid('TABLE_RANGE', (manifest) => {
    table(manifest).knots[10] = -32_769
  })
  invalid('TABLE_RANGE', (manifest) => {
    table(manifest).knots[10] = 32_768
  })
})

test('shapes must agree with the windows, the weights and each other', () => {
  for (const edit of [
    (manifest: Manifest) => (manifest.tensors[1]!.shape = [12, 8, 7]),
    (manifest: Manifest) => (manifest.tensors[1]!.shape = [12, 64]),
    (manifest: Manifest) => (conv(manifest).strides = [2, 2]),
    (manifest: Manifest) => (conv(manifest).kernel = [9, 12]),
    (manifest: Manifest) => (conv(manifest, 2).groups = 5),
    (manifest: Manifest) => (conv(manifest).weights.count = 107),
    (manifest: Manifest) => (conv(manifest).biases.count = 13),
    (manifest: Manifest) => (manifest.tensors[6]!.shape = [95]),
    (manifest: Manifest) => (manifest.tensors[6]!.exponent = 3),
    (manifest: Manifest) => (manifest.inputs[0]!.shape = [1, 64]),
    (manifest: Manifest) => (manifest.outputs[0]!.shape = [11]),
    (manifest: Manifest) => (manifest.tensors[0]!.shape = [2 ** 24, 2 ** 24]),
    (manifest: Manifest) => (manifest.tensors[6]!.shape = [2 ** 24, 2 ** 24, 2 ** 24]),
  ])
    invalid('SHAPE', edit)
})

test('an output has a bounded number of taps: the last good size passes, the next does not', () => {
  const pooled = (height: number): { manifest: Manifest; weights: Uint8Array } =>
    changed((manifest) => {
      const shape = [1, height, 64]
      const kernel: [number, number] = [height, 64]
      manifest.inputs = [{ name: 'x', tensor: 0, shape }]
      manifest.tensors = [
        { name: 'x', shape, exponent: 0, viewOf: null },
        { name: 'y', shape: [1, 1, 1], exponent: 0, viewOf: null },
      ]
      const pool: PoolOp = {
        kind: 'averagepool',
        name: 'pool',
        input: 0,
        output: 1,
        kernel,
        strides: [1, 1],
        pads: [0, 0, 0, 0],
        weight: 1,
      }
      manifest.ops = [pool]
      manifest.outputs = [{ ...manifest.outputs[0]!, tensor: 1, shape: [1, 1, 1] }]
      Object.assign(manifest, { units: height * 64, tiles: 1, layers: 1 })
    })
  const good = pooled(2048)
  validateManifest(good.manifest, good.weights)
  const bad = pooled(2049)
  code(() => validateManifest(bad.manifest, bad.weights), 'SHAPE')
})

test('ops come in order and every tensor is written once', () => {
  for (const edit of [
    (manifest: Manifest) => manifest.ops.reverse(),
    (manifest: Manifest) => (manifest.ops[1]!.input = 2),
    (manifest: Manifest) => (manifest.ops[2]!.output = 1),
    (manifest: Manifest) => manifest.ops.push({ ...table(manifest) }),
    (manifest: Manifest) => (manifest.ops[0]!.output = 0),
    (manifest: Manifest) => (manifest.ops[4]!.output = 6),
    (manifest: Manifest) => (manifest.ops[0]!.input = 4000),
    (manifest: Manifest) => (manifest.tensors[6]!.viewOf = 6),
    (manifest: Manifest) => (manifest.tensors[6]!.viewOf = 4000),
    (manifest: Manifest) => manifest.tensors.push({ ...manifest.tensors[6]!, viewOf: 6 }),
    (manifest: Manifest) => manifest.tensors.push({ ...manifest.tensors[0]! }),
    (manifest: Manifest) => manifest.inputs.push({ ...manifest.inputs[0]! }),
    (manifest: Manifest) => manifest.outputs.push({ ...manifest.outputs[0]!, name: 'again' }),
    (manifest: Manifest) => (manifest.outputs[0]! = { ...manifest.outputs[0]!, tensor: 0, shape: [1, 8, 8] }),
  ])
    invalid('TOPOLOGY', edit)
})

test('offsets stay inside the weights file and aligned', () => {
  for (const edit of [
    (manifest: Manifest) => (conv(manifest).weights.offset = 15_008),
    (manifest: Manifest) => (conv(manifest).weights.offset = 15_008 - 4 * 107),
    (manifest: Manifest) => (conv(manifest).weights.offset = 2),
    (manifest: Manifest) => (conv(manifest).biases.offset = 436),
  ])
    invalid('WEIGHTS_RANGE', edit)
})

test('each op brings its own weights', () => {
  invalid('WEIGHTS_RANGE', (manifest) => {
    const first = conv(manifest)
    const output = manifest.tensors.push({ ...manifest.tensors[first.output]! }) - 1
    manifest.ops.push({ ...first, output })
  })
})

test('units, tiles and layers are what the graph has', () => {
  invalid('WORK_COUNT', (manifest) => manifest.units++)
  invalid('WORK_COUNT', (manifest) => manifest.tiles--)
  invalid('WORK_COUNT', (manifest) => manifest.layers++)
})

/** Every place in a JSON value that holds a number, as a path. */
function numberPaths(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value === 'number' || value === null) return [path]
  if (typeof value !== 'object') return []
  return Object.entries(value as object).flatMap(([key, item]) =>
    numberPaths(item, [...path, Array.isArray(value) ? Number(key) : key]),
  )
}

test('any numbers put into a manifest give a coded error or a manifest that evaluates', () => {
  const paths = numberPaths(digits.manifest)
  const image = new Int16Array(64).fill(32_767)
  const seen = new Map<string, number>()
  const number = fc.oneof(fc.integer({ min: -3, max: 130 }), fc.integer(), fc.maxSafeInteger(), fc.constant(null))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(paths.length - 1), number), { minLength: 1, maxLength: 3 }), (edits) => {
      const manifest = structuredClone(digits.manifest)
      for (const [which, value] of edits) {
        const path = paths[which]!
        const parent = path.slice(0, -1).reduce((at: unknown, key) => (at as Record<string, unknown>)[key], manifest)
        ;(parent as Record<string | number, unknown>)[path.at(-1)!] = value
      }
      let outcome = 'valid'
      try {
        const parsed = parseManifest(manifestBytes(manifest))
        validateManifest(parsed, digits.weights)
        const size = elementCount(parsed.inputs[0]!.shape)
        evaluate(parsed, digits.weights, [size === 64 ? image : new Int16Array(size)])
      } catch (error) {
        if (!(error instanceof SinterError)) throw error
        outcome = error.code
      }
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
    }),
    { numRuns: 1500 },
  )
  assert.ok(seen.size >= 6, JSON.stringify([...seen]))
})

test.run()
