import { allTiles, detection, outputTiles, type SelectedTile, selectTiles } from '../../models/draw.ts'
import type { Manifest } from '../../models/manifest.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { opCost, tilesCost, worstCost } from './cost.ts'

/** What attesting a drawn job of a model comes to, for people who choose a model. What may cost a lock is in cost.ts. */

/** Seconds of one core that a proof takes, and that its verification takes: measured, see README. */
export const PROOF_CORE_S = 1.2
export const VERIFY_CORE_S = 0.02

/** Challenges that are drawn for a mean. */
const CHALLENGES = 64

export type Work = { statements: number; proofs: number; leaves: number }
export type Estimate = {
  /** Of a drawn job on the average, at most, and of all its tiles (the policy `full`). */
  mean: Work
  worst: { proofs: number; leaves: number; bytes: number }
  full: Work
  d1: number
  d2: number
  /** Stake that a provider locks for each unit of a batch's fees, at least: forfeit / (draws · d1); infinite where d1 is 0. */
  lock: number
}

/** Statements, proofs and opened leaves behind a selection of tiles of which none saturates; proofs and leaves at most. */
export function workOf(manifest: Manifest, selected: SelectedTile[]): Work {
  const counts = new Map<number, number>()
  for (const { op } of selected) counts.set(op, (counts.get(op) ?? 0) + 1)
  const outputs = outputTiles(manifest).length
  const work = { statements: outputs, proofs: outputs, leaves: 2 * outputs }
  for (const [index, tiles] of counts) {
    const op = manifest.ops[index]!
    const pointwise = op.kind === 'table' ? 1 : 0
    const { leaves, proofs } = tilesCost(op, { ...opCost(manifest, op), pointwise }, tiles)
    work.statements += op.kind === 'table' ? tiles : 1
    work.proofs += proofs
    work.leaves += leaves
  }
  return work
}

export type Terms = {
  /** Tiles drawn per drawn job. */
  tileDraws: number
  /** Jobs drawn per batch. */
  draws: number
  /** What all draws of a batch off tolerance forfeit, in units of its fees. @default 1.5 */
  forfeit?: number
}

/** The same for everybody: challenges are seeded. */
export function estimate(manifest: Manifest, { tileDraws, draws, forfeit = 1.5 }: Terms): Estimate {
  const { d1, d2 } = detection(manifest, tileDraws)
  const mean = { statements: 0, proofs: 0, leaves: 0 }
  for (let i = 0; i < CHALLENGES; i++) {
    const random = seededRandomness(new Uint8Array(32).fill(i))
    const work = workOf(manifest, selectTiles(manifest, random, tileDraws))
    for (const key of ['statements', 'proofs', 'leaves'] as const) mean[key] += work[key] / CHALLENGES
  }
  return {
    mean,
    worst: worstCost(manifest, tileDraws),
    full: workOf(manifest, allTiles(manifest)),
    d1,
    d2,
    lock: d1 === 0 ? Number.POSITIVE_INFINITY : forfeit / (draws * d1),
  }
}
