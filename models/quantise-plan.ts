import { SinterError } from '../protocol/errors.ts'
import { PRE_LIMIT } from './bounds.ts'
import { ROOT_OFFSET } from './canonical.ts'
import type { Axis, LinearOp, Manifest, Op, Operand, Term } from './manifest.ts'
import type { Plan, PlanArray, PlanAxis, PlanDivide, PlanLinear, PlanOperand, PlanProduct, PlanTable } from './plan.ts'
import { quantise, roundTiesToEven } from './quantise.ts'
import { elementCount } from './tiling.ts'
import { tableRange } from './validate.ts'
import { weightsWriter } from './weights.ts'

/** Exponents for every tensor of a plan, and its ops in integers. */

/** Highest exponent ever chosen; a tensor of zeros would otherwise have none. */
const MAX_EXPONENT = 30
const MIN_EXPONENT = -32
/** Zero point of a 32-bit tensor whose values are 1 or more. */
const WIDE_ZERO = -(2 ** 31) - 1
/** A largest weight below this loses too much to rounding: another limb is dropped instead. */
const FINE_WEIGHT = 2 ** 12

type Drop = 0 | 1 | 2

/** The largest exponent at which `range` with headroom fits 16 signed bits. */
function exponentFor(range: number, headroom: number): number {
  let exponent = MAX_EXPONENT
  while (exponent > MIN_EXPONENT && range * headroom * 2 ** exponent > 32_767) exponent--
  return exponent
}

const outOfRange = (name: string, what: string): never => {
  throw new SinterError('CALIBRATION_RANGE', `${name}: ${what}`)
}

/** The finest table of a function whose results stay inside 16 signed bits over the whole input range. */
function tabulate(op: PlanTable, value: (knot: number) => number, fixed: { exponent: number; zero: number } | null) {
  const values = Array.from({ length: 65 }, (_, i) => op.apply(value(1024 * i - 32_768)))
  const inside = (knots: number[]): boolean => {
    const { min, max } = tableRange(knots)
    return min >= -32_768 && max <= 32_767 && knots.every((knot) => Math.abs(knot) <= 65_536)
  }
  if (fixed !== null) {
    const knots = values.map((each) => roundTiesToEven(each * 2 ** fixed.exponent) + fixed.zero + 0)
    return inside(knots) ? { exponent: fixed.exponent, knots } : outOfRange(op.name, `${op.function} leaves its range`)
  }
  for (let exponent = MAX_EXPONENT; exponent >= MIN_EXPONENT; exponent--) {
    const knots = values.map((each) => roundTiesToEven(each * 2 ** exponent) + 0)
    if (knots.every(Number.isSafeInteger) && inside(knots)) return { exponent, knots }
  }
  return outOfRange(op.name, `no exponent fits the results of ${op.function}`)
}

/** Elements of an op's output per tile: as many as keep what a tile reads in bounds. */
function tileFor(shared: boolean, taps: number): 1 | 2 | 4 | 8 | 16 | 32 | 64 {
  let tile = 64
  if (!shared) while (tile > 1 && tile * taps > 1024) tile /= 2
  return tile as 64
}

/** How much of its largest result a function may still change where it counts as flat. */
const FLAT = 2 ** -14
const PROBES = 256

/**
 * The power of two beyond which a function is as good as constant on both sides, up to `range`: finer steps are worth more than
 * inputs that all give the same.
 */
function usefulRange(apply: (x: number) => number, range: number): number {
  const probe = (limit: number): number[] =>
    Array.from({ length: PROBES + 1 }, (_, i) => limit + ((range - limit) * i) / PROBES).flatMap((x) => [
      apply(x),
      apply(-x),
    ])
  const largest = Math.max(...probe(0).map(Math.abs))
  const flat = (limit: number): boolean => {
    const results = probe(limit)
    const [right, left] = results as [number, number]
    return results.every((y, i) => Math.abs(y - (i % 2 === 0 ? right : left)) <= FLAT * largest)
  }
  let limit = 2 ** Math.ceil(Math.log2(range))
  while (limit > 2 ** -8 && flat(limit / 2)) limit /= 2
  return Math.min(limit, range)
}

/** Ranges that the readers of each tensor can tell apart: for what only tables read, no more than they do. */
function readRanges({ tensors, ops, outputs }: Plan, range: number[], headroom: number): number[] {
  const source = (id: number): number => tensors[id]!.viewOf ?? id
  const read = tensors.map(() => 0)
  const note = (id: number, each: number): void => {
    read[source(id)] = Math.max(read[source(id)]!, each)
  }
  for (const op of ops)
    if (op.kind === 'table') {
      const reach = headroom * range[source(op.input)]!
      note(op.input, reach === 0 ? 0 : usefulRange(op.apply, reach) / headroom)
    } else for (const { tensor } of operandsOf(op)) note(tensor, Infinity)
  for (const { tensor } of outputs) note(tensor, Infinity)
  return range.map((each, id) => (read[id] === 0 ? each : Math.min(each, read[id]!)))
}

const operandsOf = (op: Exclude<Plan['ops'][number], PlanTable>): PlanOperand[] =>
  op.kind === 'linear' ? op.terms : op.kind === 'product' || op.kind === 'divide' ? [op.a, op.b] : [op.input]

const sizeOf = (array: number | PlanArray): number =>
  typeof array === 'number' ? Math.abs(array) : array.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)

export function quantisePlan(
  plan: Plan,
  range: number[],
  headroom: number,
): { exponents: number[]; ops: Op[]; weights: Uint8Array; lookups: Manifest['inputs'][number]['lookup'][] } {
  const writer = weightsWriter()
  const source = (id: number): number => plan.tensors[id]!.viewOf ?? id
  const zeros = plan.tensors.map(({ scale }) =>
    scale.kind === 'fixed'
      ? scale.zero
      : scale.kind === 'variance'
        ? WIDE_ZERO
        : scale.kind === 'root'
          ? -ROOT_OFFSET
          : 0,
  )
  const useful = readRanges(plan, range, headroom)
  const exponents = plan.tensors.map(({ scale }, id) =>
    scale.kind === 'fixed' ? scale.exponent : exponentFor(useful[id]!, headroom),
  )
  const exponentOf = (id: number): number => exponents[source(id)]!
  const zeroOf = (id: number): number => zeros[source(id)]!
  const bitsOf = (id: number): 16 | 32 => plan.tensors[id]!.bits
  /** Largest |x − zero|. */
  const reach = (id: number): number => (bitsOf(id) === 16 ? 2 ** 15 : 2 ** 31) + Math.abs(zeroOf(id))

  const axis = ({ coefs, offset, divisor, table }: PlanAxis): Axis => ({
    coefs,
    offset: offset + 0,
    divisor,
    table: table === null ? null : writer.weights(table),
  })
  const operand = ({ tensor, axes }: PlanOperand, plain = false): Operand => ({
    tensor,
    zero: plain ? 0 : zeroOf(tensor),
    axes: axes.map(axis),
  })

  /** Weights and biases of a linear op at one drop and output exponent; null where a bound breaks. */
  function integers(op: PlanLinear, drop: Drop): { w: (number | Int32Array)[]; b: number | Float64Array } | null {
    const ey = exponentOf(op.output)
    const unit = 65_536 ** drop
    const half = drop === 0 ? 0 : unit / 2
    const limit = bitsOf(op.output) === 16 ? PRE_LIMIT * unit : 2 ** 31 * unit
    let largest = 0
    const w = op.terms.map(({ tensor, weight, reduce }) => {
      const factor = unit * 2 ** (ey - exponentOf(tensor))
      const round = (x: number): number => roundTiesToEven(x * factor) + 0
      if (typeof weight === 'number') {
        largest += Math.abs(round(weight)) * elementCount(reduce) * reach(tensor)
        return round(weight)
      }
      const rounded = weight.values.map(round)
      largest +=
        rowSize(
          rounded,
          weight.strides,
          [...plan.tensors[op.output]!.shape, ...reduce],
          plan.tensors[op.output]!.shape.length,
        ) * reach(tensor)
      return rounded.some((value) => Math.abs(value) >= 2 ** 31) ? Number.NaN : Int32Array.from(rounded)
    })
    // What a mask adds only has to saturate.
    const mask = 2 ** 46
    const zero = zeroOf(op.output)
    const bias = (x: number): number => {
      const scaled = Math.min(mask, Math.max(-mask, roundTiesToEven(x * unit * 2 ** ey)))
      const own = bitsOf(op.output) === 32 && zero === WIDE_ZERO ? Math.max(scaled, 1) : scaled
      return own + zero * unit + half + 0
    }
    const b = typeof op.bias === 'number' ? bias(op.bias) : op.bias.values.map(bias)
    const most = typeof b === 'number' ? Math.abs(b) : sizeOf({ values: b, strides: [] })
    if (w.some((each) => typeof each === 'number' && !(Math.abs(each) < 2 ** 31))) return null
    // 32-bit sums are bounded exactly by validation: their zero point takes up half of their range.
    if (bitsOf(op.output) === 16 && largest + most >= Math.min(limit, 2 ** 53)) return null
    return { w, b }
  }

  /** Largest Σ|w| over the reduced loops for any point of the others. */
  function rowSize(values: Float64Array, strides: number[], loops: number[], rank: number): number {
    const visit = (loop: number, at: number): number => {
      if (loop === loops.length) return Math.abs(values[at]!)
      const stride = strides[loop]!
      const outer = loop < rank
      if (stride === 0) return (outer ? 1 : loops[loop]!) * visit(loop + 1, at)
      let sum = 0
      for (let i = 0; i < loops[loop]!; i++) {
        const row = visit(loop + 1, at + i * stride)
        sum = outer ? Math.max(sum, row) : sum + row
      }
      return sum
    }
    return visit(0, 0)
  }

  function linear(op: PlanLinear): LinearOp {
    const { name, output } = op
    const shape = plan.tensors[output]!.shape
    const calibrated = plan.tensors[output]!.scale.kind === 'calibrated'
    const copied = op.terms.every(({ tensor, weight }) => {
      const one = typeof weight === 'number' ? weight === 1 : weight.values.every((w) => w === 0 || w === 1)
      return one && zeroOf(tensor) === 0 && exponentOf(tensor) === exponentOf(op.terms[0]!.tensor)
    })
    if (op.copy && calibrated && copied) exponents[output] = exponentOf(op.terms[0]!.tensor)
    const drops: Drop[] = bitsOf(output) === 32 || (op.copy && calibrated && copied) ? [0] : [1, 2]
    for (; exponents[output]! >= MIN_EXPONENT; exponents[output]!--) {
      const found = drops.map((drop) => ({ drop, made: integers(op, drop) })).filter(({ made }) => made !== null)
      const sizes = found.map(({ made }) =>
        Math.max(
          ...made!.w.map((w) =>
            typeof w === 'number' ? Math.abs(w) : sizeOf({ values: Float64Array.from(w), strides: [] }),
          ),
        ),
      )
      const fine = found.find((_, i) => sizes[i]! >= FINE_WEIGHT) ?? found.at(-1)
      if (fine !== undefined) {
        const { w, b } = fine.made!
        const terms = op.terms.map((term, i): Term => {
          const weight = w[i]!
          return {
            ...operand(term),
            reduce: term.reduce,
            weight:
              typeof weight === 'number'
                ? weight
                : { ...writer.weights(weight), strides: (term.weight as PlanArray).strides },
          }
        })
        const bias =
          typeof b === 'number'
            ? b
            : { ...writer.biases(b), strides: (op.bias as PlanArray).strides.slice(0, shape.length) }
        const shared = op.terms.every(
          ({ weight }) => typeof weight !== 'number' && weight.strides.slice(0, shape.length).some((s) => s > 0),
        )
        const taps = op.terms.reduce((sum, { reduce }) => sum + elementCount(reduce), 0)
        return { kind: 'linear', name, output, tile: tileFor(shared, taps), drop: fine.drop, terms, bias }
      }
      if (!calibrated) break
    }
    return outOfRange(name, 'no exponent keeps its accumulators in bounds')
  }

  function product(op: PlanProduct): Op {
    const { name, output, reduce } = op
    const { scale } = plan.tensors[output]!
    const count = elementCount(reduce)
    const [ea, eb] = [exponentOf(op.a.tensor), exponentOf(op.b.tensor)]
    const most = count * reach(op.a.tensor) * reach(op.b.tensor)
    const square = JSON.stringify(op.a) === JSON.stringify(op.b)
    const tile = tileFor(!square || reduce.length === 0, count)
    const make = (drop: Drop, weight: number, bias: number): Op => ({
      kind: 'product',
      name,
      output,
      tile,
      drop,
      reduce,
      a: operand(op.a),
      b: operand(op.b),
      weight,
      bias: bias + 0,
    })
    if (scale.kind === 'variance') {
      // As fine as the samples' range with headroom and the 32 bits of the worst case allow; even, so that the root has half of it.
      let exponent = 2 * Math.floor(Math.log2(2 ** 31 / (range[output]! * headroom * headroom + op.bias)) / 2)
      for (; exponent > -64; exponent -= 2) {
        const weight = roundTiesToEven(op.scale * 65_536 * 2 ** (exponent - ea - eb))
        const epsilon = Math.max(1, roundTiesToEven(op.bias * 2 ** exponent))
        const fits = weight < 2 ** 31 && weight * most + 2 ** 47 < 2 ** 53
        if (fits && (weight * most) / 65_536 + epsilon + 2 < 2 ** 32) {
          exponents[output] = exponent
          return make(1, weight, (epsilon + WIDE_ZERO) * 65_536)
        }
      }
      return outOfRange(name, 'no exponent keeps its sums of squares in 32 bits')
    }
    for (; exponents[output]! >= MIN_EXPONENT; exponents[output]!--)
      for (const drop of [1, 2] as const) {
        const unit = 65_536 ** drop
        const weight = roundTiesToEven(op.scale * unit * 2 ** (exponents[output]! - ea - eb))
        const exact = weight === op.scale * unit * 2 ** (exponents[output]! - ea - eb)
        if (Math.abs(weight) < (exact ? 1 : FINE_WEIGHT) && drop === 1) continue
        const bias = roundTiesToEven(op.bias * unit * 2 ** exponents[output]!) + unit / 2
        const sum = Math.abs(weight) * most + Math.abs(bias)
        if (weight !== 0 && Math.abs(weight) < 2 ** 31 && sum < Math.min(2 ** 53, PRE_LIMIT * unit))
          return make(drop, weight, bias)
      }
    return outOfRange(name, 'no exponent keeps its products in bounds')
  }

  function divide(op: PlanDivide): Op {
    const { name, output } = op
    const { scale } = plan.tensors[output]!
    const shift = exponentOf(op.a.tensor) - exponentOf(op.b.tensor)
    for (; exponents[output]! >= MIN_EXPONENT; exponents[output]!--) {
      // q·2^−e = (a·2^−ea)/(b·2^−eb)
      const weight = 2 ** (exponents[output]! - shift)
      if (Number.isInteger(weight) && weight * reach(op.a.tensor) < PRE_LIMIT)
        return { kind: 'divide', name, output, tile: 64, a: operand(op.a), b: operand(op.b), weight, bias: 0 }
      if (scale.kind !== 'calibrated' || weight < 1) break
    }
    return outOfRange(name, 'no exponent keeps its numerator in 31 bits')
  }

  const ops = plan.ops.map((op): Op => {
    const { name, output } = op
    switch (op.kind) {
      case 'linear':
        return linear(op)
      case 'product':
        return product(op)
      case 'table': {
        const { scale } = plan.tensors[output]!
        const value = (knot: number): number => (knot - zeroOf(op.input)) * 2 ** -exponentOf(op.input)
        const { exponent, knots } = tabulate(op, value, scale.kind === 'fixed' ? scale : null)
        exponents[output] = exponent
        return { kind: 'table', name, input: op.input, output, function: op.function, knots }
      }
      case 'extremum': {
        exponents[output] = exponentOf(op.input.tensor)
        zeros[output] = zeroOf(op.input.tensor)
        const tile = tileFor(false, elementCount(op.reduce))
        return { kind: 'extremum', name, output, tile, reduce: op.reduce, input: operand(op.input, true) }
      }
      case 'divide':
        return divide(op)
      default:
        exponents[output] = exponentOf(op.input.tensor) / 2
        return { kind: 'root', name, output, tile: 64, input: operand(op.input) }
    }
  })
  const lookups = plan.inputs.map(({ tensor, lookup }) => {
    if (lookup === null) return null
    const { name, rows, values } = lookup
    return { name, rows, table: writer.weights(quantise(values, exponentOf(tensor))) }
  })
  return { exponents: plan.tensors.map((_, id) => exponentOf(id)), ops, weights: writer.finish(), lookups }
}
