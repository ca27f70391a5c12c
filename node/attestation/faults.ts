import type { CircuitKind } from '../../circuits/signals.ts'
import type { DrawVerdict } from '../../protocol/vote.ts'

/** Why a drawn job is not `valid`. A closed set, so it can label metrics. */
export const FAULTS = [
  'ATTESTATION_UNAVAILABLE',
  'ATTESTATION_BATCH',
  'JOBS_ORDER',
  'JOB_NOT_DRAWN',
  'DRAW_NOT_OPENED',
  'RECEIPT_MALFORMED',
  'RECEIPT_SIGNER',
  'RECEIPT_RANGE',
  'RECEIPT_POSITION',
  'RECEIPT_UNITS',
  'VOUCHER_SIGNATURE',
  'SUM_PATH',
  'MANIFEST_INVALID',
  'MODEL_UNAVAILABLE',
  'OPENING',
  'TREE_COUNT',
  'TREE_PATH',
  'TRACE_PATH',
  'INPUT_ROOT',
  'OUTPUT_ROOT',
  'LEAF_COUNT',
  'LEAF_PATH',
  'STATEMENT_COUNT',
  'SEGMENT_COUNT',
  'STAGE',
  'ACCUMULATOR',
  'PROOF_SIGNALS',
  'PROOF_POINTS',
  'PROOF_PAIRING',
  'TOLERANCE_CONCEDED',
  'TOLERANCE_EXCEEDED',
] as const
export type Fault = (typeof FAULTS)[number]

/** A proof that is none for the signals that its prover has claimed: what the chain needs to see that too. */
export type BadProof = { statement: number; segment: number; kind: CircuitKind; signals: bigint[] }

/** What a verifier found out about one drawn job, or (index null) about the attestation as a whole. */
export type Finding = {
  index: number | null
  verdict: DrawVerdict
  fault: Fault | null
  detail: string
  badProof?: BadProof
}

/** Raised inside the verification of one job and caught at its edge: the first fault decides. */
export class FaultFound extends Error {
  readonly fault: Fault
  readonly badProof: BadProof | null
  constructor(fault: Fault, detail: string, badProof: BadProof | null = null) {
    super(detail)
    this.fault = fault
    this.badProof = badProof
  }
}

export function fail(fault: Fault, detail = '', badProof: BadProof | null = null): never {
  throw new FaultFound(fault, detail, badProof)
}

export function check(holds: boolean, fault: Fault, detail = ''): void {
  if (!holds) fail(fault, detail)
}
