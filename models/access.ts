import { SinterError } from '../protocol/errors.ts'
import type { Manifest, Operand, Slice, Strided } from './manifest.ts'

/** Row-major strides of a shape, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const out = new Array<number>(shape.length).fill(1)
  for (let axis = shape.length - 2; axis >= 0; axis--) out[axis] = out[axis + 1]! * shape[axis + 1]!
  return out
}

/** An int32 array of the weights file, copied (which also gives the alignment that typed arrays ask for). */
export function int32Slice(file: Uint8Array, { offset, count }: Slice): Int32Array {
  return new Int32Array(new Uint8Array(file.subarray(offset, offset + 4 * count)).buffer)
}

/** An int64 array of the weights file as float64, exact for all that pass the accumulator bound. */
export function int64Slice(file: Uint8Array, { offset, count }: Slice): Float64Array {
  return Float64Array.from(new BigInt64Array(new Uint8Array(file.subarray(offset, offset + 8 * count)).buffer), Number)
}

type AxisReader = {
  coefs: Float64Array
  offset: number
  divisor: number
  table: Int32Array | null
  dim: number
  stride: number
}

/** An operand with its tables read: finds the element behind each point of the op's loops. */
export type Reader = { tensor: number; zero: number; axes: AxisReader[]; loops: readonly number[] }

/**
 * @param loops extents of the op's loops: output axes, then reduced ones
 * @param file the weights file
 */
export function readerOf(manifest: Manifest, file: Uint8Array, operand: Operand, loops: readonly number[]): Reader {
  const tensor = manifest.tensors[operand.tensor]
  if (tensor === undefined) throw new SinterError('TOPOLOGY', `there is no tensor ${operand.tensor}`)
  const strides = stridesOf(tensor.shape)
  return {
    tensor: tensor.viewOf ?? operand.tensor,
    zero: operand.zero,
    loops,
    axes: operand.axes.map((axis, i) => ({
      coefs: Float64Array.from(axis.coefs),
      offset: axis.offset,
      divisor: axis.divisor,
      table: axis.table === null ? null : int32Slice(file, axis.table),
      dim: tensor.shape[i]!,
      stride: strides[i]!,
    })),
  }
}

/** Position on one axis, or −1 where nothing is. `at` is offset + Σ coefs·loop. */
function position({ divisor, table, dim }: AxisReader, at: number): number {
  if (at < 0 || at % divisor !== 0) return -1
  const index = at / divisor
  if (table === null) return index < dim ? index : -1
  if (index >= table.length) return -1
  const found = table[index]!
  return found >= 0 && found < dim ? found : -1
}

/** Flat index in the operand's tensor of the tap at `point` (one coordinate per loop), or −1 where it is absent. */
export function elementAt({ axes }: Reader, point: ArrayLike<number>): number {
  let flat = 0
  for (const axis of axes) {
    let at = axis.offset
    for (let loop = 0; loop < axis.coefs.length; loop++) at += axis.coefs[loop]! * point[loop]!
    const index = position(axis, at)
    if (index < 0) return -1
    flat += index * axis.stride
  }
  return flat
}

/** Whether an operand's element depends on a loop. */
export const dependsOn = (reader: Reader, loop: number): boolean => reader.axes.some(({ coefs }) => coefs[loop] !== 0)

/** Elements between two neighbours along a loop, where that is the same everywhere; else null. */
export function stepAlong({ axes }: Reader, loop: number): number | null {
  let step = 0
  for (const { coefs, divisor, table, stride } of axes) {
    if (coefs[loop] === 0) continue
    if (divisor !== 1 || table !== null) return null
    step += coefs[loop]! * stride
  }
  return step
}

/** Number of points of the named loops. */
export const pointsOf = (loops: readonly number[], dims: readonly number[]): number =>
  dims.reduce((product, dim) => product * loops[dim]!, 1)

/** Calls `visit` for each point of the named loops in row-major order, with `point` changed in place; it is left as it was. */
export function forEachPoint(
  loops: readonly number[],
  dims: readonly number[],
  point: Float64Array,
  visit: () => void,
): void {
  const saved = dims.map((dim) => point[dim]!)
  const total = pointsOf(loops, dims)
  for (const dim of dims) point[dim] = 0
  for (let n = 0; n < total; n++) {
    visit()
    for (let i = dims.length - 1; i >= 0; i--) {
      const dim = dims[i]!
      if (++point[dim]! < loops[dim]!) break
      point[dim] = 0
    }
  }
  dims.forEach((dim, i) => {
    point[dim] = saved[i]!
  })
}

/**
 * Flat indices (−1: absent) of all points of the named loops, row-major, the other coordinates as in `point`. The innermost
 * loop is filled as an arithmetic progression where the operand allows it.
 */
export function indicesOf(
  reader: Reader,
  dims: readonly number[],
  point: Float64Array,
  out: Int32Array,
  from = 0,
): number {
  const { loops, axes } = reader
  const inner = dims.at(-1)
  if (inner === undefined) {
    out[from] = elementAt(reader, point)
    return from + 1
  }
  const length = loops[inner]!
  const step = stepAlong(reader, inner)
  let at = from
  forEachPoint(loops, dims.slice(0, -1), point, () => {
    if (step === null) {
      for (point[inner] = 0; point[inner]! < length; point[inner]!++) out[at++] = elementAt(reader, point)
      return
    }
    point[inner] = 0
    // The stretch of the inner loop in which every axis stays inside; the axes that do not move are inside or not.
    let first = 0
    let last = length - 1
    let flat = 0
    for (const axis of axes) {
      let start = axis.offset
      for (let loop = 0; loop < axis.coefs.length; loop++) start += axis.coefs[loop]! * point[loop]!
      const coef = axis.coefs[inner]!
      if (coef === 0) {
        const index = position(axis, start)
        if (index < 0) last = -1
        flat += index * axis.stride
        continue
      }
      const [low, high] =
        coef > 0 ? [-start / coef, (axis.dim - 1 - start) / coef] : [(axis.dim - 1 - start) / coef, -start / coef]
      first = Math.max(first, Math.ceil(low))
      last = Math.min(last, Math.floor(high))
      flat += start * axis.stride
    }
    for (let j = 0; j < length; j++) out[at + j] = j >= first && j <= last ? flat + j * step : -1
    at += length
  })
  return at
}

/** Whether every point of the loops has its tap. Conservative: false where a table or divisor makes it hard to tell. */
export function isTotal({ axes, loops }: Reader): boolean {
  return axes.every(({ coefs, offset, divisor, table, dim }) => {
    let low = offset
    let high = offset
    coefs.forEach((coef, loop) => {
      if (coef < 0) low += coef * (loops[loop]! - 1)
      else high += coef * (loops[loop]! - 1)
    })
    if (divisor !== 1 && (low !== high || low % divisor !== 0)) return false
    if (low < 0) return false
    if (table === null) return high / divisor < dim
    return high / divisor < table.length && table.every((entry) => entry >= 0 && entry < dim)
  })
}

/** Index into a strided array at a point of the loops. */
export function stridedIndex({ strides }: Pick<Strided, 'strides'>, point: ArrayLike<number>): number {
  let at = 0
  for (let loop = 0; loop < strides.length; loop++) at += strides[loop]! * point[loop]!
  return at
}

/** Coordinates of a flat row-major index, written to the first places of `point`. */
export function unravel(shape: readonly number[], index: number, point: Float64Array): void {
  let rest = index
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    point[axis] = rest % shape[axis]!
    rest = Math.floor(rest / shape[axis]!)
  }
}
