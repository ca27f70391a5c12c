import { numberAttribute, textAttribute } from '../fold-tensor.ts'
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

/** Functions of one number. */

/** erf to float64's last digits: its series near 0, a continued fraction beyond. */
function erf(x: number): number {
  const z = Math.abs(x)
  if (z > 6) return Math.sign(x)
  if (z < 2.5) {
    let term = z
    let sum = z
    for (let n = 1; n < 200 && Math.abs(term) > 1e-18; n++) {
      term *= (-z * z) / n
      sum += term / (2 * n + 1)
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  let fraction = 0
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction)
  return Math.sign(x) * (1 - Math.exp(-z * z) / ((z + fraction) * Math.sqrt(Math.PI)))
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

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

const SQRT_HALF = Math.SQRT1_2

const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

const hardSigmoid = (alpha: number, beta: number) => (x: number) => Math.max(0, Math.min(1, alpha * x + beta))

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))

export const FUNCTIONS: Record<string, (node: GraphNode) => (x: number) => number> = {
  Abs: () => Math.abs,
  Ceil: () => Math.ceil,
  Celu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha))
  },
  Cos: () => Math.cos,
  Elu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => (x < 0 ? alpha * Math.expm1(x) : x)
  },
  Erf: () => erf,
  Exp: () => Math.exp,
  Floor: () => Math.floor,
  Gelu: (node) =>
    textAttribute(node, 'approximate', 'none') === 'tanh' ? geluTanh : (x) => 0.5 * x * (1 + erf(x * SQRT_HALF)),
  HardSigmoid: (node) => hardSigmoid(numberAttribute(node, 'alpha', 0.2), numberAttribute(node, 'beta', 0.5)),
  HardSwish: () => (x) => x * hardSigmoid(1 / 6, 0.5)(x),
  LeakyRelu: (node) => {
    const slope = numberAttribute(node, 'alpha', 0.01)
    return (x) => (x < 0 ? slope * x : x)
  },
  Log: () => Math.log,
  Mish: () => (x) => x * Math.tanh(softplus(x)),
  Relu: () => (x) => Math.max(0, x),
  Round: () => (x) => Math.round(x),
  Selu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1.6732631921768188)
    const gamma = numberAttribute(node, 'gamma', 1.0507010221481323)
    return (x) => gamma * (x < 0 ? alpha * Math.expm1(x) : x)
  },
  Sigmoid: () => sigmoid,
  Sign: () => Math.sign,
  Sin: () => Math.sin,
  Softplus: () => softplus,
  Softsign: () => (x) => x / (1 + Math.abs(x)),
  Swish: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => x * sigmoid(alpha * x)
  },
  Tanh: () => Math.tanh,
  ThresholdedRelu: (node) => {
    const alpha = numberAttribute(node, 'alpha', 1)
    return (x) => (x > alpha ? x : 0)
  },
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
