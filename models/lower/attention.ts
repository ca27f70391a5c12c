import { broadcastShapes } from '../fold.ts'
import type { GraphNode } from '../onnx.ts'
import { MAX_WINDOW } from '../validate.ts'
import {
  type Activation,
  activationOf,
  addOp,
  addTensor,
  axesOf,
  broadcastExprs,
  type Context,
  constantOf,
  type Expr,
  fixedAt,
  layoutOf,
  materialise,
  numberOf,
  numbersOf,
  operandOf,
  outputExprs,
  outputRank,
  refuse,
  uncovered,
  unit,
  weightsOf,
} from './context.ts'
import { constantMatMul, windowExprs, windowOf } from './linear.ts'
import { scaleShift } from './reduce.ts'

/** Operators in which activations meet: products of two, maxima, softmax, and normalisation by a variance. */

type Lowered = Activation[]

export function matMul(context: Context, node: GraphNode): Lowered {
  if (constantOf(context, node, 1) !== null) return constantMatMul(context, node)
  if (constantOf(context, node, 0) !== null) return uncovered('a constant times an activation')
  const [a, b] = [activationOf(context, node, 0), activationOf(context, node, 1)]
  if (a.shape.length < 2 || b.shape.length < 2) return uncovered('a product with a vector')
  const depth = a.shape.at(-1)!
  if (depth !== b.shape.at(-2)) refuse('MODEL_SHAPE', node, `its sides are [${a.shape}] and [${b.shape}]`)
  const batch = broadcastShapes([a.shape.slice(0, -2), b.shape.slice(0, -2)])
  if (batch === null) return refuse('MODEL_SHAPE', node, 'its sides do not broadcast')
  const shape = [...batch, a.shape.at(-2)!, b.shape.at(-1)!]
  const output = addTensor(context, node.outputs[0]!, shape)
  const rank = outputRank(context, output)
  const loops = rank + 1
  const exprs = outputExprs(output, loops)
  const outer = (side: Activation): Expr[] => broadcastExprs(side.shape.slice(0, -2), exprs.slice(0, -2), loops)
  const inner = unit(loops, rank)
  addOp(context, {
    kind: 'product',
    name: node.name,
    output: output.tensor,
    a: operandOf(context, a, [...outer(a), exprs.at(-2)!, inner], loops),
    b: operandOf(context, b, [...outer(b), inner, exprs.at(-1)!], loops),
    reduce: [depth],
    scale: 1,
    bias: 0,
  })
  return [output]
}

/** Largest over some axes, in windows of at most MAX_WINDOW, one layer of them after the other. */
function largestOver(context: Context, name: string, input: Activation, axes: number[]): Activation {
  let at = input
  for (const axis of axes)
    while (at.shape[axis]! > 1) {
      const size = at.shape[axis]!
      const window = Math.min(size, MAX_WINDOW)
      const count = Math.ceil(size / window)
      const source = layoutOf(at) === null ? materialise(context, at) : at
      const shape = source.shape.map((each, i) => (i === axis ? count : each))
      const scale = context.plan.tensors[source.tensor]!.scale
      const output = addTensor(context, `${name}/max`, shape, layoutOf(source)!, { scale })
      const rank = outputRank(context, output)
      const loops = rank + 1
      const exprs = outputExprs(output, loops).map((expr, i): Expr => {
        if (i !== axis) return expr
        const coefs = expr.coefs.map((coef) => coef * window)
        coefs[rank] = 1
        return { coefs, offset: 0, padded: count * window > size }
      })
      const operand = operandOf(context, source, exprs, loops)
      addOp(context, { kind: 'extremum', name: `${name}/max`, output: output.tensor, input: operand, reduce: [window] })
      at = output
    }
  return at
}

export function reduceMax(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const rank = input.shape.length
  const axes = (axesOf(context, node, 1) ?? input.shape.map((_, i) => i)).map((axis) => (axis < 0 ? axis + rank : axis))
  const out = largestOver(context, node.name, input, axes)
  if (numberOf(node, 'keepdims', 1) !== 0) return [out]
  const keep = input.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]))
  const dropped = out.axes.map(({ coefs, offset }) => ({ coefs: keep.map((axis) => coefs[axis]!), offset }))
  return [{ ...out, shape: keep.map((axis) => input.shape[axis]!), axes: dropped }]
}

export const globalMax = (context: Context, node: GraphNode): Lowered => {
  const input = activationOf(context, node, 0)
  return [largestOver(context, node.name, input, input.shape.map((_, i) => i).slice(2))]
}

export function maxPool(context: Context, node: GraphNode): Lowered {
  if (node.outputs.length > 1 && node.outputs[1] !== '') return uncovered('gives the places of its maxima')
  const input = activationOf(context, node, 0)
  const kernel = numbersOf(node, 'kernel_shape', [])
  const window = windowOf(node, input, kernel)
  if (kernel.reduce((product, size) => product * size, 1) > MAX_WINDOW)
    return uncovered(`a window of more than ${MAX_WINDOW}`)
  const shape = [1, input.shape[1]!, ...window.out]
  const layout = [0, ...window.out.map((_, i) => i + 2), 1]
  const { scale } = context.plan.tensors[input.tensor]!
  const output = addTensor(context, node.outputs[0]!, shape, layout, { scale })
  const rank = outputRank(context, output)
  const loops = rank + kernel.length
  const positions = outputExprs(output, loops)
  const exprs = windowExprs(positions, positions[1]!, window, loops, rank)
  const operand = operandOf(context, input, exprs, loops)
  addOp(context, { kind: 'extremum', name: node.name, output: output.tensor, input: operand, reduce: kernel })
  return [output]
}

const WIDE_ZERO = -(2 ** 31) - 1

/** Positions of an output's elements with one axis summed over by the last loop, or left at 0 where it has size 1. */
function along(exprs: Expr[], axis: number, expr: Expr): Expr[] {
  return exprs.map((each, i) => (i === axis ? expr : each))
}

/**
 * Subtract the maximum, clamp to [−16, 0] by saturation, exponentiate by a table, sum in 32 bits, divide. Exponentials are
 * stored as e·2^15 − 2^15, so that no input makes a sum of them negative.
 */
export function softmax(context: Context, node: GraphNode): Lowered {
  const given = activationOf(context, node, 0)
  const rank = given.shape.length
  const axis = numberOf(node, 'axis', -1)
  const at = axis < 0 ? axis + rank : axis
  const input = layoutOf(given) === null ? materialise(context, given) : given
  const layout = layoutOf(input)!
  if (input.shape[at]! < 2) return uncovered('over an axis of size 1')
  const top = largestOver(context, node.name, input, [at])
  const tensor = (name: string, shape: number[], scale: Parameters<typeof addTensor>[4]) =>
    addTensor(context, `${node.name}/${name}`, shape, layout, scale)
  const clamped = tensor('difference', input.shape, { scale: { kind: 'fixed', exponent: 12, zero: 32_767 } })
  const loops = outputRank(context, clamped)
  const exprs = outputExprs(clamped, loops)
  const term = (source: Activation, weight: number) => ({
    ...operandOf(context, source, source === top ? along(exprs, at, fixedAt(loops)) : exprs, loops),
    reduce: [],
    weight,
  })
  addOp(context, {
    kind: 'linear',
    name: `${node.name}/difference`,
    output: clamped.tensor,
    terms: [term(input, 1), term(top, -1)],
    bias: 0,
    copy: false,
  })
  const exponential = tensor('exponential', input.shape, { scale: { kind: 'fixed', exponent: 15, zero: -32_768 } })
  addOp(context, {
    kind: 'table',
    name: `${node.name}/exponential`,
    input: clamped.tensor,
    output: exponential.tensor,
    function: 'Exp',
    apply: Math.exp,
  })
  const sumShape = input.shape.map((size, i) => (i === at ? 1 : size))
  const total = tensor('sum', sumShape, { bits: 32, scale: { kind: 'fixed', exponent: 15, zero: WIDE_ZERO } })
  const outer = outputRank(context, total)
  const sumExprs = along(outputExprs(total, outer + 1), at, unit(outer + 1, outer))
  addOp(context, {
    kind: 'linear',
    name: `${node.name}/sum`,
    output: total.tensor,
    terms: [{ ...operandOf(context, exponential, sumExprs, outer + 1), reduce: [input.shape[at]!], weight: 1 }],
    bias: 0,
    copy: false,
  })
  const output = addTensor(context, node.outputs[0]!, input.shape, layout, {
    scale: { kind: 'fixed', exponent: 14, zero: 0 },
  })
  addOp(context, {
    kind: 'divide',
    name: `${node.name}/divide`,
    output: output.tensor,
    a: operandOf(context, exponential, exprs, loops),
    b: operandOf(context, total, along(exprs, at, fixedAt(loops)), loops),
  })
  return [output]
}

/** (x − mean)/√(variance + ε) over some axes: mean, difference, 32-bit variance, root, division. */
function standardise(
  context: Context,
  node: GraphNode,
  given: Activation,
  axes: number[],
  epsilon: number,
): Activation {
  const input = layoutOf(given) === null ? materialise(context, given) : given
  const layout = layoutOf(input)!
  const over = axes.filter((axis) => input.shape[axis]! > 1)
  if (over.length === 0) return uncovered('normalises over a single element')
  const sizes = over.map((axis) => input.shape[axis]!)
  const count = sizes.reduce((product, size) => product * size, 1)
  const small = input.shape.map((size, axis) => (over.includes(axis) ? 1 : size))
  const name = node.name
  const mean = addTensor(context, `${name}/mean`, small, layout)
  const outer = outputRank(context, mean)
  const loops = outer + over.length
  const reduced = (output: Activation): Expr[] =>
    outputExprs(output, loops).map((expr, axis) =>
      over.includes(axis) ? unit(loops, outer + over.indexOf(axis)) : expr,
    )
  addOp(context, {
    kind: 'linear',
    name: `${name}/mean`,
    output: mean.tensor,
    terms: [{ ...operandOf(context, input, reduced(mean), loops), reduce: sizes, weight: 1 / count }],
    bias: 0,
    copy: false,
  })
  const centred = addTensor(context, `${name}/centred`, input.shape, layout)
  const rank = outputRank(context, centred)
  const exprs = outputExprs(centred, rank)
  const broadcast = exprs.map((expr, axis) => (over.includes(axis) ? fixedAt(rank) : expr))
  addOp(context, {
    kind: 'linear',
    name: `${name}/centred`,
    output: centred.tensor,
    terms: [
      { ...operandOf(context, input, exprs, rank), reduce: [], weight: 1 },
      { ...operandOf(context, mean, broadcast, rank), reduce: [], weight: -1 },
    ],
    bias: 0,
    copy: false,
  })
  const variance = addTensor(context, `${name}/variance`, small, layout, { bits: 32, scale: { kind: 'variance' } })
  const side = operandOf(context, centred, reduced(variance), loops)
  addOp(context, {
    kind: 'product',
    name: `${name}/variance`,
    output: variance.tensor,
    a: side,
    b: side,
    reduce: sizes,
    scale: 1 / count,
    bias: epsilon,
  })
  const deviation = addTensor(context, `${name}/deviation`, small, layout, {
    scale: { kind: 'root', of: variance.tensor },
  })
  addOp(context, {
    kind: 'root',
    name: `${name}/deviation`,
    output: deviation.tensor,
    input: operandOf(context, variance, outputExprs(deviation, outer), outer),
  })
  const output = addTensor(context, `${name}/standardised`, input.shape, layout)
  addOp(context, {
    kind: 'divide',
    name: `${name}/standardised`,
    output: output.tensor,
    a: operandOf(context, centred, exprs, rank),
    b: operandOf(context, deviation, broadcast, rank),
  })
  return output
}

export function layerNorm(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const rank = input.shape.length
  const axis = numberOf(node, 'axis', -1)
  const at = axis < 0 ? axis + rank : axis
  if (at !== rank - 1) return uncovered('normalises over more than the last axis')
  if (node.outputs.slice(1).some((name) => name !== '')) return uncovered('gives its mean and deviation')
  const plain = standardise(context, node, input, [at], numberOf(node, 'epsilon', 1e-5))
  const scale = Float64Array.from(weightsOf(context, node, 1).data)
  const shift = constantOf(context, node, 2)
  return [scaleShift(context, node, plain, at, scale, shift === null ? null : Float64Array.from(shift.data))]
}

export function instanceNorm(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const axes = input.shape.map((_, i) => i).slice(2)
  const plain = standardise(context, node, input, axes, numberOf(node, 'epsilon', 1e-5))
  const [scale, shift] = [1, 2].map((index) => Float64Array.from(weightsOf(context, node, index).data))
  return [scaleShift(context, node, plain, 1, scale!, shift!)]
}
