import type { GraphNode } from '../onnx.ts'
import type { PlanArray, PlanTerm } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import {
  type Activation,
  activationOf,
  addOp,
  addTensor,
  type Context,
  constantOf,
  type Expr,
  fixedAt,
  layoutOf,
  numberOf,
  numbersOf,
  operandOf,
  outputExprs,
  outputRank,
  refuse,
  uncovered,
  unit,
  weightsOf,
} from './context.ts'

/** Operators that are linear in one activation: convolutions, matrices, means, sums. */

type Lowered = Activation[]

/** Channels last: the axes after the channel's first, so that a tile of outputs reads few leaves. */
export const channelsLast = (rank: number): number[] => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1]

function padsOf(
  node: GraphNode,
  spatial: number[],
  kernel: number[],
  strides: number[],
  dilations: number[],
): number[] {
  const rank = spatial.length
  const auto = node.attributes.get('auto_pad') ?? 'NOTSET'
  if (auto === 'NOTSET') {
    const pads = numbersOf(node, 'pads', new Array<number>(2 * rank).fill(0))
    if (pads.length !== 2 * rank || pads.some((pad) => pad < 0 || pad > 4096))
      refuse('MODEL_ATTRIBUTE', node, 'pads are not two small numbers for each axis')
    return pads
  }
  if (auto === 'VALID') return new Array<number>(2 * rank).fill(0)
  const total = spatial.map((size, i) => {
    const out = Math.ceil(size / strides[i]!)
    return Math.max(0, (out - 1) * strides[i]! + dilations[i]! * (kernel[i]! - 1) + 1 - size)
  })
  const smaller = total.map((pad) => Math.floor(pad / 2))
  const larger = total.map((pad, i) => pad - smaller[i]!)
  return auto === 'SAME_UPPER' ? [...smaller, ...larger] : [...larger, ...smaller]
}

/** Strides, dilations and pads of a window over the axes after the channel's. */
export function windowOf(node: GraphNode, input: Activation, kernel: number[]) {
  const spatial = input.shape.slice(2)
  const ones = kernel.map(() => 1)
  const strides = numbersOf(node, 'strides', ones)
  const dilations = numbersOf(node, 'dilations', ones)
  if (
    [kernel, strides, dilations].some((list) => list.length !== spatial.length || list.some((n) => n < 1 || n > 4096))
  )
    refuse('MODEL_SHAPE', node, 'its window does not fit its input')
  const pads = padsOf(node, spatial, kernel, strides, dilations)
  const ceil = numberOf(node, 'ceil_mode', 0) !== 0
  const out = spatial.map((size, i) => {
    const span = size + pads[i]! + pads[i + spatial.length]! - dilations[i]! * (kernel[i]! - 1) - 1
    const count = (ceil ? Math.ceil(span / strides[i]!) : Math.floor(span / strides[i]!)) + 1
    // A last window that would begin in the padding after the end is left out.
    return ceil && (count - 1) * strides[i]! >= size + pads[i]! ? count - 1 : count
  })
  if (out.some((size) => size < 1)) refuse('MODEL_SHAPE', node, 'its window is larger than the image')
  return { strides, dilations, pads, out }
}

/** Positions of a window's taps: batch, channel, then each spatial axis; the kernel's loops begin at `first`. */
export function windowExprs(
  positions: Expr[],
  channel: Expr,
  window: ReturnType<typeof windowOf>,
  loops: number,
  first: number,
): Expr[] {
  const spatial = window.strides.map((stride, i): Expr => {
    const out = positions[i + 2]!
    const coefs = out.coefs.map((coef) => coef * stride)
    coefs[first + i]! += window.dilations[i]!
    return { coefs, offset: out.offset * stride - window.pads[i]!, padded: true }
  })
  return [fixedAt(loops), channel, ...spatial]
}

function biasArray(
  values: ArrayLike<number> | null,
  output: Activation,
  axis: number,
  loops: number,
  factor = 1,
): number | PlanArray {
  if (values === null) return 0
  if (values.length === 1) return factor * values[0]!
  const order = layoutOf(output)!
  const strides = Array.from({ length: loops }, (_, i) => (order[i] === axis ? 1 : 0))
  return { values: Float64Array.from(values, (value) => factor * value), strides }
}

export function conv(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const { dims, data } = weightsOf(context, node, 1)
  const bias = constantOf(context, node, 2)
  if (dims.length !== input.shape.length || dims.length < 3)
    refuse('MODEL_SHAPE', node, 'its weights do not fit its input')
  const groups = numberOf(node, 'group', 1)
  const [rows, perGroup, ...kernel] = dims as [number, number, ...number[]]
  const channels = input.shape[1]!
  if (groups < 1 || rows % groups !== 0 || channels !== perGroup * groups)
    refuse('MODEL_SHAPE', node, `its weights do not fit ${channels} input channels`)
  if (bias !== null && bias.data.length !== rows) refuse('MODEL_SHAPE', node, `its bias does not have ${rows} values`)
  const window = windowOf(node, input, kernel)
  const taps = elementCount(kernel)
  const perRow = rows / groups
  // With several channels in and out of each group the output has an axis for the groups, and a view without it.
  const split = groups > 1 && perRow > 1
  const shape = split ? [1, groups, perRow, ...window.out] : [1, rows, ...window.out]
  const layout = split ? [0, ...window.out.map((_, i) => i + 3), 1, 2] : channelsLast(shape.length)
  const output = addTensor(context, node.outputs[0]!, shape, layout)
  const rank = outputRank(context, output)
  const reduce = [...kernel, perGroup]
  const loops = rank + reduce.length
  const exprs = outputExprs(output, loops)
  const positions = split ? [exprs[0]!, exprs[1]!, ...exprs.slice(3)] : exprs
  const group = groups === 1 ? fixedAt(loops) : exprs[1]!
  const inGroup = unit(loops, loops - 1)
  const channel: Expr = {
    coefs: group.coefs.map((coef, i) => coef * perGroup + inGroup.coefs[i]!),
    offset: 0,
  }
  const strides = new Array<number>(loops).fill(0)
  const order = layoutOf(output)!
  order.forEach((axis, loop) => {
    if (axis === 1) strides[loop] = perGroup * taps * (split ? perRow : 1)
    if (split && axis === 2) strides[loop] = perGroup * taps
  })
  strides[loops - 1] = taps
  kernel.forEach((_, i) => {
    strides[rank + i] = elementCount(kernel.slice(i + 1))
  })
  const term: PlanTerm = {
    ...operandOf(context, input, windowExprs(positions, channel, window, loops, rank), loops),
    reduce,
    weight: { values: Float64Array.from(data), strides },
  }
  let biases = biasArray(bias?.data ?? null, output, split ? 2 : 1, rank)
  if (split && typeof biases !== 'number')
    biases = { values: biases.values, strides: order.map((axis) => (axis === 1 ? perRow : axis === 2 ? 1 : 0)) }
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias: biases, copy: false })
  if (!split) return [output]
  const merged = [1, rows, ...window.out]
  const physical = [...window.out, rows].filter((dim) => dim > 1)
  const source = context.plan.tensors[output.tensor]!
  const tensor =
    context.plan.tensors.push({ ...source, name: `${source.name}/view`, shape: physical, viewOf: output.tensor }) - 1
  const dims2 = channelsLast(merged.length).filter((axis) => merged[axis]! > 1)
  const axes = dims2.map((axis) => ({ coefs: merged.map((_, i) => (i === axis ? 1 : 0)), offset: 0 }))
  return [{ ...output, tensor, shape: merged, axes }]
}

/** y[o·s + k·d − pad] += w·x[o]: read from the output's side, positions that the stride does not divide are absent. */
export function convTranspose(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const { dims, data } = weightsOf(context, node, 1)
  const bias = constantOf(context, node, 2)
  if (numberOf(node, 'group', 1) !== 1) return uncovered('a transposed convolution in groups')
  if ((node.attributes.get('auto_pad') ?? 'NOTSET') !== 'NOTSET')
    return uncovered('a transposed convolution with auto_pad')
  if (node.attributes.has('output_shape')) return uncovered('a transposed convolution with output_shape')
  const [channels, rows, ...kernel] = dims as [number, number, ...number[]]
  if (dims.length !== input.shape.length || channels !== input.shape[1])
    refuse('MODEL_SHAPE', node, 'its weights do not fit its input')
  const ones = kernel.map(() => 1)
  const strides = numbersOf(node, 'strides', ones)
  const dilations = numbersOf(node, 'dilations', ones)
  const pads = numbersOf(node, 'pads', [...ones, ...ones].fill(0))
  const extra = numbersOf(
    node,
    'output_padding',
    ones.map(() => 0),
  )
  const out = kernel.map(
    (size, i) =>
      (input.shape[i + 2]! - 1) * strides[i]! +
      dilations[i]! * (size - 1) +
      1 +
      extra[i]! -
      pads[i]! -
      pads[i + kernel.length]!,
  )
  if (out.some((size) => !Number.isInteger(size) || size < 1)) refuse('MODEL_SHAPE', node, 'its window leaves nothing')
  const shape = [1, rows, ...out]
  const output = addTensor(context, node.outputs[0]!, shape, channelsLast(shape.length))
  const rank = outputRank(context, output)
  const loops = rank + kernel.length + 1
  const positions = outputExprs(output, loops)
  const spatial = kernel.map((_, i): Expr => {
    const { coefs, offset } = positions[i + 2]!
    const moved = [...coefs]
    moved[rank + i]! -= dilations[i]!
    return { coefs: moved, offset: offset + pads[i]!, padded: true, divisor: strides[i]! }
  })
  const taps = elementCount(kernel)
  const weight = new Array<number>(loops).fill(0)
  layoutOf(output)!.forEach((axis, loop) => {
    if (axis === 1) weight[loop] = taps
  })
  weight[loops - 1] = rows * taps
  kernel.forEach((_, i) => {
    weight[rank + i] = elementCount(kernel.slice(i + 1))
  })
  const term: PlanTerm = {
    ...operandOf(context, input, [fixedAt(loops), unit(loops, loops - 1), ...spatial], loops),
    reduce: [...kernel, channels],
    weight: { values: Float64Array.from(data), strides: weight },
  }
  const biases = biasArray(bias?.data ?? null, output, 1, rank)
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias: biases, copy: false })
  return [output]
}

/** x […, K] times weights [K, M]: `at(k, m)` is the place of a weight. */
function matrix(
  context: Context,
  node: GraphNode,
  input: Activation,
  values: Float64Array,
  columns: number,
  strides: { depth: number; column: number },
  bias: ArrayLike<number> | null,
): Lowered {
  const depth = input.shape.at(-1)!
  const shape = [...input.shape.slice(0, -1), columns]
  const output = addTensor(context, node.outputs[0]!, shape)
  const rank = outputRank(context, output)
  const loops = rank + 1
  const exprs = [...outputExprs(output, loops).slice(0, -1), unit(loops, rank)]
  const last = shape.length - 1
  const order = layoutOf(output)!
  const weight = Array.from({ length: loops }, (_, loop) =>
    loop === rank ? strides.depth : order[loop] === last ? strides.column : 0,
  )
  const term: PlanTerm = {
    ...operandOf(context, input, exprs, loops),
    reduce: [depth],
    weight: { values, strides: weight },
  }
  const biases = biasArray(bias, output, last, rank)
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias: biases, copy: false })
  return [output]
}

export function gemm(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const { dims, data } = weightsOf(context, node, 1)
  const bias = constantOf(context, node, 2)
  if (numberOf(node, 'transA', 0) !== 0) return uncovered('a transposed input')
  if (dims.length !== 2 || input.shape.length !== 2) refuse('MODEL_SHAPE', node, 'needs two matrices')
  const transposed = numberOf(node, 'transB', 0) !== 0
  const [depth, columns] = (transposed ? [dims[1], dims[0]] : dims) as [number, number]
  if (depth !== input.shape[1]) refuse('MODEL_SHAPE', node, `its weights need ${depth} inputs, not ${input.shape[1]}`)
  const alpha = numberOf(node, 'alpha', 1)
  const beta = numberOf(node, 'beta', 1)
  const values = Float64Array.from(data, (value) => alpha * value)
  if (bias !== null && bias.data.length !== 1 && (bias.data.length !== columns || bias.dims.at(-1) !== columns))
    return refuse('MODEL_SHAPE', node, `its bias does not have ${columns} values`)
  const biases = bias === null ? null : Float64Array.from(bias.data, (value) => beta * value)
  return matrix(
    context,
    node,
    input,
    values,
    columns,
    transposed ? { depth: 1, column: depth } : { depth: columns, column: 1 },
    biases,
  )
}

/** A product with a constant matrix on the right. */
export function constantMatMul(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const { dims, data } = weightsOf(context, node, 1)
  if (dims.length < 2 || elementCount(dims.slice(0, -2)) !== 1) return uncovered('a stack of constant matrices')
  const [depth, columns] = dims.slice(-2) as [number, number]
  if (depth !== input.shape.at(-1))
    refuse('MODEL_SHAPE', node, `its weights need ${depth} inputs, not ${input.shape.at(-1)}`)
  return matrix(context, node, input, Float64Array.from(data), columns, { depth: columns, column: 1 }, null)
}
