import { elementCount } from '../../models/tiling.ts'
import { equalBytes } from '../../protocol/bytes.ts'
import type { JobAttestation, JobOpening } from '../../protocol/gen/sinter_pb.js'
import { hash } from '../../protocol/hash.ts'
import { merkleVerify } from '../../protocol/merkle.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import { voterSeed } from '../../protocol/vote.ts'
import type { LoadedModel } from '../model/load.ts'
import { type CommittedJob, commitSide, type ServedJob } from './commit.ts'
import { check, fail } from './faults.ts'
import type { TracePlace } from './openings.ts'

/** The policy `open`: a job is shown, and whoever verifies it computes all of it again. */

/** Whether every served value lies within the manifest's tolerance of the canonical one. */
export function withinTolerance(
  { manifest }: Pick<LoadedModel, 'manifest'>,
  { canonical, job }: Pick<CommittedJob, 'canonical' | 'job'>,
): boolean {
  return manifest.outputs.every(({ tolerance }, output) =>
    canonical[output]!.every((value, i) => Math.abs(value - job.served[output]![i]!) <= tolerance.quanta),
  )
}

function wireValues(values: Int16Array): Uint8Array {
  const bytes = new Uint8Array(2 * values.length)
  const view = new DataView(bytes.buffer)
  values.forEach((value, i) => {
    view.setInt16(2 * i, value, true)
  })
  return bytes
}

function valuesOf(bytes: Uint8Array): Int16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Int16Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i, true))
}

/** What a job shows under the policy `open`. */
export const openingOf = ({ jobKey, inputs, served }: ServedJob) => ({
  jobKey,
  inputs: inputs.map(wireValues),
  served: served.map(wireValues),
})

/** The job that an opening shows, after checking that it is one of this model and stands in place of proofs. */
function openJob({ manifest }: LoadedModel, { hash: receiptHash }: Receipt, job: JobAttestation): ServedJob {
  const { opening, trees, leaves, statements, concede, tensors } = job
  if (opening === undefined) return fail('OPENING', 'nothing is shown')
  check(
    trees.length + leaves.length + statements.length + tensors.length === 0 && !concede,
    'OPENING',
    'proofs beside what is shown',
  )
  const fits = (values: JobOpening['inputs'], ends: { shape: number[] }[]): boolean =>
    values.length === ends.length && values.every((bytes, i) => bytes.length === 2 * elementCount(ends[i]!.shape))
  check(opening.jobKey.length === 32, 'OPENING', 'the job key')
  check(fits(opening.inputs, manifest.inputs) && fits(opening.served, manifest.outputs), 'OPENING', 'sizes')
  return {
    receiptHash,
    jobKey: opening.jobKey,
    inputs: opening.inputs.map(valuesOf),
    served: opening.served.map(valuesOf),
    policy: 'open',
  }
}

type CommitPart = (model: LoadedModel, job: ServedJob) => Promise<CommittedJob>

/**
 * Computes a shown job again: its roots must be those of the receipt, and its trace the anchored one. Throws what `commit` throws
 * for reasons of the verifier's own, and `FaultFound`.
 */
export async function checkOpening(
  commit: CommitPart,
  committer: Parameters<typeof commitSide>[0],
  model: LoadedModel,
  receipt: Receipt,
  job: JobAttestation,
  place: TracePlace,
): Promise<CommittedJob> {
  const shown = openJob(model, receipt, job)
  const side = (of: 'input' | 'output', values: Int16Array[]): Uint8Array =>
    commitSide(committer, model, of, shown.jobKey, values)
  check(equalBytes(side('input', shown.inputs), receipt.inputRoot), 'INPUT_ROOT')
  check(equalBytes(side('output', shown.served), receipt.outputRoot), 'OUTPUT_ROOT')
  const committed = await commit(model, shown)
  check(merkleVerify(place.root, committed.root, place.index, place.count, job.tracePath), 'TRACE_PATH')
  return committed
}

/** What stands for the digest of coefficients: the root of all trees, which is nowhere in the attestation. */
export const openingDigest = (
  seed: Uint8Array,
  voter: Address,
  { tensors }: Pick<CommittedJob, 'tensors'>,
): Uint8Array => hash('voter-opening', voterSeed(seed, voter), tensors.root)
