import {
  axisOf,
  broadcastShapes,
  type Fold,
  type FoldCall,
  input,
  made,
  numberAttribute,
  refuse,
  roundEven,
  spread,
  tooLarge,
} from './fold-tensor.ts'
import { FUNCTIONS } from './functions.ts'
import type { Constant, DType, GraphNode } from './onnx.ts'
import { dtypeOf, RANGES } from './onnx-tensor.ts'

/** Operators that work element by element: arithmetic, comparison, logic, conversion and quantisation. */

const isFloat = (dtype: DType): boolean => RANGES[dtype] === undefined

function sameType(node: GraphNode, constants: Constant[]): DType {
  const [first, ...rest] = constants
  if (rest.some(({ dtype }) => dtype !== first!.dtype)) refuse('MODEL_DTYPE', node, 'its inputs have different types')
  return first!.dtype
}

/** Broadcasts constants to one shape; null when that is too large. */
function aligned(node: GraphNode, constants: Constant[]): Constant[] | null {
  const shapes = constants.map(({ dims }) => dims)
  const dims = broadcastShapes(shapes)
  if (dims === null) return refuse('MODEL_SHAPE', node, `its shapes [${shapes.join('] and [')}] do not fit`)
  return tooLarge(dims) ? null : constants.map((constant) => spread(constant, dims))
}

type Binary = (a: number, b: number, dtype: DType, node: GraphNode) => number

function combine(node: GraphNode, a: Constant, b: Constant, apply: Binary, result: DType): Constant | null {
  const pair = aligned(node, [a, b])
  if (pair === null) return null
  const [left, right] = pair as [Constant, Constant]
  const values = new Float64Array(left.data.length)
  for (let i = 0; i < values.length; i++) values[i] = apply(left.data[i]!, right.data[i]!, a.dtype, node)
  return made(node, left.dims, result, values)
}

const FAMILIES = {
  any: () => true,
  bool: (dtype: DType) => dtype === 'bool',
  float: isFloat,
  number: (dtype: DType) => dtype !== 'bool',
}
type Family = keyof typeof FAMILIES

function checkFamily(node: GraphNode, dtype: DType, family: Family): void {
  if (!FAMILIES[family](dtype)) refuse('MODEL_DTYPE', node, `does not take ${dtype}`)
}

const binary =
  (apply: Binary, family: Family = 'number', result?: DType): Fold =>
  (call) => {
    const a = input(call, 0)
    const b = input(call, 1)
    const dtype = sameType(call.node, [a, b])
    checkFamily(call.node, dtype, family)
    return combine(call.node, a, b, apply, result ?? dtype)
  }

/** Min, Max and Sum take any number of inputs. */
const variadic =
  (apply: Binary): Fold =>
  (call) => {
    const all = call.node.inputs.map((_, index) => input(call, index))
    if (all.length === 0) return refuse('MODEL_INPUT', call.node, 'has no inputs')
    checkFamily(call.node, sameType(call.node, all), 'number')
    return all
      .slice(1)
      .reduce<Constant | null>((sum, next) => sum && combine(call.node, sum, next, apply, sum.dtype), all[0]!)
  }

const unary =
  (apply: (x: number) => number, family: Family = 'float'): Fold =>
  (call) => {
    const { dims, dtype, data } = input(call, 0)
    if (tooLarge(dims)) return null
    checkFamily(call.node, dtype, family)
    return made(
      call.node,
      dims,
      dtype,
      Float64Array.from(data, (x) => apply(x)),
    )
  }

const divide: Binary = (a, b, dtype, node) => {
  if (isFloat(dtype)) return a / b
  return b === 0 ? refuse('MODEL_VALUE', node, 'divides by zero') : Math.trunc(a / b)
}

/** The sign follows the divisor, or the dividend where `fmod` is set; only that form takes floats. */
const modulo: Binary = (a, b, dtype, node) => {
  const likeC = numberAttribute(node, 'fmod', 0) !== 0
  if (isFloat(dtype)) return likeC ? a % b : refuse('MODEL_ATTRIBUTE', node, 'fmod must be 1 for floats')
  if (b === 0) return refuse('MODEL_VALUE', node, 'divides by zero')
  const rest = a % b
  return !likeC && rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest
}

/** The exponent may have a type of its own; the result has the base's. */
const power: Fold = (call) => {
  const base = input(call, 0)
  checkFamily(call.node, base.dtype, 'number')
  checkFamily(call.node, input(call, 1).dtype, 'number')
  const raise: Binary = (a, b, dtype) => (isFloat(dtype) ? a ** b : Math.trunc(a ** b))
  return combine(call.node, base, input(call, 1), raise, base.dtype)
}

const where: Fold = (call) => {
  const condition = input(call, 0)
  const choices = [input(call, 1), input(call, 2)]
  if (condition.dtype !== 'bool') refuse('MODEL_DTYPE', call.node, 'its condition is not bool')
  const dtype = sameType(call.node, choices)
  const all = aligned(call.node, [condition, ...choices])
  if (all === null) return null
  const [when, then, otherwise] = all as [Constant, Constant, Constant]
  const data = then.data.slice()
  for (let i = 0; i < data.length; i++) if (when.data[i] === 0) data[i] = otherwise.data[i]!
  return { dims: when.dims, dtype, data }
}

/** An integer as another integer type holds it: its low bits. */
function wrap(value: number, [least, most]: [number, number]): number {
  const span = most - least + 1
  return value - Math.floor((value - least) / span) * span
}

function converted(node: GraphNode, { dims, dtype, data }: Constant, to: DType): Constant | null {
  if (tooLarge(dims)) return null
  const limits = RANGES[to]
  const convert = (value: number): number => {
    if (to === 'bool') return value === 0 ? 0 : 1
    if (limits === undefined) return value
    return isFloat(dtype) ? Math.trunc(value) : to === 'int64' ? value : wrap(value, limits)
  }
  return made(node, dims, to, Float64Array.from(data, convert))
}

const cast: Fold = (call) => {
  const to = numberAttribute(call.node, 'to', 0)
  return converted(call.node, input(call, 0), dtypeOf(to, `node ${call.node.name}`))
}

/** Scale and zero point of each element, one for all or one per index of `axis`; null in blocks. */
function quantisation(call: FoldCall): { scale: (i: number) => number; zero: (i: number) => number } | null {
  const { node } = call
  const { dims } = input(call, 0)
  const scales = input(call, 1)
  const zeros = call.inputs[2] ?? null
  if (numberAttribute(node, 'block_size', 0) !== 0 || tooLarge(dims)) return null
  if (!isFloat(scales.dtype)) refuse('MODEL_DTYPE', node, 'its scale is not a float')
  if (zeros !== null && zeros.data.length !== scales.data.length)
    refuse('MODEL_SHAPE', node, 'its zero point has another shape than its scale')
  if (scales.dims.length === 0 || (scales.dims.length === 1 && scales.data.length === 1))
    return { scale: () => scales.data[0]!, zero: () => zeros?.data[0] ?? 0 }
  const axis = axisOf(node, numberAttribute(node, 'axis', 1), dims.length)
  if (scales.dims.length !== 1 || scales.data.length !== dims[axis])
    refuse('MODEL_SHAPE', node, `its scale does not have ${dims[axis]} values`)
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1)
  const at = (i: number): number => Math.floor(i / inner) % dims[axis]!
  return { scale: (i) => scales.data[at(i)]!, zero: (i) => zeros?.data[at(i)] ?? 0 }
}

const dequantise: Fold = (call) => {
  const { dims, dtype, data } = input(call, 0)
  const zeros = call.inputs[2] ?? null
  if (isFloat(dtype)) refuse('MODEL_DTYPE', call.node, `does not take ${dtype}`)
  if (zeros !== null) sameType(call.node, [input(call, 0), zeros])
  const grid = quantisation(call)
  if (grid === null) return null
  const values = Float64Array.from(data, (value, i) => (value - grid.zero(i)) * grid.scale(i))
  return made(call.node, dims, input(call, 1).dtype, values)
}

const quantise: Fold = (call) => {
  const { dims, dtype, data } = input(call, 0)
  if (!isFloat(dtype) && dtype !== 'int32') refuse('MODEL_DTYPE', call.node, `does not take ${dtype}`)
  const asked = numberAttribute(call.node, 'output_dtype', 0)
  const what = `node ${call.node.name}`
  const to = call.inputs[2]?.dtype ?? (asked === 0 ? 'uint8' : dtypeOf(asked, what))
  const limits = RANGES[to] ?? refuse('MODEL_DTYPE', call.node, `does not give ${to}`)
  const grid = quantisation(call)
  if (grid === null) return null
  // Runtimes divide in float32.
  const values = Float64Array.from(data, (value, i) => {
    const level = roundEven(Math.fround(value / grid.scale(i))) + grid.zero(i)
    return Math.min(limits[1], Math.max(limits[0], level))
  })
  return made(call.node, dims, to, values)
}

/** Bounds that are left out do not bound. */
const clip: Fold = (call) => {
  const { dims, dtype, data } = input(call, 0)
  if (tooLarge(dims)) return null
  checkFamily(call.node, dtype, 'number')
  const [low, high] = [call.inputs[1]?.data[0] ?? -Infinity, call.inputs[2]?.data[0] ?? Infinity]
  return made(
    call.node,
    dims,
    dtype,
    Float64Array.from(data, (x) => Math.min(high, Math.max(low, x))),
  )
}

export const ELEMENT_FOLDS: Record<string, Fold> = {
  ...Object.fromEntries(
    Object.entries(FUNCTIONS).map(([operator, make]): [string, Fold] => [
      operator,
      (call) => unary(make(call.node))(call),
    ]),
  ),
  Abs: unary(Math.abs, 'number'),
  Add: binary((a, b) => a + b),
  And: binary((a, b) => a * b, 'bool'),
  Cast: cast,
  CastLike: (call) => converted(call.node, input(call, 0), input(call, 1).dtype),
  Clip: clip,
  DequantizeLinear: dequantise,
  Div: binary(divide),
  Equal: binary((a, b) => Number(a === b), 'any', 'bool'),
  Greater: binary((a, b) => Number(a > b), 'number', 'bool'),
  GreaterOrEqual: binary((a, b) => Number(a >= b), 'number', 'bool'),
  Less: binary((a, b) => Number(a < b), 'number', 'bool'),
  LessOrEqual: binary((a, b) => Number(a <= b), 'number', 'bool'),
  Max: variadic((a, b) => Math.max(a, b)),
  Min: variadic((a, b) => Math.min(a, b)),
  Mod: binary(modulo),
  Mul: binary((a, b) => a * b),
  Neg: unary((x) => -x, 'number'),
  Not: unary((x) => 1 - x, 'bool'),
  Or: binary((a, b) => Math.max(a, b), 'bool'),
  Pow: power,
  QuantizeLinear: quantise,
  Reciprocal: unary((x) => 1 / x),
  Sign: unary(Math.sign, 'number'),
  Sqrt: unary(Math.sqrt),
  Sub: binary((a, b) => a - b),
  Sum: variadic((a, b) => a + b),
  Where: where,
  Xor: binary((a, b) => Number(a !== b), 'bool'),
}
