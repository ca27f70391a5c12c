import type { PlanTable, PlanTensor, Scale } from './plan.ts'
import { roundTiesToEven } from './quantise.ts'
import { type Range, sizeOf, tabulate } from './tables.ts'

/**
 * A table cut in two where 64 segments are too coarse: f(x) = C(x) + F(x'), with x' the part of x near 0 in finer steps, at whose
 * ends it saturates. There F is f less the chord over that part; C is the chord there, which a table holds exactly, and f elsewhere.
 */
export type Split = {
  /** x' from x, itself a table: exact, as its knots are the ends of the part. */
  near: { scale: Scale; knots: number[] }
  fine: { scale: Scale; knots: number[] }
  coarse: { scale: Scale; knots: number[] }
  /** Of the sum. */
  scale: Scale
}

/** Error of a table in sizes of its results from which cutting it pays, and how much it has to be reduced by. */
const COARSE = 2 ** -10
const GAIN = 4
const SEGMENTS = 64
const STEP = 1024
const LOW = -32_768

/** The largest distance of a function from its chords over segments of the input, halved as knots between curve and chord do. */
function chordError(apply: (x: number) => number, at: (u: number) => number, step: number, from = 0, to = SEGMENTS) {
  let most = 0
  for (let i = from; i < to; i++) {
    const [a, middle, b] = [i, i + 0.5, i + 1].map((each) => apply(at(LOW + each * step))) as [number, number, number]
    most = Math.max(most, Math.abs(middle - (a + b) / 2) / 2)
  }
  return most
}

/** @returns null where one table does */
export function splitTable(
  op: PlanTable,
  input: Scale,
  tensor: PlanTensor,
  range: Range,
  headroom: number,
): Split | null {
  const { apply } = op
  const real =
    ({ scale, offset }: Scale) =>
    (u: number) =>
      (u + offset) * scale
  const at = real(input)
  const whole = chordError(apply, at, STEP)
  if (!(whole > COARSE * sizeOf(range))) return null
  // Integers of the two ends of the part: about 0, or down from it where 0 is the largest input.
  const ends = (k: number): [number, number] | null =>
    input.offset === 0
      ? [LOW / 2 ** k, -LOW / 2 ** k]
      : input.offset === -32_767
        ? [-LOW - 65_536 / 2 ** k, 32_767]
        : null
  let best: { k: number; ends: [number, number]; error: number } | null = null
  for (let k = 1; k <= 5; k++) {
    const found = ends(k)
    if (found === null) return null
    const [first, last] = found.map((u) => Math.ceil((u - LOW) / STEP)) as [number, number]
    const outside = Math.max(chordError(apply, at, STEP, 0, first), chordError(apply, at, STEP, last))
    const inside = chordError(apply, (u) => at(found[0] + (u - LOW) / 2 ** k), STEP)
    const error = Math.max(outside, inside)
    if (best === null || error < best.error) best = { k, ends: found, error }
  }
  if (best === null || best.error * GAIN > whole) return null
  const { k } = best
  const [a, b] = best.ends.map(at) as [number, number]
  const slope = (apply(b) - apply(a)) / (b - a)
  const chord = (x: number): number => apply(a) + slope * (x - a)
  const near: Scale = { scale: input.scale / 2 ** k, offset: input.offset }
  const { scale } = tabulate(op, input, tensor, range, headroom)
  const part = (each: (x: number) => number, from: Scale, to: Scale, lowest?: number) => {
    const grid = { kind: 'fixed', ...to, levels: null } as const
    const { lowest: _, ...rest } = op
    const table = { ...rest, apply: each, ...(lowest === undefined ? {} : { lowest }) }
    return tabulate(table, from, { ...tensor, grid }, range, headroom)
  }
  const above = (x: number): number => apply(x) - chord(x)
  const fine = part(above, near, { scale: scale.scale, offset: 0 })
  // Exact where the part ends: a softmax has its largest score there.
  for (const i of [0, SEGMENTS]) fine.knots[i] = roundTiesToEven(above(real(near)(LOW + i * STEP)) / scale.scale) + 0
  const top = at(32_767)
  return {
    near: {
      scale: near,
      knots: Array.from({ length: SEGMENTS + 1 }, (_, i) => {
        const value = (LOW + i * STEP + input.offset) * 2 ** k - near.offset
        // The last knot is reached by no input: it may lie above the top where what comes before it does not.
        const most = i === SEGMENTS ? 32_767 + 2 ** k : 32_767
        return value > most ? 32_767 : Math.max(LOW, value) + 0
      }),
    },
    fine,
    coarse: part((x) => (x < a || (x > b && b < top) ? apply(x) : chord(x)), input, scale, op.lowest),
    scale,
  }
}
