import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate } from '../../models/canonical.ts'
import {
  type DivideOp,
  type ExtremumOp,
  type LinearOp,
  type Manifest,
  manifestBytes,
  type ProductOp,
  parseManifest,
  type RootOp,
  type Strided,
  type TableOp,
} from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { checkModel, validateManifest } from '../../models/validate.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'
import { randomModel, straight } from './random-model.ts'
import { axis, buildSample } from './sample-model.ts'

const sample = { ...buildSample(), manifestBytes: manifestBytes(buildSample().manifest) }

const code = (run: () => unknown, wanted: string): void =>
  assert.throws(run, (error: unknown) => {
    if (!(error instanceof SinterError)) throw error
    assert.is(error.code, wanted, error.message)
    return true
  })

/** The sample manifest with one thing changed, and the weights it then names. */
function changed(edit: (manifest: Manifest, weights: Uint8Array) => void): { manifest: Manifest; weights: Uint8Array } {
  const manifest = structuredClone(sample.manifest)
  const weights = sample.weights.slice()
  edit(manifest, weights)
  manifest.weights = { ...manifest.weights, sha256: toHex(sha256(weights)).slice(2) }
  return { manifest, weights }
}

const invalid = (wanted: string, edit: (manifest: Manifest, weights: Uint8Array) => void): void => {
  const { manifest, weights } = changed(edit)
  code(() => validateManifest(manifest, weights), wanted)
}

const conv = (manifest: Manifest): LinearOp => manifest.ops[0] as LinearOp
const kernel = (manifest: Manifest): Strided => conv(manifest).terms[0]!.weight as Strided
const biases = (manifest: Manifest): Strided => conv(manifest).bias as Strided
const table = (manifest: Manifest): TableOp => manifest.ops[1] as TableOp
const square = (manifest: Manifest): ProductOp => manifest.ops[2] as ProductOp
const root = (manifest: Manifest): RootOp => manifest.ops[3] as RootOp
const divide = (manifest: Manifest): DivideOp => manifest.ops[4] as DivideOp
const largest = (manifest: Manifest): ExtremumOp => manifest.ops[5] as ExtremumOp
const dense = (manifest: Manifest): LinearOp => manifest.ops[6] as LinearOp

test('canonical bytes: sorted keys, no whitespace, and the same after a round trip', () => {
  const bytes = manifestBytes(sample.manifest)
  assert.equal(parseManifest(bytes), sample.manifest)
  assert.equal(manifestBytes(parseManifest(bytes)), bytes)
  const shuffled = Object.fromEntries(Object.entries(sample.manifest).reverse()) as Manifest
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
  const text = new TextDecoder().decode(sample.manifestBytes)
  code(() => parseManifest(utf8(`${text} `)), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(JSON.stringify(JSON.parse(text), null, 1))), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(text.replace('"exponent":8', '"exponent":8.0'))), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(text.replace('"exponent":8', '"exponent":1,"exponent":8'))), 'MANIFEST_NOT_CANONICAL')
  code(() => parseManifest(utf8(`\ufeff${text}`)), 'MANIFEST_MALFORMED')
})

test('what is not a manifest is refused, unknown fields and fractions included', () => {
  const malformed = (bytes: Uint8Array): void => code(() => parseManifest(bytes), 'MANIFEST_MALFORMED')
  malformed(new Uint8Array(0))
  malformed(Uint8Array.of(0xff, 0xfe))
  malformed(utf8('[]'))
  malformed(utf8('['.repeat(100_000)))
  const edited = (edit: (manifest: Record<string, unknown>) => void): Uint8Array => {
    const manifest = structuredClone(sample.manifest) as unknown as Record<string, unknown>
    edit(manifest)
    return manifestBytes(manifest as unknown as Manifest)
  }
  malformed(edited((manifest) => Object.assign(manifest, { extra: 1 })))
  malformed(edited((manifest) => Object.assign((manifest.ops as object[])[0]!, { extra: 1 })))
  malformed(edited((manifest) => Object.assign(manifest, { version: 1 })))
  malformed(edited((manifest) => Object.assign(manifest, { units: 1.5 })))
  malformed(edited((manifest) => Object.assign(manifest, { units: 2 ** 60 })))
  malformed(edited((manifest) => Object.assign(manifest, { name: '../../etc' })))
  malformed(edited((manifest) => Object.assign((manifest.ops as object[])[1]!, { knots: [1, 2] })))
  malformed(edited((manifest) => Object.assign((manifest.ops as object[])[0]!, { kind: 'maxpool' })))
  code(() => parseManifest(new Uint8Array(4 * 2 ** 20 + 1)), 'MANIFEST_TOO_LARGE')
})

test('the weights and the model must be the files that the manifest names', () => {
  validateManifest(sample.manifest, sample.weights)
  const other = sample.weights.slice()
  other[100]! ^= 1
  code(() => validateManifest(sample.manifest, other), 'WEIGHTS_HASH')
  code(() => validateManifest(sample.manifest, sample.weights.subarray(8)), 'WEIGHTS_HASH')
  checkModel(sample.manifest, sample.model)
  const model = sample.model.slice()
  model[3]! ^= 1
  code(() => checkModel(sample.manifest, model), 'MODEL_HASH')
})

test('the accumulator bound: the last good bias passes, the first bad one does not', () => {
  // The first row's bias at which the largest result is just below 2^31 − 2^15, and that of the smallest.
  const bias = (manifest: Manifest, weights: Uint8Array, extra: bigint): void => {
    const view = new DataView(weights.buffer, weights.byteOffset)
    let sum = 0n
    for (let tap = 0; tap < 18; tap++) {
      const w = BigInt(view.getInt32(kernel(manifest).offset + 4 * tap, true))
      sum += w > 0n ? w * 32_767n : w * -32_768n
    }
    view.setBigInt64(biases(manifest).offset, (2n ** 31n - 2n ** 15n) * 65_536n - sum - 1n + extra, true)
  }
  const good = changed((manifest, weights) => bias(manifest, weights, 0n))
  validateManifest(good.manifest, good.weights)
  invalid('ACCUMULATOR_BOUND', (manifest, weights) => bias(manifest, weights, 1n))
  invalid('ACCUMULATOR_BOUND', (manifest, weights) => {
    new DataView(weights.buffer).setBigInt64(biases(manifest).offset, -(2n ** 63n), true)
  })
  invalid('ACCUMULATOR_BOUND', (manifest, weights) => {
    for (let tap = 0; tap < 18; tap++)
      new DataView(weights.buffer).setInt32(kernel(manifest).offset + 4 * tap, -(2 ** 31), true)
  })
  // 32-bit results may not leave 32 bits, numerators not 31, and no sum the integers of float64.
  const tight = changed((manifest) => {
    square(manifest).weight = 3
  })
  validateManifest(tight.manifest, tight.weights)
  invalid('ACCUMULATOR_BOUND', (manifest) => {
    square(manifest).weight = 4
  })
  const numerator = (weight: number) => (manifest: Manifest) => {
    divide(manifest).weight = weight
  }
  const wide = changed(numerator(65_534))
  validateManifest(wide.manifest, wide.weights)
  invalid('ACCUMULATOR_BOUND', numerator(65_535))
  invalid('ACCUMULATOR_BOUND', (manifest) => {
    conv(manifest).drop = 2
    manifest.weights = { ...manifest.weights }
    conv(manifest).bias = 2 ** 53 - 1
  })
})

test('no input makes a divisor or radicand less than 1, or larger than its remainders can be committed', () => {
  invalid('DIVISOR_BOUND', (manifest) => {
    divide(manifest).b.zero = -32_768
  })
  invalid('DIVISOR_BOUND', (manifest) => {
    divide(manifest).b.zero = -32_770
  })
  invalid('DIVISOR_BOUND', (manifest) => {
    root(manifest).input.zero = -(2 ** 31)
  })
  invalid('DIVISOR_BOUND', (manifest) => {
    root(manifest).input.zero = -(2 ** 31) - 2
  })
  // A tap that may be absent is no divisor at all.
  invalid('DIVISOR_BOUND', (manifest) => {
    divide(manifest).b.axes[0]!.offset = 1
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

test('shapes must agree with the loops, the weights and each other', () => {
  const edits: ((manifest: Manifest) => unknown)[] = [
    (manifest) => (manifest.tensors[1]!.shape = [4, 4]),
    (manifest) => (manifest.tensors[2]!.shape = [4, 3, 4]),
    (manifest) => (manifest.tensors[2]!.bits = 32),
    (manifest) => (manifest.tensors[8]!.bits = 32),
    (manifest) => conv(manifest).terms[0]!.axes.pop(),
    (manifest) => conv(manifest).terms[0]!.axes[0]!.coefs.pop(),
    (manifest) => (conv(manifest).terms[0]!.axes[0]!.coefs[0] = 2 ** 31),
    (manifest) => kernel(manifest).strides.pop(),
    (manifest) => biases(manifest).strides.push(0),
    (manifest) => (largest(manifest).reduce = [65]),
    (manifest) => (largest(manifest).input.tensor = 3),
    (manifest) => (divide(manifest).a = straight(3, 3)),
    (manifest) => (manifest.tensors[7]!.shape = [23]),
    (manifest) => (manifest.tensors[7]!.exponent = 3),
    (manifest) => (manifest.inputs[0]!.shape = [1, 32]),
    (manifest) => (manifest.outputs[0]!.shape = [6]),
    (manifest) => (manifest.outputs[0]!.argmax = { name: 'label', axis: 1 }),
    (manifest) => (manifest.inputs[0]!.lookup = { name: 'ids', rows: 3, table: { offset: 0, count: 5 } }),
    (manifest) => (manifest.tensors[0]!.shape = [2 ** 24, 2 ** 24]),
  ]
  edits.forEach((edit, i) => {
    const { manifest, weights } = changed(edit)
    assert.throws(
      () => validateManifest(manifest, weights),
      (error: { code?: string }) => error.code === 'SHAPE',
      `edit ${i}`,
    )
  })
})

test('an output has a bounded number of taps: the last good size passes, the next does not', () => {
  const reduced = (count: number): { manifest: Manifest; weights: Uint8Array } =>
    changed((manifest) => {
      const shape = [count, 64]
      manifest.inputs = [{ name: 'x', tensor: 0, shape, lookup: null }]
      manifest.tensors = [
        { name: 'x', shape, exponent: 0, bits: 16, viewOf: null },
        { name: 'y', shape: [1], exponent: 0, bits: 16, viewOf: null },
      ]
      const axes = [axis([0, 1, 0]), axis([0, 0, 1])]
      manifest.ops = [
        {
          kind: 'linear',
          name: 'sum',
          output: 1,
          tile: 1,
          drop: 1,
          terms: [{ tensor: 0, zero: 0, axes, reduce: shape, weight: 1 }],
          bias: 0,
        },
      ]
      manifest.outputs = [{ ...manifest.outputs[0]!, tensor: 1, shape: [1] }]
      Object.assign(manifest, { units: count * 64, tiles: 1, layers: 1 })
    })
  const good = reduced(2048)
  validateManifest(good.manifest, good.weights)
  const bad = reduced(2049)
  code(() => validateManifest(bad.manifest, bad.weights), 'SHAPE')
})

test('ops come in order and every tensor is written once', () => {
  const edits: ((manifest: Manifest) => unknown)[] = [
    (manifest) => manifest.ops.reverse(),
    (manifest) => (table(manifest).input = 2),
    (manifest) => (square(manifest).output = 1),
    (manifest) => manifest.ops.push({ ...table(manifest) }),
    (manifest) => (conv(manifest).output = 0),
    (manifest) => (largest(manifest).output = 7),
    (manifest) => (conv(manifest).terms[0]!.tensor = 4000),
    (manifest) => (manifest.tensors[7]!.viewOf = 7),
    (manifest) => (manifest.tensors[7]!.viewOf = 4000),
    (manifest) => manifest.tensors.push({ ...manifest.tensors[7]!, viewOf: 7 }),
    (manifest) => manifest.tensors.push({ ...manifest.tensors[0]! }),
    (manifest) => manifest.inputs.push({ ...manifest.inputs[0]! }),
    (manifest) => manifest.outputs.push({ ...manifest.outputs[0]!, name: 'again' }),
    (manifest) => (manifest.outputs[0]! = { ...manifest.outputs[0]!, tensor: 0, shape: [4, 4, 2] }),
  ]
  edits.forEach((edit, i) => {
    const { manifest, weights } = changed(edit)
    assert.throws(
      () => validateManifest(manifest, weights),
      (error: { code?: string }) => error.code === 'TOPOLOGY',
      `edit ${i}`,
    )
  })
})

test('arrays stay inside the weights file, aligned, and their strides inside the arrays', () => {
  for (const edit of [
    (manifest: Manifest) => (kernel(manifest).offset = manifest.weights.bytes),
    (manifest: Manifest) => (kernel(manifest).offset = manifest.weights.bytes - 4 * 53),
    (manifest: Manifest) => (kernel(manifest).offset = 2),
    (manifest: Manifest) => (biases(manifest).offset += 4),
    (manifest: Manifest) => (kernel(manifest).strides[2] = 19),
    (manifest: Manifest) => (kernel(manifest).count = 53),
    (manifest: Manifest) => (dense(manifest).terms[1]!.axes[0]!.table!.offset = manifest.weights.bytes),
  ])
    invalid('WEIGHTS_RANGE', edit)
})

test('each op brings its own weights', () => {
  invalid('WEIGHTS_RANGE', (manifest) => {
    for (let n = 0; n < 3; n++) {
      const output = manifest.tensors.push({ ...manifest.tensors[8]! }) - 1
      manifest.ops.push({ ...dense(manifest), output })
    }
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
  const paths = numberPaths(sample.manifest)
  const image = new Int16Array(32).fill(32_767)
  const seen = new Map<string, number>()
  const number = fc.oneof(fc.integer({ min: -3, max: 130 }), fc.integer(), fc.maxSafeInteger(), fc.constant(null))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(paths.length - 1), number), { minLength: 1, maxLength: 3 }), (edits) => {
      const manifest = structuredClone(sample.manifest)
      for (const [which, value] of edits) {
        const path = paths[which]!
        const parent = path.slice(0, -1).reduce((at: unknown, key) => (at as Record<string, unknown>)[key], manifest)
        ;(parent as Record<string | number, unknown>)[path.at(-1)!] = value
      }
      let outcome = 'valid'
      try {
        const parsed = parseManifest(manifestBytes(manifest))
        validateManifest(parsed, sample.weights)
        const size = elementCount(parsed.inputs[0]!.shape)
        evaluate(parsed, sample.weights, [size === 32 ? image : new Int16Array(size)])
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
