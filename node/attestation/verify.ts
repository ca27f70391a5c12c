import type { Committer } from '../../circuits/commit.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { selectTiles } from '../../models/draw.ts'
import { equalBytes, fromHex } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import type { Attestation, JobAttestation } from '../../protocol/gen/sinter_pb.js'
import type { Address } from '../../protocol/signature.ts'
import { TREE } from '../../protocol/statement.ts'
import type { DrawVerdict } from '../../protocol/vote.ts'
import type { LoadedModel } from '../model/load.ts'
import { ZERO_LEAF_BYTES } from './commit.ts'
import { batchDigest, coefficientDigest } from './digest.ts'
import { check, FaultFound, type Finding } from './faults.ts'
import { flagLeaves, type JobPlan, leafKey, planJob } from './layout.ts'
import { openLeaves, openTrees } from './openings.ts'
import { type BatchFacts, type PlacedReceipt, placeReceipt } from './place.ts'
import { checkProofs } from './proofs.ts'

export type VerifyContext = {
  networkId: Uint8Array
  tileDraws: number
  /** Chain and escrow: what vouchers are signed for. */
  vouchers: SigningDomain
  /**
   * Loads a model by its manifest's CID bytes. Throws `FaultFound` when the prover is to blame (an invalid manifest, or one that it
   * did not hand out in time); any other failure is the verifier's own and is thrown on.
   */
  model(manifest: Uint8Array): Promise<LoadedModel>
  verifier: Verifier
  committer: Committer
  /** Whose combination of the coefficients the digest is made under. */
  voter: Address
}

export type AttestationResult = {
  /** One per draw. */
  verdicts: DrawVerdict[]
  /** One per opened job, and one for each thing wrong with the whole. */
  findings: Finding[]
  digest: Uint8Array
  proofs: number
  leaves: number
}

type JobOutcome = { finding: Finding; placed: PlacedReceipt | null; digest: Uint8Array; proofs: number; leaves: number }

/** The job's plan under the flags that it shows; that these are the committed ones is checked with all other leaves. */
function planShown(
  model: LoadedModel,
  job: JobAttestation,
  challenge: ReturnType<typeof jobChallenge>,
  tileDraws: number,
): JobPlan {
  const selected = selectTiles(model.manifest, challenge.random, tileDraws)
  const flags = new Set<string>()
  flagLeaves(model.manifest, selected).forEach((ref, i) => {
    const leaf = job.leaves[i]?.leaf
    if (leaf !== undefined && !equalBytes(leaf, ZERO_LEAF_BYTES))
      flags.add(leafKey({ ...ref, index: Math.floor(ref.index / 2) }))
  })
  const flagged = ({ tensor, tile }: { tensor: number; tile: number }): boolean =>
    flags.has(leafKey({ tensor, tree: TREE.pre, index: tile }))
  return planJob(model, challenge, tileDraws, flagged, job.concede)
}

async function verifyJob(
  facts: BatchFacts,
  attestation: Attestation,
  position: number,
  context: VerifyContext,
): Promise<JobOutcome> {
  const job = attestation.jobs[position]!
  const outcome: JobOutcome = {
    finding: { index: job.index, verdict: 'forged', fault: null, detail: '' },
    placed: null,
    digest: new Uint8Array(32),
    proofs: 0,
    leaves: 0,
  }
  try {
    const placed = placeReceipt(facts, job, context.networkId, context.vouchers)
    outcome.placed = placed
    check(
      facts.points.some((point) => point >= placed.start && point < placed.end),
      'JOB_NOT_DRAWN',
    )
    const model = await context.model(placed.receipt.manifest)
    check(placed.receipt.units === BigInt(model.manifest.units), 'RECEIPT_UNITS')
    const challenge = jobChallenge(facts.challenge, placed.receipt.hash, model.cid.bytes)
    const plan = planShown(model, job, challenge, context.tileDraws)
    outcome.digest = coefficientDigest(challenge.seed, context.voter, plan.statements)
    const place = { root: facts.challenge.traceRoot, index: position, count: attestation.jobs.length }
    const records = openTrees(model, placed.receipt, job, plan, place)
    const leaf = openLeaves(job, plan, records)
    outcome.leaves = plan.leaves.length
    const claims = { leaf, challenge, chain: context.committer.chain }
    outcome.proofs = await checkProofs(context.verifier, plan.statements, job, claims)
    outcome.finding.verdict = job.concede ? 'tolerance' : 'valid'
    outcome.finding.fault = job.concede ? 'TOLERANCE_CONCEDED' : null
  } catch (error) {
    if (!(error instanceof FaultFound)) throw error
    outcome.finding.fault = error.fault
    outcome.finding.detail = error.message
  }
  return outcome
}

/**
 * Verifies an attestation as a committee member does (DESIGN §5.6). Deterministic but for the voter's own digest: every honest
 * verifier reaches the same verdicts. Throws only for failures of the verifier's own (a model that cannot be fetched).
 */
export async function verifyAttestation(
  facts: BatchFacts,
  attestation: Attestation,
  context: VerifyContext,
): Promise<AttestationResult> {
  const findings: Finding[] = []
  const whole = (fault: Finding['fault'], detail = ''): void => {
    findings.push({ index: null, verdict: 'forged', fault, detail })
  }
  const { jobs } = attestation
  if (!equalBytes(attestation.batch, facts.challenge.batch)) whole('ATTESTATION_BATCH')
  if (jobs.some((job, i) => i > 0 && job.index <= jobs[i - 1]!.index) || jobs.length > facts.points.length)
    whole('JOBS_ORDER')
  const outcomes: JobOutcome[] = []
  if (findings.length === 0)
    for (let i = 0; i < jobs.length; i++) outcomes.push(await verifyJob(facts, attestation, i, context))
  findings.push(...outcomes.map(({ finding }) => finding))
  const verdicts = facts.points.map((point): DrawVerdict => {
    const hit = outcomes.find(({ placed }) => placed !== null && point >= placed.start && point < placed.end)
    if (hit) return hit.finding.verdict
    whole('DRAW_NOT_OPENED', `point ${point}`)
    return 'forged'
  })
  const sum = (pick: (outcome: JobOutcome) => number): number => outcomes.reduce((total, each) => total + pick(each), 0)
  return {
    verdicts,
    findings,
    digest: batchDigest(
      fromHex(context.voter),
      outcomes.map(({ digest }) => digest),
    ),
    proofs: sum(({ proofs }) => proofs),
    leaves: sum(({ leaves }) => leaves),
  }
}
