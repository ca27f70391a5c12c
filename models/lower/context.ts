import { SinterError } from '../../protocol/errors.ts'
import type { Constant, Graph, GraphNode } from '../onnx.ts'
import type { Plan, PlanAxis, PlanLinear, PlanOp, PlanOperand, PlanScale } from '../plan.ts'
import { elementCount } from '../tiling.ts'

/** An elementwise function that is still to be applied to a tensor's values. */
export type Unary = { name: string; node: string; apply: (x: number) => number }

/** One axis of a plan tensor, as a function of the logical position: offset + Σ coefs·position. */
type RefAxis = { coefs: number[]; offset: number }

/** A value of the graph: a view of a plan tensor (batch axis kept in `shape`), with a function that waits to be applied. */
export type Activation = {
  kind: 'activation'
  tensor: number
  shape: number[]
  axes: RefAxis[]
  /** Whether every element of the tensor is seen exactly once. */
  whole: boolean
  unary: Unary | null
}
export type Value = Activation | { kind: 'constant'; constant: Constant }

export type Context = { graph: Graph; plan: Plan; values: Map<string, Value> }

/** A form of an operator that has no canonical meaning: the node is reported as uncovered, the rest goes on. */
export class Uncovered extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export const uncovered = (message: string, code = 'MODEL_OPERATOR'): never => {
  throw new Uncovered(code, message)
}

export const refuse = (code: string, node: GraphNode, message: string): never => {
  throw new SinterError(code, `node ${node.name} (${node.operator}): ${message}`, { detail: { node: node.name } })
}

/** Affine function of an op's loops, with what an index table or a divisor makes of it. */
export type Expr = { coefs: number[]; offset: number; divisor?: number; table?: number[]; padded?: boolean }

export const unit = (loops: number, loop: number, coef = 1, offset = 0): Expr => ({
  coefs: Array.from({ length: loops }, (_, i) => (i === loop ? coef : 0)),
  offset,
})
export const fixedAt = (loops: number, offset = 0): Expr => ({ coefs: new Array<number>(loops).fill(0), offset })

const CALIBRATED: PlanScale = { kind: 'calibrated' }

/**
 * A new tensor for a value of this logical shape. `layout` is the order of the logical axes in memory; those of size 1 are
 * left out, so the loops of the op that writes it are `layoutOf(activation)`.
 */
export function addTensor(
  { plan }: Context,
  name: string,
  shape: number[],
  layout: number[] = shape.map((_, axis) => axis),
  options: { bits?: 16 | 32; scale?: PlanScale } = {},
): Activation {
  const order = layout.filter((axis) => shape[axis]! > 1)
  const physical = order.length === 0 ? [1] : order.map((axis) => shape[axis]!)
  const { bits = 16, scale = CALIBRATED } = options
  const tensor = plan.tensors.push({ name, shape: physical, bits, viewOf: null, scale }) - 1
  const axes = (order.length === 0 ? [-1] : order).map((axis) => ({
    coefs: shape.map((_, i) => (i === axis ? 1 : 0)),
    offset: 0,
  }))
  return { kind: 'activation', tensor, shape, axes, whole: true, unary: null }
}

/** For each physical axis the logical one it is, where that is all it is; null if the view is anything more. */
export function layoutOf({ axes, shape, whole }: Activation): number[] | null {
  if (!whole) return null
  const order: number[] = []
  for (const { coefs, offset } of axes) {
    const used = coefs.flatMap((coef, i) => (coef !== 0 && shape[i]! > 1 ? [i] : []))
    if (offset !== 0 || used.length > 1 || (used.length === 1 && coefs[used[0]!] !== 1)) return null
    if (used.length === 1) order.push(used[0]!)
  }
  return order
}

/** Logical positions of an output's elements in terms of its op's loops (`loops` in all). */
export function outputExprs(output: Activation, loops: number): Expr[] {
  const order = layoutOf(output)!
  return output.shape.map((size, axis) => (size > 1 ? unit(loops, order.indexOf(axis)) : fixedAt(loops)))
}

export const outputRank = ({ plan }: Context, output: Activation): number => plan.tensors[output.tensor]!.shape.length

/**
 * The operand that reads `input` at the logical positions `exprs`, one for each of its axes. Positions that may leave an
 * axis, or that go through a table or divisor, need the axis to be one of the tensor's own: else the input is copied first.
 */
export function operandOf(context: Context, input: Activation, exprs: Expr[], loops: number): PlanOperand {
  const special = exprs.some(({ padded, divisor, table }) => padded || divisor !== undefined || table !== undefined)
  const source = special && layoutOf(input) === null ? materialise(context, input) : input
  const axes = source.axes.map(({ coefs, offset }): PlanAxis => {
    const out: PlanAxis = { coefs: new Array<number>(loops).fill(0), offset, divisor: 1, table: null }
    coefs.forEach((coef, axis) => {
      if (coef === 0) return
      const expr = exprs[axis]!
      for (let loop = 0; loop < loops; loop++) out.coefs[loop]! += coef * expr.coefs[loop]!
      out.offset += coef * expr.offset
      out.divisor = expr.divisor ?? out.divisor
      out.table = expr.table ?? out.table
    })
    return out
  })
  return { tensor: source.tensor, axes }
}

export function addOp<T extends PlanOp>({ plan }: Context, op: T): void {
  plan.ops.push(op)
}

/** Positions of a broadcast operand's axes, given those of the result's. */
export function broadcastExprs(shape: number[], result: Expr[], loops: number): Expr[] {
  return shape.map((size, axis) => (size === 1 ? fixedAt(loops) : result[result.length - shape.length + axis]!))
}

/** A copy in row-major order. */
export function materialise(context: Context, input: Activation): Activation {
  const applied = force(context, input)
  const output = addTensor(context, `${nameOf(context, applied)}/copy`, applied.shape)
  const loops = outputRank(context, output)
  const term = { ...operandOf(context, applied, outputExprs(output, loops), loops), reduce: [], weight: 1 }
  const name = `${nameOf(context, applied)}/copy`
  addOp<PlanLinear>(context, { kind: 'linear', name, output: output.tensor, terms: [term], bias: 0, copy: true })
  return output
}

export const nameOf = ({ plan }: Context, { tensor }: Activation): string => plan.tensors[tensor]!.name

/** Applies what waits to be applied: a table over the whole tensor. */
export function force(context: Context, input: Activation): Activation {
  const { unary } = input
  if (unary === null) return input
  const plain = { ...input, unary: null }
  const source = plain.whole ? plain : materialise(context, plain)
  const { shape } = context.plan.tensors[source.tensor]!
  const name = unary.node
  const tensor = context.plan.tensors.push({ name, shape, bits: 16, viewOf: null, scale: { kind: 'calibrated' } }) - 1
  addOp(context, {
    kind: 'table',
    name,
    input: source.tensor,
    output: tensor,
    function: unary.name,
    apply: unary.apply,
  })
  return { ...source, tensor }
}

/** The value of a node's input as an activation with nothing waiting. */
export function activationOf(context: Context, node: GraphNode, index: number): Activation {
  return force(context, pending(context, node, index))
}

/** The same, with what waits left waiting. */
export function pending({ values }: Context, node: GraphNode, index: number): Activation {
  const value = values.get(node.inputs[index] ?? '')
  if (value === undefined) return refuse('MODEL_MALFORMED', node, `has no input ${index}`)
  return value.kind === 'activation' ? value : uncovered(`its input ${index} is a constant where data is expected`)
}

export function constantOf({ values }: Context, node: GraphNode, index: number): Constant | null {
  const name = node.inputs[index] ?? ''
  if (name === '') return null
  const value = values.get(name)
  if (value === undefined) return refuse('MODEL_MALFORMED', node, `reads ${name}, which nothing produces`)
  return value.kind === 'constant' ? value.constant : null
}

/** A constant that the operator cannot do without. */
export const weightsOf = (context: Context, node: GraphNode, index: number): Constant =>
  constantOf(context, node, index) ?? uncovered(`its input ${index} must be a constant`)

export function numberOf(node: GraphNode, key: string, fallback: number): number {
  const value = node.attributes.get(key) ?? fallback
  return typeof value === 'number' ? value : refuse('MODEL_ATTRIBUTE', node, `${key} is not a number`)
}

export function numbersOf(node: GraphNode, key: string, fallback: number[]): number[] {
  const value = node.attributes.get(key) ?? fallback
  const listed = Array.isArray(value) && value.every((each) => typeof each === 'number')
  return listed ? (value as number[]) : refuse('MODEL_ATTRIBUTE', node, `${key} is not a list of numbers`)
}

/** Integers of an attribute, or since some operator set of an input. */
export function axesOf(context: Context, node: GraphNode, index: number): number[] | null {
  const constant = constantOf(context, node, index)
  if (constant !== null) return [...constant.data]
  const listed = node.attributes.get('axes')
  return listed === undefined ? null : numbersOf(node, 'axes', [])
}

/** A view of the same elements in row-major order under another shape; copied first where no affine view exists. */
export function reshaped(context: Context, input: Activation, shape: number[]): Activation {
  if (elementCount(shape) !== elementCount(input.shape))
    return uncovered(`cannot view [${input.shape}] as [${shape}]`, 'MODEL_SHAPE')
  const strides = (dims: number[]): number[] =>
    dims.map((_, i) => dims.slice(i + 1).reduce((product, dim) => product * dim, 1))
  const old = strides(input.shape)
  const now = strides(shape)
  const fits = (source: Activation): Activation['axes'] | null => {
    const axes = source.axes.map(({ coefs, offset }) => {
      // Along the flat index an axis moves by coef for every `stride` elements: a new axis inherits what divides evenly.
      const out = new Array<number>(shape.length).fill(0)
      for (const [axis, coef] of coefs.entries()) {
        if (coef === 0 || input.shape[axis] === 1) continue
        let left = input.shape[axis]!
        for (let j = shape.length - 1; j >= 0 && left > 1; j--) {
          if (shape[j] === 1) continue
          const low = now[j]!
          const high = low * shape[j]!
          const [from, to] = [old[axis]!, old[axis]! * input.shape[axis]!]
          if (high <= from || low >= to) continue
          if (low < from || high > to || low % from !== 0) return null
          out[j]! += coef * (low / from)
          left /= shape[j]!
        }
        if (left !== 1) return null
      }
      return { coefs: out, offset }
    })
    return axes.some((axis) => axis === null) ? null : (axes as Activation['axes'])
  }
  const axes = fits(input)
  if (axes !== null) return { ...input, shape, axes }
  // Merged axes: a view of the tensor itself where it is row-major already.
  const order = layoutOf(input)
  const inOrder = order?.every((axis, i) => i === 0 || order[i - 1]! < axis) ?? false
  const source = inOrder ? input : materialise(context, input)
  const { name, bits, scale } = context.plan.tensors[source.tensor]!
  const physical = shape.filter((dim) => dim > 1)
  const view = physical.length === 0 ? [1] : physical
  const viewOf = context.plan.tensors[source.tensor]!.viewOf ?? source.tensor
  const tensor = context.plan.tensors.push({ name: `${name}/view`, shape: view, bits, viewOf, scale }) - 1
  const dims = shape.flatMap((dim, i) => (dim > 1 ? [i] : []))
  return {
    ...source,
    tensor,
    shape,
    axes: (dims.length === 0 ? [-1] : dims).map((axis) => ({
      coefs: shape.map((_, i) => (i === axis ? 1 : 0)),
      offset: 0,
    })),
  }
}
