import { broadcastShapes, spread } from '../fold-tensor.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { Constant, GraphNode } from '../onnx.ts'
import { elementCount } from '../tiling.ts'
import { applied, weightedSum } from './affine.ts'
import { toRef } from './apply.ts'
import {
  type Activation,
  activationAt,
  type Context,
  LARGEST_UNARY,
  type Lower,
  plain,
  requiredConstant,
  setActivation,
  shapeOf,
  uncovered,
  type Value,
  valueAt,
} from './context.ts'
import { mapped, scalarOf } from './elementwise.ts'
import { masked } from './masks.ts'
import { sameRef } from './ref.ts'
import { spend } from './work.ts'

/** Choices: by a mask that is known, or by what a number is. */

/** A comparison of a number with a constant. */
const compared =
  (holds: (a: number, b: number) => boolean): Lower =>
  (context, node) => {
    const index = valueAt(context, node, 0)?.kind === 'activation' ? 0 : 1
    const activation = activationAt(context, node, index)
    const constant = requiredConstant(context, node, 1 - index)
    const bound = scalarOf(constant, shapeOf(activation)) ?? uncovered(node, 'compares with a tensor')
    const base = activation.form === 'plain' ? activation : plain(toRef(context, node, activation))
    const { apply } = base.unary
    context.values.set(node.outputs[0]!, {
      kind: 'condition',
      activation: base,
      holds: index === 0 ? (x) => holds(apply(x), bound) : (x) => holds(bound, apply(x)),
    })
  }

/** A choice between functions of the number that decides. */
function chosenBy(context: Context, node: GraphNode, { activation, holds }: Value & { kind: 'condition' }): Activation {
  let size = activation.unary.size
  const [yes, no] = [1, 2].map((index): ((x: number) => number) => {
    const value = valueAt(context, node, index)
    if (value?.kind === 'constant') {
      const scalar = scalarOf(value.constant, shapeOf(activation)) ?? uncovered(node, 'chooses from a constant tensor')
      return () => scalar
    }
    const side = activationAt(context, node, index)
    if (side.form !== 'plain' || !sameRef(side.ref, activation.ref))
      return uncovered(node, 'chooses between other numbers than what it compares')
    size += side.unary.size
    return side.unary.apply
  }) as [(x: number) => number, (x: number) => number]
  if (size > LARGEST_UNARY) uncovered(node, `is made of more than ${LARGEST_UNARY} functions`)
  // Of the view itself: the functions are already put on it.
  return applied(context, node, plain(activation.ref), 'Where', (x) => (holds(x) ? yes(x) : no(x)), size)
}

/** A constant over the shape of a mask, or of both. */
function besideMask(node: GraphNode, mask: Constant, constant: Constant): [Constant, Constant] {
  const dims =
    broadcastShapes([mask.dims, constant.dims]) ??
    uncovered(node, 'its mask and its constant do not fit', 'MODEL_SHAPE')
  if (elementCount(dims) > MANIFEST_LIMITS.tensorElements)
    uncovered(node, `would choose from a constant of [${dims}]`, 'MODEL_SHAPE')
  spend(elementCount(dims))
  return [spread(mask, dims), spread(constant, dims)]
}

/** Where with a mask that is known: both sides weighted by it. */
const where: Lower = (context, node) => {
  const decides = valueAt(context, node, 0)
  if (decides?.kind === 'condition') {
    setActivation(context, node, chosenBy(context, node, decides))
    return
  }
  const condition = requiredConstant(context, node, 0)
  const chosen = mapped(condition, (x) => Number(x !== 0))
  const other = mapped(condition, (x) => Number(x === 0))
  const parts: { activation: Activation; weight: Constant }[] = []
  const isMask = context.maskable.has(node.outputs[0]!)
  let bias: number | Constant = 0
  ;[chosen, other].forEach((mask, i) => {
    const value = valueAt(context, node, i + 1)
    if (value?.kind !== 'constant') {
      parts.push({ activation: activationAt(context, node, i + 1), weight: mask })
      return
    }
    const [counts, given] = besideMask(node, mask, value.constant)
    const data = new Float64Array(counts.data.length)
    for (let at = 0; at < data.length; at++)
      if (counts.data[at] !== 0) data[at] = isMask ? masked(given.data[at]!) : given.data[at]!
    bias = { ...given, data }
  })
  setActivation(context, node, weightedSum(context, node, parts, bias))
}

export const WHERE: Record<string, Lower> = {
  Greater: compared((a, b) => a > b),
  GreaterOrEqual: compared((a, b) => a >= b),
  Less: compared((a, b) => a < b),
  LessOrEqual: compared((a, b) => a <= b),
  Where: where,
}
