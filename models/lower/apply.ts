import type { GraphNode } from '../onnx.ts'
import type { Grid } from '../plan.ts'
import { type Activation, type Context, plain, type Unary, uncovered } from './context.ts'
import { addTensor, copyRef, emitLinear, gridOf, type TensorOptions } from './emit.ts'
import { alignedOperand, type Frame, frameOf, loopsOfAxis, orderLike } from './frame.ts'
import { coversAll, loop, operandOf, type Ref } from './ref.ts'
import { jumps } from './steps.ts'

/** Computing what an activation still has to have applied, as far as its reader needs it. */

function applyTable(context: Context, node: GraphNode, ref: Ref, unary: Unary): Ref {
  if (unary.steps && jumps(unary)) uncovered(node, `${unary.label} jumps from one value to another`)
  // Tables have 64 segments over all 16 bits: a tensor of few levels is spread first, and of a small part only that part is used.
  const grid = gridOf(context, ref.tensor)
  const narrow = grid.kind === 'fixed' && grid.levels !== null
  const source = narrow || !coversAll(ref) ? copyRef(context, node, ref, narrow ? { grid: { kind: 'free' } } : {}) : ref
  const known = context.applied.get(unary) ?? new Map<number, number>()
  context.applied.set(unary, known)
  const tensor = known.get(source.tensor)
  if (tensor !== undefined) return { ...source, tensor }
  const output =
    context.plan.tensors.push({
      name: unary.value || (node.outputs[0] ?? node.name),
      shape: source.dims,
      bits: 16,
      grid: { kind: 'free' },
      viewOf: null,
    }) - 1
  context.plan.ops.push({
    kind: 'table',
    name: unary.node || node.name,
    input: source.tensor,
    output,
    function: unary.label,
    apply: unary.apply,
  })
  known.set(source.tensor, output)
  return { ...source, tensor: output }
}

const frameLike = (ref: Ref): Frame => frameOf(ref.shape, ref.factors, orderLike(ref))

/** factor · Σ x² over axes, plus shift. */
export function emitSquares(
  context: Context,
  name: string,
  tensorName: string,
  { ref, shape, axes, factor, shift }: Activation & { form: 'squares' },
  options: TensorOptions,
): { ref: Ref; factor: number } {
  const kept = ref.factors.map((extents, axis) => (axes.includes(axis) ? [] : extents))
  const keptShape = ref.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
  const frame = frameOf(keptShape, kept)
  const rank = frame.order.length
  const reduce: number[] = []
  const positions = ref.factors.flatMap((extents, axis) =>
    extents.map((extent, i) => {
      if (!axes.includes(axis)) return loop(loopsOfAxis(frame, axis)[i]!)
      reduce.push(extent)
      return loop(rank + reduce.length - 1)
    }),
  )
  const operand = operandOf(ref, positions, rank + reduce.length)
  const out = addTensor(context, tensorName, frame, options)
  // The sum itself is stored: its factor is for the readers, so that no weight has to be rounded.
  context.plan.ops.push({
    kind: 'product',
    name,
    output: out.tensor,
    a: operand,
    b: operand,
    reduce,
    bias: shift / factor,
  })
  const named =
    shape.length === ref.shape.length ? out : { ...out, shape, factors: kept.filter((_, axis) => !axes.includes(axis)) }
  return { ref: named, factor }
}

/** The activation as a view of a tensor, with nothing left to apply but a scale and a shift. */
export function toAffine(
  context: Context,
  node: GraphNode,
  activation: Activation,
): { ref: Ref; scale: number; shift: number } {
  if (activation.form === 'squares') {
    const { ref, factor } = emitSquares(
      context,
      `${node.name}/squares`,
      `${node.outputs[0] ?? node.name}/squares`,
      activation,
      {},
    )
    return { ref, scale: factor, shift: 0 }
  }
  if (activation.form === 'reciprocal') {
    const { ref, scale } = activation
    const frame = frameLike(ref)
    const out = addTensor(context, `${node.outputs[0] ?? node.name}/reciprocal`, frame)
    const divisor = toDivisor(context, node, ref)
    context.plan.ops.push({
      kind: 'divide',
      name: `${node.name}/reciprocal`,
      output: out.tensor,
      a: null,
      b: alignedOperand(divisor, frame),
      weight: scale,
    })
    return { ref: out, scale: 1, shift: 0 }
  }
  const { ref, unary } = activation
  if (unary.affine !== null) return { ref, ...unary.affine }
  if (unary.squareOf !== null) {
    const base = toScaled(context, node, plain(ref, unary.squareOf))
    const frame = frameLike(base.ref)
    const operand = alignedOperand(base.ref, frame)
    const out = addTensor(context, `${node.outputs[0] ?? node.name}/square`, frame)
    context.plan.ops.push({
      kind: 'product',
      name: `${node.name}/square`,
      output: out.tensor,
      a: operand,
      b: operand,
      reduce: [],
      bias: 0,
    })
    return { ref: out, scale: base.scale ** 2, shift: 0 }
  }
  return { ref: applyTable(context, node, ref, unary), scale: 1, shift: 0 }
}

/** As `toAffine`, without a shift: what an absent tap reads is then 0 too. */
export function toScaled(context: Context, node: GraphNode, activation: Activation): { ref: Ref; scale: number } {
  const { ref, scale, shift } = toAffine(context, node, activation)
  return shift === 0 ? { ref, scale } : { ref: scaledRef(context, node, ref, scale, shift), scale: 1 }
}

function scaledRef(context: Context, node: GraphNode, ref: Ref, scale: number, shift: number, grid?: Grid): Ref {
  const frame = frameLike(ref)
  return emitLinear(
    context,
    `${node.name}/scale`,
    `${node.outputs[0] ?? node.name}/scale`,
    frame,
    [{ ...alignedOperand(ref, frame), reduce: [], weight: scale }],
    shift,
    grid === undefined ? {} : { grid },
  ).ref
}

/** The activation as a view of a tensor and nothing else. */
export function toRef(context: Context, node: GraphNode, activation: Activation): Ref {
  const { ref, scale, shift } = toAffine(context, node, activation)
  return scale === 1 && shift === 0 ? ref : scaledRef(context, node, ref, scale, shift)
}

/** A view of divisors, at least 1 in integers. Roots are that already; anything else is clamped to it. */
export function toDivisor(context: Context, node: GraphNode, ref: Ref): Ref {
  const { kind } = gridOf(context, ref.tensor)
  if (kind === 'root' || kind === 'divisor' || kind === 'wide') return ref
  return scaledRef(context, node, ref, 1, 0, { kind: 'divisor' })
}

/** Numbers from 0 up, in all 16 bits. */
export const toNatural = (context: Context, node: GraphNode, ref: Ref, scale: number, shift: number): Ref =>
  scaledRef(context, node, ref, scale, shift, { kind: 'natural' })
