/** Limbs per committed leaf; also the number of output values in a tile. */
export const LEAF_LIMBS = 64
/** Leaves per `relation` segment. */
export const SEGMENT_LEAVES = 10
/** Pairs of consecutive knots in a table: a 16-bit input is split in 6 index bits and 10 fraction bits. */
export const TABLE_SEGMENTS = 64

/** Trees of one tensor: its values, the remainders of its accumulators, the unclamped pairs, and what was served. */
export const TREE = { value: 0, rem: 1, pre: 2, served: 3 } as const
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

export type Statement = RelationStatement | PointwiseStatement
