import { SinterError } from '../../protocol/errors.ts'
import { stridesOf } from '../access.ts'
import { broadcastShapes, walk } from '../fold-tensor.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { GraphNode } from '../onnx.ts'
import type { Grid, PlanArray, PlanLinear, PlanOp, PlanTerm } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { type Activation, type Context, IDENTITY, uncovered } from './context.ts'
import { alignedOperand, type Frame, frameOf, orderLike, stridesOver } from './frame.ts'
import { commonFactors, isExact, numbersOver, plainFactors, type Ref, range, refined, wholeRef } from './ref.ts'
import { spend } from './work.ts'

/** Adding ops and tensors to a plan. */

export function addTensor(
  { plan }: Context,
  name: string,
  frame: Frame,
  { bits = 16, grid = { kind: 'free' } }: { bits?: 16 | 32; grid?: Grid } = {},
): Ref {
  const elements = elementCount(frame.shape)
  if (!(elements <= MANIFEST_LIMITS.tensorElements))
    throw new SinterError('MODEL_SHAPE', `${name} would have ${elements} elements`)
  const ref = wholeRef(plan.tensors.length, frame.shape, frame.factors, frame.order)
  plan.tensors.push({ name, shape: ref.dims, bits, grid, viewOf: null })
  return ref
}

export type TensorOptions = NonNullable<Parameters<typeof addTensor>[3]>

/** Adds a linear op and its output. */
export function emitLinear(
  context: Context,
  name: string,
  tensorName: string,
  frame: Frame,
  terms: PlanTerm[],
  bias: number | PlanArray = 0,
  options: TensorOptions = {},
): Activation & { form: 'plain' } {
  const ref = addTensor(context, tensorName, frame, options)
  const writer: PlanLinear = { kind: 'linear', name, output: ref.tensor, terms, bias }
  context.plan.ops.push(writer)
  return { form: 'plain', ref, unary: IDENTITY, writer }
}

/**
 * Views brought to one shape and the same variables. Where their variables cannot be cut alike, a view is copied first.
 * @param apart axes of single views (counted in the common rank) that are left as they are and count as one element
 * @returns the views, with axes of one element where they are spread, and the frame of the result
 */
export function alignRefs(
  context: Context,
  node: GraphNode,
  refs: Ref[],
  extra: readonly (readonly number[])[] = [],
  apart: (view: number, axis: number) => boolean = () => false,
): { refs: Ref[]; frame: Frame } {
  const rank = Math.max(0, ...refs.map((ref) => ref.shape.length), ...extra.map((dims) => dims.length))
  const own = refs.map((ref): Ref => {
    const lead = rank - ref.shape.length
    return {
      ...ref,
      shape: [...range(lead).map(() => 1), ...ref.shape],
      factors: [...range(lead).map(() => []), ...ref.factors],
    }
  })
  const shape =
    broadcastShapes([...own.map((ref, i) => ref.shape.map((dim, axis) => (apart(i, axis) ? 1 : dim))), ...extra]) ??
    uncovered(node, `its shapes [${refs.map((ref) => ref.shape).join('] and [')}] do not fit`, 'MODEL_SHAPE')
  const factors = plainFactors(shape)
  for (let axis = 0; axis < rank; axis++) {
    let common: number[] | null = null
    own.forEach((ref, i) => {
      if (ref.shape[axis] === 1 || apart(i, axis)) return
      const found: number[] | null = common === null ? ref.factors[axis]! : commonFactors(common, ref.factors[axis]!)
      if (found === null) own[i] = copyRef(context, node, ref)
      common = found ?? common
    })
    if (common !== null) factors[axis] = common
  }
  const fitted = own.map((ref, i) =>
    ref.shape.reduce(
      (each, dim, axis) => (dim === 1 || apart(i, axis) ? each : refined(each, axis, factors[axis]!)),
      ref,
    ),
  )
  const whole = fitted.find((ref) => String(ref.shape) === String(shape))
  const order = whole === undefined ? range(factors.flat().length) : orderLike(whole)
  return { refs: fitted, frame: frameOf(shape, factors, order) }
}

/**
 * The elements of a view moved to a tensor of their own, its axes in the order given. Axes in `keep` have a variable even
 * where they have one element.
 */
export function copyRef(
  context: Context,
  node: GraphNode,
  ref: Ref,
  options: { order?: number[]; keep?: number[]; grid?: Grid } = {},
): Ref {
  const { order: axes = range(ref.shape.length), keep = [], grid = { kind: 'same', as: ref.tensor } } = options
  const name = `${node.outputs[0] ?? node.name}/copy`
  // The copy is made with the source's own variables, which are the finer ones, and read with one for each axis.
  const inOrder = (factors: number[][]): number[] =>
    axes.flatMap((axis) => {
      const first = factors.slice(0, axis).flat().length
      return factors[axis]!.map((_, i) => first + i)
    })
  const fine = frameOf(ref.shape, ref.factors, inOrder(ref.factors))
  const terms = [{ ...alignedOperand(ref, fine), reduce: [], weight: 1 }]
  const copy = emitLinear(context, `${node.name}/copy`, name, fine, terms, 0, { grid }).ref
  const factors = ref.shape.map((dim, axis) => (dim > 1 || keep.includes(axis) ? [dim] : []))
  if (factors.flat().length === ref.factors.flat().length) return copy
  const view = wholeRef(context.plan.tensors.length, ref.shape, factors, inOrder(factors))
  context.plan.tensors.push({
    name: `${name}/view`,
    shape: view.dims,
    bits: 16,
    grid: { kind: 'same', as: copy.tensor },
    viewOf: copy.tensor,
  })
  return view
}

/** A view whose named axes are whole axes of its tensor: copied unless they are. */
export function exactRef(context: Context, node: GraphNode, ref: Ref, axes: number[]): Ref {
  return axes.every((axis) => isExact(ref, axis)) ? ref : copyRef(context, node, ref, { keep: axes })
}

/** The grid behind a chain of `same`. */
export function gridOf({ plan }: Context, tensor: number): Grid {
  const { grid } = plan.tensors[tensor]!
  return grid.kind === 'same' ? gridOf({ plan } as Context, grid.as) : grid
}

/** An array over loops from two, element by element. */
export function combine(
  extents: number[],
  a: number | PlanArray,
  b: number | PlanArray,
  apply: (a: number, b: number) => number,
): number | PlanArray {
  if (typeof a === 'number' && typeof b === 'number') return apply(a, b)
  const step = (side: number | PlanArray, index: number): number =>
    typeof side === 'number' ? 0 : (side.strides[index] ?? 0)
  const moving = range(extents.length).filter((index) => step(a, index) !== 0 || step(b, index) !== 0)
  const dims = moving.map((index) => extents[index]!)
  const from = (side: number | PlanArray): ArrayLike<number> =>
    typeof side === 'number'
      ? { length: 1, 0: side }
      : walk(
          side.data,
          dims,
          moving.map((index) => step(side, index)),
        )
  const left = from(a)
  const right = from(b)
  const data = numbersOver(dims)
  spend(data.length)
  for (let i = 0; i < data.length; i++)
    data[i] = apply(typeof a === 'number' ? a : left[i]!, typeof b === 'number' ? b : right[i]!)
  const strides = stridesOf(dims)
  return {
    data,
    strides: stridesOver(
      extents.length,
      moving.map((index, i) => [index, strides[i]!]),
    ),
  }
}

export const pushOp = (context: Context, op: PlanOp): void => {
  context.plan.ops.push(op)
}
