import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { lowerGraph, lowerWhole } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { quantise } from '../../models/quantise.ts'
import { evaluatePlan } from '../../models/reference.ts'
import { openSession } from '../../models/session.ts'
import { elementCount } from '../../models/tiling.ts'
import { validateManifest } from '../../models/validate.ts'
import { SinterError } from '../../protocol/errors.ts'
import { image, SUPPORTED, weights } from './lower-fixtures.ts'
import { type Fixture, numbers, onnxModel } from './onnx-fixture.ts'

const inputs = (fixture: Fixture, count: number, seed: number): Float32Array[] => {
  const size = elementCount((fixture.input ?? ['n', 4]).slice(1) as number[])
  return Array.from({ length: count }, (_, i) => Float32Array.from(numbers(size, 2, seed + i)))
}

for (const [name, fixture] of Object.entries(SUPPORTED))
  test(`${name}: real-valued as ONNX Runtime, canonical within τ of it`, async () => {
    const model = onnxModel(fixture)
    const plan = lowerWhole(parseModel(model))
    const { manifest, weights: file } = await buildManifest({
      name: 'fixture',
      model,
      samples: inputs(fixture, 24, 100).map((sample) => [sample]),
    })
    validateManifest(manifest, file)
    const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
    try {
      const output = manifest.outputs[0]!
      const { exponent } = manifest.tensors[output.tensor]!
      for (const x of inputs(fixture, 8, 900)) {
        const { y } = await session.run({ x: { data: x, shape: [1, ...manifest.inputs[0]!.shape] } })
        assert.equal(y!.shape, [1, ...output.shape])
        const real = evaluatePlan(plan, [x])[plan.outputs[0]!.tensor]!
        const canonical = traceOutputs(
          manifest,
          evaluate(manifest, file, [quantise(x, manifest.tensors[0]!.exponent)]),
        )[0]!
        const served = quantise(y!.data, exponent)
        y!.data.forEach((value, i) => {
          assert.ok(Math.abs(value - real[i]!) < 1e-4 * Math.max(1, Math.abs(value)), `${value} and ${real[i]}`)
          const distance = Math.abs(served[i]! - canonical[i]!)
          assert.ok(distance <= output.tolerance.quanta, `${distance} quanta, τ ${output.tolerance.quanta}`)
        })
      }
    } finally {
      await session.dispose()
    }
  })

const one = (
  op: string,
  attributes: Fixture['nodes'][number]['attributes'] = {},
  more: Partial<Fixture> = {},
): Fixture => ({
  nodes: [
    { op, inputs: ['x', ...Object.keys(more.floats ?? {}), ...Object.keys(more.ints ?? {})], output: 'y', attributes },
  ],
  input: image,
  output: image,
  ...more,
})

/** [what, fixture, code] */
const REFUSED: [string, Fixture, string][] = [
  ['a one-dimensional convolution', one('Conv', {}, { floats: { w: weights([4, 4, 3]) } }), 'MODEL_SHAPE'],
  ['weights for other channels', one('Conv', {}, { floats: { w: weights([4, 5, 3, 3]) } }), 'MODEL_SHAPE'],
  ['a stride of zero', one('Conv', { strides: [0, 1] }, { floats: { w: weights([4, 4, 3, 3]) } }), 'MODEL_ATTRIBUTE'],
  ['a window larger than the image', one('Conv', {}, { floats: { w: weights([4, 4, 30, 3]) } }), 'MODEL_SHAPE'],
  [
    'a bias of the wrong length',
    one('Conv', {}, { floats: { w: weights([4, 4, 3, 3]), z: weights([3]) } }),
    'MODEL_SHAPE',
  ],
  ['an operator without canonical meaning', { nodes: [{ op: 'Det', inputs: ['x'], output: 'y' }] }, 'MODEL_UNCOVERED'],
  [
    'a transposed input that does not fit',
    one('Gemm', { transA: 1 }, { input: ['n', 4], floats: { w: weights([4, 4]) } }),
    'MODEL_SHAPE',
  ],
  ['flattening to another shape than declared', one('Flatten', { axis: 0 }), 'MODEL_SHAPE'],
  ['reshaping across the batch', one('Reshape', {}, { ints: { s: [2, -1] } }), 'MODEL_SHAPE'],
  ['a reshape to another size', one('Reshape', {}, { ints: { s: [0, 5, 5] } }), 'MODEL_SHAPE'],
  ['an output declared with another shape', one('Relu', {}, { output: ['n', 4, 9, 8] }), 'MODEL_SHAPE'],
  ['a fixed batch', one('Relu', {}, { input: [4, 4], output: [4, 4] }), 'MODEL_SHAPE'],
  ['a missing input', { nodes: [{ op: 'Relu', inputs: [], output: 'y' }] }, 'MODEL_MALFORMED'],
]

for (const [what, fixture, code] of REFUSED)
  test(`refused: ${what}`, () => {
    assert.throws(
      () => lowerWhole(parseModel(onnxModel(fixture))),
      (error: unknown) => {
        if (!(error instanceof SinterError)) throw error
        assert.is(error.code, code, error.message)
        return true
      },
    )
  })

test('calibration refuses samples that do not fit, and ranges that no exponent fits', async () => {
  const model = onnxModel(SUPPORTED.Tanh!)
  const refused = async (samples: Float32Array[][], code: string, file = model): Promise<void> => {
    try {
      await buildManifest({ name: 'fixture', model: file, samples })
    } catch (error) {
      assert.is((error as SinterError).code, code, (error as Error).message)
      return
    }
    assert.unreachable('was accepted')
  }
  await refused([], 'CALIBRATION_SAMPLES')
  await refused([[new Float32Array(3)]], 'CALIBRATION_SAMPLES')
  await refused([[Float32Array.of(1, 2, 3, Infinity)]], 'CALIBRATION_SAMPLES')
  // A divisor may be of either sign, but not of both.
  const quotient = onnxModel({
    nodes: [
      { op: 'Relu', inputs: ['x'], output: 'a' },
      { op: 'Div', inputs: ['a', 'x'], output: 'y' },
    ],
  })
  await refused([[Float32Array.of(1, 2, -3, 4)]], 'CALIBRATION_RANGE', quotient)
  // Weights that cancel: 10^9 times the input, minus the same, leaves accumulators far larger than the result.
  const cancelling = onnxModel({
    nodes: [{ op: 'Gemm', inputs: ['x', 'w'], output: 'y' }],
    floats: { w: { dims: [4, 4], data: Array.from({ length: 16 }, (_, i) => (i < 8 ? 1e30 : -1e30)) } },
  })
  await refused([[Float32Array.of(1, 1, 1, 1)]], 'CALIBRATION_RANGE', cancelling)
  // Two means over 101 by 101 of four million elements: refused before a first sample is evaluated.
  const blur = { op: 'AveragePool', attributes: { kernel_shape: [101, 101], pads: [50, 50, 50, 50] } }
  const endless = onnxModel({
    nodes: [
      { ...blur, inputs: ['x'], output: 'a' },
      { ...blur, inputs: ['a'], output: 'y' },
    ],
    input: ['n', 1, 2048, 2048],
    output: ['n', 1, 2048, 2048],
  })
  await refused([[new Float32Array(2 ** 22)]], 'WORK_COUNT', endless)
})

test('a coarser exponent is chosen where the finest would break the accumulator bound', async () => {
  const cancelling = (size: number): Uint8Array =>
    onnxModel({
      nodes: [{ op: 'Gemm', inputs: ['x', 'w', 'b'], output: 'y' }],
      floats: {
        w: { dims: [4, 4], data: Array.from({ length: 16 }, (_, i) => (i < 8 ? size : -size)) },
        b: { dims: [4], data: [0.001, 0.001, 0.001, 0.001] },
      },
    })
  const samples = [[Float32Array.of(1, 1, 1, 1)]]
  const small = await buildManifest({ name: 'fixture', model: cancelling(0.001), samples })
  const large = await buildManifest({ name: 'fixture', model: cancelling(1000), samples })
  assert.ok(large.manifest.tensors[1]!.exponent < small.manifest.tensors[1]!.exponent)
  validateManifest(large.manifest, large.weights)
})

test('a small graph that asks for millions of entries at every node ends in time', () => {
  const nodes = Array.from({ length: 400 }, (_, i) => ({ op: 'Pad', inputs: ['x', 'p'], output: `p${i}` }))
  const model = onnxModel({
    nodes: [...nodes, { op: 'Relu', inputs: ['x'], output: 'y' }],
    ints: { p: [0, 0, 0, 2 ** 21] },
  })
  const started = Date.now()
  const { uncovered } = lowerGraph(parseModel(model))
  const spent = uncovered.filter(({ code, reason }) => code === 'MODEL_TOO_LARGE' && /lists and arrays/.test(reason))
  assert.ok(spent.length > 390, `${spent.length} nodes`)
  // What somebody wants whole ends with the first node that is not covered; the count begins anew with each graph.
  assert.throws(() => lowerWhole(parseModel(model)), `node Pad_${400 - spent.length} (Pad)`)
  assert.ok(Date.now() - started < 30_000)
  assert.is(lowerWhole(parseModel(onnxModel({ nodes: [{ op: 'Relu', inputs: ['x'], output: 'y' }] }))).ops.length, 1)
})

test('functions of functions that double at each node are computed in time', () => {
  const nodes = Array.from({ length: 40 }, (_, i) => {
    const x = i === 0 ? 'x' : `a${i - 1}`
    return [
      { op: 'Relu', inputs: [x], output: `r${i}` },
      { op: 'Abs', inputs: [x], output: `b${i}` },
      { op: 'Sub', inputs: [`r${i}`, `b${i}`], output: i === 39 ? 'y' : `a${i}` },
    ]
  }).flat()
  const plan = lowerWhole(parseModel(onnxModel({ nodes })))
  const values = evaluatePlan(plan, [[-3, -1, 0, 2]])[plan.outputs[0]!.tensor]!
  assert.equal(Array.from(values, Math.abs), [3, 1, 0, 0])
})

test.run()
