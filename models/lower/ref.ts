import { SinterError } from '../../protocol/errors.ts'
import { stridesOf } from '../access.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { PlanAxis, PlanOperand } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { spend } from './work.ts'

/**
 * An affine view of one plan tensor, with the shape that the ONNX graph gives it. Each logical axis is a product of
 * variables (none for an axis of one element), so that reshaping splits and joins axes without moving anything; the index on
 * each of the tensor's own axes is offset + Σ coef·variable.
 */
export type Ref = {
  tensor: number
  /** Extents of the tensor's own axes. */
  dims: number[]
  shape: number[]
  /** Extents of the variables of each logical axis, outermost first; all above 1. */
  factors: number[][]
  /** Per axis of the tensor: a coefficient for each variable. */
  axes: { coefs: number[]; offset: number }[]
}

export const sameRef = (a: Ref, b: Ref): boolean =>
  a === b ||
  (a.tensor === b.tensor &&
    JSON.stringify([a.shape, a.factors, a.axes]) === JSON.stringify([b.shape, b.factors, b.axes]))

type Variable = { extent: number; coefs: number[] }

const variables = (ref: Ref): Variable[][] => {
  let at = 0
  return ref.factors.map((extents) =>
    extents.map((extent) => {
      const variable = { extent, coefs: ref.axes.map(({ coefs }) => coefs[at]!) }
      at++
      return variable
    }),
  )
}

const rebuilt = (ref: Ref, groups: Variable[][], offsets = ref.axes.map(({ offset }) => offset)): Ref => {
  const flat = groups.flat()
  return {
    ...ref,
    shape: groups.map((group) => elementCount(group.map(({ extent }) => extent))),
    factors: groups.map((group) => group.map(({ extent }) => extent)),
    axes: ref.axes.map((_, axis) => ({ coefs: flat.map(({ coefs }) => coefs[axis]!), offset: offsets[axis]! })),
  }
}

/** One variable for each axis of more than one element. */
export const plainFactors = (shape: readonly number[]): number[][] => shape.map((dim) => (dim > 1 ? [dim] : []))

const LONGEST_LIST = 2 ** 22
/** A list is made a few times over, as positions, weights and tables, and takes longer than an array. */
export const LIST_COST = 32

/**
 * 0, 1, … as a list, of which an axis or a table needs one. Throws `MODEL_SHAPE` beyond 2^22: a few bytes of pads or scales can
 * ask for any number.
 */
export function range(count: number): number[] {
  if (!(count <= LONGEST_LIST)) throw new SinterError('MODEL_SHAPE', `an axis would have ${count} elements`)
  spend(LIST_COST * count)
  return Array.from({ length: count }, (_, i) => i)
}

/** A list of numbers over the points of loops; throws as `range`. */
export function numbersOver(extents: readonly number[]): Float64Array {
  const count = elementCount(extents)
  if (!(count <= MANIFEST_LIMITS.tensorElements))
    throw new SinterError('MODEL_SHAPE', `a constant would have ${count} elements`)
  spend(count)
  return new Float64Array(count)
}

/**
 * A whole tensor.
 * @param order the variable behind each of the tensor's axes; a variable of none, −1, is an axis of one element
 */
export function wholeRef(tensor: number, shape: number[], factors: number[][], order: number[]): Ref {
  const extents = factors.flat()
  return {
    tensor,
    dims: order.map((each) => (each < 0 ? 1 : extents[each]!)),
    shape,
    factors,
    axes: order.map((each) => ({ coefs: extents.map((_, i) => Number(i === each)), offset: 0 })),
  }
}

/** Index of an axis's first variable among all. */
const firstVariable = (ref: Ref, axis: number): number => ref.factors.slice(0, axis).flat().length

/** Steps in the tensor's memory along each variable. */
export function flatSteps(ref: Ref): number[] {
  const strides = stridesOf(ref.dims)
  return ref.factors
    .flat()
    .map((_, i) => ref.axes.reduce((sum, { coefs }, axis) => sum + coefs[i]! * strides[axis]!, 0))
}

/** Whether every element of the tensor is in the view. */
export function coversAll(ref: Ref): boolean {
  const extents = ref.factors.flat()
  return elementCount(extents.filter((_, i) => ref.axes.some(({ coefs }) => coefs[i] !== 0))) === elementCount(ref.dims)
}

/** Whether the view is the tensor, element for element in the same order. */
export function isRowMajor(ref: Ref): boolean {
  const wanted = stridesOf(ref.factors.flat())
  return (
    elementCount(ref.shape) === elementCount(ref.dims) &&
    ref.axes.every(({ offset }) => offset === 0) &&
    flatSteps(ref).every((step, i) => step === wanted[i])
  )
}

/**
 * Whether an axis is one axis of the tensor, whole and in order: only then do positions outside the one lie outside the other,
 * and may be multiplied, divided and looked up.
 */
export function isExact(ref: Ref, axis: number): boolean {
  const at = firstVariable(ref, axis)
  if (ref.factors[axis]!.length !== 1) return false
  const moved = ref.axes.flatMap(({ coefs }, i) => (coefs[at] !== 0 ? [i] : []))
  const [only] = moved
  if (only === undefined || moved.length > 1) return false
  const { coefs, offset } = ref.axes[only]!
  return (
    offset === 0 &&
    coefs[at] === 1 &&
    coefs.every((coef, i) => i === at || coef === 0) &&
    ref.dims[only] === ref.shape[axis]
  )
}

export function transposed(ref: Ref, order: number[]): Ref {
  const groups = variables(ref)
  return rebuilt(
    ref,
    order.map((axis) => groups[axis]!),
  )
}

/** `count` positions from `start` on, `step` apart; null where the axis has several variables. */
export function sliced(ref: Ref, axis: number, start: number, step: number, count: number): Ref | null {
  if (start === 0 && step === 1 && count === ref.shape[axis]) return ref
  const groups = variables(ref)
  const group = groups[axis]!
  if (group.length > 1) return null
  const [variable] = group
  const offsets = ref.axes.map(({ offset }, i) => offset + (variable === undefined ? 0 : variable.coefs[i]! * start))
  groups[axis] =
    variable === undefined || count === 1 ? [] : [{ extent: count, coefs: variable.coefs.map((coef) => coef * step) }]
  return rebuilt(ref, groups, offsets)
}

/** Axes of one element repeated, new ones in front. */
export function expanded(ref: Ref, shape: readonly number[]): Ref {
  const groups = variables(ref)
  while (groups.length < shape.length) groups.unshift([])
  return rebuilt(
    ref,
    groups.map((group, axis) =>
      group.length === 0 && shape[axis]! > 1 ? [{ extent: shape[axis]!, coefs: ref.axes.map(() => 0) }] : group,
    ),
  )
}

const split = ({ extent, coefs }: Variable, outer: number): [Variable, Variable] => [
  { extent: outer, coefs: coefs.map((coef) => (coef * extent) / outer) },
  { extent: extent / outer, coefs },
]

/** Neighbours that one variable can stand for are joined. */
function merged(list: Variable[]): Variable[] {
  const out: Variable[] = []
  for (const next of list) {
    const last = out.at(-1)
    if (last?.coefs.every((coef, i) => coef === next.coefs[i]! * next.extent))
      out[out.length - 1] = { extent: last.extent * next.extent, coefs: next.coefs }
    else out.push(next)
  }
  return out
}

/** The same elements, row-major, under another shape; null where a variable would have to be cut unevenly. */
export function reshaped(ref: Ref, shape: readonly number[]): Ref | null {
  const queue = merged(variables(ref).flat())
  const groups: Variable[][] = []
  for (const dim of shape) {
    const group: Variable[] = []
    for (let need = dim; need > 1; ) {
      const next = queue.shift()
      if (next === undefined) return null
      if (need % next.extent === 0) {
        group.push(next)
        need /= next.extent
      } else if (next.extent % need === 0) {
        const [outer, inner] = split(next, need)
        group.push(outer)
        queue.unshift(inner)
        need = 1
      } else return null
    }
    groups.push(group)
  }
  return rebuilt(ref, groups)
}

/** The coarsest lists of extents that two factorisations of one axis can both be cut to; null where there is none. */
export function commonFactors(a: readonly number[], b: readonly number[]): number[] | null {
  const left = [...a]
  const right = [...b]
  const out: number[] = []
  while (left.length > 0 && right.length > 0) {
    const x = left.pop()!
    const y = right.pop()!
    const least = Math.min(x, y)
    if (x % least !== 0 || y % least !== 0) return null
    out.unshift(least)
    if (x > least) left.push(x / least)
    if (y > least) right.push(y / least)
  }
  return left.length === right.length ? out : null
}

/** The view with an axis's variables cut finer, as `commonFactors` says. */
export function refined(ref: Ref, axis: number, factors: readonly number[]): Ref {
  const groups = variables(ref)
  const queue = groups[axis]!
  const out: Variable[] = []
  for (const extent of factors) {
    const next = queue.shift()!
    if (next.extent === extent) out.push(next)
    else {
      const [outer, inner] = split(next, extent)
      out.push(outer)
      queue.unshift(inner)
    }
  }
  groups[axis] = out
  return rebuilt(ref, groups)
}

/** How a variable of a view is found from an op's loops. */
export type Position = {
  /** [loop, coefficient] */
  loops: [number, number][]
  offset: number
  divisor: number
  table: Int32Array | null
}

export const loop = (index: number): Position => ({ loops: [[index, 1]], offset: 0, divisor: 1, table: null })
export const affine = (loops: [number, number][], offset = 0, divisor = 1): Position => ({
  loops,
  offset,
  divisor,
  table: null,
})

/** What an op reads, given a position for each variable of the view. Divisors and tables ask for an exact axis. */
export function operandOf(ref: Ref, positions: Position[], loops: number): PlanOperand {
  const axes = ref.axes.map(({ coefs, offset }): PlanAxis => {
    const out: PlanAxis = { coefs: new Array<number>(loops).fill(0), offset, divisor: 1, table: null }
    coefs.forEach((coef, variable) => {
      if (coef === 0) return
      const position = positions[variable]!
      for (const [index, step] of position.loops) out.coefs[index]! += coef * step
      out.offset += coef * position.offset
      if (position.divisor !== 1 || position.table !== null) {
        out.divisor = position.divisor
        out.table = position.table
      }
    })
    return out
  })
  return { tensor: ref.tensor, axes }
}
