import { ELEMENT_FOLDS } from './fold-elements.ts'
import { LAYOUT_FOLDS } from './fold-layout.ts'
import { MATRIX_FOLDS } from './fold-matrix.ts'
import {
  axesOf,
  axisOf,
  broadcastStrides,
  FOLD_ELEMENTS,
  type Fold,
  type FoldCall,
  givenAxes,
  input,
  integers,
  integersAttribute,
  made,
  numberAttribute,
  range,
  refuse,
  tooLarge,
  walk,
} from './fold-tensor.ts'
import { type Constant, type DType, type GraphNode, MODEL_LIMITS } from './onnx.ts'
import { emptyData, RANGES } from './onnx-tensor.ts'
import { elementCount } from './tiling.ts'

export { reshapeTarget, sliceSpan } from './fold-layout.ts'
export { broadcastShapes, broadcastStrides, roundEven } from './fold-tensor.ts'

/**
 * Constant folding: nodes whose inputs are all known are evaluated once, so that the shape arithmetic and masks which
 * exporters leave in a graph are gone before it is lowered. Results are those of ONNX's definitions, rounded to the
 * element type; sums are taken in float64. This file makes, counts and reduces; the other operators stand beside it.
 */

type Reduction = {
  start: number
  next: (sum: number, value: number) => number
  /** Operator set from which the axes are an input. */
  axesInput: number
  /** Whether it has a value over no elements. */
  ofNone: boolean
  finish?: (sum: number, count: number, dtype: DType) => number
}

const mean = (sum: number, count: number, dtype: DType): number =>
  RANGES[dtype] === undefined ? sum / count : Math.trunc(sum / count)

const REDUCTIONS: Record<string, Reduction> = {
  ReduceMax: { start: Number.NEGATIVE_INFINITY, next: (a, b) => Math.max(a, b), axesInput: 18, ofNone: false },
  ReduceMean: { start: 0, next: (a, b) => a + b, axesInput: 18, ofNone: false, finish: mean },
  ReduceMin: { start: Number.POSITIVE_INFINITY, next: (a, b) => Math.min(a, b), axesInput: 18, ofNone: false },
  ReduceProd: { start: 1, next: (a, b) => a * b, axesInput: 18, ofNone: true },
  ReduceSum: { start: 0, next: (a, b) => a + b, axesInput: 13, ofNone: true },
}

function reduce(call: FoldCall, { start, next, axesInput, ofNone, finish }: Reduction): Constant | null {
  const { node } = call
  const { dims, dtype, data } = input(call, 0)
  const given = givenAxes(call, axesInput)
  const none = given === null || given.length === 0
  if (none && numberAttribute(node, 'noop_with_empty_axes', 0) !== 0) return input(call, 0)
  const axes = none ? range(dims.length) : axesOf(node, given, dims.length)
  const kept = dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
  if (dtype === 'bool') refuse('MODEL_DTYPE', node, `does not take ${dtype}`)
  if (tooLarge(dims)) return null
  const count = elementCount(axes.map((axis) => dims[axis]!))
  if (count === 0 && !ofNone) refuse('MODEL_SHAPE', node, 'reduces no elements')
  const sums = new Float64Array(elementCount(kept)).fill(start)
  const slots = walk(Float64Array.from(range(sums.length)), dims, broadcastStrides(kept, dims))
  for (let i = 0; i < data.length; i++) sums[slots[i]!] = next(sums[slots[i]!]!, data[i]!)
  const values = finish ? sums.map((sum) => finish(sum, count, dtype)) : sums
  const outDims = numberAttribute(node, 'keepdims', 1) !== 0 ? kept : dims.filter((_, axis) => !axes.includes(axis))
  return made(node, outDims, dtype, values)
}

const constantOfShape: Fold = (call) => {
  const dims = integers(call, 0)
  const value = call.node.attributes.get('value') ?? { dims: [1], dtype: 'float32', data: new Float32Array(1) }
  if (typeof value !== 'object' || Array.isArray(value) || value.data.length !== 1)
    return refuse('MODEL_ATTRIBUTE', call.node, 'value is not a tensor of one element')
  if (dims.some((dim) => dim < 0)) refuse('MODEL_SHAPE', call.node, `cannot make the shape [${dims}]`)
  if (tooLarge(dims)) return null
  return { dims, dtype: value.dtype, data: emptyData(value.dtype, elementCount(dims)).fill(value.data[0]!) }
}

function scalar(call: FoldCall, index: number): number {
  const { data } = input(call, index)
  return data.length === 1 ? data[0]! : refuse('MODEL_SHAPE', call.node, `input ${index} is not one value`)
}

const rangeOf: Fold = (call) => {
  const { dtype } = input(call, 0)
  const [start, limit, delta] = [0, 1, 2].map((index) => scalar(call, index)) as [number, number, number]
  if ([1, 2].some((index) => input(call, index).dtype !== dtype))
    refuse('MODEL_DTYPE', call.node, 'its inputs have different types')
  if (delta === 0) refuse('MODEL_VALUE', call.node, 'has a step of 0')
  const round = dtype === 'float32' ? Math.fround : (value: number): number => value
  const count = Math.max(0, Math.ceil(round(limit - start) / delta))
  if (!Number.isFinite(count)) refuse('MODEL_VALUE', call.node, 'never ends')
  if (tooLarge([count])) return null
  const values = Float64Array.from(range(count), (i) => start + round(i * delta))
  return made(call.node, [count], dtype, values)
}

/** Keeps the elements of the upper or lower triangle of each matrix. */
const trilu: Fold = (call) => {
  const { dims, dtype, data } = input(call, 0)
  if (tooLarge(dims)) return null
  if (dims.length < 2) refuse('MODEL_SHAPE', call.node, 'needs matrices')
  const [rows, columns] = dims.slice(-2) as [number, number]
  const shift = call.inputs[1] ? scalar(call, 1) : 0
  const upper = numberAttribute(call.node, 'upper', 1) !== 0
  const out = data.map((value, i) => {
    const over = (i % columns) - (Math.floor(i / columns) % rows) - shift
    return (upper ? over >= 0 : over <= 0) ? value : 0
  })
  return { dims, dtype, data: out }
}

const cumulativeSum: Fold = (call) => {
  const { dims, dtype, data } = input(call, 0)
  if (tooLarge(dims)) return null
  if (dtype === 'bool') refuse('MODEL_DTYPE', call.node, `does not take ${dtype}`)
  const axis = axisOf(call.node, scalar(call, 1), dims.length)
  const exclusive = numberAttribute(call.node, 'exclusive', 0) !== 0
  const backwards = numberAttribute(call.node, 'reverse', 0) !== 0
  const inner = elementCount(dims.slice(axis + 1))
  const extent = dims[axis]!
  const out = new Float64Array(data.length)
  for (let lane = 0; lane < data.length / Math.max(1, extent); lane++) {
    const first = Math.floor(lane / inner) * inner * extent + (lane % inner)
    let sum = 0
    for (let step = 0; step < extent; step++) {
      const at = first + (backwards ? extent - 1 - step : step) * inner
      out[at] = exclusive ? sum : sum + data[at]!
      sum += data[at]!
    }
  }
  return made(call.node, dims, dtype, out)
}

const nonZero: Fold = (call) => {
  const { dims, data } = input(call, 0)
  if (tooLarge(dims) || dims.length === 0) return null
  const found = range(data.length).filter((i) => data[i] !== 0)
  if (tooLarge([dims.length, found.length])) return null
  const strides = dims.map((_, axis) => elementCount(dims.slice(axis + 1)))
  const values = strides.flatMap((stride, axis) => found.map((i) => Math.floor(i / stride) % dims[axis]!))
  return made(call.node, [dims.length, found.length], 'int64', values)
}

/** Cuts a constant into one per output: by the lengths given (input 1), or into equal parts with a shorter last one. */
const split: Fold = (call) => {
  const { node } = call
  const data = input(call, 0)
  if (tooLarge(data.dims)) return null
  const axis = axisOf(node, numberAttribute(node, 'axis', 0), data.dims.length)
  const extent = data.dims[axis]!
  const parts = node.outputs.length
  if (integersAttribute(node, 'split') !== null) refuse('MODEL_ATTRIBUTE', node, 'split is an input, not an attribute')
  const equal = Math.ceil(extent / parts)
  const lengths = call.inputs[1]
    ? integers(call, 1)
    : range(parts).map((part) => Math.min(equal, Math.max(0, extent - part * equal)))
  const total = lengths.reduce((sum, length) => sum + length, 0)
  if (lengths.length !== parts || lengths.some((length) => length < 0) || total !== extent)
    refuse('MODEL_SHAPE', node, `cannot split ${extent} into ${parts} parts of [${lengths}]`)
  const strides = broadcastStrides(data.dims, data.dims)
  let first = 0
  return lengths.map((length) => {
    const dims = data.dims.map((dim, each) => (each === axis ? length : dim))
    const from = data.data.subarray(first * strides[axis]!)
    first += length
    return { dims, dtype: data.dtype, data: walk(from, dims, strides) }
  })
}

/** A list of integers, as shapes are. */
export const integerList = (values: readonly number[]): Constant => ({
  dims: [values.length],
  dtype: 'int64',
  data: Float64Array.from(values),
})

/** What a Shape node gives for a tensor of these dimensions. */
export function shapeConstant(dims: readonly number[], node: GraphNode): Constant {
  const clamp = (at: number): number => Math.min(dims.length, Math.max(0, at < 0 ? at + dims.length : at))
  const from = clamp(numberAttribute(node, 'start', 0))
  return integerList(dims.slice(from, clamp(numberAttribute(node, 'end', dims.length))))
}

const FOLDS: Record<string, Fold> = {
  ...ELEMENT_FOLDS,
  ...LAYOUT_FOLDS,
  ...MATRIX_FOLDS,
  ...Object.fromEntries(
    Object.entries(REDUCTIONS).map(([operator, reduction]): [string, Fold] => [
      operator,
      (call) => reduce(call, reduction),
    ]),
  ),
  ConstantOfShape: constantOfShape,
  CumSum: cumulativeSum,
  NonZero: nonZero,
  Range: rangeOf,
  Shape: (call) => shapeConstant(input(call, 0).dims, call.node),
  Size: (call) => ({ dims: [], dtype: 'int64', data: Float64Array.of(input(call, 0).data.length) }),
  Split: split,
  Trilu: trilu,
}

/** Elements that all nodes of one graph may read and make: enough for the quantised weights of a model, in seconds. */
export const FOLD_BUDGET = 2 ** 28

/** Operators that `foldNode` evaluates. */
export const FOLDED_OPERATORS: ReadonlySet<string> = new Set(Object.keys(FOLDS))

/**
 * The value of each output of a node whose inputs are all constants (null stands for an input that is left out), or null
 * when it is not folded: an unknown operator or input, or a result of more than 2^22 elements. Outputs may share their
 * data with the inputs.
 * @param budget elements that may still be read and made, for a whole graph of nodes; taken off, and null once it is spent.
 * Throws `MODEL_SHAPE`, `MODEL_ATTRIBUTE`, `MODEL_INPUT`, `MODEL_DTYPE` or `MODEL_VALUE`, naming
 * the node, for what has no value.
 */
export function foldNode(
  node: GraphNode,
  inputs: (Constant | null)[],
  opset: number,
  budget: { elements: number } = { elements: FOLD_BUDGET },
): Constant[] | null {
  const fold = node.domain === '' && Object.hasOwn(FOLDS, node.operator) ? FOLDS[node.operator]! : null
  const known = node.inputs.every((name, index) => name === '' || (inputs[index] ?? null) !== null)
  if (fold === null || !known || node.omitted !== undefined || budget.elements <= 0) return null
  const result = fold({ node, inputs, opset })
  if (result === null) return null
  const outputs = Array.isArray(result) ? result : [result]
  if (outputs.length !== node.outputs.length) refuse('MODEL_MALFORMED', node, `has ${node.outputs.length} outputs`)
  if (outputs.some(({ dims }) => dims.length > MODEL_LIMITS.rank))
    refuse('MODEL_SHAPE', node, `gives a rank beyond ${MODEL_LIMITS.rank}`)
  // Of large inputs only what is picked out is read.
  for (const value of [...inputs, ...outputs])
    if (value !== null) budget.elements -= Math.min(value.data.length, FOLD_ELEMENTS)
  return outputs
}
