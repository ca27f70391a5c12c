import { SinterError } from '../protocol/errors.ts'
import { FIELD_PRIME, mod } from '../protocol/field.ts'
import { LEAF_LIMBS, SEGMENT_LEAVES, TABLE_SEGMENTS } from '../protocol/statement.ts'
import { ZERO_LEAF } from './commit.ts'

export const CIRCUIT_KINDS = ['relation', 'pointwise', 'product', 'extremum'] as const
export type CircuitKind = (typeof CIRCUIT_KINDS)[number]

export const SEGMENT_LIMBS = SEGMENT_LEAVES * LEAF_LIMBS

/** Number of public signals of each circuit; see protocol/spec/circuits.md for their order. */
export const SIGNAL_COUNT: Record<CircuitKind, number> = {
  relation: SEGMENT_LEAVES + 3 + SEGMENT_LIMBS,
  pointwise: 7 + TABLE_SEGMENTS + 1,
  product: 6,
  extremum: 8,
}

/** What one `relation` proof says in public. Leaves are commitments; `u` has 64 coefficients in [0, r) for each of them. */
export type RelationPublic = {
  leaves: readonly bigint[]
  accIn: bigint
  accOut: bigint
  binding: bigint
  u: readonly bigint[]
}

/** What one `pointwise` proof says in public. `hi` null means the zero leaf; knots are signed. */
export type PointwisePublic = {
  a: bigint
  b: bigint
  hi: bigint | null
  mode: 'table' | 'clamp'
  mask: bigint
  tol: number
  binding: bigint
  knots: readonly bigint[]
}

/** `items` followed by `filler` up to `length`. */
function pad(items: readonly bigint[], length: number, filler: bigint): bigint[] {
  return [...items, ...new Array<bigint>(length - items.length).fill(filler)]
}

/**
 * Public signals of a relation segment of at most ten leaves; unused slots take the zero leaf and coefficients 0.
 * Throws `SEGMENT_SHAPE`.
 */
export function relationSignals(statement: RelationPublic): bigint[] {
  const { leaves, accIn, accOut, binding, u } = statement
  if (leaves.length > SEGMENT_LEAVES || u.length !== LEAF_LIMBS * leaves.length)
    throw new SinterError('SEGMENT_SHAPE', `${leaves.length} leaves with ${u.length} coefficients are not a segment`)
  return [...pad(leaves, SEGMENT_LEAVES, ZERO_LEAF), accIn, accOut, binding, ...pad(u, SEGMENT_LIMBS, 0n)]
}

/** Public signals of a pointwise statement. Throws `KNOT_COUNT` and `KNOT_RANGE` (|knot| < r / 2 is required). */
export function pointwiseSignals(statement: PointwisePublic): bigint[] {
  const { a, b, hi, mode, mask, tol, binding, knots } = statement
  if (knots.length !== TABLE_SEGMENTS + 1)
    throw new SinterError('KNOT_COUNT', `a table has ${TABLE_SEGMENTS + 1} knots, not ${knots.length}`)
  if (knots.some((knot) => 2n * knot >= FIELD_PRIME || 2n * knot <= -FIELD_PRIME))
    throw new SinterError('KNOT_RANGE', 'a knot is a small signed integer')
  return [a, b, hi ?? ZERO_LEAF, mode === 'clamp' ? 1n : 0n, mask, BigInt(tol), binding, ...knots.map(mod)]
}

/**
 * What a segment of staged values says in public. `com` commits to them; `first` is the power of γ that the first of them is
 * weighted with.
 */
export type StagePublic = {
  com: bigint
  accIn: bigint
  accOut: bigint
  binding: bigint
  gamma: bigint
  first: bigint
}

/** Public signals of a `product` segment. */
export function productSignals({ com, accIn, accOut, binding, gamma, first }: StagePublic): bigint[] {
  return [com, accIn, accOut, binding, gamma, first]
}

/** Public signals of an `extremum` segment; `ends` are two masks of 128 bits: bit d of the two together, gap d ends a window. */
export function extremumSignals(segment: StagePublic & { ends: readonly [bigint, bigint] }): bigint[] {
  return [...productSignals(segment), ...segment.ends]
}
