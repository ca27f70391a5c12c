import { constant } from './onnx-fixture.ts'
import { type Case, image, ints, node, one, positive, rows, vector, weights } from './operator-case.ts'

/** Forms in which a small difference from ONNX Runtime's reading would give other numbers altogether. */

const number = (value: number) => constant('float32', [], [value])
const list = (...values: number[]) => constant('float32', [values.length], values)
/** Lower triangle of 6 × 6. */
const causal = Array.from({ length: 36 }, (_, i) => (i % 6 <= Math.floor(i / 6) ? 1 : 0))

const resized = (scales: number[], y: Case['y'], rounding: string): Case => ({
  nodes: [one('Resize', { mode: 'nearest', nearest_mode: rounding }, ['x', '', 's'])],
  x: ['n', 2, 10, 7],
  y,
  constants: { s: list(...scales) },
  quanta: 1,
})

export const EDGES: Record<string, Case> = {
  'means below −9,999, as a scaler takes them off': {
    nodes: [
      node('Sub', ['x', 'm'], 'a'),
      node('Div', ['a', 's'], 'b'),
      node('MatMul', ['b', 'w'], 'c'),
      one('Tanh', {}, ['c']),
    ],
    x: ['n', 3],
    y: ['n', 2],
    low: 30_000,
    size: 40_000,
    constants: { m: list(50_000, 49_000, 20), s: list(20_000, 20_000, 30_000), w: weights([3, 2], 5) },
    quanta: 80,
  },
  'a bias below −9,999': {
    nodes: [node('MatMul', ['x', 'w'], 'a'), one('Add', {}, ['a', 'b'])],
    x: vector,
    y: ['n', 2],
    constants: { w: weights([24, 2], 3, 900), b: list(-12_000, 4) },
    quanta: 2,
  },
  'masked scores that change their shape before the softmax': {
    nodes: [
      node('Add', ['x', 'm'], 'a'),
      node('Reshape', ['a', 's'], 'b'),
      node('Softmax', ['b'], 'c'),
      one('Reshape', {}, ['c', 't']),
    ],
    x: ['n', 2, 6, 6],
    y: ['n', 2, 6, 6],
    constants: {
      m: constant(
        'float32',
        [1, 1, 6, 6],
        causal.map((on) => (on ? 0 : -3.4e38)),
      ),
      s: ints(1, 12, 6),
      t: ints(1, 2, 6, 6),
    },
    quanta: 6,
  },
  'scores replaced by −10⁹, scaled, then the softmax': {
    nodes: [node('Where', ['m', 'x', 'f'], 'a'), node('Mul', ['a', 'h'], 'b'), one('Softmax', {}, ['b'])],
    x: ['n', 2, 6, 6],
    y: ['n', 2, 6, 6],
    constants: { m: constant('bool', [6, 6], causal), f: number(-1e9), h: number(0.5) },
    quanta: 6,
  },
  'nearest, where float32 decides between two, 1.1 and 0.3 times': resized(
    [1, 1, 1.1, 0.3],
    ['n', 2, 11, 2],
    'round_prefer_ceil',
  ),
  'nearest, where float32 decides between two, 2.5 and 0.7 times': resized(
    [1, 1, 2.5, 0.7],
    ['n', 2, 25, 4],
    'round_prefer_floor',
  ),
  'pads that cut off before the rest goes round': {
    nodes: [one('Pad', { mode: 'wrap' }, ['x', 'p'])],
    x: image,
    y: ['n', 4, 10, 6],
    constants: { p: ints(0, 0, -2, 1, 0, 0, 3, -2) },
    opset: 19,
    quanta: 1,
  },
  'a norm over no axes is of each element': {
    nodes: [one('ReduceL1', { noop_with_empty_axes: 1 }, ['x', 'a'])],
    x: rows,
    y: rows,
    constants: { a: ints() },
    quanta: 2,
  },
  'a mask and a constant that spread each other': {
    nodes: [one('Where', {}, ['m', 'x', 'c'])],
    x: rows,
    y: rows,
    constants: { m: constant('bool', [5, 1], [1, 0, 1, 1, 0]), c: weights([12]) },
    quanta: 1,
  },
  'a constant tensor divided by an activation': {
    nodes: [one('Div', {}, ['c', 'x'])],
    x: rows,
    y: rows,
    low: 0.5,
    constants: { c: weights([12], 4) },
    quanta: 3,
  },
  'two steps that make no step': {
    nodes: [node('Sign', ['x'], 's'), node('Abs', ['x'], 'a'), one('Mul', {}, ['s', 'a'])],
    x: vector,
    y: vector,
    quanta: 2,
    kinds: ['table'],
  },
  'levels that are moved before they are numbers again': {
    nodes: [
      node('QuantizeLinear', ['x', 's', 'z'], 'q'),
      node('Transpose', ['q'], 't', { perm: [0, 2, 1] }),
      one('DequantizeLinear', {}, ['t', 's', 'z']),
    ],
    x: rows,
    y: ['n', 12, 5],
    constants: { s: number(0.02), z: constant('int8', [], [3]) },
    quanta: 1,
  },
  'numbers that pass through half precision': {
    nodes: [node('Cast', ['x'], 'a', { to: 10 }), one('Cast', { to: 1 }, ['a'])],
    x: rows,
    y: rows,
    quanta: 5,
  },
  'an embedding in half precision': {
    nodes: [node('Gather', ['t', 'x'], 'a'), node('Mul', ['a', 'h'], 'b'), one('Cast', { to: 1 }, ['b'])],
    x: ['n', 3],
    y: ['n', 3, 4],
    ids: { rows: 6 },
    constants: { t: { ...weights([6, 4]), dtype: 'float16' }, h: constant('float16', [], [0.75]) },
    quanta: 9,
  },
  'functions and products of constants': {
    nodes: [
      node('MatMul', ['u', 'v'], 'a'),
      node('Sigmoid', ['a'], 'b'),
      node('Gemm', ['b', 'k', 'p'], 'c', { alpha: { float: 0.5 }, transA: 1, beta: { float: 2 } }),
      node('Softmax', ['c'], 'd', { axis: 0 }),
      node('Clip', ['d', '', 'h'], 'e'),
      one('Mul', {}, ['x', 'e']),
    ],
    x: ['n', 5, 3],
    y: ['n', 5, 3],
    constants: { u: weights([4, 4]), v: weights([4, 5], 2), k: weights([4, 3], 3), p: positive([3]), h: number(0.3) },
    quanta: 1,
  },
}
