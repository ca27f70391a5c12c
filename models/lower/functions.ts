import type { GraphNode } from '../onnx.ts'
import { applied, weightedSum } from './affine.ts'
import {
  activationAt,
  type Context,
  constantAt,
  type Lower,
  requiredConstant,
  setActivation,
  shapeOf,
  uncovered,
  valueAt,
} from './context.ts'
import { scalarOf } from './elementwise.ts'
import { gridOf } from './emit.ts'

/** Functions put on activations. */

export const unaryNode =
  (make: (node: GraphNode, context: Context) => (x: number) => number): Lower =>
  (context, node) =>
    setActivation(
      context,
      node,
      applied(context, node, activationAt(context, node, 0), node.operator, make(node, context)),
    )

export const clip: Lower = (context, node) => {
  const bound = (index: number, fallback: number): number => {
    const constant = constantAt(context, node, index)
    return constant === null ? fallback : (constant.data[0] ?? fallback)
  }
  const low = bound(1, -Infinity)
  const high = bound(2, Infinity)
  const label = low === 0 && high === Infinity ? 'Relu' : 'Clip'
  const bounded = activationAt(context, node, 0)
  // A norm that is kept from 0 before it divides: roots are at least one step of their own already, and those are larger.
  if (bounded.form === 'plain' && bounded.unary.affine !== null && low > 0 && low <= 1e-6 && high === Infinity)
    if (bounded.unary.affine.scale > 0 && gridOf(context, bounded.ref.tensor).kind === 'root') {
      setActivation(context, node, bounded)
      return
    }
  setActivation(
    context,
    node,
    applied(context, node, activationAt(context, node, 0), label, (x) => Math.min(high, Math.max(low, x))),
  )
}

export const minMax =
  (pick: (a: number, b: number) => number): Lower =>
  (context, node) => {
    const found = node.inputs.findIndex((_, i) => valueAt(context, node, i)?.kind === 'activation')
    const activation = activationAt(context, node, found)
    const bounds = node.inputs.flatMap((_, i) => {
      if (i === found) return []
      const constant = constantAt(context, node, i)
      return [(constant && scalarOf(constant, shapeOf(activation))) ?? uncovered(node, 'compares with a tensor')]
    })
    const label = node.operator === 'Max' && bounds.length === 1 && bounds[0] === 0 ? 'Relu' : node.operator
    setActivation(
      context,
      node,
      applied(context, node, activation, label, (x) => bounds.reduce((a, b) => pick(a, b), x)),
    )
  }

/** A slope for each channel below 0: max(x, 0) + slope·min(x, 0). */
export const prelu: Lower = (context, node) => {
  const slope = requiredConstant(context, node, 1)
  const activation = activationAt(context, node, 0)
  const scalar = scalarOf(slope, shapeOf(activation))
  if (scalar !== null) {
    setActivation(
      context,
      node,
      applied(context, node, activation, 'LeakyRelu', (x) => (x < 0 ? scalar * x : x)),
    )
    return
  }
  const above = applied(context, node, activation, 'Relu', (x) => Math.max(0, x))
  const below = applied(context, node, activation, 'Min', (x) => Math.min(0, x))
  setActivation(
    context,
    node,
    weightedSum(context, node, [
      { activation: above, weight: 1 },
      { activation: below, weight: slope },
    ]),
  )
}
