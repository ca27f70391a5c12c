import { isPadMode, padIndices } from '../fold-layout.ts'
import { axesOf, numberAttribute, textAttribute } from '../fold-tensor.ts'
import type { GraphNode } from '../onnx.ts'
import type { PlanArray, PlanTerm } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { toAffine, toScaled } from './apply.ts'
import {
  type Activation,
  activationAt,
  type Context,
  constantAt,
  integersAt,
  type Lower,
  requiredConstant,
  resolveAxis,
  setActivation,
  shapeOf,
  uncovered,
} from './context.ts'
import { emitLinear, exactRef } from './emit.ts'
import { frameOf, loopsOfAxis, orderLike, stridesOver } from './frame.ts'
import {
  affine,
  LIST_COST,
  loop,
  numbersOver,
  operandOf,
  type Position,
  plainFactors,
  range,
  reshaped,
  sliced,
} from './ref.ts'
import { viewed } from './view.ts'
import { spend } from './work.ts'

/** Copies through an index for each axis: picking, padding, repeating, resizing. */

/** Copies with an index table for each named axis; −1 gives `fill`. */
export function gathered(
  context: Context,
  node: GraphNode,
  activation: Activation,
  tables: (number[] | null)[],
  fill: number | null,
): Activation {
  const found =
    fill === null ? toAffine(context, node, activation) : { ...toScaled(context, node, activation), shift: 0 }
  const moved = range(tables.length).filter((axis) => tables[axis] !== null)
  const ref = exactRef(context, node, found.ref, moved)
  const shape = ref.shape.map((dim, axis) => tables[axis]?.length ?? dim)
  const factors = ref.factors.map((extents, axis) => (tables[axis] ? plainFactors([tables[axis].length])[0]! : extents))
  const kept = orderLike(ref)
  const variables = factors.flat().length
  const frame = frameOf(shape, factors, variables === kept.length ? kept : range(variables))
  const positions = ref.factors.flatMap((extents, axis): Position[] => {
    const loops = loopsOfAxis(frame, axis)
    const table = tables[axis]
    if (!table) return extents.map((_, i) => loop(loops[i]!))
    // Padding is an offset: only what is out of order needs the table.
    const inside = ref.shape[axis]!
    const shift = table.findIndex((entry) => entry >= 0)
    const run = table[shift]! - shift
    const runs = table.every((entry, i) => entry === (i + run >= 0 && i + run < inside ? i + run : -1))
    if (runs)
      return [
        affine(
          loops.map((index) => [index, 1]),
          run,
        ),
      ]
    return [{ ...affine(loops.map((index) => [index, 1])), table: Int32Array.from(table) }]
  })
  const outer = frame.order.length
  const plainCopy = found.scale === 1 && found.shift === 0 && !fill
  const term: PlanTerm = { ...operandOf(ref, positions, outer), reduce: [], weight: plainCopy ? 1 : found.scale }
  let bias: number | PlanArray = found.shift
  if (fill) {
    const dims = moved.map((axis) => tables[axis]!.length)
    const data = numbersOver(dims)
    for (let i = 0; i < data.length; i++) {
      let rest = i
      for (let at = dims.length - 1; at >= 0; at--) {
        if (tables[moved[at]!]![rest % dims[at]!]! < 0) data[i] = fill
        rest = Math.floor(rest / dims[at]!)
      }
    }
    const steps = moved.flatMap((axis, at) =>
      loopsOfAxis(frame, axis).map((index): [number, number] => [index, elementCount(dims.slice(at + 1))]),
    )
    bias = { data, strides: stridesOver(outer, steps) }
  }
  return emitLinear(
    context,
    node.name,
    node.outputs[0]!,
    frame,
    [term],
    bias,
    plainCopy ? { grid: { kind: 'same', as: ref.tensor } } : {},
  )
}

export const pad: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const shape = shapeOf(activation)
  const pads = integersAt(context, node, 1) ?? uncovered(node, 'has no pads')
  const mode = textAttribute(node, 'mode', 'constant')
  if (!isPadMode(mode)) uncovered(node, `has mode ${mode}`)
  const axes = axesOf(node, integersAt(context, node, 3) ?? range(shape.length), shape.length)
  const fill = constantAt(context, node, 2)?.data[0] ?? 0
  const tables = shape.map((extent, axis) => {
    const at = axes.indexOf(axis)
    if (at < 0) return null
    const [before, after] = [pads[at]!, pads[at + axes.length]!]
    if (before === 0 && after === 0) return null
    const positions = range(extent + before + after)
    return padIndices(positions, extent, before, after, mode) ?? uncovered(node, 'pads what has no elements')
  })
  if (tables.some((table) => table?.length === 0)) uncovered(node, 'leaves nothing')
  const moves = tables.some((table) => table !== null)
  setActivation(
    context,
    node,
    moves ? gathered(context, node, activation, tables, mode === 'constant' ? fill : null) : activation,
  )
}

export const tile: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const repeats = integersAt(context, node, 1) ?? uncovered(node, 'has no repeats')
  const tables = shapeOf(activation).map((extent, axis) =>
    repeats[axis] === 1 ? null : range(extent * repeats[axis]!).map((i) => i % extent),
  )
  setActivation(
    context,
    node,
    tables.every((each) => each === null) ? activation : gathered(context, node, activation, tables, null),
  )
}

/** Elements or runs by constant coordinates: several axes in one row, then a Gather. */
export const gatherND: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const indices = requiredConstant(context, node, 1)
  const shape = shapeOf(activation)
  const first = numberAttribute(node, 'batch_dims', 0)
  const depth = indices.dims.at(-1) ?? 0
  if (first !== 0) uncovered(node, 'picks by batches')
  if (depth < 1 || depth > shape.length) uncovered(node, 'its indices do not fit', 'MODEL_SHAPE')
  const named = shape.slice(0, depth)
  const rows = range(elementCount(indices.dims.slice(0, -1))).map((row) =>
    named.reduce((at, extent, axis) => {
      const given = indices.data[row * depth + axis]!
      const index = given < 0 ? given + extent : given
      if (!(index >= 0 && index < extent)) uncovered(node, 'has an index out of range')
      return at * extent + index
    }, 0),
  )
  const rest = shape.slice(depth)
  const row = viewed(context, node, activation, (ref) => reshaped(ref, [elementCount(named), ...rest]))
  const target = [...indices.dims.slice(0, -1), ...rest]
  setActivation(
    context,
    node,
    viewed(context, node, picked(context, node, row, 0, rows), (ref) => reshaped(ref, target)),
  )
}

/** The elements at the given places of an axis. */
function picked(context: Context, node: GraphNode, activation: Activation, axis: number, rows: number[]): Activation {
  const step = rows.length > 1 ? rows[1]! - rows[0]! : 1
  const even = step !== 0 && rows.every((row, i) => row === rows[0]! + i * step)
  if (even) return viewed(context, node, activation, (ref) => sliced(ref, axis, rows[0]!, step, rows.length))
  const tables = shapeOf(activation).map((_, each) => (each === axis ? rows : null))
  return gathered(context, node, activation, tables, null)
}

/** Rows of an activation by constant indices. */
export const gather: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const indices = requiredConstant(context, node, 1)
  if (indices.dtype !== 'int64' && indices.dtype !== 'int32')
    uncovered(node, 'its indices are no integers', 'MODEL_DTYPE')
  const shape = shapeOf(activation)
  const axis = resolveAxis(node, numberAttribute(node, 'axis', 0), shape.length)
  const extent = shape[axis]!
  spend(LIST_COST * indices.data.length)
  const rows = Array.from(indices.data, (index) => (index < 0 ? index + extent : index))
  if (rows.length === 0 || rows.some((row) => row < 0 || row >= extent)) uncovered(node, 'has an index out of range')
  const found = picked(context, node, activation, axis, rows)
  const target = [...shape.slice(0, axis), ...indices.dims, ...shape.slice(axis + 1)]
  setActivation(
    context,
    node,
    indices.dims.length === 1 ? found : viewed(context, node, found, (ref) => reshaped(ref, target)),
  )
}
