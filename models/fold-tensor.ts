import { SinterError } from '../protocol/errors.ts'
import { roundHalf } from './half.ts'
import type { Constant, DType, GraphNode } from './onnx.ts'
import { emptyData, RANGES } from './onnx-tensor.ts'
import { elementCount } from './tiling.ts'

/** What folding one node needs: reading its inputs and attributes, broadcasting, and values rounded to their type. */

/** Elements of the largest result that is folded. */
export const FOLD_ELEMENTS = 2 ** 22
/** Longest list of axes, dimensions, pads or parts. */
const LIST_ENTRIES = 256

/** A node with the values of its inputs; null where an optional input is left out. */
export type FoldCall = { node: GraphNode; inputs: (Constant | null)[]; opset: number }
/** The value of each output, or null when it is not folded (too large, or a form that is left to others). */
export type Fold = (call: FoldCall) => Constant | Constant[] | null

export const refuse = (code: string, node: GraphNode, message: string): never => {
  throw new SinterError(code, `node ${node.name} (${node.operator}): ${message}`, { detail: { node: node.name } })
}

/** [refuse] Each optional input may be left out; the others may not. */
export const input = ({ node, inputs }: FoldCall, index: number): Constant =>
  inputs[index] ?? refuse('MODEL_INPUT', node, `lacks input ${index}`)

export function numberAttribute(node: GraphNode, key: string, fallback: number): number {
  const value = node.attributes.get(key) ?? fallback
  return typeof value === 'number' ? value : refuse('MODEL_ATTRIBUTE', node, `${key} is not a number`)
}

export function textAttribute(node: GraphNode, key: string, fallback: string): string {
  const value = node.attributes.get(key) ?? fallback
  return typeof value === 'string' ? value : refuse('MODEL_ATTRIBUTE', node, `${key} is not a text`)
}

export function integersAttribute(node: GraphNode, key: string): number[] | null {
  const value = node.attributes.get(key)
  if (value === undefined) return null
  if (!Array.isArray(value) || !value.every(Number.isSafeInteger))
    return refuse('MODEL_ATTRIBUTE', node, `${key} is not a list of integers`)
  return value as number[]
}

/** The integers of an input, which is a list, or a scalar standing for a list of one. */
export function integers(call: FoldCall, index: number): number[] {
  const { dims, dtype, data } = input(call, index)
  if (dtype !== 'int64' && dtype !== 'int32') refuse('MODEL_DTYPE', call.node, `input ${index} must be int64 or int32`)
  if (dims.length > 1 || data.length > LIST_ENTRIES)
    refuse('MODEL_SHAPE', call.node, `input ${index} must be a list of at most ${LIST_ENTRIES}`)
  return Array.from(data)
}

export function axisOf(node: GraphNode, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
    refuse('MODEL_ATTRIBUTE', node, `axis ${axis} does not exist in rank ${rank}`)
  return axis < 0 ? axis + rank : axis
}

export function axesOf(node: GraphNode, axes: number[], rank: number): number[] {
  const found = axes.map((axis) => axisOf(node, axis, rank))
  if (new Set(found).size !== found.length) refuse('MODEL_ATTRIBUTE', node, 'an axis is named twice')
  return found
}

/** Axes are an attribute before operator set `since`, an optional input 1 from then on; null when they are not given. */
export function givenAxes(call: FoldCall, since: number): number[] | null {
  const listed = integersAttribute(call.node, 'axes')
  if (call.opset < since) return listed
  if (listed !== null) refuse('MODEL_ATTRIBUTE', call.node, `axes are an input from operator set ${since} on`)
  return call.inputs[1] ? integers(call, 1) : null
}

/** The shape that shapes broadcast to (aligned at their last axes), or null when they do not fit. */
export function broadcastShapes(shapes: readonly (readonly number[])[]): number[] | null {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length))
  const out = new Array<number>(rank).fill(1)
  for (const shape of shapes)
    for (let i = 0; i < shape.length; i++) {
      const axis = rank - shape.length + i
      const dim = shape[i]!
      if (dim === 1 || dim === out[axis]) continue
      if (out[axis] !== 1) return null
      out[axis] = dim
    }
  return out
}

/** Index steps to walk a tensor of shape `from` along the axes of shape `to`, which it broadcasts to: 0 along spread axes. */
export function broadcastStrides(from: readonly number[], to: readonly number[]): number[] {
  const strides = new Array<number>(to.length).fill(0)
  let step = 1
  for (let i = from.length - 1; i >= 0; i--) {
    if (from[i] !== 1) strides[to.length - from.length + i] = step
    step *= from[i]!
  }
  return strides
}

/** The elements at index Σ strides·position over all positions of shape `dims`, row-major. */
export function walk(data: Constant['data'], dims: readonly number[], strides: readonly number[]): Constant['data'] {
  const out = data instanceof Float32Array ? new Float32Array(elementCount(dims)) : new Float64Array(elementCount(dims))
  const position = dims.map(() => 0)
  let at = 0
  for (let i = 0; i < out.length; i++) {
    out[i] = data[at]!
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      at += strides[axis]!
      if (++position[axis]! < dims[axis]!) break
      at -= strides[axis]! * dims[axis]!
      position[axis] = 0
    }
  }
  return out
}

/** Spreads a constant to a shape that it broadcasts to. */
export const spread = ({ dims, dtype, data }: Constant, to: number[]): Constant => ({
  dims: to,
  dtype,
  data:
    dims.length === to.length && dims.every((dim, i) => dim === to[i])
      ? data
      : walk(data, to, broadcastStrides(dims, to)),
})

/** Per axis, which source index each output index takes; −1 takes `fill`. */
export function pick({ dims, dtype, data }: Constant, tables: number[][], fill = 0): Constant {
  const outDims = tables.map((table) => table.length)
  const out = emptyData(dtype, elementCount(outDims))
  const steps = broadcastStrides(dims, dims)
  const position = outDims.map(() => 0)
  for (let i = 0; i < out.length; i++) {
    let at = 0
    for (let axis = 0; axis < tables.length && at >= 0; axis++) {
      const index = tables[axis]![position[axis]!]!
      at = index < 0 ? -1 : at + index * steps[axis]!
    }
    out[i] = at < 0 ? fill : data[at]!
    for (let axis = outDims.length - 1; axis >= 0 && ++position[axis]! === outDims[axis]; axis--) position[axis] = 0
  }
  return { dims: outDims, dtype, data: out }
}

export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** To the nearest integer, halves to the even one. */
export function roundEven(value: number): number {
  const low = Math.floor(value)
  const over = value - low
  return over > 0.5 || (over === 0.5 && low % 2 !== 0) ? low + 1 : low
}

/**
 * A constant of computed values, rounded to the type. [refuse] Integers outside their type (where runtimes wrap, each in
 * its own way) and results that are not a number.
 */
export function made(node: GraphNode, dims: number[], dtype: DType, values: ArrayLike<number>): Constant {
  const data = emptyData(dtype, values.length)
  const limits = RANGES[dtype]
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    if (Number.isNaN(value) || (limits !== undefined && !(value >= limits[0] && value <= limits[1])))
      refuse('MODEL_VALUE', node, `gives ${value}, which ${dtype} does not have`)
    // Adding 0 makes −0 of integer arithmetic 0.
    data[i] = limits !== undefined ? value + 0 : dtype === 'float16' ? roundHalf(value) : value
  }
  return { dims, dtype, data }
}

/** Whether there are more elements than are folded; an axis counts alone too, for another may have no extent. */
export const tooLarge = (dims: readonly number[]): boolean =>
  elementCount(dims) > FOLD_ELEMENTS || dims.some((dim) => dim > FOLD_ELEMENTS)
