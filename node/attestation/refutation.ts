import type { CircuitKind } from '../../circuits/signals.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import type { Claim } from '../../protocol/claims.ts'
import { merkleVerify } from '../../protocol/merkle.ts'
import { verifySumPath } from '../../protocol/sum-tree.ts'
import { jobRoot } from '../../protocol/trace.ts'
import type { Finding } from './faults.ts'
import { type BatchFacts, holds } from './place.ts'

/** A claim of an attestation that does not hold, by its place among them, with what the chain needs to see it (settlement.md §5.7). */
export type Refutation =
  | { fault: 'place' | 'trace'; claim: number }
  | { fault: 'proof'; claim: number; kind: CircuitKind; signals: bigint[] }

type ClaimOf<K extends Claim['kind']> = Extract<Claim, { kind: K }>

const STEP_BYTES = 48

function isPlaced({ root, total, points }: BatchFacts, { receiptHash, price, index, path }: ClaimOf<'place'>): boolean {
  if (path.length % STEP_BYTES !== 0) return false
  const steps = Array.from({ length: path.length / STEP_BYTES }, (_, i) => {
    const step = path.subarray(i * STEP_BYTES, (i + 1) * STEP_BYTES)
    return { hash: step.subarray(0, 32), sum: bytesToBigint(step.subarray(32)) }
  })
  const placed = verifySumPath(root, total, { receiptHash, price }, index, steps)
  return placed !== null && holds({ start: placed.start, end: placed.start + price }, points)
}

function isTraced({ challenge }: BatchFacts, claim: ClaimOf<'trace'>): boolean {
  const { job, jobs, receiptHash, manifest, tensors, path } = claim
  if (path.length % 32 !== 0) return false
  const siblings = Array.from({ length: path.length / 32 }, (_, i) => path.subarray(32 * i, 32 * (i + 1)))
  return merkleVerify(challenge.traceRoot, jobRoot(receiptHash, manifest, tensors), job, jobs, siblings)
}

/**
 * The cheapest fault of an attestation that the chain can see, null where there is none or the verifier does not know what it takes: of signals
 * that are not its own it has only the hash. `findings` are those of `verifyAttestation`.
 */
export function refutationOf(facts: BatchFacts, claims: Claim[], findings: Finding[]): Refutation | null {
  const at = claims.findIndex(
    (claim) =>
      (claim.kind === 'place' && !isPlaced(facts, claim)) || (claim.kind === 'trace' && !isTraced(facts, claim)),
  )
  if (at >= 0) return { fault: claims[at]!.kind as 'place' | 'trace', claim: at }
  for (const { index, badProof } of findings) {
    if (badProof === undefined) continue
    const { statement, segment, kind, signals } = badProof
    const job = claims.find((claim) => claim.kind === 'place' && claim.index === index)?.job
    const claim = claims.findIndex(
      (each) => each.kind === 'proof' && each.job === job && each.statement === statement && each.segment === segment,
    )
    if (claim >= 0) return { fault: 'proof', claim, kind, signals }
  }
  return null
}
