import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { lowerWhole } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { quantise } from '../../models/quantise.ts'
import { evaluatePlan } from '../../models/reference.ts'
import { openSession } from '../../models/session.ts'
import { elementCount } from '../../models/tiling.ts'
import { validateManifest } from '../../models/validate.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type Fixture, numbers, onnxModel } from './onnx-fixture.ts'

const weights = (dims: number[], seed = 1, scale = 0.5) => ({ dims, data: numbers(elementCount(dims), scale, seed) })

const image = ['n', 4, 9, 7]

/** Each supported operator in the forms that exporters write, held against ONNX Runtime. */
const SUPPORTED: Record<string, Fixture> = {
  'Conv, defaults': {
    nodes: [{ op: 'Conv', inputs: ['x', 'w'], output: 'y' }],
    input: image,
    output: ['n', 3, 7, 5],
    floats: { w: weights([3, 4, 3, 3]) },
  },
  'Conv with uneven pads, strides, dilations, groups and a bias': {
    nodes: [
      {
        op: 'Conv',
        inputs: ['x', 'w', 'b'],
        output: 'y',
        attributes: { pads: [1, 0, 2, 1], strides: [2, 1], dilations: [1, 2], group: 2, kernel_shape: [3, 2] },
      },
    ],
    input: image,
    output: ['n', 6, 5, 6],
    floats: { w: weights([6, 2, 3, 2]), b: weights([6], 2) },
  },
  'depthwise Conv, auto_pad VALID': {
    nodes: [{ op: 'Conv', inputs: ['x', 'w'], output: 'y', attributes: { group: 4, auto_pad: 'VALID' } }],
    input: image,
    output: ['n', 8, 8, 6],
    floats: { w: weights([8, 1, 2, 2]) },
  },
  'Gemm as PyTorch writes it': {
    nodes: [{ op: 'Gemm', inputs: ['x', 'w', 'b'], output: 'y', attributes: { transB: 1 } }],
    input: ['n', 20],
    output: ['n', 7],
    floats: { w: weights([7, 20]), b: weights([7], 2) },
  },
  'Gemm with alpha, beta and one bias for all': {
    nodes: [
      {
        op: 'Gemm',
        inputs: ['x', 'w', 'b'],
        output: 'y',
        attributes: { alpha: { float: 0.25 }, beta: { float: 3 } },
      },
    ],
    input: ['n', 20],
    output: ['n', 7],
    floats: { w: weights([20, 7]), b: weights([1, 1], 2) },
  },
  'MatMul over rows': {
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], output: 'y' }],
    input: ['n', 5, 20],
    output: ['n', 5, 3],
    floats: { w: weights([20, 3]) },
  },
  'AveragePool with counted pads': {
    nodes: [
      {
        op: 'AveragePool',
        inputs: ['x'],
        output: 'y',
        attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 1, 1, 0], count_include_pad: 1 },
      },
    ],
    input: image,
    output: ['n', 4, 5, 4],
  },
  GlobalAveragePool: {
    nodes: [{ op: 'GlobalAveragePool', inputs: ['x'], output: 'y' }],
    input: image,
    output: ['n', 4, 1, 1],
  },
  'Relu then views': {
    nodes: [
      { op: 'Relu', inputs: ['x'], output: 'a' },
      { op: 'Flatten', inputs: ['a'], output: 'b' },
      { op: 'Reshape', inputs: ['b', 's'], output: 'c' },
      { op: 'Identity', inputs: ['c'], output: 'd' },
      { op: 'LeakyRelu', inputs: ['d'], output: 'y', attributes: { alpha: { float: 0.2 } } },
    ],
    input: image,
    output: ['n', 28, 9],
    ints: { s: [0, 28, -1] },
  },
  'Reshape with an open batch': {
    nodes: [
      { op: 'Reshape', inputs: ['x', 's'], output: 'a' },
      { op: 'LeakyRelu', inputs: ['a'], output: 'y' },
    ],
    input: image,
    output: ['n', 63, 4],
    ints: { s: [-1, 63, 4] },
  },
  'Conv with auto_pad SAME_UPPER, one-dimensional': {
    nodes: [{ op: 'Conv', inputs: ['x', 'w'], output: 'y', attributes: { auto_pad: 'SAME_UPPER', strides: [2] } }],
    input: ['n', 3, 11],
    output: ['n', 5, 6],
    floats: { w: weights([5, 3, 4]) },
  },
  'ConvTranspose with strides, pads and output_padding': {
    nodes: [
      {
        op: 'ConvTranspose',
        inputs: ['x', 'w', 'b'],
        output: 'y',
        attributes: { strides: [2, 3], pads: [1, 0, 1, 1], output_padding: [1, 0] },
      },
    ],
    input: image,
    output: ['n', 2, 18, 20],
    floats: { w: weights([4, 2, 3, 3]), b: weights([2], 2) },
  },
  'BatchNormalization, HardSwish, HardSigmoid, Clip, Elu': {
    nodes: [
      { op: 'BatchNormalization', inputs: ['x', 's', 'b', 'm', 'v'], output: 'a' },
      { op: 'HardSwish', inputs: ['a'], output: 'c' },
      { op: 'HardSigmoid', inputs: ['c'], output: 'd' },
      { op: 'Elu', inputs: ['d'], output: 'e' },
      { op: 'Neg', inputs: ['e'], output: 'f' },
      { op: 'Clip', inputs: ['f', 'lo', 'hi'], output: 'y' },
    ],
    input: image,
    output: image,
    floats: {
      s: weights([4]),
      b: weights([4], 2),
      m: weights([4], 3),
      v: { dims: [4], data: [0.5, 1, 2, 0.1] },
      lo: { dims: [], data: [-0.9] },
      hi: { dims: [], data: [0.5] },
    },
  },
  'GELU as exporters write it': {
    nodes: [
      { op: 'Div', inputs: ['x', 'r'], output: 'a' },
      { op: 'Erf', inputs: ['a'], output: 'b' },
      { op: 'Add', inputs: ['b', 'o'], output: 'c' },
      { op: 'Mul', inputs: ['x', 'c'], output: 'd' },
      { op: 'Mul', inputs: ['d', 'h'], output: 'y' },
    ],
    input: image,
    output: image,
    floats: { r: { dims: [], data: [Math.SQRT2] }, o: { dims: [], data: [1] }, h: { dims: [], data: [0.5] } },
  },
  'Add, Sub and Mul of activations and constants, broadcast': {
    nodes: [
      { op: 'Relu', inputs: ['x'], output: 'a' },
      { op: 'GlobalAveragePool', inputs: ['x'], output: 'g' },
      { op: 'Mul', inputs: ['a', 'g'], output: 'b' },
      { op: 'Sub', inputs: ['b', 'x'], output: 'c' },
      { op: 'Add', inputs: ['c', 'k'], output: 'd' },
      { op: 'Mul', inputs: ['d', 'k'], output: 'y' },
    ],
    input: image,
    output: image,
    floats: { k: weights([4, 1, 1], 5, 1) },
  },
  'Concat, Split, Slice, Transpose, Pad': {
    nodes: [
      { op: 'Tanh', inputs: ['x'], output: 'a' },
      { op: 'Concat', inputs: ['x', 'a'], output: 'b', attributes: { axis: 1 } },
      { op: 'Transpose', inputs: ['b'], output: 'c', attributes: { perm: [0, 2, 3, 1] } },
      { op: 'Slice', inputs: ['c', 'starts', 'ends', 'axes', 'steps'], output: 'd' },
      { op: 'Pad', inputs: ['d', 'pads'], output: 'y' },
    ],
    input: image,
    output: ['n', 6, 7, 8],
    ints: { starts: [8], ends: [0], axes: [1], steps: [-2], pads: [0, 1, 0, 0, 0, 1, 0, 0] },
  },
  'AveragePool with pads that are not counted, rounding up': {
    nodes: [
      {
        op: 'AveragePool',
        inputs: ['x'],
        output: 'y',
        attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ceil_mode: 1 },
      },
    ],
    input: image,
    output: ['n', 4, 5, 4],
  },
  'ReduceMean, ReduceSum': {
    nodes: [
      { op: 'ReduceSum', inputs: ['x', 'c'], output: 'a', attributes: { keepdims: 1 } },
      { op: 'ReduceMean', inputs: ['a'], output: 'y', attributes: { axes: [2, 3], keepdims: 0 } },
    ],
    input: image,
    output: ['n', 1],
    ints: { c: [1] },
    opset: 13,
  },
  'MaxPool with pads, then ReduceMax': {
    nodes: [
      { op: 'MaxPool', inputs: ['x'], output: 'a', attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] } },
      { op: 'ReduceMax', inputs: ['a'], output: 'y', attributes: { axes: [3], keepdims: 0 } },
    ],
    input: image,
    output: ['n', 4, 9],
    opset: 13,
  },
  'Resize nearest': {
    nodes: [
      {
        op: 'Resize',
        inputs: ['x', '', 'scales'],
        output: 'y',
        attributes: {
          mode: 'nearest',
          coordinate_transformation_mode: 'asymmetric',
          nearest_mode: 'floor',
        },
      },
    ],
    input: image,
    output: ['n', 4, 18, 21],
    floats: { scales: { dims: [4], data: [1, 1, 2, 3] } },
  },
  'attention: two products and a softmax': {
    nodes: [
      { op: 'MatMul', inputs: ['x', 'wq'], output: 'q0' },
      { op: 'MatMul', inputs: ['x', 'wk'], output: 'k0' },
      { op: 'Reshape', inputs: ['q0', 'heads'], output: 'q1' },
      { op: 'Reshape', inputs: ['k0', 'heads'], output: 'k1' },
      { op: 'Transpose', inputs: ['q1'], output: 'q', attributes: { perm: [0, 2, 1, 3] } },
      { op: 'Transpose', inputs: ['k1'], output: 'k', attributes: { perm: [0, 2, 3, 1] } },
      { op: 'MatMul', inputs: ['q', 'k'], output: 's' },
      { op: 'Softmax', inputs: ['s'], output: 'p', attributes: { axis: -1 } },
      { op: 'Transpose', inputs: ['k'], output: 'v', attributes: { perm: [0, 1, 3, 2] } },
      { op: 'MatMul', inputs: ['p', 'v'], output: 'o' },
      { op: 'Transpose', inputs: ['o'], output: 'o1', attributes: { perm: [0, 2, 1, 3] } },
      { op: 'Reshape', inputs: ['o1', 'flat'], output: 'y' },
    ],
    input: ['n', 6, 8],
    output: ['n', 6, 8],
    floats: { wq: weights([8, 8], 3, 1), wk: weights([8, 8], 4, 1) },
    ints: { heads: [1, 6, 2, 4], flat: [1, 6, 8] },
  },
  LayerNormalization: {
    nodes: [{ op: 'LayerNormalization', inputs: ['x', 's', 'b'], output: 'y' }],
    input: ['n', 5, 24],
    output: ['n', 5, 24],
    floats: { s: weights([24], 2, 1), b: weights([24], 3) },
  },
  InstanceNormalization: {
    nodes: [{ op: 'InstanceNormalization', inputs: ['x', 's', 'b'], output: 'y' }],
    input: image,
    output: image,
    floats: { s: weights([4], 2, 1), b: weights([4], 3) },
  },
  Sigmoid: { nodes: [{ op: 'Sigmoid', inputs: ['x'], output: 'y' }] },
  Tanh: { nodes: [{ op: 'Tanh', inputs: ['x'], output: 'y' }] },
}

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
  ['a stride of zero', one('Conv', { strides: [0, 1] }, { floats: { w: weights([4, 4, 3, 3]) } }), 'MODEL_SHAPE'],
  ['a window larger than the image', one('Conv', {}, { floats: { w: weights([4, 4, 30, 3]) } }), 'MODEL_SHAPE'],
  [
    'a bias of the wrong length',
    one('Conv', {}, { floats: { w: weights([4, 4, 3, 3]), z: weights([3]) } }),
    'MODEL_SHAPE',
  ],
  ['an operator without canonical meaning', { nodes: [{ op: 'Sin', inputs: ['x'], output: 'y' }] }, 'MODEL_OPERATOR'],
  [
    'a quotient of two activations',
    {
      nodes: [
        { op: 'Relu', inputs: ['x'], output: 'a' },
        { op: 'Flatten', inputs: ['x'], output: 'b' },
        { op: 'Add', inputs: ['b', 'b'], output: 'c' },
        { op: 'Div', inputs: ['a', 'c'], output: 'y' },
      ],
    },
    'MODEL_OPERATOR',
  ],
  [
    'a transposed input',
    one('Gemm', { transA: 1 }, { input: ['n', 4], floats: { w: weights([4, 4]) } }),
    'MODEL_OPERATOR',
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
  // Weights that cancel: 10^9 times the input, minus the same, leaves accumulators far larger than the result.
  const cancelling = onnxModel({
    nodes: [{ op: 'Gemm', inputs: ['x', 'w'], output: 'y' }],
    floats: { w: { dims: [4, 4], data: Array.from({ length: 16 }, (_, i) => (i < 8 ? 1e30 : -1e30)) } },
  })
  await refused([[Float32Array.of(1, 1, 1, 1)]], 'CALIBRATION_RANGE', cancelling)
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

test.run()
