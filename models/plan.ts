import type { Cuts } from './cut.ts'
import { elementCount } from './tiling.ts'

/**
 * The plan: a lowered graph, still in real numbers. The same ops and accesses as the manifest's (protocol/spec/manifest.md
 * §4), before exponents, integer weights and zero points are chosen. Batch is 1; tensors leave axes of one element out.
 */

/** As `Axis` of the manifest, with its table's entries in place. */
export type PlanAxis = { coefs: number[]; offset: number; divisor: number; table: Int32Array | null }
export type PlanOperand = { tensor: number; axes: PlanAxis[] }
/** Values at Σ strides·loop. */
export type PlanArray = { data: Float64Array; strides: number[] }

type PlanBase = { name: string; output: number }
export type PlanTerm = PlanOperand & { reduce: number[]; weight: number | PlanArray }
/** bias + Σ weight·x. An infinite bias saturates whatever else is added: a mask. */
export type PlanLinear = PlanBase & {
  kind: 'linear'
  terms: PlanTerm[]
  bias: number | PlanArray
  /** No two terms reach the same element: a joining of tensors. */
  disjoint?: boolean
}
/** bias + Σ a·b. */
export type PlanProduct = PlanBase & {
  kind: 'product'
  a: PlanOperand
  b: PlanOperand
  reduce: number[]
  bias: number
}
export type PlanTable = PlanBase & {
  kind: 'table'
  input: number
  function: string
  apply: (x: number) => number
  /** What the least input stands for, with all that saturated to it. */
  lowest?: number
  /** All its inputs are ends of segments, so that one table is exact. */
  exact?: boolean
}
export type PlanExtremum = PlanBase & { kind: 'extremum'; input: PlanOperand; reduce: number[] }
/** weight·a/b, or weight/b where there is no a. */
export type PlanDivide = PlanBase & { kind: 'divide'; a: PlanOperand | null; b: PlanOperand; weight: number }
export type PlanRoot = PlanBase & { kind: 'root'; input: PlanOperand }
export type PlanOp = PlanLinear | PlanProduct | PlanTable | PlanExtremum | PlanDivide | PlanRoot

/** How a tensor's integers stand for real numbers: real = (integer + offset)·scale. */
export type Scale = { scale: number; offset: number }

/**
 * What fixes a tensor's scale.
 * - free: the samples' range, 16 bits around 0
 * - fixed: given; `levels` are the integers + offset that a quantised tensor of the model itself can take
 * - same: that of another tensor, whose integers this one holds
 * - natural: numbers from 0 up, integer = number − 2^15
 * - divisor: numbers from 1 up, integer = number − 2^15 − 1; they have one sign in all samples, `flip` says which
 * - wide: the same in 32 bits, as fine as they allow
 * - root: of a wide tensor
 * - steps: of a sum of tensors of one scale, whose every quantum becomes a segment of a table
 */
export type Grid =
  | { kind: 'free' }
  | { kind: 'fixed'; scale: number; offset: number; levels: { low: number; high: number } | null }
  | { kind: 'same'; as: number }
  | { kind: 'natural' }
  | { kind: 'divisor' }
  | { kind: 'wide' }
  | { kind: 'root' }
  | { kind: 'steps' }

/** Integers from one knot of a table to the next. */
export const SEGMENT = 1024

export type PlanTensor = { name: string; shape: number[]; bits: 16 | 32; grid: Grid; viewOf: number | null }

/** Rows of an embedding: what the consumer sends for each of its integers, which are called `name` and have this shape. */
export type PlanLookup = { name: string; shape: number[]; rows: number; table: Float32Array | Float64Array }
/** Shapes leave the batch axis out. */
export type PlanInput = { name: string; tensor: number; shape: number[]; lookup: PlanLookup | null }
export type PlanOutput = {
  name: string
  tensor: number
  shape: number[]
  argmax: { name: string; axis: number } | null
}
export type Plan = {
  inputs: PlanInput[]
  outputs: PlanOutput[]
  tensors: PlanTensor[]
  ops: PlanOp[]
  /** Whether the model itself computes in half precision. */
  halves: boolean
  /** What to take off the published file: embeddings at its inputs, ArgMax at its outputs. */
  cuts: Cuts
}

export const operandsOfPlan = (op: PlanOp): PlanOperand[] => {
  switch (op.kind) {
    case 'linear':
      return op.terms
    case 'product':
      return [op.a, op.b]
    case 'divide':
      return op.a === null ? [op.b] : [op.a, op.b]
    case 'table':
      return []
    default:
      return [op.input]
  }
}

/** Tensors that an op reads, views unresolved. */
export const readsOfPlan = (op: PlanOp): number[] =>
  op.kind === 'table' ? [op.input] : operandsOfPlan(op).map(({ tensor }) => tensor)

/** Multiply-adds behind one element of an op's output; one that multiplies nothing counts one for each element that it looks at. */
export const planTaps = (op: PlanOp): number =>
  op.kind === 'linear'
    ? op.terms.reduce((all, { reduce }) => all + elementCount(reduce), 0)
    : op.kind === 'product' || op.kind === 'extremum'
      ? elementCount(op.reduce)
      : 1

/** Multiply-adds of ops. */
export const planUnits = ({ tensors }: Pick<Plan, 'tensors'>, ops: readonly PlanOp[]): number =>
  ops.reduce((sum, op) => sum + planTaps(op) * elementCount(tensors[op.output]!.shape), 0)
