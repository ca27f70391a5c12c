import {
  axesOf,
  axisOf,
  broadcastShapes,
  broadcastStrides,
  type Fold,
  type FoldCall,
  givenAxes,
  input,
  integers,
  integersAttribute,
  numberAttribute,
  pick,
  range,
  refuse,
  spread,
  textAttribute,
  tooLarge,
  walk,
} from './fold-tensor.ts'
import type { Constant, GraphNode } from './onnx.ts'
import { emptyData } from './onnx-tensor.ts'
import { elementCount } from './tiling.ts'

/** Operators that only move elements: reshaping, indexing, joining and repeating. */

/** The same elements under other dimensions. */
function reshaped(node: GraphNode, { dims, dtype, data }: Constant, target: number[]): Constant {
  if (target.some((dim) => dim < 0) || elementCount(target) !== data.length)
    refuse('MODEL_SHAPE', node, `cannot give [${dims}] the shape [${target}]`)
  return { dims: target, dtype, data }
}

/**
 * The dimensions a Reshape gives: 0 copies (unless `allowzero`), one −1 takes what is left.
 * Throws `MODEL_SHAPE`.
 */
export function reshapeTarget(node: GraphNode, dims: readonly number[], wanted: readonly number[]): number[] {
  const literal = numberAttribute(node, 'allowzero', 0) !== 0
  const impossible = (): never => refuse('MODEL_SHAPE', node, `cannot give [${dims}] the shape [${wanted}]`)
  const target = wanted.map((dim, axis) => (dim === 0 && !literal ? (dims[axis] ?? impossible()) : dim))
  const open = target.indexOf(-1)
  if (open >= 0) {
    target[open] = 1
    const rest = elementCount(target)
    if (rest === 0 || target.some((dim) => dim < 0)) impossible()
    target[open] = elementCount(dims) / rest
  }
  if (target.some((dim) => dim < 0 || !Number.isInteger(dim)) || elementCount(target) !== elementCount(dims))
    impossible()
  return target
}

const flatten: Fold = (call) => {
  const data = input(call, 0)
  const axis = numberAttribute(call.node, 'axis', 1)
  const rank = data.dims.length
  const split = axis === rank ? rank : axisOf(call.node, axis, rank)
  return reshaped(call.node, data, [elementCount(data.dims.slice(0, split)), elementCount(data.dims.slice(split))])
}

const squeeze: Fold = (call) => {
  const data = input(call, 0)
  const given = givenAxes(call, 13)
  const axes =
    given === null
      ? data.dims.flatMap((dim, axis) => (dim === 1 ? [axis] : []))
      : axesOf(call.node, given, data.dims.length)
  if (axes.some((axis) => data.dims[axis] !== 1)) refuse('MODEL_SHAPE', call.node, `cannot squeeze [${data.dims}]`)
  return { ...data, dims: data.dims.filter((_, axis) => !axes.includes(axis)) }
}

const unsqueeze: Fold = (call) => {
  const data = input(call, 0)
  const given = givenAxes(call, 13) ?? refuse('MODEL_INPUT', call.node, 'names no axes')
  const axes = axesOf(call.node, given, data.dims.length + given.length)
  const rest = [...data.dims]
  return { ...data, dims: range(rest.length + axes.length).map((axis) => (axes.includes(axis) ? 1 : rest.shift()!)) }
}

const transpose: Fold = (call) => {
  const { dims, dtype, data } = input(call, 0)
  if (tooLarge(dims)) return null
  const order = integersAttribute(call.node, 'perm') ?? range(dims.length).reverse()
  if (order.length !== dims.length || order.some((axis) => axis < 0) || axesOf(call.node, order, dims.length) === null)
    refuse('MODEL_ATTRIBUTE', call.node, `perm [${order}] does not order ${dims.length} axes`)
  const strides = broadcastStrides(dims, dims)
  const outDims = order.map((axis) => dims[axis]!)
  const steps = order.map((axis) => strides[axis]!)
  return { dims: outDims, dtype, data: walk(data, outDims, steps) }
}

const expand: Fold = (call) => {
  const data = input(call, 0)
  const wanted = integers(call, 1)
  const dims = wanted.some((dim) => dim < 0) ? null : broadcastShapes([data.dims, wanted])
  if (dims === null) return refuse('MODEL_SHAPE', call.node, `cannot expand [${data.dims}] to [${wanted}]`)
  return tooLarge(dims) ? null : spread(data, dims)
}

const tile: Fold = (call) => {
  const data = input(call, 0)
  const repeats = integers(call, 1)
  if (repeats.length !== data.dims.length || repeats.some((count) => count < 0))
    refuse('MODEL_SHAPE', call.node, `cannot repeat [${data.dims}] [${repeats}] times`)
  const dims = data.dims.map((dim, axis) => dim * repeats[axis]!)
  if (tooLarge(dims)) return null
  return pick(
    data,
    dims.map((count, axis) => range(count).map((i) => i % data.dims[axis]!)),
  )
}

/** An index along an axis, which may count from its end. */
function indexOf(node: GraphNode, index: number, extent: number): number {
  if (!Number.isInteger(index) || index < -extent || index >= extent)
    refuse('MODEL_SHAPE', node, `index ${index} does not exist along an axis of ${extent}`)
  return index < 0 ? index + extent : index
}

function indices(call: FoldCall): Constant {
  const found = input(call, 1)
  if (found.dtype !== 'int64' && found.dtype !== 'int32')
    refuse('MODEL_DTYPE', call.node, 'its indices are no integers')
  return found
}

const gather: Fold = (call) => {
  const data = input(call, 0)
  const at = indices(call)
  const axis = axisOf(call.node, numberAttribute(call.node, 'axis', 0), data.dims.length)
  const dims = [...data.dims.slice(0, axis), ...at.dims, ...data.dims.slice(axis + 1)]
  if (tooLarge(dims) || tooLarge(at.dims)) return null
  const rows = Array.from(at.data, (index) => indexOf(call.node, index, data.dims[axis]!))
  const picked = pick(
    data,
    data.dims.map((dim, each) => (each === axis ? rows : range(dim))),
  )
  return { ...picked, dims }
}

const gatherElements: Fold = (call) => {
  const data = input(call, 0)
  const at = indices(call)
  const axis = axisOf(call.node, numberAttribute(call.node, 'axis', 0), data.dims.length)
  if (at.dims.length !== data.dims.length || at.dims.some((dim, each) => each !== axis && dim > data.dims[each]!))
    refuse('MODEL_SHAPE', call.node, `its indices [${at.dims}] do not fit [${data.dims}]`)
  if (tooLarge(at.dims)) return null
  const strides = broadcastStrides(data.dims, data.dims)
  const out = emptyData(data.dtype, at.data.length)
  for (let i = 0; i < out.length; i++) {
    let rest = i
    let source = 0
    for (let each = at.dims.length - 1; each >= 0; each--) {
      const position = rest % at.dims[each]!
      rest = Math.floor(rest / at.dims[each]!)
      source += strides[each]! * (each === axis ? indexOf(call.node, at.data[i]!, data.dims[axis]!) : position)
    }
    out[i] = data.data[source]!
  }
  return { dims: at.dims, dtype: data.dtype, data: out }
}

const concat: Fold = (call) => {
  const parts = call.node.inputs.map((_, index) => input(call, index))
  const [first] = parts
  if (first === undefined || !call.node.attributes.has('axis'))
    return refuse('MODEL_ATTRIBUTE', call.node, 'has nothing to join or no axis')
  const axis = axisOf(call.node, numberAttribute(call.node, 'axis', 0), first.dims.length)
  for (const { dims, dtype } of parts) {
    if (dtype !== first.dtype) refuse('MODEL_DTYPE', call.node, 'its inputs have different types')
    if (dims.length !== first.dims.length || dims.some((dim, each) => each !== axis && dim !== first.dims[each]))
      refuse('MODEL_SHAPE', call.node, `cannot join [${first.dims}] and [${dims}]`)
  }
  const extent = parts.reduce((sum, { dims }) => sum + dims[axis]!, 0)
  const dims = first.dims.map((dim, each) => (each === axis ? extent : dim))
  if (tooLarge(dims)) return null
  const out = emptyData(first.dtype, elementCount(dims))
  const runs = parts.map((part) => elementCount(part.dims.slice(axis)))
  for (let outer = 0, to = 0; to < out.length; outer++)
    parts.forEach((part, each) => {
      out.set(part.data.subarray(outer * runs[each]!, (outer + 1) * runs[each]!), to)
      to += runs[each]!
    })
  return { dims, dtype: first.dtype, data: out }
}

/** Where a Slice begins along an axis, and how many positions it takes. Negative starts and ends count from the axis's end; both are clamped. */
export function sliceSpan(extent: number, start: number, end: number, step: number): { first: number; count: number } {
  const clamp = (index: number, least: number, most: number): number =>
    Math.min(most, Math.max(least, index < 0 ? index + extent : index))
  const [from, to] =
    step > 0
      ? [clamp(start, 0, extent), clamp(end, 0, extent)]
      : [clamp(start, 0, extent - 1), clamp(end, -1, extent - 1)]
  return { first: from, count: extent === 0 ? 0 : Math.max(0, Math.ceil((to - from) / step)) }
}

/** The indices that it takes. */
function sliceIndices(extent: number, start: number, end: number, step: number): number[] {
  const { first, count } = sliceSpan(extent, start, end, step)
  return range(count).map((i) => first + i * step)
}

const slice: Fold = (call) => {
  const data = input(call, 0)
  const starts = integers(call, 1)
  const ends = integers(call, 2)
  const axes = axesOf(call.node, call.inputs[3] ? integers(call, 3) : range(starts.length), data.dims.length)
  const steps = call.inputs[4] ? integers(call, 4) : starts.map(() => 1)
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length)
    refuse('MODEL_SHAPE', call.node, 'its starts, ends, axes and steps differ in number')
  // Each axis's indices are listed below.
  if (data.dims.some((dim) => tooLarge([dim]))) return null
  if (steps.includes(0)) refuse('MODEL_ATTRIBUTE', call.node, 'has a step of 0')
  const extents = data.dims.map((dim, axis) => {
    const each = axes.indexOf(axis)
    return each < 0 ? range(dim) : sliceIndices(dim, starts[each]!, ends[each]!, steps[each]!)
  })
  return tooLarge(extents.map((each) => each.length)) ? null : pick(data, extents)
}

/** Per padding mode, the source index of a position outside; −1 is the fill value. */
const OUTSIDE: Record<string, (index: number, extent: number) => number> = {
  constant: () => -1,
  edge: (index, extent) => Math.min(extent - 1, Math.max(0, index)),
  reflect: (index, extent) => {
    const period = Math.max(1, 2 * (extent - 1))
    const at = ((index % period) + period) % period
    return at < extent ? at : period - at
  },
  wrap: (index, extent) => ((index % extent) + extent) % extent,
}

export const isPadMode = (mode: string): boolean => Object.hasOwn(OUTSIDE, mode)

/**
 * Source indices of a padded axis; null where nothing is left to repeat. What negative pads take away is gone before the others
 * repeat what is left.
 */
export function padIndices(
  positions: number[],
  extent: number,
  before: number,
  after: number,
  mode: string,
): number[] | null {
  const outside = OUTSIDE[mode]!
  const first = Math.max(0, -before)
  const left = extent - first - Math.max(0, -after)
  if (left < 1 && mode !== 'constant') return null
  return positions.map((i) => {
    const index = i - before - first
    if (index >= 0 && index < left) return first + index
    const repeated = outside(index, left)
    return repeated < 0 ? -1 : first + repeated
  })
}

const pad: Fold = (call) => {
  const { node } = call
  const data = input(call, 0)
  const pads = integers(call, 1)
  const fill = call.inputs[2] ?? null
  const mode = textAttribute(node, 'mode', 'constant')
  if (!isPadMode(mode)) refuse('MODEL_ATTRIBUTE', node, `has mode ${mode}`)
  if (fill !== null && (fill.dtype !== data.dtype || fill.data.length !== 1))
    refuse('MODEL_DTYPE', node, 'its fill value is not one value of its type')
  const axes = axesOf(node, call.inputs[3] ? integers(call, 3) : range(data.dims.length), data.dims.length)
  if (pads.length !== 2 * axes.length) refuse('MODEL_SHAPE', node, `has ${pads.length} pads for ${axes.length} axes`)
  const before = data.dims.map((_, axis) => (axes.includes(axis) ? pads[axes.indexOf(axis)]! : 0))
  const after = data.dims.map((_, axis) => (axes.includes(axis) ? pads[axes.length + axes.indexOf(axis)]! : 0))
  const dims = data.dims.map((dim, axis) => dim + before[axis]! + after[axis]!)
  if (dims.some((dim) => dim < 0)) refuse('MODEL_SHAPE', node, 'removes more than there is')
  if (tooLarge(dims)) return null
  const tables = dims.map(
    (count, axis) =>
      padIndices(range(count), data.dims[axis]!, before[axis]!, after[axis]!, mode) ??
      refuse('MODEL_SHAPE', node, 'pads what has no elements'),
  )
  return pick(data, tables, fill?.data[0] ?? 0)
}

export const LAYOUT_FOLDS: Record<string, Fold> = {
  Concat: concat,
  Expand: expand,
  Flatten: flatten,
  Gather: gather,
  GatherElements: gatherElements,
  Identity: (call) => input(call, 0),
  Pad: pad,
  Reshape: (call) => {
    const data = input(call, 0)
    return reshaped(call.node, data, reshapeTarget(call.node, data.dims, integers(call, 1)))
  },
  Slice: slice,
  Squeeze: squeeze,
  Tile: tile,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
}
