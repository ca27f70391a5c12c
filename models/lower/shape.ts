import { reshapeTarget, sliceIndices } from '../fold.ts'
import type { GraphNode } from '../onnx.ts'
import type { PlanTerm } from '../plan.ts'
import {
  type Activation,
  activationOf,
  addOp,
  addTensor,
  axesOf,
  type Context,
  constantOf,
  type Expr,
  layoutOf,
  materialise,
  numberOf,
  numbersOf,
  operandOf,
  outputExprs,
  outputRank,
  pending,
  refuse,
  reshaped,
  uncovered,
  weightsOf,
} from './context.ts'

/** Operators that move elements: views where an affine one exists, copies through an operand's axes otherwise. */

type Lowered = Activation[]

const axisOf = (node: GraphNode, axis: number, rank: number): number => {
  const at = axis < 0 ? axis + rank : axis
  return Number.isInteger(at) && at >= 0 && at < rank ? at : refuse('MODEL_ATTRIBUTE', node, `there is no axis ${axis}`)
}

/** The same elements seen through other logical axes: `from[i]` is where new axis i comes from, null for a new axis of size 1. */
function renamed(input: Activation, shape: number[], from: (number | null)[]): Activation {
  const axes = input.axes.map(({ coefs, offset }) => ({
    coefs: from.map((axis) => (axis === null ? 0 : coefs[axis]!)),
    offset,
  }))
  return { ...input, shape, axes }
}

export function transpose(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const order = numbersOf(
    node,
    'perm',
    input.shape.map((_, i) => input.shape.length - 1 - i),
  )
  if (order.length !== input.shape.length || new Set(order).size !== order.length)
    refuse('MODEL_ATTRIBUTE', node, 'perm does not name each axis once')
  return [
    renamed(
      input,
      order.map((axis) => input.shape[axisOf(node, axis, order.length)]!),
      order,
    ),
  ]
}

export function squeeze(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const rank = input.shape.length
  const axes = axesOf(context, node, 1)?.map((axis) => axisOf(node, axis, rank))
  const gone = (axis: number): boolean => axes?.includes(axis) ?? input.shape[axis] === 1
  const kept = input.shape.flatMap((_, axis) => (gone(axis) ? [] : [axis]))
  return [
    renamed(
      input,
      kept.map((axis) => input.shape[axis]!),
      kept,
    ),
  ]
}

export function unsqueeze(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const listed = axesOf(context, node, 1) ?? refuse('MODEL_ATTRIBUTE', node, 'has no axes')
  const rank = input.shape.length + listed.length
  const added = new Set(listed.map((axis) => axisOf(node, axis, rank)))
  let next = 0
  const from = Array.from({ length: rank }, (_, axis) => (added.has(axis) ? null : next++))
  return [
    renamed(
      input,
      from.map((axis) => (axis === null ? 1 : input.shape[axis]!)),
      from,
    ),
  ]
}

export function reshape(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const target = [...weightsOf(context, node, 1).data]
  return [reshaped(context, input, reshapeTarget(node, input.shape, target))]
}

export function flatten(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const axis = numberOf(node, 'axis', 1)
  const at = axis < 0 ? axis + input.shape.length : axis
  const size = (dims: number[]): number => dims.reduce((product, dim) => product * dim, 1)
  return [reshaped(context, input, [size(input.shape.slice(0, at)), size(input.shape.slice(at))])]
}

export function expand(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const wanted = [...weightsOf(context, node, 1).data]
  const rank = Math.max(wanted.length, input.shape.length)
  const shape = Array.from({ length: rank }, (_, axis) => {
    const [a, b] = [input.shape[axis - rank + input.shape.length] ?? 1, wanted[axis - rank + wanted.length] ?? 1]
    if (a !== b && a !== 1 && b !== 1) refuse('MODEL_SHAPE', node, `cannot expand [${input.shape}] to [${wanted}]`)
    return Math.max(a, b)
  })
  const from = shape.map((size, axis) => {
    const at = axis - rank + input.shape.length
    return at >= 0 && input.shape[at] === size ? at : null
  })
  const grown = shape.some((size, axis) => size > 1 && from[axis] === null)
  const out = renamed(input, shape, from)
  return [{ ...out, whole: out.whole && !grown }]
}

/** A stretch of one axis, each `step`-th element from `start`. */
function stretch(input: Activation, axis: number, start: number, step: number, count: number): Activation {
  const axes = input.axes.map(({ coefs, offset }) => ({
    coefs: coefs.map((coef, i) => (i === axis ? coef * step : coef)),
    offset: offset + coefs[axis]! * start,
  }))
  const shape = input.shape.map((size, i) => (i === axis ? count : size))
  return { ...input, shape, axes, whole: input.whole && count === input.shape[axis] && step === 1 }
}

export function slice(context: Context, node: GraphNode): Lowered {
  let out = pending(context, node, 0)
  const [starts, ends] = [1, 2].map((index) => [...weightsOf(context, node, index).data])
  const axes = constantOf(context, node, 3)
  const steps = constantOf(context, node, 4)
  starts!.forEach((start, i) => {
    const axis = axisOf(node, axes?.data[i] ?? i, out.shape.length)
    const step = steps?.data[i] ?? 1
    const indices = sliceIndices(out.shape[axis]!, start, ends![i]!, step)
    if (indices.length === 0) uncovered('a slice with nothing in it')
    out = stretch(out, axis, indices[0]!, step, indices.length)
  })
  return [out]
}

export function split(context: Context, node: GraphNode): Lowered {
  const input = pending(context, node, 0)
  const axis = axisOf(node, numberOf(node, 'axis', 0), input.shape.length)
  const listed = constantOf(context, node, 1)
  const count = node.outputs.length
  const even = Math.ceil(input.shape[axis]! / count)
  const sizes = listed
    ? [...listed.data]
    : Array.from({ length: count }, (_, i) => Math.min(even, input.shape[axis]! - i * even))
  if (
    sizes.length !== count ||
    sizes.some((size) => size < 1) ||
    sizes.reduce((a, b) => a + b, 0) !== input.shape[axis]
  )
    refuse('MODEL_SHAPE', node, `cannot be split in [${sizes}]`)
  let start = 0
  return sizes.map((size) => {
    start += size
    return stretch(input, axis, start - size, 1, size)
  })
}

export function concat(context: Context, node: GraphNode): Lowered {
  const inputs = node.inputs.map((_, index) => {
    if (constantOf(context, node, index) !== null) return uncovered('joins a constant to an activation')
    return activationOf(context, node, index)
  })
  const [first] = inputs as [Activation]
  const axis = axisOf(node, numberOf(node, 'axis', 0), first.shape.length)
  const total = inputs.reduce((sum, { shape }) => sum + shape[axis]!, 0)
  const shape = first.shape.map((size, i) => (i === axis ? total : size))
  const output = addTensor(
    context,
    node.outputs[0]!,
    shape,
    layoutOf(first)
      ?.concat(axis)
      .filter((each, i, all) => all.indexOf(each) === i),
  )
  const rank = outputRank(context, output)
  let start = 0
  const terms = inputs.map((input): PlanTerm => {
    const exprs = outputExprs(output, rank).map(
      (expr, i): Expr => (i === axis ? { ...expr, offset: -start, padded: true } : expr),
    )
    start += input.shape[axis]!
    // An axis of size 1 is not one of the tensor's own: whether a position lies on it would not be asked.
    if (input.shape[axis] === 1) return singleton(context, input, output, axis, start - 1, rank)
    return { ...operandOf(context, input, exprs, rank), reduce: [], weight: 1 }
  })
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms, bias: 0, copy: true })
  return [output]
}

/** One place of an axis: the operand has no axis of its own to be absent on, so its weight is 0 elsewhere. */
function singleton(
  context: Context,
  input: Activation,
  output: Activation,
  axis: number,
  at: number,
  rank: number,
): PlanTerm {
  const exprs = outputExprs(output, rank).map((expr, i) =>
    i === axis ? { coefs: expr.coefs.map(() => 0), offset: 0 } : expr,
  )
  const values = new Float64Array(output.shape[axis]!)
  values[at] = 1
  const strides = layoutOf(output)!.map((each) => (each === axis ? 1 : 0))
  return { ...operandOf(context, input, exprs, rank), reduce: [], weight: { values, strides } }
}

/** Elements at other positions of their axes: one copy with an expression for each axis. */
function moved(
  context: Context,
  node: GraphNode,
  input: Activation,
  shape: number[],
  change: (expr: Expr, axis: number) => Expr,
): Activation {
  const source = layoutOf(input) === null ? materialise(context, input) : input
  const order = layoutOf(source)!.concat(shape.map((_, i) => i))
  const output = addTensor(
    context,
    node.outputs[0]!,
    shape,
    order.filter((axis, i) => order.indexOf(axis) === i),
  )
  const rank = outputRank(context, output)
  const exprs = outputExprs(output, rank).map(change)
  const term: PlanTerm = { ...operandOf(context, source, exprs, rank), reduce: [], weight: 1 }
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias: 0, copy: true })
  return output
}

export function pad(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const mode = node.attributes.get('mode') ?? 'constant'
  const pads = [...weightsOf(context, node, 1).data]
  const fill = constantOf(context, node, 2)?.data[0] ?? 0
  const axes = constantOf(context, node, 3)?.data
  const rank = input.shape.length
  const listed = axes === undefined ? input.shape.map((_, i) => i) : [...axes].map((axis) => axisOf(node, axis, rank))
  if (pads.length !== 2 * listed.length) refuse('MODEL_ATTRIBUTE', node, 'pads do not fit its axes')
  const before = input.shape.map((_, axis) => (listed.includes(axis) ? pads[listed.indexOf(axis)]! : 0))
  const after = input.shape.map((_, axis) => (listed.includes(axis) ? pads[listed.indexOf(axis) + listed.length]! : 0))
  const shape = input.shape.map((size, axis) => size + before[axis]! + after[axis]!)
  if (shape.some((size) => size < 1)) refuse('MODEL_SHAPE', node, 'it leaves nothing')
  const touched = shape.flatMap((_, axis) => (before[axis] !== 0 || after[axis] !== 0 ? [axis] : []))
  if (touched.some((axis) => input.shape[axis] === 1)) return uncovered('pads an axis of size 1')
  if (mode === 'constant') {
    if (fill !== 0) return uncovered('pads with a number that is not 0')
    return [
      moved(context, node, input, shape, (expr, axis) =>
        touched.includes(axis) ? { ...expr, offset: -before[axis]!, padded: true } : expr,
      ),
    ]
  }
  if (mode !== 'edge' && mode !== 'reflect') return uncovered(`pads in mode ${mode}`)
  return [
    moved(context, node, input, shape, (expr, axis) => {
      if (!touched.includes(axis)) return expr
      const size = input.shape[axis]!
      const table = Array.from({ length: shape[axis]! }, (_, i) => {
        const at = i - before[axis]!
        if (mode === 'edge') return Math.min(size - 1, Math.max(0, at))
        const period = 2 * (size - 1)
        const phase = ((at % period) + period) % period
        return phase < size ? phase : period - phase
      })
      return { ...expr, table }
    }),
  ]
}

/** Nearest neighbour: the index that the operator's coordinate rules give for each place, as a table. */
export function resize(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const legacy = node.operator === 'Upsample'
  if ((node.attributes.get('mode') ?? 'nearest') !== 'nearest') return uncovered('interpolates')
  const scales = constantOf(context, node, legacy ? 1 : 2)?.data
  const sizes = legacy ? undefined : constantOf(context, node, 3)?.data
  if (node.attributes.has('axes')) return uncovered('resizes some axes only')
  const transformation = node.attributes.get('coordinate_transformation_mode') ?? (legacy ? 'asymmetric' : 'half_pixel')
  const rounding = node.attributes.get('nearest_mode') ?? (legacy ? 'floor' : 'round_prefer_floor')
  const factors = input.shape.map((size, axis) =>
    sizes !== undefined && sizes.length > 0 ? sizes[axis]! / size : (scales?.[axis] ?? 1),
  )
  const shape = input.shape.map((size, axis) =>
    sizes !== undefined && sizes.length > 0 ? sizes[axis]! : Math.floor(size * factors[axis]!),
  )
  const round: Record<string, (x: number) => number> = {
    round_prefer_floor: (x) => Math.ceil(x - 0.5),
    round_prefer_ceil: (x) => Math.floor(x + 0.5),
    floor: Math.floor,
    ceil: Math.ceil,
  }
  const nearest = round[String(rounding)] ?? uncovered(`rounds by ${rounding}`)
  const place: Record<string, (i: number, axis: number) => number> = {
    half_pixel: (i, axis) => (i + 0.5) / factors[axis]! - 0.5,
    pytorch_half_pixel: (i, axis) => (shape[axis]! > 1 ? (i + 0.5) / factors[axis]! - 0.5 : 0),
    asymmetric: (i, axis) => i / factors[axis]!,
    align_corners: (i, axis) => (shape[axis]! > 1 ? (i * (input.shape[axis]! - 1)) / (shape[axis]! - 1) : 0),
  }
  const original = place[String(transformation)] ?? uncovered(`places by ${transformation}`)
  return [
    moved(context, node, input, shape, (expr, axis) => {
      if (shape[axis] === input.shape[axis] || input.shape[axis] === 1)
        return expr.coefs && input.shape[axis] === 1 ? { coefs: expr.coefs.map(() => 0), offset: 0 } : expr
      const last = input.shape[axis]! - 1
      const table = Array.from({ length: shape[axis]! }, (_, i) =>
        Math.min(last, Math.max(0, nearest(original(i, axis)))),
      )
      return { ...expr, table }
    }),
  ]
}

/** Constant positions of one axis. */
export function gather(context: Context, node: GraphNode): Lowered {
  const indices = constantOf(context, node, 1)
  if (indices === null) return uncovered('looks up positions that are data')
  const input = activationOf(context, node, 0)
  const axis = axisOf(node, numberOf(node, 'axis', 0), input.shape.length)
  const size = input.shape[axis]!
  const list = [...indices.data].map((index) => (index < 0 ? index + size : index))
  if (list.some((index) => index < 0 || index >= size))
    refuse('MODEL_SHAPE', node, 'looks up a position that is not there')
  const picked = list.length === 1 ? stretch(input, axis, list[0]!, 1, 1) : null
  const flat =
    picked ??
    moved(
      context,
      node,
      input,
      input.shape.map((each, i) => (i === axis ? list.length : each)),
      (expr, i) => (i === axis ? { ...expr, table: list } : expr),
    )
  const shape = [...input.shape.slice(0, axis), ...indices.dims, ...input.shape.slice(axis + 1)]
  return [reshaped(context, flat, shape)]
}
