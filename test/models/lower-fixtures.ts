import { elementCount } from '../../models/tiling.ts'
import { type Fixture, numbers } from './onnx-fixture.ts'

export const weights = (dims: number[], seed = 1, scale = 0.5) => ({
  dims,
  data: numbers(elementCount(dims), scale, seed),
})

export const image = ['n', 4, 9, 7]

/** Each supported operator in the forms that exporters write, held against ONNX Runtime. */
export const SUPPORTED: Record<string, Fixture> = {
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
