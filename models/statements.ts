import { SinterError } from '../protocol/errors.ts'
import { FIELD_PRIME } from '../protocol/field.ts'
import { LEAF_LIMBS, type PointwiseStatement, type Statement, TABLE_SEGMENTS, TREE } from '../protocol/statement.ts'
import { tableAt } from './canonical.ts'
import { type Claim, claimOf } from './claims.ts'
import { outputTiles, type SelectedTile } from './draw.ts'

export { foldStaged, formValue } from './forms.ts'

import { formValue, limbSum } from './forms.ts'
import type { Manifest, TableOp } from './manifest.ts'
import { elementCount, opTiles, resolveTensor, saturates, tileLeaf, tileRange } from './tiling.ts'

const HALF = 32_768n

/** K_i = 1024·i − 2^15: the table that changes nothing, for comparing the served output with the canonical one. */
const IDENTITY_KNOTS: readonly bigint[] = Array.from({ length: TABLE_SEGMENTS + 1 }, (_, i) => BigInt(1024 * i) - HALF)
const NO_KNOTS: readonly bigint[] = IDENTITY_KNOTS.map(() => 0n)

/** Bits of the elements first … end − 1 within their leaf. */
const maskOf = (first: number, end: number): bigint => ((1n << BigInt(end - first)) - 1n) << BigInt(first % LEAF_LIMBS)

function clamp(manifest: Manifest, op: number, tile: number): PointwiseStatement {
  const target = manifest.ops[op]!
  const { output } = target
  const leaf = tileLeaf(target, tile)
  const { first, end } = tileRange(manifest, target, tile)
  return {
    kind: 'pointwise',
    op,
    tile,
    mode: 'clamp',
    a: { tensor: output, tree: TREE.pre, index: 2 * leaf },
    b: { tensor: output, tree: TREE.value, index: leaf },
    hi: { tensor: output, tree: TREE.pre, index: 2 * leaf + 1 },
    knots: [...NO_KNOTS],
    tol: 0,
    mask: maskOf(first, end),
  }
}

function table(manifest: Manifest, op: number, tile: number): PointwiseStatement {
  const { input, output, knots } = manifest.ops[op] as TableOp
  const { first, end } = tileRange(manifest, manifest.ops[op]!, tile)
  return {
    kind: 'pointwise',
    op,
    tile,
    mode: 'table',
    a: { tensor: resolveTensor(manifest, input), tree: TREE.value, index: tile },
    b: { tensor: output, tree: TREE.value, index: tile },
    hi: null,
    knots: knots.map(BigInt),
    tol: 0,
    mask: maskOf(first, end),
  }
}

function tolerance(manifest: Manifest, output: number, tile: number): PointwiseStatement {
  const end = manifest.outputs[output]!
  const tensor = resolveTensor(manifest, end.tensor)
  const first = tile * LEAF_LIMBS
  return {
    kind: 'pointwise',
    op: -1 - output,
    tile,
    mode: 'table',
    a: { tensor, tree: TREE.value, index: tile },
    b: { tensor, tree: TREE.served, index: tile },
    hi: null,
    knots: [...IDENTITY_KNOTS],
    tol: end.tolerance.quanta,
    mask: maskOf(first, Math.min(first + LEAF_LIMBS, elementCount(end.shape))),
  }
}

/** The selection by op, after checking that it is one. */
function tilesByOp(manifest: Manifest, selected: SelectedTile[]): Map<number, number[]> {
  const byOp = new Map<number, number[]>()
  for (const { op, tile } of selected) {
    const target = manifest.ops[op]
    const before = byOp.get(op)
    if (target === undefined || !Number.isInteger(tile) || tile < 0 || tile >= opTiles(manifest, target))
      throw new SinterError('BAD_SELECTION', `there is no tile ${tile} of op ${op}`)
    if (before === undefined) byOp.set(op, [tile])
    else if (tile > before.at(-1)!) before.push(tile)
    else throw new SinterError('BAD_SELECTION', `the tiles of op ${op} are not in ascending order`)
  }
  return byOp
}

/**
 * Everything that an attestation of one drawn job must prove, in this order: for each op by index, one statement for all of
 * its tiles and then the clamps of its flagged tiles, or one statement for each tile of a table; last, for each output leaf, that the
 * served values are within τ.
 * @param selected drawn tiles, sorted by op then tile, without duplicates (as `selectTiles` gives them)
 * @param flags whether a leaf of an op's output commits unclamped values: known from its opened `pre` leaves
 * @param rho challenge of the Freivalds check, in [1, r)
 * Throws `BAD_SELECTION` or `BAD_CHALLENGE`.
 */
export function buildStatements(
  manifest: Manifest,
  weights: Uint8Array,
  selected: SelectedTile[],
  flags: (tensor: number, leaf: number) => boolean,
  rho: bigint,
): Statement[] {
  if (rho <= 0n || rho >= FIELD_PRIME) throw new SinterError('BAD_CHALLENGE', 'ρ is not in [1, r)')
  const statements: Statement[] = []
  const claim: Claim = { manifest, weights, flags, rho }
  for (const [op, tiles] of [...tilesByOp(manifest, selected)].sort(([a], [b]) => a - b)) {
    const target = manifest.ops[op]!
    if (target.kind === 'table') {
      for (const tile of tiles) statements.push(table(manifest, op, tile))
      continue
    }
    statements.push(claimOf(claim, op, tiles))
    if (!saturates(manifest, target)) continue
    for (const tile of tiles)
      if (flags(target.output, tileLeaf(target, tile))) statements.push(clamp(manifest, op, tile))
  }
  for (const { output, tile } of outputTiles(manifest)) statements.push(tolerance(manifest, output, tile))
  return statements
}

function pairHolds(statement: PointwiseStatement, knots: number[], a: number, b: number, hi: number): boolean {
  if (statement.mode === 'clamp') return b === (hi === 32_768 ? a : hi > 32_768 ? 65_535 : 0)
  return Math.abs(b - 32_768 - tableAt(knots, a - 32_768)) <= statement.tol
}

function pointwiseHolds(statement: PointwiseStatement, limbsOf: LimbsOf): boolean {
  const a = limbsOf(statement.a)
  const b = limbsOf(statement.b)
  const hi = statement.hi === null ? null : limbsOf(statement.hi)
  const knots = statement.knots.map(Number)
  for (let j = 0; j < LEAF_LIMBS; j++)
    if ((statement.mask >> BigInt(j)) & 1n && !pairHolds(statement, knots, a[j]!, b[j]!, hi?.[j] ?? 0)) return false
  return true
}

/** Whether all values are 32-bit and each window has a zero among them. */
function windowsHold(values: bigint[], ends: boolean[]): boolean {
  let zero = false
  for (const [i, value] of values.entries()) {
    if (value < 0n || value >= 1n << 32n) return false
    zero ||= value === 0n
    if (!ends[i]) continue
    if (!zero) return false
    zero = false
  }
  return !zero
}

type LimbsOf = Parameters<typeof formValue>[1]

/**
 * Whether a statement holds for these limbs: what the circuits prove, evaluated natively.
 * @param limbsOf the 64 limbs of a leaf; zeros for a leaf that is ZERO_LEAF
 */
export function checkStatement(statement: Statement, limbsOf: LimbsOf): boolean {
  switch (statement.kind) {
    case 'pointwise':
      return pointwiseHolds(statement, limbsOf)
    case 'relation':
      return limbSum(statement.terms, limbsOf) === statement.c
    case 'product':
    case 'extremum': {
      const values = statement.forms.map((form) => formValue(form, limbsOf))
      const rest = limbSum(statement.terms, limbsOf) - statement.c
      if (statement.kind === 'extremum') return rest === 0n && windowsHold(values, statement.ends)
      let sum = rest
      for (let d = 0; d < values.length; d += 2) sum += values[d]! * values[d + 1]!
      return sum % FIELD_PRIME === 0n
    }
  }
}
