import { numberAttribute } from '../fold-tensor.ts'
import type { Constant, DType, GraphNode } from '../onnx.ts'
import { dtypeOf, RANGES } from '../onnx-tensor.ts'
import type { Grid } from '../plan.ts'
import { scaledBy } from './affine.ts'
import { toAffine } from './apply.ts'
import {
  activationAt,
  type Context,
  constantAt,
  isIdentity,
  isOnlyReader,
  type Lower,
  plain,
  requiredConstant,
  setActivation,
  uncovered,
  valueAt,
} from './context.ts'
import { addTensor, emitLinear, gridOf } from './emit.ts'
import { alignedOperand, frameOf, orderLike } from './frame.ts'

/**
 * QuantizeLinear and DequantizeLinear with exact integer meaning. A quantised tensor holds the very levels that the model's
 * integers are, shifted so that the 16-bit clamp is theirs: the op that computes it saturates at the highest level, a copy
 * behind it at the lowest. Dequantising is then only the scale.
 */

type Levels = { scale: number; zero: number; low: number; high: number }

const one = (node: GraphNode, constant: Constant, what: string): number =>
  constant.data.length === 1 ? constant.data[0]! : uncovered(node, `has a ${what} for each channel of an activation`)

function levelsOf(context: Context, node: GraphNode): Levels {
  const scale = one(node, requiredConstant(context, node, 1), 'scale')
  const zeros = constantAt(context, node, 2)
  const asked = numberAttribute(node, 'output_dtype', 0)
  const dtype: DType = zeros?.dtype ?? (asked === 0 ? 'uint8' : dtypeOf(asked, `node ${node.name}`))
  const [low, high] = RANGES[dtype] ?? uncovered(node, `does not give ${dtype}`)
  const zero = zeros === null ? 0 : one(node, zeros, 'zero point')
  if (high - low > 65_535 || !(scale > 0)) uncovered(node, `quantises to ${dtype} in steps of ${scale}`)
  return { scale, zero, low, high }
}

const quantize: Lower = (context, node) => {
  const { scale, zero, low, high } = levelsOf(context, node)
  const activation = activationAt(context, node, 0)
  const output = node.outputs[0]!
  context.quantised.set(output, { scale, zero })
  const fixed = (offset: number, least: number, most: number): Grid => ({
    kind: 'fixed',
    scale,
    offset,
    levels: { low: least - zero, high: most - zero },
  })
  if (activation.form === 'plain' && isIdentity(activation.unary)) {
    const grid = gridOf(context, activation.ref.tensor)
    // Pooling and moving levels gives levels.
    if (
      grid.kind === 'fixed' &&
      grid.levels !== null &&
      grid.scale === scale &&
      grid.levels.low >= low - zero &&
      grid.levels.high <= high - zero
    ) {
      setActivation(context, node, activation)
      return
    }
  }
  // What is above 0 is what is above the zero point.
  const relu = activation.form === 'plain' ? activation.unary.reluOf : null
  const inner =
    activation.form === 'plain' && relu !== null ? plain(activation.ref, relu, activation.writer) : activation
  const least = relu === null ? low : Math.max(low, zero)
  const wide = high - low > 255
  // Integers of the first op: level + 2^15 − 1 − high.
  const first = fixed(high - 32_767 - zero, Number.NEGATIVE_INFINITY, high)
  let ref =
    inner.form === 'plain' &&
    inner.writer !== null &&
    isIdentity(inner.unary) &&
    isOnlyReader(context, node, 0) &&
    gridOf(context, inner.ref.tensor).kind === 'free'
      ? inner.ref
      : null
  if (ref !== null) context.plan.tensors[ref.tensor]!.grid = first
  else {
    const source = toAffine(context, node, inner)
    const frame = frameOf(source.ref.shape, source.ref.factors, orderLike(source.ref))
    const term = { ...alignedOperand(source.ref, frame), reduce: [], weight: source.scale }
    ref = emitLinear(context, node.name, `${output}/high`, frame, [term], source.shift, { grid: first }).ref
  }
  if (wide && least === low) {
    // Sixteen bits clamp at both ends by themselves.
    context.plan.tensors[ref.tensor]!.grid = fixed(high - 32_767 - zero, low, high)
    setActivation(context, node, plain(ref))
    return
  }
  // Integers of the second: level − 2^15 − low.
  const frame = frameOf(ref.shape, ref.factors, orderLike(ref))
  const clamped = addTensor(context, output, frame, { grid: fixed(least + 32_768 - zero, least, high) })
  context.plan.ops.push({
    kind: 'linear',
    name: `${node.name}/low`,
    output: clamped.tensor,
    terms: [{ ...alignedOperand(ref, frame), reduce: [], weight: 1 }],
    bias: 0,
  })
  setActivation(context, node, plain(clamped))
}

const dequantize: Lower = (context, node) => {
  if (valueAt(context, node, 0)?.kind !== 'activation') uncovered(node, 'its input is not computed from numbers')
  const known = context.quantised.get(node.inputs[0]!) ?? uncovered(node, 'its input was not quantised in the model')
  const scale = one(node, requiredConstant(context, node, 1), 'scale')
  const zeros = constantAt(context, node, 2)
  const zero = zeros === null ? 0 : one(node, zeros, 'zero point')
  const activation = activationAt(context, node, 0)
  const ratio = scale / known.scale
  setActivation(context, node, scaledBy(context, node, activation, ratio, (known.zero - zero) * scale))
}

export const QUANTISED: Record<string, Lower> = { DequantizeLinear: dequantize, QuantizeLinear: quantize }
