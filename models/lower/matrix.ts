import { broadcastShapes, numberAttribute } from '../fold-tensor.ts'
import type { Constant, GraphNode } from '../onnx.ts'
import type { PlanTerm } from '../plan.ts'
import { affineByConstants, weightedSum } from './affine.ts'
import { toAffine, toRef, toScaled } from './apply.ts'
import {
  type Activation,
  activationAt,
  affineUnary,
  type Context,
  constantAt,
  type Lower,
  plain,
  setActivation,
  shapeOf,
  uncovered,
  valueAt,
} from './context.ts'
import { addTensor, alignRefs, copyRef, emitLinear, pushOp } from './emit.ts'
import { frameOf, loopsOfAxis, stridesOver } from './frame.ts'
import { commonFactors, loop, operandOf, type Position, type Ref, range, refined, reshaped, transposed } from './ref.ts'
import { spend } from './work.ts'

/** Matrix products: with constant weights a linear op, of two activations a product. */

/** A constant matrix, or a stack of them, as it lies in memory. */
type Weights = { dims: number[]; steps: number[]; data: ArrayLike<number> }

const weightsOf = ({ dims, data }: Constant): Weights => ({
  dims,
  steps: dims.map((_, axis) => dims.slice(axis + 1).reduce((product, dim) => product * dim, 1)),
  data,
})

const swap = <T>(list: readonly T[]): T[] => [...list.slice(0, -2), list.at(-1)!, list.at(-2)!]

const swapped = (ref: Ref): Ref => transposed(ref, swap(range(ref.shape.length)))

const swappedWeights = ({ dims, steps, data }: Weights): Weights => ({ dims: swap(dims), steps: swap(steps), data })

/** Steps through weights along the variables of one axis. */
function stepsAlong(step: number, extents: readonly number[]): number[] {
  const out: number[] = []
  let each = step
  for (const extent of [...extents].reverse()) {
    out.unshift(each)
    each *= extent
  }
  return out
}

function timesScale(data: ArrayLike<number>, scale: number): Float64Array {
  spend(data.length)
  const out = Float64Array.from(data)
  for (let i = 0; i < out.length; i++) out[i]! *= scale
  return out
}

/** x · w for x of rank 2 or more. The result keeps x's axes but the last. */
function timesWeights(
  context: Context,
  node: GraphNode,
  { ref, scale, shift }: { ref: Ref; scale: number; shift: number },
  weights: Weights,
): Activation {
  const rank = Math.max(ref.shape.length, weights.dims.length)
  const lead = rank - ref.shape.length
  const depth = ref.shape.at(-1)!
  const columns = weights.dims.at(-1)!
  const batch = broadcastShapes([ref.shape.slice(0, -2), weights.dims.slice(0, -2)])
  if (batch === null || weights.dims.at(-2) !== depth)
    return uncovered(node, `its shapes [${ref.shape}] and [${weights.dims}] do not fit`, 'MODEL_SHAPE')
  const own: number[][] = [...range(lead).map(() => []), ...ref.factors]
  const shape = [...batch, ref.shape.at(-2)!, columns]
  const factors = shape.map((dim, axis) =>
    axis < rank - 1 && own[axis]!.length > 0 ? own[axis]! : dim > 1 ? [dim] : [],
  )
  const frame = frameOf(shape, factors)
  const outer = frame.order.length
  const reduce = own[rank - 1]!
  const loops = outer + reduce.length
  const positions: Position[] = own.flatMap((extents, axis) =>
    axis === rank - 1
      ? extents.map((_, i) => loop(outer + i))
      : extents.length > 0
        ? loopsOfAxis(frame, axis).map(loop)
        : [],
  )
  const steps: [number, number][] = stepsAlong(weights.steps.at(-2)!, reduce).map((step, i) => [outer + i, step])
  for (const index of loopsOfAxis(frame, rank - 1)) steps.push([index, weights.steps.at(-1)!])
  weights.dims.slice(0, -2).forEach((dim, i) => {
    const axis = i + rank - weights.dims.length
    if (dim > 1)
      stepsAlong(weights.steps[i]!, factors[axis]!).forEach((step, at) => {
        steps.push([loopsOfAxis(frame, axis)[at]!, step])
      })
  })
  const term: PlanTerm = {
    ...operandOf(ref, positions, loops),
    reduce,
    weight: { data: timesScale(weights.data, scale), strides: stridesOver(loops, steps) },
  }
  const name = node.outputs[0] ?? node.name
  if (shift === 0) return emitLinear(context, node.name, name, frame, [term])
  if (weights.dims.slice(0, -2).some((dim) => dim > 1)) return uncovered(node, 'shifts a stack of matrices')
  // What every input is shifted by adds up to a bias for each column.
  const sums = new Float64Array(columns)
  for (let k = 0; k < depth; k++)
    for (let j = 0; j < columns; j++)
      sums[j]! += shift * weights.data[k * weights.steps.at(-2)! + j * weights.steps.at(-1)!]!
  const bias = {
    data: sums,
    strides: stridesOver(
      outer,
      loopsOfAxis(frame, rank - 1).map((index) => [index, 1]),
    ),
  }
  return emitLinear(context, node.name, name, frame, [term], bias)
}

/** a · b of two activations, batches broadcast. */
function timesActivation(context: Context, node: GraphNode, a: Activation, b: Activation): Activation {
  const left = toScaled(context, node, a)
  const right = toScaled(context, node, b)
  const rank = Math.max(left.ref.shape.length, right.ref.shape.length)
  if (left.ref.shape.at(-1) !== right.ref.shape.at(-2))
    uncovered(node, `its shapes [${left.ref.shape}] and [${right.ref.shape}] do not fit`, 'MODEL_SHAPE')
  // The inner axis is put aside: the last of the one, the last but one of the other.
  const inner = (view: number, axis: number): boolean => axis === rank - 1 - view
  const align = (refs: Ref[]) => {
    const aligned = alignRefs(context, node, refs, [], inner)
    return { aligned, depth: commonFactors(aligned.refs[0]!.factors[rank - 1]!, aligned.refs[1]!.factors[rank - 2]!) }
  }
  let { aligned, depth } = align([left.ref, right.ref])
  if (depth === null)
    ({ aligned, depth } = align([copyRef(context, node, left.ref), copyRef(context, node, right.ref)]))
  const reduce = depth!
  const frame = frameOf(aligned.frame.shape, aligned.frame.factors)
  const outer = frame.order.length
  const loops = outer + reduce.length
  const operand = (view: number) => {
    const axisOf = rank - 1 - view
    const fitted = refined(aligned.refs[view]!, axisOf, reduce)
    const positions = fitted.factors.flatMap((extents, axis): Position[] => {
      if (axis === axisOf) return extents.map((_, i) => loop(outer + i))
      return extents.length === 0 ? [] : loopsOfAxis(frame, axis).map(loop)
    })
    return operandOf(fitted, positions, loops)
  }
  const out = addTensor(context, node.outputs[0] ?? node.name, frame)
  pushOp(context, {
    kind: 'product',
    name: node.name,
    output: out.tensor,
    a: operand(0),
    b: operand(1),
    reduce,
    bias: 0,
  })
  return plain(out, affineUnary(left.scale * right.scale, 0))
}

const flat = (activation: Activation, shape: number[]): Activation =>
  activation.form === 'plain'
    ? { ...activation, ref: reshaped(activation.ref, shape) ?? activation.ref, writer: null }
    : activation

function matmul(context: Context, node: GraphNode, alpha: number, transA: boolean, transB: boolean): Activation {
  const [a, b] = [valueAt(context, node, 0), valueAt(context, node, 1)]
  const scaled = (index: number) => {
    const found = toAffine(context, node, activationAt(context, node, index))
    return { ...found, scale: found.scale * alpha, shift: found.shift * alpha }
  }
  if (b?.kind === 'constant') {
    const x = scaled(0)
    const vector = b.constant.dims.length === 1
    const matrix = vector ? { ...b.constant, dims: [b.constant.dims[0]!, 1] } : b.constant
    const weights = transB ? swappedWeights(weightsOf(matrix)) : weightsOf(matrix)
    const row = x.ref.shape.length === 1
    const ref = row ? (reshaped(x.ref, [1, x.ref.shape[0]!]) as Ref) : transA ? swapped(x.ref) : x.ref
    const out = timesWeights(context, node, { ...x, ref }, weights)
    const shape = shapeOf(out)
    if (!row && !vector) return out
    return flat(out, [...shape.slice(0, row ? -2 : -1), ...(row && !vector ? [shape.at(-1)!] : [])])
  }
  if (a?.kind === 'constant') {
    // w · x is the transpose of xᵀ · wᵀ.
    const x = scaled(1)
    if (a.constant.dims.length < 2 || x.ref.shape.length < 2) return uncovered(node, 'multiplies a constant vector')
    const weights = transA ? weightsOf(a.constant) : swappedWeights(weightsOf(a.constant))
    const out = timesWeights(context, node, { ...x, ref: transB ? x.ref : swapped(x.ref) }, weights)
    return out.form === 'plain' ? { ...out, ref: swapped(out.ref) } : out
  }
  const left = activationAt(context, node, 0)
  const right = activationAt(context, node, 1)
  if (shapeOf(left).length < 2 || shapeOf(right).length < 2) return uncovered(node, 'multiplies vectors')
  const turned = (activation: Activation, turn: boolean): Activation => {
    if (!turn) return activation
    const base = activation.form === 'plain' ? activation : plain(toRef(context, node, activation))
    return { ...base, ref: swapped(base.ref), writer: null }
  }
  const out = timesActivation(context, node, turned(left, transA), turned(right, transB))
  return out.form === 'plain' && alpha !== 1 ? plain(out.ref, affineUnary(alpha * out.unary.affine!.scale, 0)) : out
}

const gemm: Lower = (context, node) => {
  const turn = (key: string): boolean => numberAttribute(node, key, 0) !== 0
  const beta = numberAttribute(node, 'beta', 1)
  for (const index of [0, 1]) {
    const value = valueAt(context, node, index)
    const dims = value?.kind === 'constant' ? value.constant.dims : shapeOf(activationAt(context, node, index))
    if (dims.length !== 2) uncovered(node, `input ${index} of [${dims}] is no matrix`, 'MODEL_SHAPE')
  }
  const out = matmul(context, node, numberAttribute(node, 'alpha', 1), turn('transA'), turn('transB'))
  const added = valueAt(context, node, 2)
  if (added === null) {
    setActivation(context, node, out)
    return
  }
  if (added.kind !== 'constant') {
    const sum = [
      { activation: out, weight: 1 },
      { activation: activationAt(context, node, 2), weight: beta },
    ]
    setActivation(context, node, weightedSum(context, node, sum))
    return
  }
  const constant = constantAt(context, node, 2)!
  const bias: Constant = { ...constant, data: Float64Array.from(constant.data, (x) => x * beta) }
  // The product is nobody else's yet, so the bias goes into its op.
  const inner = `${node.outputs[0]}/product`
  context.values.set(inner, { kind: 'activation', activation: out })
  context.readers.set(inner, 1)
  setActivation(context, node, affineByConstants(context, { ...node, inputs: [inner] }, 0, 1, bias))
  context.values.delete(inner)
}

export const MATRIX: Record<string, Lower> = {
  Gemm: gemm,
  MatMul: (context, node) => setActivation(context, node, matmul(context, node, 1, false, false)),
}
