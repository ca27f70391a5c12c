import { alwaysChecked } from '../../models/draw.ts'
import { evaluationCost } from '../../models/evaluation-cost.ts'
import type { Manifest, Op, Operand } from '../../models/manifest.ts'
import { elementCount, leavesFor, operandsOf, opTiles, reducedLoops, tensorOf, tileSize } from '../../models/tiling.ts'
import { HASH_BYTES } from '../../protocol/hash.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { LEAF_LIMBS } from '../../protocol/statement.ts'
import { treesOf } from './layout.ts'

/**
 * Most coefficients of a job that verifiers compute, about fifteen seconds of one core. A manifest that may ask for more is invalid:
 * else a manifest of a few kilobytes, whose ops all read the same weights, could keep a committee busy past its deadline.
 */
export const MAX_JOB_MULTIPLY_ADDS = 2 ** 26

/** Most multiply-adds of a model whose jobs may be attested under the policy `open`: verifiers do all of them, in seconds. */
export const MAX_OPEN_UNITS = 2 ** 33

/**
 * Most work that computing a shown job again may take, in multiply-adds of a matrix product: about five minutes of a slow core, spread over
 * those that a voter has. A leaf that is committed counts as 2^17.
 */
export const MAX_OPEN_WORK = 2 ** 37
const LEAF_WORK = 2 ** 17

/** Most bytes that it may take beside the weights: the tensors of the largest op, and the trees over all. */
export const MAX_OPEN_BYTES = 2 ** 30
/** Of a tree for each of its leaves: leaf, and up to four nodes where its width is padded to a power of two. */
const LEAF_BYTES = 5 * HASH_BYTES

/**
 * Most bytes that the statements of a job take a verifier. Multiply-adds do not bound them: each coefficient brings the leaf that it is
 * of with 63 others, and these are there before it is known that no attestation opens so many leaves.
 */
export const MAX_JOB_BYTES = 2 ** 29
/** Of a leaf, all of its coefficients zero; of a coefficient other than zero; of a limb in a form. */
const TERM_BYTES = 768
const COEFFICIENT_BYTES = 64
const LIMB_BYTES = 256
/** Of an element of a tile while its op's statement is made, and of a statement about a leaf with its knots. */
const ROW_BYTES = 512
const POINTWISE_BYTES = 4096

/** A coefficient of a staged form is computed, kept as an object of its own, and folded with γ: memory counts here, not time. */
const STAGED = 32

/** Coefficients of an output element by itself: value, remainder, distance from the bound, each of two limbs at most. */
const OWN = 8

/** Limbs that a value of a tensor is committed in. */
export const limbsOf = (manifest: Manifest, { tensor }: Pick<Operand, 'tensor'>): number =>
  tensorOf(manifest, tensor).bits / 16

/** Big-integer multiply-adds behind one output element, at most. */
function elementCost(manifest: Manifest, op: Op): number {
  const taps = reducedLoops(op).map(elementCount)
  const limbs = operandsOf(op).map((operand) => limbsOf(manifest, operand))
  const sum = (list: number[]): number => list.reduce((total, each) => total + each, 0)
  switch (op.kind) {
    case 'table':
      return 0
    case 'linear':
      return OWN + sum(taps.map((count, i) => count * limbs[i]!))
    case 'product':
      return OWN + STAGED * taps[0]! * sum(limbs)
    case 'extremum':
      return STAGED * taps[0]! * (sum(limbs) + limbsOf(manifest, { tensor: op.output }))
    case 'divide':
    case 'root':
      return (1 + STAGED) * (OWN + sum(limbs))
  }
}

/** Big-integer multiply-adds behind one tile, at most. */
export const tileMultiplyAdds = (manifest: Manifest, op: Op): number => tileSize(op) * elementCost(manifest, op)

/** Bytes of the statements about `tiles` tiles of an op, at most. */
export function statementBytes(manifest: Manifest, op: Op, tiles: number): number {
  if (op.kind === 'table') return POINTWISE_BYTES * tiles
  const elements = tiles * tileSize(op)
  const taps = reducedLoops(op).map(elementCount)
  const read = operandsOf(op).map((operand, i) => {
    const leaves = leavesFor(elementCount(tensorOf(manifest, operand.tensor).shape))
    return limbsOf(manifest, operand) * Math.min(elements * (taps[i] ?? taps[0]!), leaves)
  })
  const own = OWN * Math.min(tiles, leavesFor(elementCount(tensorOf(manifest, op.output).shape)))
  const leaves = read.reduce((sum, each) => sum + each, own)
  const adds = tiles * tileMultiplyAdds(manifest, op)
  const coefficients =
    op.kind === 'linear' ? COEFFICIENT_BYTES * Math.min(adds, LEAF_LIMBS * leaves) : (LIMB_BYTES / STAGED) * adds
  return ROW_BYTES * elements + TERM_BYTES * leaves + coefficients
}

/** What computing a job again takes at most, whatever its inputs: evaluating the graph, and committing every leaf of its trace. */
export function openCost(manifest: Manifest): { work: number; bytes: number } {
  const { work, bytes } = evaluationCost(manifest)
  const leaves = treesOf(manifest).reduce((sum, { count }) => sum + count, 0)
  return { work: work + LEAF_WORK * leaves, bytes: bytes + LEAF_BYTES * leaves }
}

/** Whether a job may be shown: a verifier has time and memory to compute it again. */
export function isShowable(manifest: Manifest): boolean {
  if (manifest.units > MAX_OPEN_UNITS) return false
  const { work, bytes } = openCost(manifest)
  return work <= MAX_OPEN_WORK && bytes <= MAX_OPEN_BYTES
}

/** Whether checking a job under a policy takes no longer, and no more memory, than a verifier has for it. */
export const isCheckable = (manifest: Manifest, tileDraws: number, policy: Policy): boolean =>
  policy === 'open'
    ? isShowable(manifest)
    : jobMultiplyAdds(manifest, tileDraws, policy) <= MAX_JOB_MULTIPLY_ADDS &&
      jobBytes(manifest, tileDraws, policy) <= MAX_JOB_BYTES

/**
 * The most that any challenge asks of one drawn job: every tile of the ops that are always checked, and each of `tileDraws` draws on the
 * dearest tile of the others; under the policy `full`, every tile of all; under `open`, nothing.
 */
function dearest(
  manifest: Manifest,
  tileDraws: number,
  policy: Policy,
  cost: (op: Op, tiles: number) => number,
): number {
  if (policy === 'open') return 0
  const always = alwaysChecked(manifest)
  let fixed = 0
  let most = 0
  manifest.ops.forEach((op, i) => {
    if (always[i] || policy === 'full') fixed += cost(op, opTiles(manifest, op))
    else most = Math.max(most, cost(op, 1))
  })
  return fixed + tileDraws * most
}

/** Big-integer multiply-adds behind the statements of one drawn job, at most: about a quarter of a microsecond each. */
export const jobMultiplyAdds = (manifest: Manifest, tileDraws: number, policy: Policy = 'zk'): number =>
  dearest(manifest, tileDraws, policy, (op, tiles) => tiles * tileMultiplyAdds(manifest, op))

/** Bytes that the statements of one drawn job take, at most; every leaf of the outputs has one of its own. */
export function jobBytes(manifest: Manifest, tileDraws: number, policy: Policy = 'zk'): number {
  const outputs = manifest.outputs.reduce((sum, { shape }) => sum + leavesFor(elementCount(shape)), 0)
  return (
    POINTWISE_BYTES * outputs + dearest(manifest, tileDraws, policy, (op, tiles) => statementBytes(manifest, op, tiles))
  )
}
