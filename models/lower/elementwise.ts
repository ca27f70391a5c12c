import { FUNCTIONS } from '../functions.ts'
import type { Constant, GraphNode } from '../onnx.ts'
import { affineByConstants, applied, scaledBy, squared, weightedSum } from './affine.ts'
import { toAffine, toRef } from './apply.ts'
import {
  type Activation,
  activationAt,
  affineUnary,
  type Context,
  LARGEST_UNARY,
  type Lower,
  plain,
  requiredConstant,
  setActivation,
  shapeOf,
  type Unary,
  uncovered,
  valueAt,
} from './context.ts'
import { gridOf } from './emit.ts'
import { clip, minMax, prelu, unaryNode } from './functions.ts'
import { masked } from './masks.ts'
import { divided, multiplied, power, reciprocal, root } from './powers.ts'
import { sameRef } from './ref.ts'
import { spend } from './work.ts'

/** Arithmetic of two values. */

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
  if (a.unary.size + b.unary.size > LARGEST_UNARY) return null
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
    steps: f.steps || g.steps,
    size: f.size + g.size,
  }
  return plain(a.ref, unary)
}

const uniform = new WeakMap<Constant['data'], boolean>()

/** Whether all of a constant is one number; looked at once, however often it is read. */
function isUniform({ data }: Constant): boolean {
  const known = uniform.get(data)
  if (known !== undefined) return known
  const [first] = data
  let at = 1
  while (at < data.length && data[at] === first) at++
  const found = at >= data.length
  uniform.set(data, found)
  return found
}

/** The one number of a constant that spreads nothing. */
export function scalarOf(constant: Constant, shape: readonly number[]): number | null {
  if (constant.dims.length > shape.length || constant.data.length === 0) return null
  const spreads = constant.dims.some((dim, i) => dim > 1 && shape[shape.length - constant.dims.length + i] !== dim)
  return !spreads && isUniform(constant) ? constant.data[0]! : null
}

export function mapped(constant: Constant, apply: (x: number) => number): Constant {
  spend(constant.data.length)
  const data = new Float64Array(constant.data.length)
  for (let i = 0; i < data.length; i++) data[i] = apply(constant.data[i]!)
  return { dims: constant.dims, dtype: constant.dtype, data }
}

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
      const isMask = constant.data.length > 1 && context.maskable.has(node.outputs[0]!)
      const each = (x: number): number => (isMask ? masked(added * x) : added * x)
      setActivation(
        context,
        node,
        scalar === null
          ? affineByConstants(context, node, index, factor, mapped(constant, each))
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
    spend(b.constant.data.length)
    if (b.constant.data.includes(0)) uncovered(node, 'divides by 0')
    const activation = activationAt(context, node, 0)
    const scalar = scalarOf(b.constant, shapeOf(activation))
    setActivation(
      context,
      node,
      scalar === null
        ? affineByConstants(
            context,
            node,
            0,
            mapped(b.constant, (x) => 1 / x),
            0,
          )
        : affineByConstants(context, node, 0, 1 / scalar, 0),
    )
    return
  }
  const right = activationAt(context, node, 1)
  if (a?.kind === 'constant') {
    const scalar = scalarOf(a.constant, shapeOf(right))
    const inner: GraphNode = { ...node, name: `${node.name}/reciprocal`, outputs: [`${node.outputs[0]}/reciprocal`] }
    setActivation(
      context,
      node,
      scalar === null
        ? weightedSum(context, node, [{ activation: reciprocal(context, inner, right, 1), weight: a.constant }])
        : reciprocal(context, node, right, scalar),
    )
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
}
