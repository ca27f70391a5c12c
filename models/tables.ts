import { SinterError } from '../protocol/errors.ts'
import type { PlanTable, PlanTensor, Scale } from './plan.ts'
import { roundTiesToEven } from './quantise.ts'
import { tableRange } from './validate.ts'

/** Scales from ranges, and functions as tables of 65 knots. */

/** Highest exponent ever chosen; a tensor of zeros would otherwise have none. */
const MAX_EXPONENT = 30
export const MIN_EXPONENT = -32

/** Smallest and largest value of a tensor in the samples, masked elements left out. */
export type Range = { low: number; high: number }

export const outOfRange = (name: string, what: string): never => {
  throw new SinterError('CALIBRATION_RANGE', `${name}: ${what}`)
}

export const sizeOf = ({ low, high }: Range): number => Math.max(Math.abs(low), Math.abs(high))

/** The largest exponent at which `size` fits an integer of at most `most`. */
export function exponentFor(size: number, most = 32_767): number {
  let exponent = MAX_EXPONENT
  while (exponent > MIN_EXPONENT && size * 2 ** exponent > most) exponent--
  return exponent
}

const PROBES = 256

/**
 * The power of two to which a table's inputs are best limited, up to `range`: finer segments follow the function more
 * closely, inputs beyond all give the same.
 */
export function usefulRange(apply: (x: number) => number, range: number): number {
  const top = 2 ** Math.ceil(Math.log2(range))
  const beyond = (limit: number, side: 1 | -1): number => {
    let most = 0
    for (let i = 0; i <= PROBES; i++)
      most = Math.max(most, Math.abs(apply(side * (limit + ((range - limit) * i) / PROBES)) - apply(side * limit)))
    return most
  }
  const between = (limit: number): number => {
    const step = limit / 32
    let most = 0
    for (let i = -32; i < 32; i++) {
      const [a, b, middle] = [i, i + 1, i + 0.5].map((at) => apply(at * step)) as [number, number, number]
      // A kink or a pole inside a segment is as bad at every size.
      most = Math.max(most, Math.abs(middle - (a + b) / 2) / 2)
    }
    return most
  }
  let best = { limit: range, error: between(top) }
  for (let limit = top / 2; limit > top * 2 ** -12; limit /= 2) {
    const outside = Math.max(beyond(limit, 1), beyond(limit, -1))
    const error = Math.max(outside, between(limit))
    if (error < best.error * 0.75) best = { limit, error }
    if (!(outside < best.error)) break
  }
  return best.limit
}

/**
 * 65 knots whose lines lie between a function's curve and its chords, so that the largest error is half of the chords'. Where
 * the function is a line, the knots are on it.
 */
function knotValues(apply: (x: number) => number, at: (u: number) => number): number[] {
  const exact = Array.from({ length: 65 }, (_, i) => apply(at(1024 * i - 32_768)))
  const over = Array.from({ length: 64 }, (_, i) => {
    const middle = apply(at(1024 * i - 32_256))
    const error = middle - (exact[i]! + exact[i + 1]!) / 2
    // A kink inside a segment is left alone: half its error would be moved to its neighbours.
    const quarters = [0.25, 0.75].map((part) => {
      const x = apply(at(1024 * (i + part) - 32_768))
      return x - (exact[i]! * (1 - part) + exact[i + 1]! * part)
    })
    const smooth = quarters.every((quarter) => Math.abs(quarter - 0.75 * error) <= 0.25 * Math.abs(error))
    return Number.isFinite(error) && smooth ? error : 0
  })
  return exact.map((value, i) => {
    const sides = [over[i - 1], over[i]].filter((each) => each !== undefined)
    if (!Number.isFinite(value)) return value
    return value + (sides.reduce((sum, each) => sum + each, 0) / sides.length) * 0.5
  })
}

type Tabulated = { scale: Scale; knots: number[] }

/** Knots at a scale; results beyond 16 bits saturate. */
function knotsAt(values: number[], { scale, offset }: Scale): { knots: number[]; saturates: boolean } {
  let saturates = false
  const knots = values.map((value) => {
    const integer = roundTiesToEven(Math.min(1e9, Math.max(-1e9, value / scale)) - offset)
    const clamped = Math.min(32_767, Math.max(-32_768, integer)) + 0
    // One above the top at the very end is reached by no input.
    if (clamped !== integer) saturates = true
    return clamped
  })
  return { knots, saturates }
}

export function tabulate(op: PlanTable, input: Scale, tensor: PlanTensor, range: Range, headroom: number): Tabulated {
  const values = knotValues(op.apply, (u) => (u + input.offset) * input.scale)
  if (op.lowest !== undefined) values[0] = op.lowest
  if (values.some(Number.isNaN)) outOfRange(op.name, `${op.function} has no value somewhere in the range of its input`)
  const { grid } = tensor
  if (grid.kind === 'fixed') {
    const scale = { scale: grid.scale, offset: grid.offset }
    return { scale, knots: knotsAt(values, scale).knots }
  }
  // The last knot may lie one step outside: only what is below it is ever read.
  const fit = (exponent: number): number[] | null => {
    const knots = values.map((value) => roundTiesToEven(value * 2 ** exponent) + 0)
    if (!knots.every((knot) => Math.abs(knot) <= 65_536)) return null
    const { min, max } = tableRange(knots)
    return min >= -32_768 && max <= 32_767 ? knots : null
  }
  let whole = MAX_EXPONENT
  while (whole > MIN_EXPONENT && fit(whole) === null) whole--
  // Results far beyond those of the samples saturate rather than make the others coarse.
  const wanted = exponentFor(sizeOf(range) * headroom)
  if (whole >= wanted - 2) {
    const knots = fit(whole)
    if (knots === null) return outOfRange(op.name, `no exponent fits the results of ${op.function}`)
    return { scale: { scale: 2 ** -whole, offset: 0 }, knots }
  }
  const scale = { scale: 2 ** -wanted, offset: 0 }
  return { scale, knots: knotsAt(values, scale).knots }
}
