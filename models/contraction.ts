import { pointsOf } from './access.ts'

/** Numbers gathered for a matrix at once: 8 MiB of float64. */
const BLOCK = 2 ** 20

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** Whether a factor moves along a loop. */
export type Moves = (loop: number) => boolean

type Loops = {
  /** Output loops along which both factors move, only the second, and not the second. */
  both: number[]
  columns: number[]
  rows: number[]
  reduced: number[]
  columnCount: number
  depth: number
}

/** How the loops of a sum of products are gone through. */
export type ContractionPlan =
  /** One weight for many elements at a time. */
  | (Loops & { kind: 'scaled' })
  /** Both factors for all outputs at a time. */
  | (Loops & { kind: 'paired' })
  /** Matrix products: one for each point of `both` and `turns`, over the rows of `block`. */
  | (Loops & { kind: 'matrix'; turns: number[]; block: number[] })

/** @param rank output loops come first in `loops`, reduced ones after them */
export function planContraction(x: Moves, w: Moves, loops: readonly number[], rank: number): ContractionPlan {
  const outer = range(0, rank).filter((loop) => loops[loop]! > 1)
  const both = outer.filter((loop) => x(loop) && w(loop))
  const columns = outer.filter((loop) => !x(loop) && w(loop))
  const rows = outer.filter((loop) => !w(loop))
  const reduced = range(rank, loops.length)
  const parts = { both, columns, rows, reduced, columnCount: pointsOf(loops, columns), depth: pointsOf(loops, reduced) }
  if (parts.columnCount === 1) return { ...parts, kind: rows.length > 0 ? 'scaled' : 'paired' }
  // The outermost of the row loops are taken in turn where a whole block would be too large.
  let split = 0
  while (split < rows.length && pointsOf(loops, rows.slice(split)) * parts.depth > BLOCK) split++
  return { ...parts, kind: 'matrix', turns: rows.slice(0, split), block: rows.slice(split) }
}

/** What evaluating takes: time as multiply-adds of a matrix product, and bytes beside what is read. */
export type Work = { work: number; bytes: number }

/** A step of a loop in which something is allocated and looked up, and a number that is gathered, in multiply-adds. */
const STEP = 1024
const GATHERED = 32
/** Bytes of a gathered number with its index, and of a point that is kept. */
const GATHERED_BYTES = 12
const POINT_BYTES = 512

/** Bound on the work of a planned contraction, its accumulators left out. */
export function contractionWork(plan: ContractionPlan, loops: readonly number[]): Work {
  const points = (dims: readonly number[]): number => pointsOf(loops, dims)
  const { both, columns, rows, columnCount, depth } = plan
  const places = 4 * (points(rows) + columnCount)
  if (plan.kind === 'scaled') {
    const steps = points(both) * depth
    return { work: steps * (STEP + GATHERED * points(rows)), bytes: places + GATHERED_BYTES * points(rows) }
  }
  if (plan.kind === 'paired')
    return { work: depth * (STEP + 2 * GATHERED * points(both)), bytes: 2 * GATHERED_BYTES * points(both) }
  const { turns, block } = plan
  const steps = points(both) * points(turns)
  const matrix = columnCount * depth
  const left = points(block) * depth
  const product = points(block) * columnCount
  return {
    // Gathering a factor whose inner loop is short costs a step for each run of it.
    work:
      steps * (STEP + GATHERED * (left + product) + product * depth) +
      points(both) * GATHERED * matrix +
      STEP * points(columns),
    bytes: places + GATHERED_BYTES * (matrix + left) + 8 * product + POINT_BYTES * steps,
  }
}
