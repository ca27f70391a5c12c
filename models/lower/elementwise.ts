import { broadcastShapes, broadcastStrides } from '../fold.ts'
import type { Constant, GraphNode } from '../onnx.ts'
import type { PlanTerm } from '../plan.ts'
import {
  type Activation,
  activationOf,
  addOp,
  addTensor,
  broadcastExprs,
  type Context,
  constantOf,
  force,
  layoutOf,
  numberOf,
  operandOf,
  outputExprs,
  outputRank,
  pending,
  refuse,
  uncovered,
} from './context.ts'

/** Operators that work element by element: functions of one value, and arithmetic of two. */

type Lowered = Activation[]

/** A function after what is waiting already. */
function then({ name: node }: GraphNode, input: Activation, name: string, apply: (x: number) => number): Activation {
  const { unary: before } = input
  const unary =
    before === null
      ? { name, node, apply }
      : { name: `${before.name}.${name}`.slice(0, 200), node, apply: (x: number) => apply(before.apply(x)) }
  return { ...input, unary }
}

/** Abramowitz and Stegun 7.1.26 is too coarse for 16 bits; this series and continued fraction are good to 1e-12. */
export function erf(x: number): number {
  const a = Math.abs(x)
  if (a > 6) return Math.sign(x)
  if (a < 2.5) {
    let term = a
    let sum = a
    for (let n = 1; n < 60; n++) {
      term *= (-a * a) / n
      sum += term / (2 * n + 1)
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  let fraction = 0
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction)
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)))
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const clip = (low: number, high: number) => (x: number) => Math.min(high, Math.max(low, x))

type Maker = (node: GraphNode, context: Context) => (x: number) => number

const bound = (context: Context, node: GraphNode, index: number, key: string, fallback: number): number =>
  constantOf(context, node, index)?.data[0] ?? numberOf(node, key, fallback)

/** Functions of one value, each as in the ONNX operator's definition. */
export const UNARY: Record<string, Maker> = {
  Abs: () => Math.abs,
  Clip: (node, context) => clip(bound(context, node, 1, 'min', -Infinity), bound(context, node, 2, 'max', Infinity)),
  Elu: (node) => {
    const alpha = numberOf(node, 'alpha', 1)
    return (x) => (x < 0 ? alpha * Math.expm1(x) : x)
  },
  Erf: () => erf,
  Exp: () => Math.exp,
  Gelu: (node) =>
    node.attributes.get('approximate') === 'tanh'
      ? (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      : (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  HardSigmoid: (node) => {
    const [alpha, beta] = [numberOf(node, 'alpha', 0.2), numberOf(node, 'beta', 0.5)]
    return (x) => clip(0, 1)(alpha * x + beta)
  },
  HardSwish: () => (x) => x * clip(0, 1)(x / 6 + 0.5),
  LeakyRelu: (node) => {
    const slope = numberOf(node, 'alpha', 0.01)
    return (x) => (x < 0 ? slope * x : x)
  },
  Neg: () => (x) => -x,
  Relu: () => (x) => Math.max(0, x),
  Sigmoid: () => sigmoid,
  Softplus: () => (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  Tanh: () => Math.tanh,
}

export function unary(context: Context, node: GraphNode): Lowered {
  return [then(node, pending(context, node, 0), node.operator, UNARY[node.operator]!(node, context))]
}

const ARITHMETIC = {
  Add: (a: number, b: number) => a + b,
  Sub: (a: number, b: number) => a - b,
  Mul: (a: number, b: number) => a * b,
  Div: (a: number, b: number) => a / b,
} as const
type Arithmetic = keyof typeof ARITHMETIC

const sameRef = (a: Activation, b: Activation): boolean =>
  a.tensor === b.tensor && JSON.stringify([a.shape, a.axes]) === JSON.stringify([b.shape, b.axes])

/** An output for the elementwise combination of these: laid out as the first that has the whole shape. */
function outputLike(context: Context, node: GraphNode, shape: number[], inputs: Activation[]): Activation {
  const model = inputs.find((input) => String(input.shape) === String(shape) && layoutOf(input) !== null)
  const order = model === undefined ? undefined : layoutOf(model)!
  return addTensor(context, node.outputs[0]!, shape, order)
}

/** A constant spread over an output's loops: values and strides along them. */
function spread(constant: Constant, output: Activation, apply: (x: number) => number) {
  const strides = broadcastStrides(constant.dims, output.shape)
  const order = layoutOf(output)!
  return {
    values: Float64Array.from(constant.data, apply),
    strides: order.length === 0 ? [0] : order.map((axis) => strides[axis]!),
  }
}

/** Arithmetic with a constant: a function where it is one number, else weights and biases. */
function withConstant(
  context: Context,
  node: GraphNode,
  input: Activation,
  constant: Constant,
  flipped: boolean,
): Activation {
  const op = node.operator as Arithmetic
  const apply = ARITHMETIC[op]
  const shape = broadcastShapes([input.shape, constant.dims])
  if (shape === null) return refuse('MODEL_SHAPE', node, 'its inputs do not broadcast')
  if (constant.data.length === 1 && String(shape) === String(input.shape)) {
    const [value] = constant.data as unknown as [number]
    return then(node, input, op, flipped ? (x) => apply(value, x) : (x) => apply(x, value))
  }
  if (op === 'Div' && flipped) return uncovered('divides a constant by an activation')
  const source = force(context, input)
  const output = outputLike(context, node, shape, [source])
  const rank = outputRank(context, output)
  const exprs = broadcastExprs(source.shape, outputExprs(output, rank), rank)
  const scale = op === 'Mul' || op === 'Div'
  const weight: PlanTerm['weight'] = scale
    ? spread(constant, output, (x) => (op === 'Div' ? 1 / x : x))
    : op === 'Sub' && flipped
      ? -1
      : 1
  const bias = scale ? 0 : spread(constant, output, (x) => (op === 'Sub' && !flipped ? -x : x))
  const term: PlanTerm = { ...operandOf(context, source, exprs, rank), reduce: [], weight }
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias, copy: false })
  return output
}

function sumOf(context: Context, node: GraphNode, inputs: Activation[], signs: number[]): Activation {
  const shape = broadcastShapes(inputs.map((input) => input.shape))
  if (shape === null) return refuse('MODEL_SHAPE', node, 'its inputs do not broadcast')
  const sources = inputs.map((input) => force(context, input))
  const output = outputLike(context, node, shape, sources)
  const rank = outputRank(context, output)
  const exprs = outputExprs(output, rank)
  const terms = sources.map(
    (source, i): PlanTerm => ({
      ...operandOf(context, source, broadcastExprs(source.shape, exprs, rank), rank),
      reduce: [],
      weight: signs[i]!,
    }),
  )
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms, bias: 0, copy: false })
  return output
}

export function productOf(context: Context, node: GraphNode, a: Activation, b: Activation): Activation {
  const shape = broadcastShapes([a.shape, b.shape])
  if (shape === null) return refuse('MODEL_SHAPE', node, 'its inputs do not broadcast')
  const [left, right] = [force(context, a), force(context, b)]
  const output = outputLike(context, node, shape, [left, right])
  const rank = outputRank(context, output)
  const exprs = outputExprs(output, rank)
  const side = (input: Activation) => operandOf(context, input, broadcastExprs(input.shape, exprs, rank), rank)
  addOp(context, {
    kind: 'product',
    name: node.name,
    output: output.tensor,
    a: side(left),
    b: side(right),
    reduce: [],
    scale: 1,
    bias: 0,
  })
  return output
}

export function arithmetic(context: Context, node: GraphNode): Lowered {
  const op = node.operator as Arithmetic
  const [left, right] = [constantOf(context, node, 0), constantOf(context, node, 1)]
  if (left !== null) return [withConstant(context, node, pending(context, node, 1), left, true)]
  if (right !== null) return [withConstant(context, node, pending(context, node, 0), right, false)]
  const [a, b] = [pending(context, node, 0), pending(context, node, 1)]
  if (sameRef(a, b) && (a.unary !== null || b.unary !== null)) {
    // Two functions of the same values are one: this is how exporters write GELU, SiLU or HardSwish.
    const apply = ARITHMETIC[op]
    const [f, g] = [a.unary?.apply ?? ((x: number) => x), b.unary?.apply ?? ((x: number) => x)]
    const name = `${op}(${a.unary?.name ?? 'x'},${b.unary?.name ?? 'x'})`.slice(0, 200)
    return [{ ...a, unary: { name, node: node.name, apply: (x) => apply(f(x), g(x)) } }]
  }
  if (op === 'Add') return [sumOf(context, node, [a, b], [1, 1])]
  if (op === 'Sub') return [sumOf(context, node, [a, b], [1, -1])]
  if (op === 'Mul') return [productOf(context, node, a, b)]
  return uncovered('divides one activation by another')
}

export function power(context: Context, node: GraphNode): Lowered {
  const exponent = constantOf(context, node, 1)
  if (exponent === null || exponent.data.length !== 1) return uncovered('a power that is not one constant')
  const [p] = exponent.data as unknown as [number]
  const input = pending(context, node, 0)
  if (p === 2 && input.unary === null) return [productOf(context, node, input, input)]
  if (!Number.isInteger(p) || p < 1) return uncovered(`the power ${p}`)
  return [then(node, input, `Pow${p}`, (x) => x ** p)]
}

/** where(mask, x, fill) with a constant mask: kept where the mask says so, else the other side. */
export function where(context: Context, node: GraphNode): Lowered {
  const mask = constantOf(context, node, 0)
  if (mask === null) return uncovered('a mask that is not constant')
  const sides = [1, 2].map((index) => constantOf(context, node, index))
  const data = sides.map((side, i) => (side === null ? activationOf(context, node, i + 1) : null))
  const dims = [mask.dims, ...sides.map((side, i) => side?.dims ?? data[i]!.shape)]
  const shape = broadcastShapes(dims)
  if (shape === null) return refuse('MODEL_SHAPE', node, 'its inputs do not broadcast')
  const present = data.filter((each): each is Activation => each !== null)
  const output = outputLike(context, node, shape, present)
  const rank = outputRank(context, output)
  const exprs = outputExprs(output, rank)
  const terms = data.flatMap((source, i): PlanTerm[] =>
    source === null
      ? []
      : [
          {
            ...operandOf(context, source, broadcastExprs(source.shape, exprs, rank), rank),
            reduce: [],
            weight: spread(mask, output, (keep) => ((keep !== 0) === (i === 0) ? 1 : 0)),
          },
        ],
  )
  const fills = sides.flatMap((side, i) => (side === null ? [] : [{ side, i }]))
  if (fills.length > 1) return uncovered('chooses between constants')
  const fill = fills[0]
  if (fill !== undefined && fill.side.data.length !== 1) return uncovered('fills with more than one number')
  const bias =
    fill === undefined ? 0 : spread(mask, output, (keep) => ((keep !== 0) === (fill.i === 0) ? fill.side.data[0]! : 0))
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms, bias, copy: false })
  return [output]
}
