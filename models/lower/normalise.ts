import { numberAttribute } from '../fold-tensor.ts'
import type { Constant, GraphNode } from '../onnx.ts'
import { elementCount } from '../tiling.ts'
import { affineByConstants, weightedSum } from './affine.ts'
import { toAffine, toRef } from './apply.ts'
import {
  type Activation,
  activationAt,
  type Context,
  constantAt,
  type Lower,
  plain,
  requiredConstant,
  resolveAxis,
  setActivation,
  shapeOf,
  uncovered,
} from './context.ts'
import { addTensor, alignRefs, emitLinear, pushOp } from './emit.ts'
import { alignedOperand } from './frame.ts'
import { endlessOf } from './masks.ts'
import { multiplied, power } from './powers.ts'
import { maximum, reducedFrame, reducedOperand, sum } from './reduce.ts'
import { range, reshaped } from './ref.ts'

/** Softmax and normalisations: what needs 32 bits in between. */

const vector = (data: ArrayLike<number>, axis: number, rank: number): Constant => ({
  dims: range(rank)
    .slice(axis)
    .map((each) => (each === axis ? data.length : 1)),
  dtype: 'float32',
  data: Float64Array.from(data),
})

/** (x − mean) / √(variance + ε) over axes, variance and root in 32 bits. */
function standardised(
  context: Context,
  node: GraphNode,
  activation: Activation,
  axes: number[],
  epsilon: number,
): Activation {
  const name = node.outputs[0] ?? node.name
  const step = (part: string): GraphNode => ({ ...node, name: `${node.name}/${part}`, outputs: [`${name}/${part}`] })
  const { ref, scale } = toAffine(context, node, activation)
  const source = plain(ref)
  const mean = sum(context, step('mean'), source, axes, true)
  const centred = weightedSum(context, step('centred'), [
    { activation: source, weight: scale },
    { activation: mean, weight: -scale },
  ])
  if (centred.form !== 'plain') return uncovered(node, 'cannot be centred')
  const variance: Activation = {
    form: 'squares',
    ref: centred.ref,
    shape: centred.ref.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim)),
    axes,
    factor: 1 / elementCount(axes.map((axis) => centred.ref.shape[axis]!)),
    shift: epsilon,
  }
  const inverse = power(context, step('deviation'), variance, -0.5)
  return multiplied(context, step('standardised'), centred, inverse)
}

/** The same, then scaled and shifted by constants; the op writes the node's own output. */
function scaledAndShifted(
  context: Context,
  node: GraphNode,
  activation: Activation,
  scale: Constant | number,
  shift: Constant | number,
): Activation {
  return weightedSum(context, node, [{ activation, weight: scale }], shift)
}

const layerNormalization: Lower = (context, node) => {
  if (node.outputs.slice(1).some((output) => output && context.readers.has(output)))
    uncovered(node, 'gives its mean or deviation')
  const activation = activationAt(context, node, 0)
  const rank = shapeOf(activation).length
  const first = resolveAxis(node, numberAttribute(node, 'axis', -1), rank)
  const axes = range(rank).slice(first)
  const result = standardised(context, node, activation, axes, numberAttribute(node, 'epsilon', 1e-5))
  setActivation(
    context,
    node,
    scaledAndShifted(context, node, result, requiredConstant(context, node, 1), constantAt(context, node, 2) ?? 0),
  )
}

const instanceNormalization: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const rank = shapeOf(activation).length
  if (rank < 3) uncovered(node, 'has no axes to normalise over', 'MODEL_SHAPE')
  const result = standardised(context, node, activation, range(rank).slice(2), numberAttribute(node, 'epsilon', 1e-5))
  const [scale, shift] = [1, 2].map((index) => vector(requiredConstant(context, node, index).data, 1, rank))
  setActivation(context, node, scaledAndShifted(context, node, result, scale!, shift!))
}

const groupNormalization: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const shape = shapeOf(activation)
  const [batch, channels, ...spatial] = shape as [number, number, ...number[]]
  const groups = numberAttribute(node, 'num_groups', 1)
  if (channels % groups !== 0) uncovered(node, `cannot make ${groups} groups of ${channels} channels`)
  const source = reshaped(toRef(context, node, activation), [batch, groups, channels / groups, ...spatial])
  if (source === null) return uncovered(node, 'its channels cannot be grouped')
  const axes = range(source.shape.length).slice(2)
  const result = standardised(context, node, plain(source), axes, numberAttribute(node, 'epsilon', 1e-5))
  const back = result.form === 'plain' ? reshaped(result.ref, shape) : null
  if (back === null) return uncovered(node, 'its groups cannot be joined')
  const [scale, shift] = [1, 2].map((index) => {
    const { data } = requiredConstant(context, node, index)
    // Before operator set 21 there is one number for each group.
    return vector(
      data.length === groups
        ? Float64Array.from({ length: channels }, (_, c) => data[Math.floor((c * groups) / channels)]!)
        : data,
      1,
      shape.length,
    )
  })
  setActivation(context, node, scaledAndShifted(context, node, plain(back), scale!, shift!))
}

/** A scale and a shift for each channel, from running statistics. */
const batchNormalization: Lower = (context, node) => {
  if (numberAttribute(node, 'training_mode', 0) !== 0) uncovered(node, 'is in training mode')
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((index) => requiredConstant(context, node, index).data)
  const epsilon = numberAttribute(node, 'epsilon', 1e-5)
  const rank = shapeOf(activationAt(context, node, 0)).length
  const scale = Float64Array.from(gamma!, (g, c) => g / Math.sqrt(variance![c]! + epsilon))
  const shift = Float64Array.from(beta!, (b, c) => b - mean![c]! * scale[c]!)
  setActivation(context, node, affineByConstants(context, node, 0, vector(scale, 1, rank), vector(shift, 1, rank)))
}

/**
 * Softmax: what lies 16 below the largest counts as nothing. e^x in steps of 2^-15 would not tell it from 0 either. A masked
 * element saturates to the same end, where the table gives 0.
 */
const softmax: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const rank = shapeOf(activation).length
  const axis = resolveAxis(node, numberAttribute(node, 'axis', -1), rank)
  const name = node.outputs[0] ?? node.name
  const step = (part: string): GraphNode => ({ ...node, name: `${node.name}/${part}`, outputs: [`${name}/${part}`] })
  const found = toAffine(context, node, activation)
  const { ref, scale } = found.scale > 0 ? found : { ref: toRef(context, node, activation), scale: 1 }
  const source = plain(ref)
  const largest = maximum(context, step('max'), source, () => [axis], true)
  if (largest.form !== 'plain') return uncovered(node, 'has no maximum')
  const unit = 2 ** -12
  const { refs, frame } = alignRefs(context, node, [ref, largest.ref])
  // Scores that a mask has made endless saturate at the end of their own range, which may not be far enough below: the mask is
  // added once more to the difference.
  const difference = emitLinear(
    context,
    `${node.name}/difference`,
    `${name}/difference`,
    frame,
    [
      { ...alignedOperand(refs[0]!, frame), reduce: [], weight: scale },
      { ...alignedOperand(refs[1]!, frame), reduce: [], weight: -scale },
    ],
    endlessOf(context, refs[0]!, frame) ?? 0,
    { grid: { kind: 'fixed', scale: unit, offset: -32_767, levels: null } },
  ).ref
  const powers = { ...difference, tensor: context.plan.tensors.length }
  context.plan.tensors.push({
    name: `${name}/exp`,
    shape: difference.dims,
    bits: 16,
    grid: { kind: 'fixed', scale: 2 ** -15, offset: 32_768, levels: null },
    viewOf: null,
  })
  pushOp(context, {
    kind: 'table',
    name: `${node.name}/exp`,
    input: difference.tensor,
    output: powers.tensor,
    function: 'Exp',
    apply: Math.exp,
    lowest: 0,
  })
  const reduced = reducedFrame(powers, [axis])
  const { reduce, operand } = reducedOperand(powers, [axis], reduced)
  const total = emitLinear(
    context,
    `${node.name}/sum`,
    `${name}/sum`,
    reduced,
    [{ ...operand, reduce, weight: 1 }],
    0,
    { bits: 32, grid: { kind: 'wide' } },
  ).ref
  const both = alignRefs(context, node, [powers, total])
  const out = addTensor(context, name, both.frame)
  pushOp(context, {
    kind: 'divide',
    name: node.name,
    output: out.tensor,
    a: alignedOperand(both.refs[0]!, both.frame),
    b: alignedOperand(both.refs[1]!, both.frame),
    weight: 1,
  })
  setActivation(context, node, plain(out))
}

export const NORMALISE: Record<string, Lower> = {
  BatchNormalization: batchNormalization,
  GroupNormalization: groupNormalization,
  InstanceNormalization: instanceNormalization,
  LayerNormalization: layerNormalization,
  Softmax: softmax,
}
