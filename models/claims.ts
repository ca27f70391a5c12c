import { mod } from '../protocol/field.ts'
import {
  EXTREMUM_GAPS,
  type Form,
  LEAF_LIMBS,
  type StagedStatement,
  type Statement,
  TREE,
} from '../protocol/statement.ts'
import {
  dependsOn,
  forEachPoint,
  int32Slice,
  int64Slice,
  type Reader,
  readerOf,
  stridedIndex,
  unravel,
} from './access.ts'
import { ROOT_OFFSET } from './canonical.ts'
import { addElement, addResult, addTap, createForm, createSum, padForms, type Sum, ZERO_FORM } from './forms.ts'
import type { DivideOp, ExtremumOp, LinearOp, Manifest, Op, ProductOp, RootOp } from './manifest.ts'
import { tensorOf, tileRange, wideDivisor } from './tiling.ts'

/** What statements are made from. `flags`: whether a leaf of an op's output commits unclamped values. */
export type Claim = {
  manifest: Manifest
  weights: Uint8Array
  flags: (tensor: number, leaf: number) => boolean
  /** Row e of an op has the weight ρ^(e+1), or ρ^(2e+1) and ρ^(2e+2) where it makes two claims. */
  rho: bigint
}

const LIMB = 65_536n

function powerOf(base: bigint, exponent: number): bigint {
  let result = 1n
  let square = base
  for (let rest = BigInt(exponent); rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = mod(result * square)
    square = mod(square * square)
  }
  return result
}

type Row = { element: number; flagged: boolean; omega: bigint; omega2: bigint; point: Float64Array }

/** Elements of the tiles with their weights; `each` equations a row. */
function rowsOf({ manifest, flags, rho }: Claim, op: Op, tiles: number[], each: 1 | 2): Row[] {
  const { shape } = tensorOf(manifest, op.output)
  const rows: Row[] = []
  for (const tile of tiles) {
    const { first, end } = tileRange(manifest, op, tile)
    let power = powerOf(rho, each * first)
    for (let element = first; element < end; element++) {
      const omega = mod(power * rho)
      const omega2 = each === 2 ? mod(omega * rho) : 0n
      power = each === 2 ? omega2 : omega
      const point = new Float64Array(16)
      unravel(shape, element, point)
      rows.push({ element, flagged: flags(op.output, Math.floor(element / LEAF_LIMBS)), omega, omega2, point })
    }
  }
  return rows
}

const axes = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** Adds ω · (2^(16·drop)·y + dropped limbs) of a row. */
function addRequantised(
  sum: Sum,
  manifest: Manifest,
  op: LinearOp | ProductOp,
  { element, flagged, omega }: Row,
): void {
  addResult(
    sum,
    manifest,
    op.output,
    element,
    flagged && tensorOf(manifest, op.output).bits === 16,
    omega << BigInt(16 * op.drop),
  )
  if (op.drop >= 1) sum.add(op.output, TREE.rem, element, omega)
  if (op.drop === 2) sum.add(op.output, TREE.remHigh, element, omega << 16n)
}

function linear(claim: Claim, op: LinearOp, index: number, tiles: number[]): Statement {
  const { manifest, weights } = claim
  const { shape } = tensorOf(manifest, op.output)
  const sum = createSum()
  const rows = rowsOf(claim, op, tiles, 1)
  const biases = typeof op.bias === 'number' ? null : int64Slice(weights, op.bias)
  for (const row of rows) {
    addRequantised(sum, manifest, op, row)
    const bias = typeof op.bias === 'number' ? op.bias : biases![stridedIndex(op.bias, row.point)]!
    sum.constant(-BigInt(bias) * row.omega)
  }
  for (const term of op.terms) {
    const loops = [...shape, ...term.reduce]
    const reader = readerOf(manifest, weights, term, loops)
    const reduced = axes(shape.length, loops.length)
    const { weight } = term
    const values = typeof weight === 'number' ? null : int32Slice(weights, weight)
    for (const { point, omega } of rows)
      forEachPoint(loops, reduced, point, () => {
        const w = typeof weight === 'number' ? weight : values![stridedIndex(weight, point)]!
        if (w !== 0) addTap(sum, manifest, reader, point, -BigInt(w) * omega)
        // Read whatever its weight: which leaves are opened then follows from shapes alone.
        else addTap(sum, manifest, reader, point, 0n)
      })
  }
  return { kind: 'relation', op: index, tiles, ...sum.relation() }
}

/** Rows that share the factor which does not move along the last axis: runs within one line of the output. */
function runsOf(rows: Row[], line: number, shared: boolean): Row[][] {
  const runs: Row[][] = []
  for (const row of rows) {
    const before = runs.at(-1)?.at(-1)
    const joins =
      shared &&
      before !== undefined &&
      before.element + 1 === row.element &&
      Math.floor(before.element / line) === Math.floor(row.element / line)
    if (joins) runs.at(-1)!.push(row)
    else runs.push([row])
  }
  return runs
}

/** The two factors of a pair: `single` · one element of the shared operand, and Σ ω · the other operand over a run. */
type Factors = { shared: Reader; moving: Reader; runs: Row[][] }

function factorsOf(claim: Claim, output: number, a: Reader, b: Reader, rows: Row[]): Factors {
  const { shape } = tensorOf(claim.manifest, output)
  const last = shape.length - 1
  const fixed = (reader: Reader): boolean => last >= 0 && !dependsOn(reader, last)
  const [shared, moving] = !fixed(a) && fixed(b) ? [b, a] : [a, b]
  return { shared, moving, runs: runsOf(rows, shape.at(-1) ?? 1, fixed(shared)) }
}

function product(claim: Claim, op: ProductOp, index: number, tiles: number[]): Statement {
  const { manifest, weights } = claim
  const { shape } = tensorOf(manifest, op.output)
  const loops = [...shape, ...op.reduce]
  const rows = rowsOf(claim, op, tiles, 1)
  const sum = createSum()
  for (const row of rows) {
    addRequantised(sum, manifest, op, row)
    sum.constant(-BigInt(op.bias) * row.omega)
  }
  const readers = [op.a, op.b].map((side) => readerOf(manifest, weights, side, loops)) as [Reader, Reader]
  const { shared, moving, runs } = factorsOf(claim, op.output, ...readers, rows)
  const forms: Form[] = []
  for (const run of runs) {
    const point = run[0]!.point
    forEachPoint(loops, axes(shape.length, loops.length), point, () => {
      const first = createForm()
      if (!addTap(first, manifest, shared, point, -BigInt(op.weight))) return
      const second = createForm()
      for (const row of run) {
        row.point.set(point.subarray(shape.length), shape.length)
        addTap(second, manifest, moving, row.point, row.omega)
      }
      forms.push(first.form, second.form)
    })
  }
  return { kind: 'product', op: index, tiles, forms: padForms('product', forms), ends: [], ...sum.relation() }
}

/** n − q·d − rem = 0 and rem + slack + 1 − d = 0 for every row. */
function divide(claim: Claim, op: DivideOp, index: number, tiles: number[]): Statement {
  const { manifest, weights } = claim
  const { shape } = tensorOf(manifest, op.output)
  const rows = rowsOf(claim, op, tiles, 2)
  const a = readerOf(manifest, weights, op.a, shape)
  const b = readerOf(manifest, weights, op.b, shape)
  const sum = createSum()
  const { output } = op
  for (const { element, omega, omega2, point } of rows) {
    addTap(sum, manifest, a, point, BigInt(op.weight) * omega)
    addTap(sum, manifest, b, point, -omega2)
    sum.constant(BigInt(op.bias) * omega + omega2)
    sum.add(output, TREE.rem, element, omega2 - omega)
    sum.add(output, TREE.slack, element, omega2)
    if (!wideDivisor(manifest, op)) continue
    sum.add(output, TREE.remHigh, element, (omega2 - omega) * LIMB)
    sum.add(output, TREE.slackHigh, element, omega2 * LIMB)
  }
  const forms: Form[] = []
  const last = shape.length - 1
  for (const run of runsOf(rows, shape.at(-1) ?? 1, last >= 0 && !dependsOn(b, last))) {
    const divisor = createForm()
    addTap(divisor, manifest, b, run[0]!.point, -1n)
    const quotients = createForm()
    for (const { element, flagged, omega } of run) addResult(quotients, manifest, output, element, flagged, omega)
    forms.push(divisor.form, quotients.form)
  }
  return { kind: 'product', op: index, tiles, forms: padForms('product', forms), ends: [], ...sum.relation() }
}

/** v − s² − rem = 0 and 2s − rem − slack = 0 for every row. */
function root(claim: Claim, op: RootOp, index: number, tiles: number[]): Statement {
  const { manifest, weights } = claim
  const { shape } = tensorOf(manifest, op.output)
  const input = readerOf(manifest, weights, op.input, shape)
  const sum = createSum()
  const forms: Form[] = []
  const { output } = op
  const addRoot = (target: Parameters<typeof addElement>[0], element: number, u: bigint): void => {
    addElement(target, manifest, output, element, u)
    target.constant(BigInt(ROOT_OFFSET) * u)
  }
  for (const { element, omega, omega2, point } of rowsOf(claim, op, tiles, 2)) {
    addTap(sum, manifest, input, point, omega)
    addRoot(sum, element, 2n * omega2)
    sum.add(output, TREE.rem, element, -omega - omega2)
    sum.add(output, TREE.remHigh, element, (-omega - omega2) * LIMB)
    sum.add(output, TREE.slack, element, -omega2)
    sum.add(output, TREE.slackHigh, element, -omega2 * LIMB)
    const first = createForm()
    const second = createForm()
    addRoot(first, element, -omega)
    addRoot(second, element, 1n)
    forms.push(first.form, second.form)
  }
  return { kind: 'product', op: index, tiles, forms: padForms('product', forms), ends: [], ...sum.relation() }
}

/** y − x in [0, 2^32) for every tap of a window, and one of them 0. An absent tap is the least value there is. */
function extremum(claim: Claim, op: ExtremumOp, index: number, tiles: number[]): StagedStatement {
  const { manifest, weights } = claim
  const { shape, bits } = tensorOf(manifest, op.output)
  const loops = [...shape, ...op.reduce]
  // The largest x itself, as it is evaluated: a zero point would move every tap but not the result.
  const reader = { ...readerOf(manifest, weights, op.input, loops), zero: 0 }
  const least = bits === 16 ? -(1n << 15n) : -(1n << 31n)
  const forms: Form[] = []
  const ends: boolean[] = []
  for (const { element, point } of rowsOf(claim, op, tiles, 1)) {
    const window: Form[] = []
    forEachPoint(loops, axes(shape.length, loops.length), point, () => {
      const gap = createForm()
      addElement(gap, manifest, op.output, element, 1n)
      if (!addTap(gap, manifest, reader, point, -1n)) gap.constant(-least)
      window.push(gap.form)
    })
    // A window lies in one segment: what is left of the last one is filled with zeros, each a window of its own.
    if ((forms.length % EXTREMUM_GAPS) + window.length > EXTREMUM_GAPS)
      while (forms.length % EXTREMUM_GAPS !== 0) {
        forms.push(ZERO_FORM)
        ends.push(true)
      }
    forms.push(...window)
    ends.push(...window.map((_, i) => i === window.length - 1))
  }
  const padded = padForms('extremum', forms)
  while (ends.length < padded.length) ends.push(true)
  return { kind: 'extremum', op: index, tiles, forms: padded, ends, terms: [], c: 0n }
}

/** The one statement for all selected tiles of an op that is not a table. */
export function claimOf(claim: Claim, index: number, tiles: number[]): Statement {
  const op = claim.manifest.ops[index]!
  switch (op.kind) {
    case 'linear':
      return linear(claim, op, index, tiles)
    case 'product':
      return product(claim, op, index, tiles)
    case 'divide':
      return divide(claim, op, index, tiles)
    case 'root':
      return root(claim, op, index, tiles)
    case 'extremum':
      return extremum(claim, op, index, tiles)
    case 'table':
      throw new RangeError('a table has statements of its own')
  }
}
