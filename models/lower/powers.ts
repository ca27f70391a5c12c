import type { GraphNode } from '../onnx.ts'
import { applied, squared } from './affine.ts'
import { emitSquares, toAffine, toDivisor, toNatural, toRef, toScaled } from './apply.ts'
import { type Activation, affineUnary, type Context, type Plain, plain } from './context.ts'
import { addTensor, alignRefs, emitLinear, pushOp } from './emit.ts'
import { alignedOperand, frameOf, orderLike } from './frame.ts'
import type { Ref } from './ref.ts'

/** Products, quotients, powers and roots of activations. */

/** The square root, taken of 32 bits. */
export function root(context: Context, node: GraphNode, activation: Activation): Plain {
  const name = node.outputs[0] ?? node.name
  let wide: Ref
  let factor = 1
  if (activation.form === 'squares') {
    const out = emitSquares(context, `${node.name}/squares`, `${name}/squares`, activation, {
      bits: 32,
      grid: { kind: 'wide' },
    })
    wide = out.ref
    factor = out.factor
  } else {
    const { ref, scale, shift } = toAffine(context, node, activation)
    const natural = toNatural(context, node, ref, scale, shift)
    const frame = frameOf(natural.shape, natural.factors, orderLike(natural))
    const terms = [{ ...alignedOperand(natural, frame), reduce: [], weight: 1 }]
    wide = emitLinear(context, `${node.name}/wide`, `${name}/wide`, frame, terms, 0, {
      bits: 32,
      grid: { kind: 'wide' },
    }).ref
  }
  const frame = frameOf(wide.shape, wide.factors, orderLike(wide))
  const out = addTensor(context, name, frame, { grid: { kind: 'root' } })
  pushOp(context, { kind: 'root', name: node.name, output: out.tensor, input: alignedOperand(wide, frame) })
  return { form: 'plain', ref: out, unary: affineUnary(Math.sqrt(factor), 0), writer: null }
}

/** scale / x: a division where x is a plain number, a table where it is a function already. */
export function reciprocal(context: Context, node: GraphNode, activation: Activation, scale: number): Activation {
  if (activation.form === 'plain' && activation.unary.affine === null && activation.unary.squareOf === null)
    return applied(context, node, activation, 'Reciprocal', (x) => scale / x)
  const { ref, scale: own, shift } = toAffine(context, node, activation)
  if (shift === 0) return { form: 'reciprocal', ref, scale: scale / own }
  return { form: 'reciprocal', ref: toRef(context, node, plain(ref, affineUnary(own, shift))), scale }
}

export function power(context: Context, node: GraphNode, activation: Activation, exponent: number): Activation {
  if (exponent === 1) return activation
  if (exponent === 2 && activation.form === 'plain') return plain(activation.ref, squared(activation.unary))
  if (exponent === 0.5) return root(context, node, activation)
  if (exponent === -0.5) return reciprocal(context, node, root(context, node, activation), 1)
  if (exponent === -1) return reciprocal(context, node, activation, 1)
  return applied(context, node, activation, `Pow${exponent}`, (x) => x ** exponent)
}

/** a·b of two activations, with broadcasting. */
export function multiplied(context: Context, node: GraphNode, a: Activation, b: Activation): Activation {
  if (b.form === 'reciprocal') return divided(context, node, a, b.ref, b.scale)
  if (a.form === 'reciprocal') return divided(context, node, b, a.ref, a.scale)
  const left = toScaled(context, node, a)
  const right = toScaled(context, node, b)
  const { refs, frame } = alignRefs(context, node, [left.ref, right.ref])
  const out = addTensor(context, node.outputs[0] ?? node.name, frame)
  pushOp(context, {
    kind: 'product',
    name: node.name,
    output: out.tensor,
    a: alignedOperand(refs[0]!, frame),
    b: alignedOperand(refs[1]!, frame),
    reduce: [],
    bias: 0,
  })
  return plain(out, affineUnary(left.scale * right.scale, 0))
}

/** weight·a/b. */
export function divided(context: Context, node: GraphNode, a: Activation, divisor: Ref, weight: number): Activation {
  const { ref, scale } = toScaled(context, node, a)
  const positive = toDivisor(context, node, divisor)
  const { refs, frame } = alignRefs(context, node, [ref, positive])
  const out = addTensor(context, node.outputs[0] ?? node.name, frame)
  pushOp(context, {
    kind: 'divide',
    name: node.name,
    output: out.tensor,
    a: alignedOperand(refs[0]!, frame),
    b: alignedOperand(refs[1]!, frame),
    weight: weight * scale,
  })
  return plain(out)
}
