import type { Constant, GraphNode } from '../onnx.ts'
import { affineByConstants, applied, scaledBy, squared, weightedSum } from './affine.ts'
import { toAffine, toRef } from './apply.ts'
import {
  type Activation,
  activationAt,
  affineUnary,
  type Context,
  type Lower,
  plain,
  requiredConstant,
  setActivation,
  shapeOf,
  type Unary,
  uncovered,
  type Value,
  valueAt,
} from './context.ts'
import { gridOf } from './emit.ts'
import { clip, FUNCTIONS, minMax, prelu, unaryNode } from './functions.ts'
import { divided, multiplied, power, reciprocal, root } from './powers.ts'
import type { Ref } from './ref.ts'

/** Arithmetic of two values. */

/** Below this a constant that is added is a mask: it stands for −∞, which saturates. */
const MASK = -9_999

const sameRef = (a: Ref, b: Ref): boolean =>
  a === b ||
  (a.tensor === b.tensor &&
    JSON.stringify([a.shape, a.factors, a.axes]) === JSON.stringify([b.shape, b.factors, b.axes]))

/** Products and sums of functions of one tensor are functions of it. */
function fused(
  context: Context,
  node: GraphNode,
  a: Activation,
  b: Activation,
  label: string,
  apply: (a: number, b: number) => number,
): Activation | null {
  if (a.form !== 'plain' || b.form !== 'plain' || !sameRef(a.ref, b.ref)) return null
  const { kind } = gridOf(context, a.ref.tensor)
  if (kind !== 'free' && kind !== 'fixed') return null
  const [f, g] = [a.unary, b.unary]
  if (f.affine !== null && g.affine !== null) {
    if (label === 'Add' || label === 'Sub') {
      const sign = label === 'Add' ? 1 : -1
      return plain(a.ref, affineUnary(f.affine.scale + sign * g.affine.scale, f.affine.shift + sign * g.affine.shift))
    }
    if (label === 'Mul' && f.affine.shift === 0 && g.affine.shift === 0 && f.affine.scale * g.affine.scale > 0)
      return plain(a.ref, squared(affineUnary(Math.sqrt(f.affine.scale * g.affine.scale), 0)))
  }
  if (label === 'Mul' && f === g) return plain(a.ref, squared(f))
  const name = `${label}(${f.label},${g.label})`
  const unary: Unary = {
    node: node.name,
    value: node.outputs[0] ?? '',
    label: name.length > 200 ? label : name,
    apply: (x) => apply(f.apply(x), g.apply(x)),
    affine: null,
    squareOf: null,
    reluOf: null,
  }
  return plain(a.ref, unary)
}

/** The one number of a constant that spreads nothing. */
export function scalarOf(constant: Constant, shape: readonly number[]): number | null {
  if (constant.dims.length > shape.length || constant.data.length === 0) return null
  const [first] = constant.data as Float64Array
  const spreads = constant.dims.some((dim, i) => dim > 1 && shape[shape.length - constant.dims.length + i] !== dim)
  return !spreads && (constant.data as Float64Array).every((value) => value === first) ? first! : null
}

const mapped = (constant: Constant, apply: (x: number) => number): Constant => ({
  dims: constant.dims,
  dtype: constant.dtype,
  data: Float64Array.from(constant.data, apply),
})

const masked = (value: number): number => (value <= MASK ? -Infinity : value)

const addSub =
  (sign: 1 | -1): Lower =>
  (context, node) => {
    const [a, b] = [valueAt(context, node, 0), valueAt(context, node, 1)]
    if (a?.kind === 'constant' || b?.kind === 'constant') {
      const index = a?.kind === 'constant' ? 1 : 0
      const { constant } = (index === 1 ? a : b) as { constant: Constant }
      const activation = activationAt(context, node, index)
      const factor = index === 1 ? sign : 1
      const added = index === 1 ? 1 : sign
      const scalar = scalarOf(constant, shapeOf(activation))
      const some = constant.data.some((value) => added * value <= MASK)
      const shift =
        some && constant.data.length > 1
          ? mapped(constant, (x) => masked(added * x))
          : mapped(constant, (x) => added * x)
      setActivation(
        context,
        node,
        scalar === null
          ? affineByConstants(context, node, index, factor, shift)
          : affineByConstants(context, node, index, factor, added * scalar),
      )
      return
    }
    const left = activationAt(context, node, 0)
    const right = activationAt(context, node, 1)
    setActivation(
      context,
      node,
      fused(context, node, left, right, node.operator, (x, y) => x + sign * y) ??
        weightedSum(context, node, [
          { activation: left, weight: 1 },
          { activation: right, weight: sign },
        ]),
    )
  }

const mul: Lower = (context, node) => {
  const [a, b] = [valueAt(context, node, 0), valueAt(context, node, 1)]
  if (a?.kind === 'constant' || b?.kind === 'constant') {
    const index = a?.kind === 'constant' ? 1 : 0
    const { constant } = (index === 1 ? a : b) as { constant: Constant }
    const activation = activationAt(context, node, index)
    const scalar = scalarOf(constant, shapeOf(activation))
    setActivation(
      context,
      node,
      scalar === null
        ? affineByConstants(context, node, index, constant, 0)
        : affineByConstants(context, node, index, scalar, 0),
    )
    return
  }
  const left = activationAt(context, node, 0)
  const right = activationAt(context, node, 1)
  setActivation(
    context,
    node,
    fused(context, node, left, right, 'Mul', (x, y) => x * y) ?? multiplied(context, node, left, right),
  )
}

const div: Lower = (context, node) => {
  const [a, b] = [valueAt(context, node, 0), valueAt(context, node, 1)]
  if (b?.kind === 'constant') {
    if (b.constant.data.some((value) => value === 0)) uncovered(node, 'divides by 0')
    const activation = activationAt(context, node, 0)
    const scalar = scalarOf(b.constant, shapeOf(activation))
    const factor = mapped(b.constant, (x) => 1 / x)
    setActivation(
      context,
      node,
      scalar === null
        ? affineByConstants(context, node, 0, factor, 0)
        : affineByConstants(context, node, 0, 1 / scalar, 0),
    )
    return
  }
  const right = activationAt(context, node, 1)
  if (a?.kind === 'constant') {
    const scalar = scalarOf(a.constant, shapeOf(right)) ?? uncovered(node, 'divides a constant tensor by an activation')
    setActivation(context, node, reciprocal(context, node, right, scalar))
    return
  }
  const left = activationAt(context, node, 0)
  const both = fused(context, node, left, right, 'Div', (x, y) => x / y)
  // A quotient of functions of one tensor is one only where a function is on top: x·sigmoid(x) written as x / (1 + e^−x).
  if (both !== null && right.form === 'plain' && right.unary.affine === null) {
    setActivation(context, node, both)
    return
  }
  const { ref, scale, shift } = toAffine(context, node, right)
  const divisor = shift === 0 ? ref : toRef(context, node, plain(ref, affineUnary(scale, shift)))
  setActivation(context, node, divided(context, node, left, divisor, shift === 0 ? 1 / scale : 1))
}

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
  const [yes, no] = [1, 2].map((index): ((x: number) => number) => {
    const value = valueAt(context, node, index)
    if (value?.kind === 'constant') {
      const scalar = scalarOf(value.constant, shapeOf(activation)) ?? uncovered(node, 'chooses from a constant tensor')
      return () => scalar
    }
    const side = activationAt(context, node, index)
    return side.form === 'plain' && sameRef(side.ref, activation.ref)
      ? side.unary.apply
      : uncovered(node, 'chooses between other numbers than what it compares')
  }) as [(x: number) => number, (x: number) => number]
  // Of the view itself: the functions are already put on it.
  return applied(context, node, plain(activation.ref), 'Where', (x) => (holds(x) ? yes(x) : no(x)))
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
  let bias: number | Constant = 0
  ;[chosen, other].forEach((mask, i) => {
    const value = valueAt(context, node, i + 1)
    if (value?.kind !== 'constant') {
      parts.push({ activation: activationAt(context, node, i + 1), weight: mask })
      return
    }
    const { constant } = value
    if (constant.data.length === 1) bias = mapped(mask, (m) => (m === 0 ? 0 : masked(constant.data[0]!)))
    else if (mask.data.length === 1) bias = mapped(constant, (x) => (mask.data[0] === 0 ? 0 : x))
    else if (String(constant.dims) === String(mask.dims))
      bias = { ...constant, data: Float64Array.from(mask.data, (m, at) => (m === 0 ? 0 : masked(constant.data[at]!))) }
    else uncovered(node, 'its mask and its constant have different shapes')
  })
  setActivation(context, node, weightedSum(context, node, parts, bias))
}

/** Of several activations, two by two: max(a, b) = b + relu(a − b), min(a, b) = b − relu(b − a), both exact. */
const largerOf =
  (sign: 1 | -1): Lower =>
  (context, node) => {
    const pick = sign === 1 ? Math.max : Math.min
    const live = node.inputs.flatMap((_, i) => (valueAt(context, node, i)?.kind === 'activation' ? [i] : []))
    const [first, ...others] = live
    if (first === undefined || others.length === 0 || live.length < node.inputs.length) {
      minMax(pick)(context, node)
      return
    }
    const out = others.reduce(
      (a, index): Activation => {
        const b = activationAt(context, node, index)
        const both = fused(context, node, a, b, node.operator, pick)
        if (both !== null) return both
        const step = (part: string): GraphNode =>
          index === others.at(-1) && part === ''
            ? node
            : { ...node, name: `${node.name}/${index}${part}`, outputs: [`${node.outputs[0]}/${index}${part}`] }
        const difference = step('difference')
        const over = weightedSum(context, difference, [
          { activation: a, weight: sign },
          { activation: b, weight: -sign },
        ])
        const relu = applied(context, difference, over, 'Relu', (x) => Math.max(0, x))
        return weightedSum(context, step(''), [
          { activation: relu, weight: sign },
          { activation: b, weight: 1 },
        ])
      },
      activationAt(context, node, first),
    )
    setActivation(context, node, out)
  }

const pow: Lower = (context, node) => {
  const exponent = requiredConstant(context, node, 1)
  const activation = activationAt(context, node, 0)
  const scalar = scalarOf(exponent, shapeOf(activation)) ?? uncovered(node, 'its exponents differ')
  setActivation(context, node, power(context, node, activation, scalar))
}

export const ELEMENTWISE: Record<string, Lower> = {
  ...Object.fromEntries(Object.entries(FUNCTIONS).map(([operator, make]) => [operator, unaryNode(make)])),
  Add: addSub(1),
  Clip: clip,
  Div: div,
  Greater: compared((a, b) => a > b),
  GreaterOrEqual: compared((a, b) => a >= b),
  Less: compared((a, b) => a < b),
  LessOrEqual: compared((a, b) => a <= b),
  Max: largerOf(1),
  Min: largerOf(-1),
  Mul: mul,
  Neg: (context, node) => setActivation(context, node, scaledBy(context, node, activationAt(context, node, 0), -1, 0)),
  Pow: pow,
  PRelu: prelu,
  Reciprocal: (context, node) =>
    setActivation(context, node, reciprocal(context, node, activationAt(context, node, 0), 1)),
  Sqrt: (context, node) => setActivation(context, node, root(context, node, activationAt(context, node, 0))),
  Sub: addSub(-1),
  Sum: (context, node) =>
    setActivation(
      context,
      node,
      weightedSum(
        context,
        node,
        node.inputs.map((_, i) => ({ activation: activationAt(context, node, i), weight: 1 })),
      ),
    ),
  Where: where,
}
