import { SinterError } from '../protocol/errors.ts'
import { forEachPoint, int32Slice, int64Slice, isTotal, pointsOf, readerOf, stridedIndex, unravel } from './access.ts'
import type { LinearOp, Manifest, Op, Operand, Term } from './manifest.ts'
import { elementCount, tensorOf } from './tiling.ts'

/**
 * Bounds that make a manifest's arithmetic exact on every input: no sum leaves float64's integers, no result leaves what is
 * committed of it, no divisor is below 1.
 */

export function refuse(code: string, message: string): never {
  throw new SinterError(code, message)
}

/** Sums and products are exact in float64 below this, in whatever order they are added. */
export const EXACT_LIMIT = 2 ** 53

/**
 * Results before clamping keep this distance: pre + 2^15 has to fit 32 signed bits, so that its two limbs are unsigned
 * 16-bit numbers.
 */
export const PRE_LIMIT = 2 ** 31 - 2 ** 15

/**
 * Rows times taps that are gone through to bound the accumulators of all ops together, some seconds. Four times as many as a weights
 * file holds numbers: only strides that read the same ones again and again take more.
 */
const MAX_BOUND_WORK = 2 ** 28
/** Taps that a term costs by itself in each row. */
const TERM_WORK = 32

type Interval = { low: number; high: number }

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** Values that x − zero can take; 0 among them where the tap may be absent. */
function operandInterval(manifest: Manifest, file: Uint8Array, operand: Operand, loops: number[]): Interval {
  const half = tensorOf(manifest, operand.tensor).bits === 16 ? 2 ** 15 : 2 ** 31
  const interval = { low: -half - operand.zero, high: half - 1 - operand.zero }
  if (isTotal(readerOf(manifest, file, operand, loops))) return interval
  return { low: Math.min(0, interval.low), high: Math.max(0, interval.high) }
}

const magnitude = ({ low, high }: Interval): number => Math.max(Math.abs(low), Math.abs(high))

function checkAccumulator(op: Op, drop: number, bits: number, sum: Interval, absolute: number): void {
  if (absolute >= EXACT_LIMIT)
    refuse('ACCUMULATOR_BOUND', `${op.name}: a sum can leave the integers that float64 holds`)
  const unit = 65_536 ** drop
  const [low, high] = [Math.floor(sum.low / unit), Math.floor(sum.high / unit)]
  const fits = bits === 32 ? low >= -(2 ** 31) && high < 2 ** 31 : low >= -PRE_LIMIT && high < PRE_LIMIT
  if (!fits)
    refuse(
      'ACCUMULATOR_BOUND',
      `${op.name}: a result can leave the ${bits === 32 ? '32 bits' : 'two limbs'} that are committed of it`,
    )
}

const EMPTY = new Int32Array(0)

/** Sums over one term's taps at a point of the outer loops: of w·x at its least and largest, and of |w|·|x|. */
function termSums(
  term: Term,
  values: Int32Array,
  loops: number[],
  rank: number,
  interval: Interval,
  point: Float64Array,
): Interval & { absolute: number } {
  const { weight } = term
  const out = { low: 0, high: 0, absolute: 0 }
  const add = (w: number, count: number): void => {
    out.low += count * w * (w > 0 ? interval.low : interval.high)
    out.high += count * w * (w > 0 ? interval.high : interval.low)
    out.absolute += count * Math.abs(w) * magnitude(interval)
  }
  const reduced = range(rank, loops.length)
  if (typeof weight === 'number') add(weight, pointsOf(loops, reduced))
  else {
    const moving = reduced.filter((loop) => weight.strides[loop] !== 0)
    const count = pointsOf(
      loops,
      reduced.filter((loop) => weight.strides[loop] === 0),
    )
    forEachPoint(loops, moving, point, () => add(values[stridedIndex(weight, point)]!, count))
  }
  return out
}

/** Axes of the output along which a linear op's weights or biases change: one bound serves all rows that agree there. */
function movingAxes(op: LinearOp, rank: number): number[] {
  const moves = (loop: number): boolean =>
    (typeof op.bias !== 'number' && op.bias.strides[loop] !== 0) ||
    op.terms.some(({ weight }) => typeof weight !== 'number' && weight.strides[loop] !== 0)
  return range(0, rank).filter(moves)
}

/** Throws `SHAPE` where bounding a manifest would take minutes: whoever looks at it would stand still meanwhile. */
export function checkBoundWork(manifest: Manifest): void {
  const work = manifest.ops.reduce((sum, op) => {
    if (op.kind !== 'linear') return sum
    const { shape } = tensorOf(manifest, op.output)
    const taps = op.terms.reduce((all, { reduce }) => all + TERM_WORK + elementCount(reduce), 0)
    return sum + taps * pointsOf(shape, movingAxes(op, shape.length))
  }, 0)
  if (work > MAX_BOUND_WORK) refuse('SHAPE', 'the weights of the ops take too long to bound')
}

/** Taps looked at in a step: some milliseconds. */
const STEP_WORK = 2 ** 18

function* checkLinear(manifest: Manifest, op: LinearOp, file: Uint8Array): Generator<void> {
  const { shape, bits } = tensorOf(manifest, op.output)
  const rank = shape.length
  const terms = op.terms.map((term) => {
    const loops = [...shape, ...term.reduce]
    const values = typeof term.weight === 'number' ? EMPTY : int32Slice(file, term.weight)
    return {
      term,
      loops,
      values,
      interval: operandInterval(manifest, file, term, loops),
      point: new Float64Array(loops.length),
    }
  })
  const rows = movingAxes(op, rank)
  const biasValues = typeof op.bias === 'number' ? null : int64Slice(file, op.bias)
  const perRow = op.terms.reduce((all, { reduce }) => all + TERM_WORK + elementCount(reduce), 0)
  const extents = rows.map((axis) => shape[axis]!)
  const place = new Float64Array(rows.length)
  const point = new Float64Array(rank)
  const total = elementCount(extents)
  for (let row = 0, done = 0; row < total; row++, done += perRow) {
    if (done >= STEP_WORK) {
      done = 0
      yield
    }
    unravel(extents, row, place)
    rows.forEach((axis, i) => {
      point[axis] = place[i]!
    })
    const bias = typeof op.bias === 'number' ? op.bias : biasValues![stridedIndex(op.bias, point)]!
    const sum = { low: bias, high: bias }
    let absolute = Math.abs(bias)
    for (const each of terms) {
      each.point.set(point)
      const sums = termSums(each.term, each.values, each.loops, rank, each.interval, each.point)
      sum.low += sums.low
      sum.high += sums.high
      absolute += sums.absolute
    }
    checkAccumulator(op, op.drop, bits, sum, absolute)
  }
}

/** Throws `ACCUMULATOR_BOUND` or `DIVISOR_BOUND` where some input could break the arithmetic of an op. A step takes some milliseconds. */
export function* checkBounds(manifest: Manifest, op: Op, file: Uint8Array): Generator<void> {
  const { shape, bits } = tensorOf(manifest, op.output)
  switch (op.kind) {
    case 'linear':
      yield* checkLinear(manifest, op, file)
      return
    case 'product': {
      const loops = [...shape, ...op.reduce]
      const a = operandInterval(manifest, file, op.a, loops)
      const b = operandInterval(manifest, file, op.b, loops)
      // A number times itself is not negative.
      const square = JSON.stringify(op.a) === JSON.stringify(op.b)
      const corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high]
      const low = square ? 0 : Math.min(0, ...corners)
      const high = Math.max(0, ...corners)
      const scale = op.weight * elementCount(op.reduce)
      const ends = [scale * low, scale * high]
      const sum = { low: op.bias + Math.min(...ends), high: op.bias + Math.max(...ends) }
      const absolute = Math.abs(op.bias) + Math.abs(scale) * Math.max(-low, high)
      checkAccumulator(op, op.drop, bits, sum, absolute)
      return
    }
    case 'divide': {
      const a = operandInterval(manifest, file, op.a, shape)
      const b = operandInterval(manifest, file, op.b, shape)
      const total = [op.a, op.b].every((side) => isTotal(readerOf(manifest, file, side, shape)))
      const limit = 2 ** tensorOf(manifest, op.b.tensor).bits
      // A remainder is below its divisor and is committed in as many limbs as that has.
      if (!total || b.low < 1 || b.high > limit)
        refuse('DIVISOR_BOUND', `${op.name}: its divisor can leave [1, ${limit}]`)
      if (Math.abs(op.weight) * magnitude(a) + Math.abs(op.bias) >= PRE_LIMIT)
        refuse('ACCUMULATOR_BOUND', `${op.name}: its numerator can leave 31 bits`)
      return
    }
    case 'root': {
      const v = operandInterval(manifest, file, op.input, shape)
      if (!isTotal(readerOf(manifest, file, op.input, shape)) || v.low < 1 || v.high > 2 ** 32)
        refuse('DIVISOR_BOUND', `${op.name}: what it takes the root of can leave [1, 2^32]`)
      return
    }
    default:
      return
  }
}
