import { combine } from './lower/emit.ts'
import { stridesOver } from './lower/frame.ts'
import { operandsOfPlan, type Plan, type PlanArray, type PlanLinear, type PlanOp, type PlanTerm } from './plan.ts'
import { elementCount } from './tiling.ts'

/**
 * An exponent for each channel of a tensor that only relations write and read (DESIGN §5.1): channel c is stored times 2^k_c, by weights of
 * its writer that are multiplied with it and weights of its readers that are divided by it. The manifest needs no word for that. Its weights
 * are integers that nobody derives again, and every bound, statement and tile is what it was.
 */

/** Bits that a channel gains at most: the weights that read it lose as many. */
const MOST_BITS = 6
/** Numbers that one array of weights may become. */
const MOST_WEIGHTS = 2 ** 22

/** A tensor whose last axis may have exponents of its own. */
export type Channelled = { tensor: number; axis: number; count: number }

type Reading = { term: PlanTerm; loop: number; offset: number }

const loopsOf = (plan: Plan, op: PlanOp, term: PlanTerm): number[] => [
  ...plan.tensors[op.output]!.shape,
  ...term.reduce,
]

/** The loop that runs along an operand's axis, one to one; null where there is no such loop. */
function readingOf(plan: Plan, op: PlanLinear, term: PlanTerm, { axis, count }: Channelled): Reading | null {
  const { coefs, offset, divisor, table } = term.axes[axis]!
  const moving = coefs.flatMap((coef, loop) => (coef === 0 ? [] : [loop]))
  const [loop] = moving
  if (loop === undefined || moving.length > 1 || coefs[loop] !== 1 || divisor !== 1 || table !== null) return null
  const loops = loopsOf(plan, op, term)
  if (offset < 0 || offset + loops[loop]! > count) return null
  const { weight } = term
  const moves = (each: number): boolean => each === loop || (typeof weight !== 'number' && weight.strides[each] !== 0)
  return elementCount(loops.filter((_, each) => moves(each))) > MOST_WEIGHTS ? null : { term, loop, offset }
}

const isFree = (plan: Plan, op: PlanOp): op is PlanLinear =>
  op.kind === 'linear' && op.disjoint !== true && plan.tensors[op.output]!.grid.kind === 'free'

/** Tensors of a plan of which every writer and reader is a linear op that can take the factors into its weights. */
export function channelTensors(plan: Plan): Channelled[] {
  const fixed = new Set<number>()
  for (const { tensor } of [...plan.inputs, ...plan.outputs]) fixed.add(plan.tensors[tensor]!.viewOf ?? tensor)
  plan.tensors.forEach(({ grid, viewOf, bits }, id) => {
    if (viewOf !== null) fixed.add(viewOf).add(id)
    if (grid.kind === 'same') fixed.add(grid.as)
    if (bits !== 16) fixed.add(id)
  })
  return plan.ops.flatMap((writer): Channelled[] => {
    const tensor = writer.output
    const { shape } = plan.tensors[tensor]!
    const axis = shape.length - 1
    if (axis < 0 || fixed.has(tensor) || !isFree(plan, writer)) return []
    const channelled = { tensor, axis, count: shape[axis]! }
    const readable = plan.ops.every((op) => {
      if (op.kind === 'table') return op.input !== tensor
      const reads = operandsOfPlan(op).some((operand) => operand.tensor === tensor)
      if (!reads) return true
      if (!isFree(plan, op)) return false
      return op.terms.every((term) => term.tensor !== tensor || readingOf(plan, op, term, channelled) !== null)
    })
    return readable ? [channelled] : []
  })
}

/** Along one loop, factors 2^bits. */
const along = (loops: number, loop: number, bits: number[]): PlanArray => ({
  data: Float64Array.from(bits, (each) => 2 ** each),
  strides: stridesOver(loops, [[loop, 1]]),
})

const times = (loops: number[], a: number | PlanArray, b: PlanArray): number | PlanArray =>
  a === 0 ? 0 : combine(loops, a, b, (x, y) => x * y)

/** Bits by which each channel can be finer than the largest, one of them kept as headroom: few samples say less of one channel than of all. */
export function channelBits(sizes: ArrayLike<number>): number[] {
  const all = Array.from(sizes)
  const most = Math.max(...all)
  return all.map((size) => (size === 0 ? 0 : Math.min(MOST_BITS, Math.max(0, Math.floor(Math.log2(most / size)) - 1))))
}

function rescaled(plan: Plan, channelled: Channelled, bits: number[]): Plan {
  const { tensor, axis } = channelled
  const ops = plan.ops.map((op): PlanOp => {
    if (op.kind !== 'linear') return op
    if (op.output === tensor) {
      const { shape } = plan.tensors[tensor]!
      return {
        ...op,
        bias: times(shape, op.bias, along(shape.length, axis, bits)),
        terms: op.terms.map((term) => {
          const loops = loopsOf(plan, op, term)
          return { ...term, weight: times(loops, term.weight, along(loops.length, axis, bits)) }
        }),
      }
    }
    return {
      ...op,
      terms: op.terms.map((term) => {
        if (term.tensor !== tensor) return term
        const { loop, offset } = readingOf(plan, op, term, channelled)!
        const loops = loopsOf(plan, op, term)
        const own = bits.slice(offset, offset + loops[loop]!).map((each) => -each)
        return { ...term, weight: times(loops, term.weight, along(loops.length, loop, own)) }
      }),
    }
  })
  return { ...plan, ops }
}

/**
 * The plan with exponents for channels where they differ. What it computes is the same to the last bit, in real numbers, since the factors
 * are powers of two; and no tensor's largest value grows, since only channels below a quarter of it gain bits.
 * @param sizes of each channel of each channelled tensor in the samples, |x| at most
 */
export const withChannels = (plan: Plan, channels: Channelled[], sizes: Float64Array[]): Plan =>
  channels.reduce((out, channelled, i) => {
    const bits = channelBits(sizes[i]!)
    return bits.every((each) => each === 0) ? out : rescaled(out, channelled, bits)
  }, plan)
