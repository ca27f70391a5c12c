import { stridesOf } from '../../models/access.ts'
import type { Manifest, Operand } from '../../models/manifest.ts'
import { elementCount, leavesFor, tensorOf } from '../../models/tiling.ts'
import { LEAF_LIMBS } from '../../protocol/statement.ts'

/**
 * Bounds on how many leaves of an operand a tile of an op reads, from its access map alone and in a time that does not depend on how
 * many taps it has. A tile is cut into boxes of the output: full below one axis, a stretch on it, one place above it. The
 * map takes a box to an interval on each axis of the operand; where it lies is left open, but for what aligns it.
 */

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** Leaves that `length` consecutive elements touch at most, when they start at a multiple of `aligned`. */
const runLeaves = (length: number, aligned: number): number =>
  Math.ceil((length + LEAF_LIMBS - gcd(LEAF_LIMBS, aligned)) / LEAF_LIMBS)

/** Leaves that a point set touches which, on each axis, has at most `count` places within `hull` neighbouring ones. */
function blockLeaves(shape: number[], axes: { count: number; hull: number }[]): number {
  const strides = stridesOf(shape)
  let leaves = 1
  let span = 1
  let aligned = 0
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const { count, hull } = axes[axis]!
    span += (hull - 1) * strides[axis]!
    // An interval that is the whole axis starts at its first place; any other may start anywhere.
    if (hull < shape[axis]!) aligned = gcd(aligned, strides[axis]!)
    const outer = axis === 0 ? aligned : gcd(aligned, strides[axis - 1]!)
    leaves = Math.min(leaves * count, runLeaves(span, outer === 0 ? LEAF_LIMBS : outer))
  }
  return Math.min(leaves, leavesFor(elementCount(shape)))
}

/**
 * Leaves, each tree of the tensor counted once, that an operand reads for a box of the output.
 * @param extents of all loops: the box's, then the reduced ones
 */
export function operandLeaves(manifest: Manifest, operand: Operand, extents: number[]): number {
  const { shape } = tensorOf(manifest, operand.tensor)
  const axes = operand.axes.map(({ coefs, divisor, table }, axis) => {
    const dim = shape[axis]!
    let reach = 0
    let points = 1
    coefs.forEach((coef, loop) => {
      reach += Math.abs(coef) * (extents[loop]! - 1)
      if (coef !== 0) points *= extents[loop]!
    })
    const places = Math.floor(reach / divisor) + 1
    // A table scatters: as many places as before, anywhere on the axis.
    return { count: Math.min(points, places, dim), hull: table === null ? Math.min(places, dim) : dim }
  })
  return blockLeaves(shape, axes)
}

/**
 * Cost of the elements `first` … `last` of an output, where a box costs `box(axis, length)`. A run that crosses lines is taken
 * as the box around it or as its pieces, whichever is less.
 */
function runCost(
  shape: number[],
  strides: number[],
  first: number,
  last: number,
  box: (axis: number, length: number) => number,
  axis = 0,
): number {
  if (axis === shape.length) return box(axis, 1)
  const stride = strides[axis]!
  const from = Math.floor(first / stride)
  const to = Math.floor(last / stride)
  if (from === to) return runCost(shape, strides, first, last, box, axis + 1)
  const around = box(axis, to - from + 1)
  const start = first === from * stride ? from : from + 1
  const end = last === (to + 1) * stride - 1 ? to : to - 1
  let pieces = end >= start ? box(axis, end - start + 1) : 0
  if (start > from) pieces += runCost(shape, strides, first, start * stride - 1, box, axis + 1)
  if (end < to) pieces += runCost(shape, strides, (end + 1) * stride, last, box, axis + 1)
  return Math.min(around, pieces)
}

/** Positions of tiles looked at per operand, and of all operands of a manifest together; beyond, the bound is that a tile reads everything. */
const MAX_POSITIONS = 2 ** 16
const ALL_POSITIONS = 2 ** 24

/** How many positions are looked at for each of so many operands. */
export const positionsOf = (operands: number): number => Math.min(MAX_POSITIONS, Math.floor(ALL_POSITIONS / operands))

/** Where tiles of `size` elements can lie in an output, up to places that make no difference; null where these are too many. */
export function tilePositions(shape: number[], size: number, most = MAX_POSITIONS): number[] | null {
  const total = elementCount(shape)
  // Tiles that fill the lower axes exactly lie the same way in each place of the upper ones.
  let period = 1
  for (let axis = shape.length; axis > 0 && period % size !== 0; axis--) period *= shape[axis - 1]!
  const count = Math.ceil((period % size === 0 ? period : total) / size)
  return count > most ? null : Array.from({ length: count }, (_, i) => i * size)
}

/** The most that a tile's run of elements costs over all places where it can lie; `whole` where these are more than `places`. */
export function dearestRun(
  shape: number[],
  size: number,
  box: (axis: number, length: number) => number,
  whole: number,
  places = MAX_POSITIONS,
): number {
  const positions = tilePositions(shape, size, places)
  if (positions === null) return whole
  const strides = stridesOf(shape)
  const known = new Map<number, number>()
  const cached = (axis: number, length: number): number => {
    const key = axis * 2 ** 20 + length
    let cost = known.get(key)
    if (cost === undefined) {
      cost = box(axis, length)
      known.set(key, cost)
    }
    return cost
  }
  const total = elementCount(shape)
  let most = 0
  for (const first of positions)
    most = Math.max(most, runCost(shape, strides, first, Math.min(first + size, total) - 1, cached))
  return Math.min(most, whole)
}
