import type { Unary } from './context.ts'
import { spend } from './work.ts'

/**
 * Functions that jump. The segments of a table join their ends, so that between two inputs next to a jump a table has every value in between:
 * far from what the model means. What is made of such functions may be smooth all the same: sign(x)·|x|, or the two sides of a choice.
 */
export const STEPS: ReadonlySet<string> = new Set(['Ceil', 'Floor', 'Round', 'Sign', 'ThresholdedRelu', 'Where'])

/** Sizes of numbers between which jumps are looked for: 32 in each octave. */
const SIZES = Array.from({ length: 36 * 32 }, (_, i) => 2 ** (i / 32 - 20))
const PLACES = [...SIZES.toReversed().map((x) => -x), 0, ...SIZES]
/** Share of a value by which it may change at once: two forms of one function differ by their rounding where they meet. */
const JUMP = 1e-4

/** Whether a function leaps from one value to another somewhere. */
export function jumps({ apply, size }: Unary): boolean {
  spend(PLACES.length * size)
  for (let i = 1; i < PLACES.length; i++) {
    let [below, above] = [PLACES[i - 1]!, PLACES[i]!]
    let [left, right] = [apply(below), apply(above)]
    const leaps = (): boolean => Math.abs(left - right) > JUMP * Math.max(1, Math.abs(left), Math.abs(right))
    if (!Number.isFinite(left) || !Number.isFinite(right)) continue
    // Into the half that changes more, until nothing is left of the change or of the interval.
    while (leaps()) {
      const middle = (below + above) / 2
      if (!(middle > below && middle < above)) return true
      const value = apply(middle)
      if (Math.abs(value - left) > Math.abs(right - value)) [above, right] = [middle, value]
      else [below, left] = [middle, value]
    }
  }
  return false
}
