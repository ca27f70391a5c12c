import type { GraphNode } from '../onnx.ts'
import type { PlanTerm } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import {
  type Activation,
  activationOf,
  addOp,
  addTensor,
  axesOf,
  type Context,
  layoutOf,
  materialise,
  numberOf,
  numbersOf,
  operandOf,
  outputExprs,
  outputRank,
  refuse,
  unit,
  weightsOf,
} from './context.ts'

import { channelsLast, windowExprs, windowOf } from './linear.ts'

/** Means and sums over axes and windows, and scales and shifts of channels. */

type Lowered = Activation[]

/** Mean or sum over axes; `kept` says whether they stay with size 1. */
function reduction(context: Context, node: GraphNode, axes: number[], kept: boolean, mean: boolean): Lowered {
  const input = activationOf(context, node, 0)
  const over = new Set(axes.map((axis) => (axis < 0 ? axis + input.shape.length : axis)))
  if ([...over].some((axis) => input.shape[axis] === undefined))
    refuse('MODEL_ATTRIBUTE', node, 'reduces an axis that is not there')
  const shape = input.shape.map((size, axis) => (over.has(axis) ? 1 : size))
  const output = addTensor(
    context,
    node.outputs[0]!,
    shape,
    layoutOf(input)
      ?.concat(shape.map((_, i) => i))
      .filter((axis, i, all) => all.indexOf(axis) === i),
  )
  const rank = outputRank(context, output)
  const reduced = [...over].filter((axis) => input.shape[axis]! > 1)
  const loops = rank + reduced.length
  const exprs = outputExprs(output, loops).map((expr, axis) => {
    const at = reduced.indexOf(axis)
    return at < 0 ? expr : unit(loops, rank + at)
  })
  const reduce = reduced.map((axis) => input.shape[axis]!)
  const term: PlanTerm = {
    ...operandOf(context, input, exprs, loops),
    reduce,
    weight: mean ? 1 / elementCount(reduce) : 1,
  }
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias: 0, copy: false })
  if (kept) return [output]
  const left = input.shape.flatMap((size, axis) => (over.has(axis) ? [] : [size]))
  const keep = shape.flatMap((_, axis) => (over.has(axis) ? [] : [axis]))
  return [
    {
      ...output,
      shape: left,
      axes: output.axes.map(({ coefs, offset }) => ({ coefs: keep.map((axis) => coefs[axis]!), offset })),
    },
  ]
}

const every = (context: Context, node: GraphNode): number[] =>
  activationOf(context, node, 0).shape.map((_, axis) => axis)

export const reduce =
  (mean: boolean) =>
  (context: Context, node: GraphNode): Lowered => {
    const axes = axesOf(context, node, 1)
    if (axes === null && numberOf(node, 'noop_with_empty_axes', 0) !== 0) return [activationOf(context, node, 0)]
    return reduction(context, node, axes ?? every(context, node), numberOf(node, 'keepdims', 1) !== 0, mean)
  }

export const globalAverage = (context: Context, node: GraphNode): Lowered =>
  reduction(context, node, every(context, node).slice(2), true, true)

export function averagePool(context: Context, node: GraphNode): Lowered {
  const input = activationOf(context, node, 0)
  const kernel = numbersOf(node, 'kernel_shape', [])
  const window = windowOf(node, input, kernel)
  const shape = [1, input.shape[1]!, ...window.out]
  const output = addTensor(context, node.outputs[0]!, shape, channelsLast(shape.length))
  const rank = outputRank(context, output)
  const loops = rank + kernel.length
  const positions = outputExprs(output, loops)
  // What a window covers: with padding counted always the same, else fewer places at the edges.
  const included = numberOf(node, 'count_include_pad', 0) !== 0
  const covered = window.out.map((size, i) =>
    Array.from({ length: size }, (_, o) => {
      let count = 0
      for (let k = 0; k < kernel[i]!; k++) {
        const at = o * window.strides[i]! + k * window.dilations[i]! - window.pads[i]!
        const [low, high] = included
          ? [-window.pads[i]!, input.shape[i + 2]! + window.pads[i + kernel.length]!]
          : [0, input.shape[i + 2]!]
        if (at >= low && at < high) count++
      }
      return count
    }),
  )
  const even = covered.every((counts) => counts.every((count) => count === counts[0]))
  let weight: PlanTerm['weight'] = 1 / covered.reduce((product, counts) => product * counts[0]!, 1)
  if (!even) {
    const values = new Float64Array(elementCount(window.out))
    for (let i = 0; i < values.length; i++) {
      let rest = i
      let count = 1
      for (let axis = window.out.length - 1; axis >= 0; axis--) {
        count *= covered[axis]![rest % window.out[axis]!]!
        rest = Math.floor(rest / window.out[axis]!)
      }
      values[i] = 1 / count
    }
    const order = layoutOf(output)!
    const strides = Array.from({ length: loops }, (_, loop) =>
      order[loop] !== undefined && order[loop]! >= 2 ? elementCount(window.out.slice(order[loop]! - 1)) : 0,
    )
    weight = { values, strides }
  }
  const term: PlanTerm = {
    ...operandOf(context, input, windowExprs(positions, positions[1]!, window, loops, rank), loops),
    reduce: kernel,
    weight,
  }
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias: 0, copy: false })
  return [output]
}

/** (x − mean)·scale/√(variance + ε) + shift for each channel. */
export function batchNorm(context: Context, node: GraphNode): Lowered {
  const [scale, shift, mean, variance] = [1, 2, 3, 4].map((index) => weightsOf(context, node, index).data)
  const epsilon = numberOf(node, 'epsilon', 1e-5)
  const factor = Float64Array.from(scale!, (s, i) => s / Math.sqrt(variance![i]! + epsilon))
  const offset = Float64Array.from(shift!, (b, i) => b - mean![i]! * factor[i]!)
  return [scaleShift(context, node, activationOf(context, node, 0), 1, factor, offset)]
}

/** One weight and one bias for each position of an axis. */
export function scaleShift(
  context: Context,
  node: GraphNode,
  input: Activation,
  axis: number,
  factor: Float64Array,
  offset: Float64Array | null,
): Activation {
  if (factor.length !== input.shape[axis]) refuse('MODEL_SHAPE', node, 'its parameters do not fit its channels')
  const source = layoutOf(input) === null ? materialise(context, input) : input
  const output = addTensor(context, node.outputs[0]!, source.shape, layoutOf(source)!)
  const rank = outputRank(context, output)
  const strides = Array.from({ length: rank }, (_, loop) => (layoutOf(output)![loop] === axis ? 1 : 0))
  const term: PlanTerm = {
    ...operandOf(context, source, outputExprs(output, rank), rank),
    reduce: [],
    weight: { values: factor, strides },
  }
  const bias = offset === null ? 0 : { values: offset, strides }
  addOp(context, { kind: 'linear', name: node.name, output: output.tensor, terms: [term], bias, copy: false })
  return output
}
