import { stepAlong } from './access.ts'
import { EXACT_LIMIT, PRE_LIMIT } from './bounds.ts'
import { ROOT_OFFSET } from './canonical.ts'
import type { Axis, Manifest, Op, Operand } from './manifest.ts'
import {
  type Plan,
  type PlanArray,
  type PlanAxis,
  type PlanDivide,
  type PlanLinear,
  type PlanOp,
  type PlanOperand,
  type PlanProduct,
  type PlanTable,
  type PlanTensor,
  type Scale,
  SEGMENT,
} from './plan.ts'
import { quantise, roundTiesToEven } from './quantise.ts'
import { rowSize, usefulSizes } from './ranges.ts'
import { planReader } from './reference.ts'
import { splitTable } from './split.ts'
import { exponentFor, MIN_EXPONENT, outOfRange, type Range, sizeOf, tabulate } from './tables.ts'
import { tileFor } from './tiles.ts'
import { elementCount } from './tiling.ts'
import { weightsWriter } from './weights.ts'

/** A plan in integers: a scale for each tensor, then weights, tables and zero points. */

/** A 32-bit tensor of numbers from 1 up stores them with 2^31 + 1 taken off. */
const WIDE_OFFSET = 2 ** 31 + 1
const NATURAL_OFFSET = 32_768
/** Elements of its inputs that a tile may read, and factors that its products may have. */
const TILE_READS = 4096
const TILE_PAIRS = 1024
/** Rounding of weights may move a result by this many quanta before another limb is dropped. */
const WEIGHT_ERROR = 2
/** Size of a typical input, for that estimate. */
const TYPICAL = 2 ** 13

type Drop = 0 | 1 | 2
type Quantised = {
  /** Those of the plan, and what was added behind them. */
  tensors: PlanTensor[]
  exponents: number[]
  ops: Op[]
  weights: Uint8Array
  lookups: Manifest['inputs'][number]['lookup'][]
}

/**
 * Chooses scales in graph order and writes each op in integers.
 * @param ranges of each tensor in the samples
 * @param headroom a tensor's range times this must be representable
 * Throws `CALIBRATION_RANGE`.
 */
export function quantisePlan(given: Plan, ranges: Range[], headroom: number): Quantised {
  // Tensors may be added behind those of the plan.
  const plan = { ...given, tensors: [...given.tensors] }
  const writer = weightsWriter()
  const tensorAt = (id: number): PlanTensor => plan.tensors[id]!
  const source = (id: number): number => tensorAt(id).viewOf ?? id
  const useful = usefulSizes(plan, ranges.map(sizeOf), headroom)
  const known = new Map<number, Scale>()
  const scaleOf = (id: number): Scale => known.get(source(id))!
  const setScale = (id: number, scale: Scale): void => {
    known.set(id, scale)
  }
  const zeroOf = (id: number): number => 0 - scaleOf(id).offset
  const half = (id: number): number => (tensorAt(id).bits === 16 ? 2 ** 15 : 2 ** 31)
  /** Largest |x − zero|. */
  const reach = (id: number): number => half(id) + Math.abs(zeroOf(id))
  for (const { tensor } of plan.inputs) setScale(tensor, { scale: 2 ** -exponentFor(useful[tensor]!), offset: 0 })

  const axis = ({ coefs, offset, divisor, table }: PlanAxis): Axis => ({
    coefs: coefs.map((coef) => coef + 0),
    offset: offset + 0,
    divisor,
    table: table === null ? null : writer.weights(table),
  })
  const operand = ({ tensor, axes }: PlanOperand, zero = zeroOf(tensor)): Operand => ({
    tensor,
    zero,
    axes: axes.map(axis),
  })

  type Integers = { w: (number | Int32Array)[]; b: number | Float64Array; error: number; absolute: number }

  /** Weights and biases at one drop and output scale; null where a weight leaves 32 bits or a sum its bounds. */
  function integers(op: PlanLinear, drop: Drop, { scale, offset }: Scale): Integers | null {
    const { shape } = tensorAt(op.output)
    const unit = 65_536 ** drop
    let absolute = 0
    let error = 0
    const w: Integers['w'] = []
    for (const { tensor, weight, reduce } of op.terms) {
      const factor = (unit * scaleOf(tensor).scale) / scale
      const taps = elementCount(reduce)
      if (typeof weight === 'number') {
        const rounded = roundTiesToEven(weight * factor) + 0
        if (Math.abs(rounded) >= 2 ** 31) return null
        w.push(rounded)
        absolute += Math.abs(rounded) * taps * reach(tensor)
        error += (Math.abs(rounded - weight * factor) * taps * TYPICAL) / unit
        continue
      }
      let sum = 0
      let squares = 0
      const rounded = weight.data.map((x) => {
        const integer = roundTiesToEven(x * factor) + 0
        sum += integer - x * factor
        squares += (integer - x * factor) ** 2
        return integer
      })
      if (rounded.some((each) => !(Math.abs(each) < 2 ** 31))) return null
      const count = rounded.length
      w.push(Int32Array.from(rounded))
      absolute += rowSize(rounded, weight.strides, [...shape, ...reduce], shape.length) * reach(tensor)
      error += (((Math.abs(sum) / count) * taps + Math.sqrt((squares / count) * taps)) * TYPICAL) / unit
    }
    const rounding = drop === 0 ? 0 : unit / 2
    // What a mask adds has to saturate, whatever is added to it.
    const mask = Math.max(2 ** 17, (2 * absolute) / unit + 2 ** 17) * unit
    const round = (x: number): number =>
      Math.min(mask, Math.max(-mask, roundTiesToEven((Math.min(1e30, Math.max(-1e30, x)) / scale - offset) * unit))) +
      rounding +
      0
    const b = typeof op.bias === 'number' ? round(op.bias) : op.bias.data.map(round)
    const most = typeof b === 'number' ? Math.abs(b) : b.reduce((all, each) => Math.max(all, Math.abs(each)), 0)
    if (absolute + most >= Math.min(EXACT_LIMIT, (PRE_LIMIT - 2) * unit)) return null
    return { w, b, error, absolute }
  }

  function writeLinear(op: PlanLinear, drop: Drop, { w, b }: Pick<Integers, 'w' | 'b'>, zero?: number): Op {
    const { name, output } = op
    const { shape } = tensorAt(output)
    const readers = op.terms.map((term) => planReader(plan, term, [...shape, ...term.reduce]))
    return {
      kind: 'linear',
      name,
      output,
      tile: tileFor(readers, shape, (_, reads) => reads <= TILE_READS),
      drop,
      terms: op.terms.map((term, i) => {
        const weight = w[i]!
        return {
          ...operand(term, zero),
          reduce: term.reduce,
          weight:
            typeof weight === 'number'
              ? weight
              : { ...writer.weights(weight), strides: (term.weight as PlanArray).strides },
        }
      }),
      bias: typeof b === 'number' ? b : { ...writer.biases(b), strides: (op.bias as PlanArray).strides },
    }
  }

  const isCopy = ({ weight }: { weight: number | PlanArray }): boolean =>
    typeof weight === 'number' ? weight === 1 : weight.data.every((each) => each === 0 || each === 1)

  /** Sums in 32 bits: of natural numbers, at the finest power of two. */
  function wideLinear(op: PlanLinear): Op {
    const [term] = op.terms
    if (term === undefined || op.terms.length > 1 || term.weight !== 1 || op.bias !== 0)
      return outOfRange(op.name, 'is not a plain sum in 32 bits')
    const most = elementCount(term.reduce) * 65_535
    let weight = 1
    // A root wants every bit; a sum that divides is to be as coarse as what it divides.
    while (term.reduce.length === 0 && weight < 2 ** 16 && most * weight * 2 < 2 ** 32 - 1) weight *= 2
    setScale(op.output, { scale: scaleOf(term.tensor).scale / weight, offset: WIDE_OFFSET })
    return writeLinear(op, 0, { w: [weight], b: 1 - WIDE_OFFSET })
  }

  function linear(op: PlanLinear): Op {
    const { grid } = tensorAt(op.output)
    const [first] = op.terms
    const range = ranges[op.output]!
    if (grid.kind === 'same') {
      setScale(op.output, scaleOf(grid.as))
      return writeLinear(op, 0, { w: [1], b: 0 }, 0)
    }
    if (grid.kind === 'wide') return wideLinear(op)
    if (grid.kind === 'steps') {
      setScale(op.output, { scale: scaleOf(first!.tensor).scale / SEGMENT, offset: 0 })
      return writeLinear(op, 0, { w: op.terms.map(({ weight }) => SEGMENT * Number(weight)), b: 0 })
    }
    if (grid.kind === 'fixed') {
      const scale = { scale: grid.scale, offset: grid.offset }
      setScale(op.output, scale)
      const found = finest(op, scale, grid.levels !== null)
      return found === null
        ? outOfRange(op.name, 'its fixed scale leaves its bounds')
        : writeLinear(op, found.drop, found)
    }
    if (
      grid.kind === 'free' &&
      op.disjoint &&
      op.bias === 0 &&
      op.terms.every(
        (term) =>
          isCopy(term) && zeroOf(term.tensor) === 0 && scaleOf(term.tensor).scale === scaleOf(first!.tensor).scale,
      )
    ) {
      setScale(op.output, scaleOf(first!.tensor))
      const w = op.terms.map(({ weight }) => (typeof weight === 'number' ? weight : Int32Array.from(weight.data)))
      return writeLinear(op, 0, { w, b: 0 })
    }
    const offset = grid.kind === 'natural' ? NATURAL_OFFSET : grid.kind === 'divisor' ? NATURAL_OFFSET + 1 : 0
    let signed = op
    if (grid.kind === 'divisor') {
      if (range.low < 0 && range.high > 0)
        outOfRange(op.name, 'a divisor has both signs in the samples; only one is covered')
      if (range.high <= 0) {
        flipped.add(op.output)
        const turn = (x: number | PlanArray): number | PlanArray =>
          typeof x === 'number' ? -x : { ...x, data: x.data.map((each) => -each) }
        signed = { ...op, terms: op.terms.map((term) => ({ ...term, weight: turn(term.weight) })), bias: turn(op.bias) }
      }
    }
    const size = grid.kind === 'free' ? useful[op.output]! : sizeOf(range) * headroom
    for (let exponent = exponentFor(size, offset === 0 ? 32_767 : 65_535); exponent >= MIN_EXPONENT; exponent--) {
      const scale = { scale: 2 ** -exponent, offset }
      const found = finest(signed, scale, false)
      if (found === null) continue
      setScale(op.output, scale)
      return writeLinear(signed, found.drop, found)
    }
    return outOfRange(op.name, 'no exponent keeps its accumulators in bounds')
  }

  /** One limb dropped, or two where the weights need it. */
  function finest(op: PlanLinear, scale: Scale, exact: boolean): (Integers & { drop: Drop }) | null {
    const one = integers(op, 1, scale)
    if (one !== null && !exact && one.error <= WEIGHT_ERROR) return { ...one, drop: 1 }
    if (one !== null && one.error === 0) return { ...one, drop: 1 }
    const two = integers(op, 2, scale)
    if (two !== null) return { ...two, drop: 2 }
    return one === null ? null : { ...one, drop: 1 }
  }

  /** Divisors that are negative in all samples, stored with the other sign. */
  const flipped = new Set<number>()

  function product(op: PlanProduct): Op {
    const { name, output, reduce } = op
    const { grid, shape } = tensorAt(output)
    const count = elementCount(reduce)
    const [a, b] = [scaleOf(op.a.tensor).scale, scaleOf(op.b.tensor).scale]
    const most = count * reach(op.a.tensor) * reach(op.b.tensor)
    const readers = [op.a, op.b].map((side) => planReader(plan, side, [...shape, ...reduce]))
    const last = shape.length - 1
    // Along a line of the output on which one factor stands still, all elements share their pairs.
    const still = last >= 0 && readers.some((reader) => stepAlong(reader, last) === 0)
    const runs = (tile: number): number => (still ? Math.ceil(tile / shape[last]!) : tile)
    const write = (drop: Drop, weight: number, bias: number): Op => ({
      kind: 'product',
      name,
      output,
      tile: tileFor(readers, shape, (tile, reads) => reads <= TILE_READS && runs(tile) * count <= TILE_PAIRS),
      drop,
      reduce,
      a: operand(op.a),
      b: operand(op.b),
      weight,
      bias: bias + 0,
    })
    if (grid.kind === 'wide') {
      // The finest even power of two at which the worst case keeps to 32 bits: the root then has half of it.
      const even = (scale: number): boolean => !Number.isInteger(Math.log2(scale)) || Math.log2(scale) % 2 === 0
      for (const drop of [1, 2] as const)
        for (let n = 30; n >= 0; n--) {
          const unit = 65_536 ** drop
          const scale = (a * b * unit) / 2 ** n
          const shift = Math.max(1, roundTiesToEven(op.bias / scale))
          const fits = 2 ** n * most + 2 ** 31 * unit < EXACT_LIMIT && (2 ** n * most) / unit + shift < 2 ** 32
          if (!fits || !even(scale)) continue
          setScale(output, { scale, offset: WIDE_OFFSET })
          return write(drop, 2 ** n, (shift - WIDE_OFFSET) * unit)
        }
      return outOfRange(name, 'no scale keeps its sums of squares in 32 bits')
    }
    const size = useful[output]!
    for (let exponent = exponentFor(size); exponent >= MIN_EXPONENT; exponent--)
      for (const drop of [1, 2] as const) {
        const unit = 65_536 ** drop
        const real = a * b * unit * 2 ** exponent
        const weight = roundTiesToEven(real)
        // A power of two is exact; other scales want twelve bits.
        if (weight < 1 || (weight !== real && drop === 1 && weight < 2 ** 12)) continue
        const bias = roundTiesToEven(op.bias * 2 ** exponent * unit) + unit / 2
        if (weight >= 2 ** 31 || weight * most + Math.abs(bias) >= Math.min(EXACT_LIMIT, (PRE_LIMIT - 2) * unit))
          continue
        setScale(output, { scale: 2 ** -exponent, offset: 0 })
        return write(drop, weight, bias)
      }
    return outOfRange(name, 'no exponent keeps its products in bounds')
  }

  function divide(op: PlanDivide): Op {
    const { name, output } = op
    const size = useful[output]!
    const top = op.a === null ? 1 : reach(op.a.tensor)
    const unit =
      ((op.a === null ? 1 : scaleOf(op.a.tensor).scale) * op.weight * (flipped.has(source(op.b.tensor)) ? -1 : 1)) /
      scaleOf(op.b.tensor).scale
    for (let exponent = exponentFor(size); exponent >= MIN_EXPONENT; exponent--) {
      const weight = roundTiesToEven(unit * 2 ** exponent) + 0
      if (Math.abs(weight) >= 2 ** 31 - 1 || Math.abs(weight) * top >= PRE_LIMIT) continue
      if (weight === 0) break
      setScale(output, { scale: 2 ** -exponent, offset: 0 })
      const base = { kind: 'divide', name, output, tile: 64, b: operand(op.b) } as const
      // A constant numerator stands in the bias, above an operand that is not counted.
      if (op.a === null) return { ...base, a: operand(narrow(op)), weight: 0, bias: weight }
      return { ...base, a: operand(op.a), weight, bias: 0 }
    }
    return outOfRange(name, 'no exponent keeps its numerator in 31 bits')
  }

  const narrow = (op: PlanDivide): PlanOperand =>
    tensorAt(op.b.tensor).bits === 16 ? op.b : outOfRange(op.name, 'takes the reciprocal of 32 bits')

  function addTensor(name: string, like: number, scale: Scale): number {
    const id = plan.tensors.push({ ...tensorAt(like), name, grid: { kind: 'free' }, viewOf: null }) - 1
    setScale(id, scale)
    return id
  }

  /** A table, or three and their sum where one would be too coarse. */
  function table(op: PlanTable): Op[] {
    const { name, input, output } = op
    const [scale, tensor, range] = [scaleOf(input), tensorAt(output), ranges[output]!]
    const base = { kind: 'table', name, input, output, function: op.function } as const
    const split = op.exact ? null : splitTable(op, scale, tensor, range, headroom)
    if (split === null) {
      const found = tabulate(op, scale, tensor, range, headroom)
      setScale(output, found.scale)
      return [{ ...base, knots: found.knots }]
    }
    const part = (what: 'near' | 'fine' | 'coarse', from: number): Op & { kind: 'table' } => {
      const added = addTensor(`${tensor.name}/${what}`, output, split[what].scale)
      const of = what === 'near' ? 'Clip' : op.function
      return { ...base, name: `${name}/${what}`, input: from, output: added, function: of, knots: split[what].knots }
    }
    const near = part('near', input)
    const fine = part('fine', near.output)
    const coarse = part('coarse', input)
    setScale(output, split.scale)
    const { shape } = tensor
    const axes = shape.map((_, axis) => ({
      coefs: shape.map((_, loop) => Number(loop === axis)),
      offset: 0,
      divisor: 1,
      table: null,
    }))
    const terms = [coarse, fine].map((each) => ({ tensor: each.output, axes, reduce: [], weight: 1 }))
    const sum: PlanLinear = { kind: 'linear', name, output, terms, bias: 0 }
    return [near, fine, coarse, writeLinear(sum, 0, { w: [1, 1], b: 0 - split.scale.offset })]
  }

  function write(op: PlanOp): Op | Op[] {
    const { name, output } = op
    switch (op.kind) {
      case 'linear':
        return linear(op)
      case 'product':
        return product(op)
      case 'table':
        return table(op)
      case 'extremum': {
        setScale(output, scaleOf(op.input.tensor))
        const { shape } = tensorAt(output)
        const taps = elementCount(op.reduce)
        const readers = [planReader(plan, op.input, [...shape, ...op.reduce])]
        const tile = tileFor(readers, shape, (each) => each * taps <= TILE_PAIRS)
        return { kind: 'extremum', name, output, tile, reduce: op.reduce, input: operand(op.input, 0) }
      }
      case 'divide':
        return divide(op)
      case 'root':
        setScale(output, { scale: Math.sqrt(scaleOf(op.input.tensor).scale), offset: ROOT_OFFSET })
        return { kind: 'root', name, output, tile: 64, input: operand(op.input) }
    }
  }

  const ops = plan.ops.flatMap(write)
  const lookups = plan.inputs.map(({ tensor, lookup }) => {
    if (lookup === null) return null
    const { name, rows, table } = lookup
    const exponent = -Math.log2(scaleOf(tensor).scale)
    return { name, rows, table: writer.weights(quantise(table, exponent)) }
  })
  // The exponent of a tensor that the model itself quantises, in steps that are no power of two, is the nearest one below.
  const exponents = plan.tensors.map((_, id) => Math.floor(-Math.log2(scaleOf(id).scale) + 1e-9) + 0)
  return { tensors: plan.tensors, exponents, ops, weights: writer.finish(), lookups }
}
