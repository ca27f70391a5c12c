import { numberAttribute } from '../fold-tensor.ts'
import type { GraphNode } from '../onnx.ts'
import { toAffine, toRef } from './apply.ts'
import {
  type Activation,
  activationAt,
  affineUnary,
  type Context,
  type Lower,
  plain,
  resolveAxis,
  setActivation,
  shapeOf,
  uncovered,
} from './context.ts'
import { addTensor, alignRefs, emitLinear, pushOp } from './emit.ts'
import { alignedArray, alignedOperand, frameOf, orderLike } from './frame.ts'
import { dropAxes, maximum } from './reduce.ts'
import type { Ref } from './ref.ts'

/** The index of the largest value: the consumer's where a model ends in it, ops of the graph where something reads it. */

/** Indices are 16-bit numbers, and their weights have to be. */
const LONGEST_AXIS = 2 ** 15 - 1

const WHOLE_NUMBERS = { kind: 'fixed', scale: 1, offset: 0, levels: null } as const

/** 1 where an element is the largest along the axis, else 0: by integers, so that equal ones are all found. */
function marks(context: Context, node: GraphNode, ref: Ref, axis: number): Ref {
  const name = node.outputs[0] ?? node.name
  const most = toRef(
    context,
    node,
    maximum(context, node, plain(ref), () => [axis], true, '/max'),
  )
  const { refs } = alignRefs(context, node, [ref, most])
  const [whole, top] = refs as [Ref, Ref]
  const frame = frameOf(whole.shape, whole.factors, orderLike(whole))
  const terms = [whole, top].map((each, i) => ({
    ...alignedOperand(each, frame),
    reduce: [],
    weight: i === 0 ? 1 : -1,
  }))
  // A quantum below the largest becomes one segment of a table below 0, whose ends are exact.
  const gap = emitLinear(context, `${node.name}/gap`, `${name}/gap`, frame, terms, 0, { grid: { kind: 'steps' } }).ref
  const marked = addTensor(context, `${name}/marks`, frame, { grid: WHOLE_NUMBERS })
  const apply = (x: number): number => (x < 0 ? 0 : 1)
  const table = { function: 'IsZero', apply, exact: true }
  pushOp(context, { kind: 'table', name: `${node.name}/marks`, output: marked.tensor, input: gap.tensor, ...table })
  return marked
}

/**
 * L less the largest of (L − j) over the marked positions j of an axis of L is the first of them; the last is the largest j + 1, less 1.
 */
function indexOf(context: Context, node: GraphNode, activation: Activation, axis: number): Activation {
  const given = toAffine(context, node, activation)
  const { ref } = given
  const values = given.scale < 0 ? toRef(context, node, plain(ref, affineUnary(given.scale, given.shift))) : ref
  const length = values.shape[axis]!
  if (length > LONGEST_AXIS) uncovered(node, `looks along ${length} elements, more than ${LONGEST_AXIS}`)
  const last = numberAttribute(node, 'select_last_index', 0) !== 0
  const marked = marks(context, node, values, axis)
  const frame = frameOf(marked.shape, marked.factors, orderLike(marked))
  const ranks = Float64Array.from({ length }, (_, j) => (last ? j + 1 : length - j))
  const dims = marked.shape.map((_, each) => (each === axis ? length : 1))
  const weight = alignedArray({ dims, dtype: 'float32', data: ranks }, frame)
  const name = `${node.outputs[0] ?? node.name}/ranks`
  const terms = [{ ...alignedOperand(marked, frame), reduce: [], weight }]
  const ranked = emitLinear(context, `${node.name}/ranks`, name, frame, terms, 0, { grid: WHOLE_NUMBERS }).ref
  const found = toRef(
    context,
    node,
    maximum(context, node, plain(ranked), () => [axis], true, '/best'),
  )
  // Over all of 16 bits, as tables and outputs want it, and for every index there is, whichever the samples have.
  const scale = 2 ** -Math.floor(Math.log2(32_767 / length))
  const outer = frameOf(found.shape, found.factors, orderLike(found))
  const best = { ...alignedOperand(found, outer), reduce: [], weight: last ? 1 : -1 }
  return emitLinear(context, node.name, node.outputs[0] ?? node.name, outer, [best], last ? -1 : length, {
    grid: { ...WHOLE_NUMBERS, scale },
  })
}

export const argMax: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const name = node.outputs[0]!
  const dims = shapeOf(activation)
  const axis = resolveAxis(node, numberAttribute(node, 'axis', 0), dims.length)
  if (axis === 0) uncovered(node, 'goes along the batch')
  if (!context.plan.outputs.some((output) => output.name === name)) {
    const keep = numberAttribute(node, 'keepdims', 1) !== 0
    setActivation(context, node, dropAxes(indexOf(context, node, activation, axis), [axis], keep))
    return
  }
  if (context.plan.inputs.some((input) => input.name === node.inputs[0]))
    uncovered(node, 'looks at an input of the graph')
  if (context.readers.get(name) !== 1) uncovered(node, 'is an output that is read inside the graph too')
  if (numberAttribute(node, 'select_last_index', 0) !== 0) uncovered(node, 'takes the last of equal maxima at the end')
  context.values.set(name, { kind: 'argmax', activation, axis, source: node.inputs[0]!, dims })
}
