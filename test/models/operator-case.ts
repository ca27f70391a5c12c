import type { Op } from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { constant, type GraphFixture, numbers } from './onnx-fixture.ts'

/** Small graphs of one operator or a few, in the forms that exporters write, with what is expected of each. */

export type Node = GraphFixture['nodes'][number]
export type Dims = (number | string)[]

export type Case = {
  nodes: Node[]
  x?: Dims
  /** A second input. */
  z?: Dims
  y: Dims
  constants?: GraphFixture['constants']
  opset?: number
  /** Largest deviation from ONNX Runtime, in quanta of the output. */
  quanta: number
  /** Inputs are in (−size, size), or in (low, low + size). @default 2 */
  size?: number
  low?: number
  /** Kinds of the ops it becomes, where that is worth holding. */
  kinds?: Op['kind'][]
  ids?: { rows: number }
}

export const weights = (dims: number[], seed = 1, scale = 0.5) =>
  constant('float32', dims, Array.from(Float32Array.from(numbers(elementCount(dims), scale, seed))))
export const positive = (dims: number[], seed = 1) =>
  constant(
    'float32',
    dims,
    numbers(elementCount(dims), 0.4, seed).map((x) => x + 0.6),
  )
export const ints = (...values: number[]) => constant('int64', [values.length], values)
export const one = (op: string, attributes: Node['attributes'] = {}, inputs: string[] = ['x']): Node => ({
  op,
  inputs,
  outputs: ['y'],
  attributes,
})
export const node = (op: string, inputs: string[], output: string, attributes: Node['attributes'] = {}): Node => ({
  op,
  inputs,
  outputs: [output],
  attributes,
})

export const image: Dims = ['n', 4, 9, 7]
export const vector: Dims = ['n', 24]
export const rows: Dims = ['n', 5, 12]

/** A table cut in two: where 64 segments are too coarse. */
export const CUT: Op['kind'][] = ['table', 'table', 'table', 'linear']

/** A function of one number, at the accuracy of a table of 64 segments. */
export const unary = (
  op: string,
  quanta: number,
  more: Partial<Case> = {},
  attributes: Node['attributes'] = {},
): Case => ({
  nodes: [one(op, attributes)],
  x: vector,
  y: vector,
  quanta,
  kinds: ['table'],
  ...more,
})
