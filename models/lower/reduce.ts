import { axesOf, numberAttribute } from '../fold-tensor.ts'
import type { GraphNode } from '../onnx.ts'
import { elementCount } from '../tiling.ts'
import { applied, scaledBy } from './affine.ts'
import { toAffine, toRef, toScaled } from './apply.ts'
import {
  type Activation,
  activationAt,
  affineUnary,
  type Context,
  integersAt,
  type Lower,
  plain,
  setActivation,
  shapeOf,
  uncovered,
} from './context.ts'
import { addTensor, emitLinear, exactRef, pushOp } from './emit.ts'
import { type Frame, frameOf, loopsOfAxis, orderLike } from './frame.ts'
import { root } from './powers.ts'
import { affine, loop, operandOf, type Position, type Ref, range } from './ref.ts'

/** Sums, means and maxima over whole axes. */

/** The frame of a result with the named axes reduced to one element, laid out like its source. */
export function reducedFrame(ref: Ref, axes: readonly number[]): Frame {
  const factors = ref.factors.map((extents, axis) => (axes.includes(axis) ? [] : extents))
  const shape = ref.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
  // Variables that are left keep their order in memory.
  const left: number[] = []
  let at = 0
  ref.factors.forEach((extents, axis) => {
    for (const _ of extents) {
      if (!axes.includes(axis)) left.push(at)
      at++
    }
  })
  const order = orderLike(ref).filter((variable) => left.includes(variable))
  return frameOf(
    shape,
    factors,
    order.map((variable) => left.indexOf(variable)),
  )
}

/** What an op that reduces the named axes reads. */
export function reducedOperand(ref: Ref, axes: readonly number[], frame: Frame) {
  const outer = frame.order.length
  const reduce: number[] = []
  const positions = ref.factors.flatMap((extents, axis) =>
    extents.map((extent, i): Position => {
      if (!axes.includes(axis)) return loop(loopsOfAxis(frame, axis)[i]!)
      reduce.push(extent)
      return loop(outer + reduce.length - 1)
    }),
  )
  return { reduce, operand: operandOf(ref, positions, outer + reduce.length) }
}

/** The result without its reduced axes. */
export function dropAxes(activation: Activation, axes: readonly number[], keep: boolean): Activation {
  if (keep) return activation
  const kept = (_: unknown, axis: number): boolean => !axes.includes(axis)
  if (activation.form === 'squares') return { ...activation, shape: activation.shape.filter(kept) }
  const { ref } = activation
  const dropped = { ...ref, shape: ref.shape.filter(kept), factors: ref.factors.filter(kept) }
  return activation.form === 'plain' ? { ...activation, ref: dropped, writer: null } : { ...activation, ref: dropped }
}

/** The axes of a reduction, from an input or an attribute as its operator set has it; none where it takes each element by itself. */
function axesOfNode(context: Context, node: GraphNode, rank: number): number[] {
  const listed = node.attributes.get('axes')
  const given = Array.isArray(listed) ? (listed as number[]) : integersAt(context, node, 1)
  if (given !== null && given.length > 0) return axesOf(node, given, rank)
  return numberAttribute(node, 'noop_with_empty_axes', 0) !== 0 ? [] : range(rank)
}

/** factor · Σ over axes. */
export function sum(
  context: Context,
  node: GraphNode,
  activation: Activation,
  axes: readonly number[],
  mean: boolean,
  name = node.name,
  tensorName = node.outputs[0] ?? node.name,
): Activation {
  const count = elementCount(axes.map((axis) => shapeOf(activation)[axis]!))
  const factor = mean ? 1 / count : 1
  if (activation.form === 'plain' && activation.unary.squareOf !== null) {
    const base = toScaled(context, node, plain(activation.ref, activation.unary.squareOf))
    const shape = base.ref.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
    return { form: 'squares', ref: base.ref, shape, axes: [...axes], factor: factor * base.scale ** 2, shift: 0 }
  }
  const { ref, scale, shift } = toAffine(context, node, activation)
  const frame = reducedFrame(ref, axes)
  const { reduce, operand } = reducedOperand(ref, axes, frame)
  const term = { ...operand, reduce, weight: scale * factor }
  return emitLinear(context, name, tensorName, frame, [term], shift * factor * count)
}

/** One pass of a maximum. */
function maximumOnce(context: Context, name: string, tensorName: string, ref: Ref, axes: readonly number[]): Ref {
  const frame = reducedFrame(ref, axes)
  const { reduce, operand } = reducedOperand(ref, axes, frame)
  const out = addTensor(context, tensorName, frame, { grid: { kind: 'same', as: ref.tensor } })
  pushOp(context, { kind: 'extremum', name, output: out.tensor, input: operand, reduce })
  return out
}

const RUN = 64

/** The maxima of runs of 64 along an axis. */
function maximumOfRuns(context: Context, node: GraphNode, name: string, ref: Ref, axis: number): Ref {
  const source = exactRef(context, node, ref, [axis])
  const runs = Math.ceil(source.shape[axis]! / RUN)
  const shape = source.shape.map((dim, each) => (each === axis ? runs : dim))
  const factors = source.factors.map((extents, each) => (each === axis ? (runs > 1 ? [runs] : []) : extents))
  const frame = frameOf(shape, factors)
  const outer = frame.order.length
  const positions = source.factors.flatMap((extents, each): Position[] => {
    const loops = loopsOfAxis(frame, each)
    if (each !== axis) return extents.map((_, i) => loop(loops[i]!))
    return [affine([...loops.map((index): [number, number] => [index, RUN]), [outer, 1]])]
  })
  const out = addTensor(context, name, frame, { grid: { kind: 'same', as: source.tensor } })
  const input = operandOf(source, positions, outer + 1)
  pushOp(context, { kind: 'extremum', name, output: out.tensor, input, reduce: [RUN] })
  return out
}

/** The maximum over axes: in one window of at most 64 elements, or axis by axis, or in runs. */
export function maximum(
  context: Context,
  node: GraphNode,
  activation: Activation,
  axesOf: (rank: number) => number[],
  keep: boolean,
  suffix = '',
): Activation {
  const found = toAffine(context, node, activation)
  const turned = found.scale < 0
  const scale = turned ? 1 : found.scale
  const shift = turned ? 0 : found.shift
  let ref = turned ? toRef(context, node, plain(found.ref, affineUnary(found.scale, found.shift))) : found.ref
  const axes = axesOf(ref.shape.length)
  const tensorName = `${node.outputs[0] ?? node.name}${suffix}`
  let pass = 0
  for (;;) {
    const left = axes.filter((axis) => ref.shape[axis]! > 1)
    if (left.length === 0 && pass > 0) break
    if (elementCount(left.map((axis) => ref.shape[axis]!)) <= RUN) {
      ref = maximumOnce(context, `${node.name}${suffix}`, tensorName, ref, axes)
      break
    }
    const short = left.findLast((axis) => ref.shape[axis]! <= RUN)
    const name = `${tensorName}/pass${pass++}`
    ref =
      short === undefined
        ? maximumOfRuns(context, node, name, ref, left.at(-1)!)
        : maximumOnce(context, name, name, ref, [short])
  }
  return dropAxes(plain(ref, affineUnary(scale, shift)), axes, keep)
}

/** @param ofOne whether it changes an element that is reduced with none other */
const reduction =
  (
    reduce: (context: Context, node: GraphNode, activation: Activation, axes: number[]) => Activation,
    ofOne = false,
  ): Lower =>
  (context, node) => {
    const activation = activationAt(context, node, 0)
    const axes = axesOfNode(context, node, shapeOf(activation).length)
    const keep = numberAttribute(node, 'keepdims', 1) !== 0
    const reduced = axes.length > 0 || ofOne
    setActivation(context, node, reduced ? dropAxes(reduce(context, node, activation, axes), axes, keep) : activation)
  }

const square = (context: Context, node: GraphNode, activation: Activation, axes: number[]): Activation => {
  const base = toScaled(context, node, activation)
  const shape = base.ref.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
  return { form: 'squares', ref: base.ref, shape, axes, factor: base.scale ** 2, shift: 0 }
}

export const REDUCE: Record<string, Lower> = {
  GlobalAveragePool: (context, node) => {
    const activation = activationAt(context, node, 0)
    const axes = range(shapeOf(activation).length).slice(2)
    if (axes.length === 0) uncovered(node, 'has no axes to average')
    setActivation(context, node, sum(context, node, activation, axes, true))
  },
  // Of absolute values, and the root of the sum of squares, which is taken in 32 bits.
  ReduceL1: reduction(
    (context, node, activation, axes) =>
      sum(context, node, applied(context, node, activation, 'Abs', Math.abs), axes, false),
    true,
  ),
  ReduceL2: reduction(
    (context, node, activation, axes) => root(context, node, square(context, node, activation, axes)),
    true,
  ),
  ReduceMax: reduction((context, node, activation, axes) => maximum(context, node, activation, () => axes, true)),
  ReduceMean: reduction((context, node, activation, axes) => sum(context, node, activation, axes, true)),
  ReduceMin: reduction((context, node, activation, axes) =>
    scaledBy(
      context,
      node,
      maximum(context, node, scaledBy(context, node, activation, -1, 0), () => axes, true),
      -1,
      0,
    ),
  ),
  ReduceSum: reduction((context, node, activation, axes) => sum(context, node, activation, axes, false)),
  ReduceSumSquare: reduction(square, true),
}
