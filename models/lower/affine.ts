import type { Constant, GraphNode } from '../onnx.ts'
import type { PlanArray } from '../plan.ts'
import { toAffine, toRef } from './apply.ts'
import {
  type Activation,
  activationAt,
  type Context,
  isIdentity,
  isOnlyReader,
  LARGEST_UNARY,
  type Plain,
  plain,
  shapeOf,
  type Unary,
} from './context.ts'
import { alignRefs, combine, emitLinear } from './emit.ts'
import { alignedArray, alignedOperand, extentsOf, type Frame, frameOf } from './frame.ts'
import type { Ref } from './ref.ts'
import { STEPS } from './steps.ts'

/** Functions put on activations, and sums of weighted ones. */

function composed(label: string, apply: (x: number) => number, unary: Unary, affine: Unary['affine'] = null): Unary {
  const whole =
    affine !== null && unary.affine !== null
      ? { scale: affine.scale * unary.affine.scale, shift: affine.scale * unary.affine.shift + affine.shift }
      : null
  const square =
    affine?.shift === 0 && unary.squareOf !== null && affine.scale > 0
      ? composed('Affine', (x) => Math.sqrt(affine.scale) * x, unary.squareOf, {
          scale: Math.sqrt(affine.scale),
          shift: 0,
        })
      : null
  const joined = isIdentity(unary) || affine !== null ? label : `${unary.label}·${label}`.slice(0, 200)
  return {
    node: unary.node,
    value: unary.value,
    label: affine !== null && whole === null ? unary.label : joined,
    apply: whole === null ? (x) => apply(unary.apply(x)) : (x) => whole.scale * x + whole.shift,
    affine: whole,
    squareOf: square,
    reluOf: null,
    steps: unary.steps || STEPS.has(label),
    size: whole === null ? unary.size + 1 : 1,
  }
}

/** What a function can be put on. */
const ground = (context: Context, node: GraphNode, activation: Activation): Plain =>
  activation.form === 'plain' && activation.unary.size < LARGEST_UNARY
    ? activation
    : plain(toRef(context, node, activation))

/**
 * A function applied to an activation; nothing is computed yet.
 * @param size how many functions it calls
 */
export function applied(
  context: Context,
  node: GraphNode,
  activation: Activation,
  label: string,
  apply: (x: number) => number,
  size = 1,
): Activation {
  const base = ground(context, node, activation)
  const inner = composed(label, apply, base.unary)
  const unary = { ...inner, size: inner.size + size - 1 }
  return plain(
    base.ref,
    { ...unary, node: node.name, value: node.outputs[0] ?? '', reluOf: label === 'Relu' ? base.unary : null },
    base.writer,
  )
}

/** scale·x + shift. */
export function scaledBy(
  context: Context,
  node: GraphNode,
  activation: Activation,
  scale: number,
  shift: number,
): Activation {
  if (scale === 1 && shift === 0) return activation
  if (activation.form === 'squares' && scale > 0)
    return { ...activation, factor: activation.factor * scale, shift: activation.shift * scale + shift }
  if (activation.form === 'reciprocal' && shift === 0) return { ...activation, scale: activation.scale * scale }
  const base = ground(context, node, activation)
  return plain(
    base.ref,
    composed('Affine', (x) => scale * x + shift, base.unary, { scale, shift }),
  )
}

export const squared = (unary: Unary): Unary => ({
  ...composed('Square', (x) => x * x, unary),
  squareOf: unary,
})

/** Sum of weighted activations, in one linear op. */
export function weightedSum(
  context: Context,
  node: GraphNode,
  parts: { activation: Activation; weight: number | Constant }[],
  bias: number | Constant = 0,
): Activation {
  const flat = parts.map(({ activation, weight }) => ({ ...toAffine(context, node, activation), weight }))
  const constants = [...flat.map(({ weight }) => weight), bias].filter((each) => typeof each !== 'number')
  const { refs, frame } = alignRefs(
    context,
    node,
    flat.map(({ ref }) => ref),
    constants.map(({ dims }) => dims),
  )
  const extents = extentsOf(frame)
  const over = (value: number | Constant): number | PlanArray =>
    typeof value === 'number' ? value : alignedArray(value, frame)
  let sum = over(bias)
  const terms = flat.map(({ scale, shift, weight }, i) => {
    const array = over(weight)
    if (shift !== 0) sum = combine(extents, sum, array, (s, w) => s + w * shift)
    return { ...alignedOperand(refs[i]!, frame), reduce: [], weight: combine(extents, array, scale, (w, s) => w * s) }
  })
  return emitLinear(context, node.name, node.outputs[0] ?? node.name, frame, terms, sum)
}

/** The loops of a tensor that an op wrote just now, by the variables of its view. */
function frameOfWriter(ref: Ref): Frame {
  return frameOf(
    ref.shape,
    ref.factors,
    ref.axes.map(({ coefs }) => coefs.indexOf(1)),
  )
}

/** A scale and a shift by constants, put into the weights of the op that wrote its input where nothing else reads that. */
export function affineByConstants(
  context: Context,
  node: GraphNode,
  index: number,
  scale: number | Constant,
  shift: number | Constant,
): Activation {
  const activation = activationAt(context, node, index)
  const fits = [scale, shift].every(
    (each) =>
      typeof each === 'number' ||
      (each.dims.length <= shapeOf(activation).length &&
        each.dims.every(
          (dim, i) => dim === 1 || dim === shapeOf(activation)[shapeOf(activation).length - each.dims.length + i],
        )),
  )
  if (
    fits &&
    activation.form === 'plain' &&
    activation.writer !== null &&
    isIdentity(activation.unary) &&
    isOnlyReader(context, node, index)
  ) {
    const { writer, ref } = activation
    const frame = frameOfWriter(ref)
    const outer = extentsOf(frame)
    const over = (value: number | Constant): number | PlanArray =>
      typeof value === 'number' ? value : alignedArray(value, frame)
    const factor = over(scale)
    for (const term of writer.terms)
      term.weight = combine([...outer, ...term.reduce], term.weight, factor, (w, s) => w * s)
    writer.bias = combine(
      outer,
      combine(outer, writer.bias, factor, (b, s) => b * s),
      over(shift),
      (b, s) => b + s,
    )
    return activation
  }
  if (fits && typeof scale === 'number' && typeof shift === 'number')
    return scaledBy(context, node, activation, scale, shift)
  return weightedSum(context, node, [{ activation, weight: scale }], shift)
}
