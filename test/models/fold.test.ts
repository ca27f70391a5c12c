import fc from 'fast-check'
import ort from 'onnxruntime-node'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { broadcastShapes, FOLDED_OPERATORS, foldNode, reshapeTarget, shapeConstant } from '../../models/fold.ts'
import { FOLD_ELEMENTS } from '../../models/fold-tensor.ts'
import { halfBits, halfValue, roundHalf } from '../../models/half.ts'
import type { Attribute, Constant, DType, GraphNode } from '../../models/onnx.ts'
import { elementCount } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, type FixtureAttribute, numbers, onnxGraph } from './onnx-fixture.ts'

/** Folding against ONNX Runtime: the same node with the same inputs gives the same type, shape and values. */

const f32 = (dims: number[], values: number[] = numbers(elementCount(dims), 3, dims.length + 7)): Constant =>
  constant('float32', dims, values)
const i64 = (...values: number[]): Constant => constant('int64', [values.length], values)
const one = (dtype: DType, value: number): Constant => constant(dtype, [], [value])
const count = (dtype: DType, dims: number[]): Constant =>
  constant(
    dtype,
    dims,
    Array.from({ length: elementCount(dims) }, (_, i) => i - (dtype.startsWith('u') ? 0 : 3)),
  )
const bits = (dims: number[], values: number[]): Constant => constant('bool', dims, values)

type Case = {
  op: string
  inputs: (Constant | null)[]
  attributes?: Record<string, FixtureAttribute>
  opset?: number
  outputs?: number
}

function nodeOf({ op, inputs, attributes = {}, outputs = 1 }: Case): GraphNode {
  const plain = Object.entries(attributes).map(([key, value]): [string, Attribute] => {
    if (typeof value === 'object' && 'float' in value) return [key, Math.fround(value.float)]
    if (typeof value === 'object' && 'floats' in value) return [key, value.floats.map(Math.fround)]
    return [key, value]
  })
  return {
    name: 'node',
    operator: op,
    domain: '',
    inputs: inputs.map((each, i) => (each === null ? '' : `i${i}`)),
    outputs: Array.from({ length: outputs }, (_, i) => `o${i}`),
    attributes: new Map(plain),
  }
}

const fold = (each: Case): Constant[] | null => foldNode(nodeOf(each), each.inputs, each.opset ?? 18)

/** The node in a model of its own; its inputs are constants, so that the runtime sees what a graph would hold. */
function modelOf(each: Case, results: Constant[]): Uint8Array {
  const node = nodeOf(each)
  const constants = Object.fromEntries(each.inputs.flatMap((value, i) => (value ? [[`i${i}`, value]] : [])))
  return onnxGraph({
    nodes: [
      {
        op: each.op,
        inputs: node.inputs,
        outputs: node.outputs,
        ...(each.attributes ? { attributes: each.attributes } : {}),
      },
      { op: 'Identity', inputs: ['x'], outputs: ['y'] },
    ],
    inputs: { x: { dims: [1] } },
    outputs: { y: { dims: [1] }, ...Object.fromEntries(results.map(({ dtype }, i) => [`o${i}`, { dtype }])) },
    constants,
    opset: each.opset ?? 18,
  })
}

async function check(each: Case, ulps = 0): Promise<void> {
  const what = `${each.op} ${JSON.stringify(each.attributes ?? {})} of ${each.inputs.map((i) => i && `${i.dtype}[${i.dims}]`)}`
  const results = fold(each)
  assert.ok(results !== null, `${what} is not folded`)
  const session = await ort.InferenceSession.create(modelOf(each, results), { logSeverityLevel: 4 })
  const found = await session.run({ x: new ort.Tensor('float32', [0], [1]) })
  for (const [i, { dims, dtype, data }] of results.entries()) {
    const expected = found[`o${i}`]!
    assert.is(expected.type, dtype, what)
    assert.equal(expected.dims, dims, what)
    const theirs = Array.from(expected.data as ArrayLike<unknown>, Number)
    const values = dtype === 'float16' && expected.data instanceof Uint16Array ? theirs.map(halfValue) : theirs
    for (const [at, value] of values.entries()) {
      const ours = data[at]!
      const near = Math.abs(ours - value) <= ulps * 2 ** -23 * Math.max(1, Math.abs(value))
      assert.ok(ours === value || near, `${what}: element ${at} is ${value}, folded to ${ours}`)
    }
  }
  await session.release()
}

test('arithmetic, with broadcasting', async () => {
  for (const op of ['Add', 'Sub', 'Mul', 'Div']) {
    await check({ op, inputs: [f32([2, 3, 4]), f32([3, 1])] })
    await check({ op, inputs: [f32([]), f32([2, 1])] })
    await check({ op, inputs: [count('int64', [2, 5]), constant('int64', [5], [1, -2, 3, 7, -5])] })
    await check({ op, inputs: [count('int32', [4]), one('int32', 3)] })
  }
  await check({ op: 'Div', inputs: [constant('int64', [4], [7, -7, 7, -7]), constant('int64', [4], [2, 2, -2, -2])] })
  await check({ op: 'Mod', inputs: [constant('int64', [4], [7, -7, 7, -7]), constant('int64', [4], [3, 3, -3, -3])] })
  const fmod = { fmod: 1 }
  await check({ op: 'Mod', attributes: fmod, inputs: [i64(7, -7, 7, -7), i64(3, 3, -3, -3)] })
  await check({ op: 'Mod', attributes: fmod, inputs: [f32([4], [5.3, -5.3, 5.3, -5.3]), f32([4], [2, 2, -2, -2])] })
  await check({ op: 'Pow', inputs: [f32([4], [1, 2, 0.5, 3]), f32([], [2])] }, 2)
  await check({ op: 'Pow', inputs: [i64(1, 2, -3), one('int64', 3)] })
  await check({ op: 'Pow', inputs: [f32([2], [2, 3]), one('int64', -2)] }, 2)
  for (const op of ['Min', 'Max', 'Sum']) await check({ op, inputs: [f32([2, 2]), f32([2]), f32([1], [0.5])] }, 1)
  for (const op of ['Min', 'Max']) await check({ op, inputs: [i64(1, 5, -2), i64(2, 3, -9)] })
})

test('functions of one value', async () => {
  const x = f32([7], [-2.5, -0.5, 0.5, 1.5, 2.5, 0, 3.25])
  for (const op of ['Abs', 'Neg', 'Floor', 'Ceil', 'Round', 'Sign']) await check({ op, inputs: [x] })
  for (const op of ['Exp', 'Sin', 'Cos']) await check({ op, inputs: [x] }, 4)
  const positive = f32([4], [0.25, 1, 2, 10])
  for (const op of ['Sqrt', 'Reciprocal']) await check({ op, inputs: [positive] })
  await check({ op: 'Log', inputs: [positive] }, 4)
  for (const op of ['Abs', 'Neg', 'Sign']) await check({ op, inputs: [count('int64', [6])] })
})

test('comparison, logic and choice', async () => {
  const pair = [i64(1, 2, 3), i64(3, 2, 1)]
  for (const op of ['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual']) {
    await check({ op, inputs: pair })
    await check({ op, inputs: [f32([2, 1], [1, 2]), f32([3], [1, 2, 3])] })
  }
  const logic = [bits([4], [0, 0, 1, 1]), bits([4], [0, 1, 0, 1])]
  for (const op of ['And', 'Or', 'Xor', 'Equal']) await check({ op, inputs: logic })
  await check({ op: 'Not', inputs: [logic[0]!] })
  await check({ op: 'Where', inputs: [bits([2, 1], [0, 1]), f32([3]), f32([], [Number.NEGATIVE_INFINITY])] })
  await check({ op: 'Where', inputs: [bits([3], [0, 1, 1]), i64(1, 2, 3), i64(-1)] })
})

test('conversion between types', async () => {
  const to = (number: number) => ({ to: number })
  const x = f32([6], [-1.75, -0.5, 0, 0.5, 1.75, 100])
  for (const type of [1, 3, 5, 6, 7, 9, 11]) await check({ op: 'Cast', attributes: to(type), inputs: [x] })
  await check({ op: 'Cast', attributes: to(10), inputs: [f32([5], [0.1, 1e-6, 65504, Math.PI, 2049])] })
  for (const type of [1, 2, 3, 6, 9, 11, 12])
    await check({ op: 'Cast', attributes: to(type), inputs: [i64(0, 1, -1, 300, 2 ** 31 + 5, -(2 ** 40))] })
  await check({ op: 'Cast', attributes: to(7), inputs: [bits([2], [0, 1])] })
  await check({ op: 'Cast', attributes: to(1), inputs: [i64(2 ** 24 + 1, 2 ** 53 - 1)] })
})

test('shapes and views', async () => {
  const x = f32([2, 1, 3, 1])
  await check({ op: 'Squeeze', inputs: [x] })
  await check({ op: 'Squeeze', inputs: [x, i64(1, -1)] })
  await check({ op: 'Unsqueeze', inputs: [x, i64(0, -1)] })
  await check({ op: 'Unsqueeze', inputs: [one('int64', 5), i64(0)] })
  await check({ op: 'Reshape', inputs: [x, i64(0, -1)] })
  await check({ op: 'Reshape', inputs: [x, i64(3, 2)] })
  await check({ op: 'Reshape', attributes: { allowzero: 1 }, inputs: [f32([0, 3]), i64(3, 0)] })
  for (const axis of [0, 1, 2, 4, -1]) await check({ op: 'Flatten', attributes: { axis }, inputs: [x] })
  await check({ op: 'Transpose', inputs: [f32([2, 3, 4])] })
  await check({ op: 'Transpose', attributes: { perm: [1, 2, 0] }, inputs: [count('int64', [2, 3, 4])] })
  await check({ op: 'Identity', inputs: [x] })
  await check({ op: 'Size', inputs: [x] })
  await check({ op: 'Shape', inputs: [x] })
  await check({ op: 'Shape', attributes: { start: 1, end: -1 }, inputs: [x] })
  await check({ op: 'Shape', attributes: { start: -9, end: 9 }, inputs: [x] })
})

test('expanding, repeating, joining and cutting', async () => {
  await check({ op: 'Expand', inputs: [f32([3, 1]), i64(2, 1, 4)] })
  await check({ op: 'Expand', inputs: [f32([3, 4]), i64(1)] })
  await check({ op: 'Tile', inputs: [f32([2, 3]), i64(2, 2)] })
  await check({ op: 'Tile', inputs: [count('int64', [3]), i64(0)] })
  await check({ op: 'Concat', attributes: { axis: 0 }, inputs: [i64(1, 2), i64(), i64(3)] })
  await check({ op: 'Concat', attributes: { axis: -1 }, inputs: [f32([2, 2, 1]), f32([2, 2, 3])] })
  const x = count('float32', [4, 5])
  const far = Number.MAX_SAFE_INTEGER
  for (const inputs of [
    [x, i64(1), i64(3)],
    [x, i64(0, 1), i64(far, -1), i64(0, 1), i64(2, 3)],
    [x, i64(-1), i64(-far), i64(1), i64(-1)],
    [x, i64(9), i64(-9), i64(-2), i64(-2)],
    [x, i64(3), i64(1), i64(0)],
    [x, i64(-100), i64(100), null, i64(3)],
  ])
    await check({ op: 'Slice', inputs })
  await check({ op: 'Split', attributes: { axis: 1 }, inputs: [x, i64(2, 0, 3)], outputs: 3 })
  await check({ op: 'Split', attributes: { num_outputs: 3, axis: 1 }, inputs: [x], outputs: 3 })
})

test('gathering, triangles, sums along an axis', async () => {
  const x = count('float32', [3, 4])
  await check({ op: 'Gather', inputs: [x, constant('int64', [2, 2], [0, -1, 2, 1])] })
  await check({ op: 'Gather', attributes: { axis: 1 }, inputs: [x, constant('int32', [], [2])] })
  await check({ op: 'Gather', inputs: [i64(5, 6, 7), one('int64', -1)] })
  const at = constant('int64', [2, 4], [0, 1, 2, -1, 2, 2, 0, 0])
  await check({ op: 'GatherElements', inputs: [x, at] })
  await check({ op: 'GatherElements', attributes: { axis: -1 }, inputs: [x, constant('int64', [2, 2], [3, 0, -4, 1])] })
  for (const upper of [0, 1])
    for (const k of [-1, 0, 2])
      await check({ op: 'Trilu', attributes: { upper }, inputs: [count('float32', [2, 3, 4]), one('int64', k)] })
  await check({ op: 'Trilu', inputs: [count('int64', [3, 3])] })
  for (const exclusive of [0, 1])
    for (const reverse of [0, 1])
      for (const axis of [0, -1])
        await check({ op: 'CumSum', attributes: { exclusive, reverse }, inputs: [x, one('int64', axis)] })
  await check({ op: 'NonZero', inputs: [constant('int64', [2, 3], [0, 1, 0, 2, 0, 3])] })
})

test('making: filled shapes and ranges', async () => {
  await check({ op: 'ConstantOfShape', inputs: [i64(2, 3)] })
  await check({ op: 'ConstantOfShape', inputs: [i64(0, 3)], attributes: { value: i64(7) } })
  await check({ op: 'ConstantOfShape', inputs: [i64()], attributes: { value: bits([1], [1]) } })
  const of = (dtype: DType, ...values: number[]) => values.map((value) => one(dtype, value))
  await check({ op: 'Range', inputs: of('int64', 2, 11, 3) })
  await check({ op: 'Range', inputs: of('int64', 5, -5, -2) })
  await check({ op: 'Range', inputs: of('int64', 5, 5, 1) })
  await check({ op: 'Range', inputs: of('float32', 0, 1, 0.1) }, 1)
})

test('padding', async () => {
  const x = count('float32', [3, 4])
  await check({ op: 'Pad', inputs: [x, i64(1, 0, 2, 1), one('float32', 9)] })
  await check({ op: 'Pad', inputs: [x, i64(-1, 1, 0, -2)] })
  for (const mode of ['reflect', 'edge']) await check({ op: 'Pad', attributes: { mode }, inputs: [x, i64(2, 1, 1, 3)] })
  await check({ op: 'Pad', attributes: { mode: 'wrap' }, opset: 19, inputs: [x, i64(2, 1, 1, 3)] })
  await check({ op: 'Pad', inputs: [x, i64(2, 1), one('float32', 1), i64(-1)] })
})

test('reductions: axes are an attribute or an input as the operator set says', async () => {
  const x = f32([2, 3, 4])
  for (const op of ['ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceMean', 'ReduceProd']) {
    await check({ op, inputs: [x] }, 16)
    await check({ op, inputs: [x, i64(1, -1)], attributes: { keepdims: 0 } }, 16)
    await check({ op, inputs: [x, i64()], attributes: { noop_with_empty_axes: 1 } })
    if (op !== 'ReduceSum') await check({ op, opset: 17, inputs: [x], attributes: { axes: [0, 2] } }, 16)
    await check({ op, inputs: [count('int64', [2, 3]), i64(1)] })
  }
  await check({ op: 'ReduceSum', opset: 13, inputs: [x, i64(0)] }, 2)
})

test('quantised values, of a whole tensor and along an axis', async () => {
  const x = f32([3, 4], [-3, -1.25, -0.05, 0, 0.05, 0.15, 0.25, 0.35, 1, 2.5, 30, -30])
  const scale = f32([4], [0.1, 0.2, 0.05, 0.1])
  for (const dtype of ['int8', 'uint8'] as const) {
    const zero = constant(dtype, [4], [0, 3, 5, 7])
    await check({ op: 'QuantizeLinear', inputs: [x, f32([], [0.1]), one(dtype, 4)] })
    await check({ op: 'QuantizeLinear', inputs: [x, scale, zero], attributes: { axis: 1 } })
    await check({ op: 'DequantizeLinear', inputs: [count(dtype, [3, 4]), f32([], [0.1]), one(dtype, 4)] })
    await check({ op: 'DequantizeLinear', inputs: [count(dtype, [3, 4]), scale, zero], attributes: { axis: -1 } })
  }
  await check({ op: 'QuantizeLinear', inputs: [x, f32([], [0.1])] })
  const rows = f32([3], [0.1, 1, 2])
  await check({ op: 'DequantizeLinear', inputs: [count('int32', [3, 4]), rows], attributes: { axis: 0 } })
})

const refused = (each: Case, code: string): void =>
  assert.throws(
    () => fold(each),
    (error: unknown) => {
      if (!(error instanceof SinterError)) throw error
      assert.is(error.code, code, `${each.op}: ${error.message}`)
      return error.message.includes('node node')
    },
  )

test('nonsense is refused with a code that names the node', () => {
  const x = f32([2, 3])
  refused({ op: 'Add', inputs: [x, f32([2])] }, 'MODEL_SHAPE')
  refused({ op: 'Add', inputs: [x, i64(1)] }, 'MODEL_DTYPE')
  refused({ op: 'Add', inputs: [x] }, 'MODEL_INPUT')
  refused({ op: 'Div', inputs: [i64(1), i64(0)] }, 'MODEL_VALUE')
  refused({ op: 'Mul', inputs: [i64(2 ** 52), i64(2)] }, 'MODEL_VALUE')
  refused({ op: 'Log', inputs: [f32([1], [-1])] }, 'MODEL_VALUE')
  refused({ op: 'Cast', inputs: [f32([1], [1e20])], attributes: { to: 7 } }, 'MODEL_VALUE')
  refused({ op: 'Cast', inputs: [x], attributes: { to: 8 } }, 'MODEL_DTYPE')
  refused({ op: 'Not', inputs: [x] }, 'MODEL_DTYPE')
  refused({ op: 'Reshape', inputs: [x, i64(4, 2)] }, 'MODEL_SHAPE')
  refused({ op: 'Reshape', inputs: [x, i64(-1, -1)] }, 'MODEL_SHAPE')
  refused({ op: 'Reshape', inputs: [x, i64(-1, 4)] }, 'MODEL_SHAPE')
  refused({ op: 'Reshape', inputs: [x, i64(6, 1, 0)] }, 'MODEL_SHAPE')
  refused({ op: 'Squeeze', inputs: [x, i64(0)] }, 'MODEL_SHAPE')
  refused({ op: 'Unsqueeze', inputs: [x, i64(0, 0)] }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Transpose', inputs: [x], attributes: { perm: [0, 0] } }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Transpose', inputs: [x], attributes: { perm: [0] } }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Expand', inputs: [x, i64(4, 3)] }, 'MODEL_SHAPE')
  refused({ op: 'Tile', inputs: [x, i64(2)] }, 'MODEL_SHAPE')
  refused({ op: 'Concat', inputs: [x, f32([2])], attributes: { axis: 0 } }, 'MODEL_SHAPE')
  refused({ op: 'Concat', inputs: [x, x] }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Gather', inputs: [x, i64(2)] }, 'MODEL_SHAPE')
  refused({ op: 'Gather', inputs: [x, f32([1])] }, 'MODEL_DTYPE')
  refused({ op: 'Gather', inputs: [x, i64(0)], attributes: { axis: 2 } }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Slice', inputs: [x, i64(0), i64(1), i64(0), i64(0)] }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Slice', inputs: [x, i64(0, 1), i64(1)] }, 'MODEL_SHAPE')
  refused({ op: 'Pad', inputs: [x, i64(1)] }, 'MODEL_SHAPE')
  refused({ op: 'Pad', inputs: [x, i64(0, 0, 0, 0)], attributes: { mode: 'constructor' } }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Range', inputs: [one('int64', 0), one('int64', 5), one('int64', 0)] }, 'MODEL_VALUE')
  refused({ op: 'ReduceMax', inputs: [f32([0])] }, 'MODEL_SHAPE')
  refused({ op: 'ReduceSum', inputs: [x], attributes: { axes: [0] } }, 'MODEL_ATTRIBUTE')
  refused({ op: 'Split', inputs: [x, i64(1, 1)], attributes: { axis: 1 }, outputs: 2 }, 'MODEL_SHAPE')
  refused({ op: 'Unsqueeze', inputs: [x, i64(0, 1, 2, 3, 4, 5, 6)] }, 'MODEL_SHAPE')
  refused({ op: 'ConstantOfShape', inputs: [i64(...new Array<number>(300).fill(1))] }, 'MODEL_SHAPE')
})

test('what is unknown or large is left alone', () => {
  const x = f32([2, 3])
  assert.is(fold({ op: 'Conv', inputs: [x, x] }), null)
  assert.is(fold({ op: 'constructor', inputs: [x] }), null)
  assert.is(foldNode({ ...nodeOf({ op: 'Add', inputs: [x, x] }), domain: 'com.example' }, [x, x], 18), null)
  assert.is(foldNode(nodeOf({ op: 'Add', inputs: [x, x] }), [x, null], 18), null)
  assert.is(foldNode({ ...nodeOf({ op: 'Abs', inputs: [x] }), omitted: ['body'] }, [x], 18), null)
  assert.ok(fold({ op: 'ConstantOfShape', inputs: [i64(FOLD_ELEMENTS)] }))
  assert.is(fold({ op: 'ConstantOfShape', inputs: [i64(FOLD_ELEMENTS + 1)] }), null)
  assert.is(fold({ op: 'ConstantOfShape', inputs: [i64(0, 2 ** 50)] }), null)
  assert.is(fold({ op: 'Expand', inputs: [f32([1]), i64(2 ** 30, 2 ** 30)] }), null)
  assert.is(fold({ op: 'Tile', inputs: [x, i64(2 ** 30, 2 ** 30)] }), null)
  assert.is(fold({ op: 'Pad', inputs: [x, i64(2 ** 40, 0, 0, 0)] }), null)
  assert.is(fold({ op: 'Range', inputs: [one('int64', 0), one('int64', 2 ** 40), one('int64', 1)] }), null)
  assert.is(fold({ op: 'QuantizeLinear', opset: 21, inputs: [x, x], attributes: { block_size: 2 } }), null)
})

test('a budget bounds the work of a whole graph', () => {
  const x = f32([2, 3])
  const node = nodeOf({ op: 'Abs', inputs: [x] })
  const budget = { elements: 24 }
  for (const left of [12, 0]) {
    assert.ok(foldNode(node, [x], 18, budget))
    assert.is(budget.elements, left)
  }
  assert.is(foldNode(node, [x], 18, budget), null)
})

test('broadcasting and reshaping without values', () => {
  assert.equal(broadcastShapes([]), [])
  assert.equal(broadcastShapes([[2, 1, 4], [3, 1], []]), [2, 3, 4])
  assert.equal(broadcastShapes([[0], [1]]), [0])
  assert.is(broadcastShapes([[2], [3]]), null)
  assert.is(broadcastShapes([[0], [2]]), null)
  const node = nodeOf({ op: 'Reshape', inputs: [] })
  assert.equal(reshapeTarget(node, [1, 12, 64], [0, -1, 8]), [1, 96, 8])
  assert.equal(shapeConstant([1, 2, 3], nodeOf({ op: 'Shape', inputs: [], attributes: { start: -1 } })), i64(3))
})

test('halves round as IEEE 754 says', () => {
  for (let code = 0; code < 0x7c00; code++) assert.is(roundHalf(halfValue(code)), halfValue(code))
  for (let code = 0; code <= 0xfc00; code++) if ((code & 0x7fff) <= 0x7c00) assert.is(halfBits(halfValue(code)), code)
  for (const [value, half] of [
    [2049, 2048],
    [2051, 2052],
    [65519, 65504],
    [65520, Number.POSITIVE_INFINITY],
    [2 ** -25, 0],
    [2 ** -25 * 1.01, 2 ** -24],
    [-1.000488, -1],
    [1 - 2 ** -13, 1],
  ] as const)
    assert.is(roundHalf(value) + 0, half)
})

test('any node over any small constants gives a value, null or a coded error', () => {
  const dims = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 })
  const value = fc
    .tuple(fc.constantFrom<DType>('float32', 'int64', 'int32', 'bool', 'int8', 'float64'), dims, fc.integer())
    .map(([dtype, shape, seed]) => {
      const size = shape.reduce((a, b) => a * b, 1)
      const small = numbers(size, 4, seed).map((x) =>
        dtype === 'bool' ? Number(x > 0) : dtype.includes('int') ? Math.trunc(x) : x,
      )
      return constant(dtype, shape, small)
    })
  const attribute = fc.oneof(
    fc.integer({ min: -3, max: 12 }),
    fc.array(fc.integer({ min: -2, max: 3 }), { maxLength: 3 }),
  )
  const keys = ['axis', 'axes', 'perm', 'to', 'keepdims', 'allowzero', 'exclusive', 'upper', 'start', 'end', 'fmod']
  const attributes = fc.dictionary(fc.constantFrom(...keys), attribute, { maxKeys: 2 })
  fc.assert(
    fc.property(
      fc.constantFrom(...FOLDED_OPERATORS),
      fc.array(fc.option(value, { freq: 12 }), { maxLength: 4 }),
      attributes,
      fc.constantFrom(13, 17, 18, 22),
      (op, inputs, found, opset) => {
        let results: Constant[] | null
        try {
          results = fold({ op, inputs, attributes: found, opset })
        } catch (error) {
          assert.instance(error, SinterError)
          return
        }
        for (const { dims: shape, data } of results ?? [])
          assert.is(
            data.length,
            shape.reduce((a, b) => a * b, 1),
          )
      },
    ),
    { numRuns: 20_000 },
  )
})

test.run()
