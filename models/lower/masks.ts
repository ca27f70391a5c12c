import { stridesOf } from '../access.ts'
import type { Graph, GraphNode } from '../onnx.ts'
import type { PlanArray } from '../plan.ts'
import type { Context } from './context.ts'
import { type Frame, loopsOfAxis, stridesOver } from './frame.ts'
import type { Ref } from './ref.ts'
import { spend } from './work.ts'

/**
 * Masks: what exporters add to scores, or put in their place, so that they count as nothing. −∞ is one wherever it stands. A large
 * negative number stands for −∞ only where nothing but a softmax or a maximum reads it; elsewhere it is a number, such as the mean that a
 * scaler takes off.
 */
const MASK = -9_999

export const masked = (value: number): number => (value <= MASK ? Number.NEGATIVE_INFINITY : value)

/** Operators that take nothing from what lies far below the rest. */
const ENDS = ['ArgMax', 'GlobalMaxPool', 'MaxPool', 'ReduceMax', 'Softmax']
/** Operators of which the result lies far below where what they read does, by the input that they read it from. */
const THROUGH: Record<string, readonly number[]> = {
  ...Object.fromEntries(
    ['Cast', 'Dropout', 'Expand', 'Flatten', 'Identity', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'].map(
      (operator) => [operator, [0]],
    ),
  ),
  Add: [0, 1],
  Concat: [0, 1, 2, 3],
  Div: [0],
  Mul: [0, 1],
  Sub: [0],
  Where: [1, 2],
}

/** Values of a graph (in topological order) that only such operators read. */
export function maskableValues({ nodes, outputs }: Graph): Set<string> {
  const readers = new Map<string, { node: GraphNode; index: number }[]>()
  for (const node of nodes)
    node.inputs.forEach((name, index) => {
      const known = readers.get(name)
      if (known === undefined) readers.set(name, [{ node, index }])
      else known.push({ node, index })
    })
  const out = new Set<string>()
  const ends = new Set(outputs.map(({ name }) => name))
  const fits = ({ node, index }: { node: GraphNode; index: number }): boolean =>
    node.domain === '' &&
    ((ENDS.includes(node.operator) && index === 0) ||
      (Object.hasOwn(THROUGH, node.operator) &&
        THROUGH[node.operator]!.includes(index) &&
        node.outputs.length === 1 &&
        out.has(node.outputs[0]!)))
  for (const node of nodes.toReversed())
    for (const name of node.outputs) if (!ends.has(name) && (readers.get(name)?.every(fits) ?? false)) out.add(name)
  return out
}

/**
 * What makes elements of a view endless: −∞ there, 0 elsewhere, over the loops of a frame that the view was aligned with. Null where the
 * op that wrote the tensor adds nothing endless to it, or the view runs through it backwards.
 */
export function endlessOf({ plan }: Context, ref: Ref, frame: Frame): PlanArray | null {
  const { viewOf } = plan.tensors[ref.tensor]!
  const root = viewOf ?? ref.tensor
  const writer = plan.ops.findLast(({ output }) => output === root)
  if (writer?.kind !== 'linear' || typeof writer.bias === 'number') return null
  const { bias } = writer
  spend(bias.data.length)
  if (!bias.data.includes(Number.NEGATIVE_INFINITY)) return null
  const { shape } = plan.tensors[root]!
  // Under another shape the same elements follow each other only where the bias has one for each of them.
  const own = stridesOf(shape)
  const flat = bias.strides.every((stride, axis) => stride === own[axis] || shape[axis] === 1)
  if (viewOf !== null && String(ref.dims) !== String(shape) && !flat) return null
  const steps = viewOf === null || String(ref.dims) === String(shape) ? bias.strides : stridesOf(ref.dims)
  const start = ref.axes.reduce((sum, { offset }, axis) => sum + offset * steps[axis]!, 0)
  const variables = ref.factors
    .flat()
    .map((_, i) => ref.axes.reduce((sum, { coefs }, axis) => sum + coefs[i]! * steps[axis]!, 0))
  if (variables.some((step) => step < 0)) return null
  let at = 0
  const loops = ref.factors.flatMap((extents, axis) =>
    extents.map((_, i): [number, number] => [loopsOfAxis(frame, axis)[i]!, variables[at++]!]),
  )
  return {
    data: bias.data.subarray(start).map((x) => (x === Number.NEGATIVE_INFINITY ? x : 0)),
    strides: stridesOver(frame.order.length, loops),
  }
}
