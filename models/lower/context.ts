import { SinterError } from '../../protocol/errors.ts'
import { axisOf } from '../fold-tensor.ts'
import type { Constant, DType, GraphNode } from '../onnx.ts'
import type { Plan, PlanLinear } from '../plan.ts'
import type { Ref } from './ref.ts'

/** What the lowering of one node works with: values and how nodes read them. */

/** A function of one number that is still to be applied. */
export type Unary = {
  label: string
  /** The node that it is from, and the value that is: ops and tensors are named after them. */
  node: string
  value: string
  apply: (x: number) => number
  /** scale·x + shift, where that is all it is. */
  affine: { scale: number; shift: number } | null
  /** The function whose square it is: squares are exact as products. */
  squareOf: Unary | null
  /** The function that it takes what is above 0 of. */
  reluOf: Unary | null
  /** Whether it is made of a function that jumps, and may jump itself. */
  steps: boolean
  /** Functions that one application calls. */
  size: number
}

/** Functions that are put on one another before they become a table: a graph of a few nodes may double their number at each. */
export const LARGEST_UNARY = 256

/**
 * An activation as it is known so far:
 * - plain: a function of a view
 * - squares: factor · Σ x² over axes of a view, plus shift; roots of it are taken in 32 bits
 * - reciprocal: scale / x, which a product makes a division
 */
export type Activation =
  | {
      form: 'plain'
      ref: Ref
      unary: Unary
      /** The op that wrote the whole of it just now: what follows may be folded into its weights. */
      writer: PlanLinear | null
    }
  | { form: 'squares'; ref: Ref; shape: number[]; axes: number[]; factor: number; shift: number }
  | { form: 'reciprocal'; ref: Ref; scale: number }

export type Value =
  | { kind: 'constant'; constant: Constant; tainted: boolean }
  | { kind: 'activation'; activation: Activation }
  /** Integers that the consumer gives: they can only pick rows of a constant. */
  | { kind: 'ids'; name: string; dims: number[] }
  /** Where a number compares so with a constant: only a choice between functions of the same number can read it. */
  | { kind: 'condition'; activation: Plain; holds: (x: number) => boolean }
  /** The last ArgMax, which the consumer takes itself. */
  | { kind: 'argmax'; activation: Activation; axis: number; source: string; dims: number[] }
  | { kind: 'uncovered'; reason: string }

export type Context = {
  opset: number
  plan: Plan
  values: Map<string, Value>
  /** How often a value is read, as a graph output too. */
  readers: Map<string, number>
  /** Values that only what takes a large negative number for −∞ reads. */
  maskable: ReadonlySet<string>
  /** Graph inputs that become embedded rows, and graph outputs whose ArgMax the consumer takes. */
  cuts: {
    inputs: { from: string; tensor: string; dims: number[]; dtype: DType }[]
    outputs: { from: string; tensor: string; dims: number[] }[]
  }
  /** Tables already applied: by function, then tensor. */
  applied: WeakMap<Unary, Map<number, number>>
  /** Values that are levels of a QuantizeLinear. */
  quantised: Map<string, { scale: number; zero: number }>
}

export type Lower = (context: Context, node: GraphNode) => void

/** The form of a node has no canonical meaning; the rest of the graph may. Other codes say that it has no meaning at all. */
export const uncovered = (node: GraphNode, reason: string, code = 'MODEL_UNCOVERED'): never => {
  throw new SinterError(code, `node ${node.name} (${node.operator}): ${reason}`, {
    detail: { node: node.name, reason },
  })
}

export const IDENTITY: Unary = {
  label: 'Identity',
  node: '',
  value: '',
  apply: (x) => x,
  affine: { scale: 1, shift: 0 },
  squareOf: null,
  reluOf: null,
  steps: false,
  size: 1,
}

export const affineUnary = (scale: number, shift: number): Unary => ({
  label: 'Affine',
  node: '',
  value: '',
  apply: (x) => scale * x + shift,
  affine: { scale, shift },
  squareOf: null,
  reluOf: null,
  steps: false,
  size: 1,
})

export type Plain = Activation & { form: 'plain' }

export const plain = (ref: Ref, unary: Unary = IDENTITY, writer: PlanLinear | null = null): Plain => ({
  form: 'plain',
  ref,
  unary,
  writer,
})

export const shapeOf = (activation: Activation): number[] =>
  activation.form === 'squares' ? activation.shape : activation.ref.shape

export const isIdentity = ({ affine }: Unary): boolean => affine !== null && affine.scale === 1 && affine.shift === 0

/** The value that a node reads; null where an optional input is left out. */
export const valueAt = (context: Context, node: GraphNode, index: number): Value | null => {
  const name = node.inputs[index] ?? ''
  return name === '' ? null : (context.values.get(name) ?? null)
}

export function activationAt(context: Context, node: GraphNode, index: number): Activation {
  const value = valueAt(context, node, index)
  if (value?.kind === 'activation') return value.activation
  return uncovered(
    node,
    value === null ? `lacks input ${index}` : `input ${index} is not computed from numbers`,
    value === null ? 'MODEL_INPUT' : 'MODEL_UNCOVERED',
  )
}

export function constantAt(context: Context, node: GraphNode, index: number): Constant | null {
  const value = valueAt(context, node, index)
  if (value === null) return null
  return value.kind === 'constant' ? value.constant : uncovered(node, `input ${index} is not constant`)
}

export const requiredConstant = (context: Context, node: GraphNode, index: number): Constant =>
  constantAt(context, node, index) ?? uncovered(node, `lacks input ${index}`, 'MODEL_INPUT')

/** Entries of the longest list of axes, dimensions or lengths. */
const LONGEST_LIST = 2 ** 16

/** The integers of a constant list. */
export const integersAt = (context: Context, node: GraphNode, index: number): number[] | null => {
  const constant = constantAt(context, node, index)
  if (constant === null) return null
  if (constant.dtype !== 'int64' && constant.dtype !== 'int32')
    uncovered(node, `input ${index} must be int64 or int32`, 'MODEL_DTYPE')
  if (constant.data.length > LONGEST_LIST)
    uncovered(node, `input ${index} is a list of ${constant.data.length} integers`, 'MODEL_SHAPE')
  return Array.from(constant.data)
}

export const setActivation = (context: Context, node: GraphNode, activation: Activation, output = 0): void => {
  const name = node.outputs[output]
  if (name) context.values.set(name, { kind: 'activation', activation })
}

/** Whether nothing but this node reads one of its inputs. */
export const isOnlyReader = (context: Context, node: GraphNode, index: number): boolean =>
  context.readers.get(node.inputs[index]!) === 1

export const resolveAxis = axisOf
