/** Limbs per committed leaf. */
export const LEAF_LIMBS = 64
/** Leaves per `relation` segment. */
export const SEGMENT_LEAVES = 10
/** Pairs of consecutive knots in a table: a 16-bit input is split in 6 index bits and 10 fraction bits. */
export const TABLE_SEGMENTS = 64
/** Pairs of factors per `product` segment; a segment stages twice as many forms. */
export const PRODUCT_PAIRS = 64
/** Gaps per `extremum` segment. */
export const EXTREMUM_GAPS = 256

/**
 * Trees of one tensor. `value`: the limbs, or the low limbs of a 32-bit tensor, whose high ones are `high`. `rem`, `remHigh`:
 * dropped limbs of an accumulator, or the remainder of a division or root. `slack`, `slackHigh`: how far such a remainder is from
 * its bound. `pre`: unclamped values of saturated tiles. `served`: what was served.
 */
export const TREE = {
  value: 0,
  rem: 1,
  pre: 2,
  served: 3,
  high: 4,
  remHigh: 5,
  slack: 6,
  slackHigh: 7,
} as const
export type Tree = (typeof TREE)[keyof typeof TREE]

/** One committed leaf of a job's trace. */
export type LeafRef = { tensor: number; tree: Tree; index: number }

/** 64 coefficients in [0, r), one per limb of the leaf. */
export type RelationTerm = { leaf: LeafRef; u: bigint[] }

/** Σ u·z ≡ c (mod r) over the unsigned 16-bit limbs z of the named leaves. */
export type RelationStatement = { kind: 'relation'; op: number; tiles: number[]; terms: RelationTerm[]; c: bigint }

/**
 * For each active pair j: table mode |b − table(a)| ≤ tol; clamp mode b = clamp(hi, lo = a).
 * `op` is the op's index, or −1 − i for the tolerance statement of graph output i.
 */
export type PointwiseStatement = {
  kind: 'pointwise'
  op: number
  tile: number
  mode: 'table' | 'clamp'
  a: LeafRef
  b: LeafRef
  hi: LeafRef | null
  /** 65 signed knots; ignored by clamp mode, where they are all zero. */
  knots: bigint[]
  /** Quanta, in [0, 2^16). */
  tol: number
  /** Bit j set: pair j is checked. */
  mask: bigint
}

/** A linear form over committed limbs: constant + Σ u·limb. Coefficients need not be reduced. */
export type Form = { constant: bigint; limbs: { leaf: LeafRef; limb: number; u: bigint }[] }

/**
 * A statement about values that are not limbs but forms of them. The prover first commits to the forms' values (`stage`, one
 * commitment per segment); then γ, derived from these commitments, folds "each value is its form" into the relation that closes
 * the chain. `product`: Σ f_{2d}·f_{2d+1} + Σ u·z ≡ c. `extremum`: every form is in [0, 2^32), each window (a run of forms that
 * ends where `ends` is set) has a zero among them, and Σ u·z ≡ c. Forms fill whole segments; no window crosses two.
 */
export type StagedStatement = {
  kind: 'product' | 'extremum'
  op: number
  tiles: number[]
  forms: Form[]
  /** For `extremum`, one per form; empty for `product`. */
  ends: boolean[]
  terms: RelationTerm[]
  c: bigint
}

/** Forms per segment of a staged statement. */
export const STAGE_FORMS: Record<StagedStatement['kind'], number> = {
  product: 2 * PRODUCT_PAIRS,
  extremum: EXTREMUM_GAPS,
}

export type Statement = RelationStatement | PointwiseStatement | StagedStatement
