import { type Committer, ZERO_LEAF_BYTES } from '../../circuits/commit.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { equalBytes, fromHex } from '../../protocol/bytes.ts'
import { type JobChallenge, jobChallenge } from '../../protocol/challenge.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import type { Attestation, JobAttestation } from '../../protocol/gen/sinter_pb.js'
import type { Policy, Receipt } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import type { DrawVerdict } from '../../protocol/vote.ts'
import { judgedModel, type LoadedModel } from '../model/load.ts'
import { commitJob } from './commit.ts'
import { isCheckable } from './cost.ts'
import { batchDigest, coefficientDigest } from './digest.ts'
import { check, type Fault, FaultFound, type Finding } from './faults.ts'
import { flagLeaves, type JobPlan, planJob } from './layout.ts'
import { checkOpening, openingDigest, withinTolerance } from './opening.ts'
import { openLeaves, openTrees, type TracePlace } from './openings.ts'
import { type BatchFacts, holds, type PlacedReceipt, placeReceipt } from './place.ts'
import { attestedAs, type Demand, tilesOf } from './policy.ts'
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
  /** Evaluates and commits jobs that are shown. @default `commitJob`, in this process */
  commit?: typeof commitJob
  /** Whose combination of the coefficients the digest is made under. */
  voter: Address
}

export type AttestationResult = {
  /** One per draw; all `forged` when any is. */
  verdicts: DrawVerdict[]
  /** One per opened job; or, where the jobs are not exactly the drawn ones, one for each thing wrong with that. */
  findings: Finding[]
  digest: Uint8Array
  proofs: number
  leaves: number
}

type JobOutcome = { finding: Finding; digest: Uint8Array; proofs: number; leaves: number }

const forged = (index: number | null, fault: Fault, detail = ''): Finding => ({
  index,
  verdict: 'forged',
  fault,
  detail,
})

/** What `work` gives, or the fault that it found. */
async function found<T>(index: number, work: () => T | Promise<T>): Promise<T | Finding> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof FaultFound)) throw error
    const { fault, message, badProof } = error
    return { ...forged(index, fault, message), ...(badProof !== null && { badProof }) }
  }
}

/** The job's plan under the flags that it shows; that these are the committed ones is checked with all other leaves. */
function planShown(model: LoadedModel, job: JobAttestation, demand: Demand): JobPlan {
  const flags = new Set<string>()
  flagLeaves(model.manifest, tilesOf(model.manifest, demand)).forEach((ref, i) => {
    const leaf = job.leaves[i]?.leaf
    if (leaf !== undefined && !equalBytes(leaf, ZERO_LEAF_BYTES))
      flags.add(`${ref.tensor}/${Math.floor(ref.index / 2)}`)
  })
  return planJob(model, demand, (tensor, leaf) => flags.has(`${tensor}/${leaf}`), job.concede)
}

type PlacedJob = PlacedReceipt & { job: JobAttestation; position: number; audited: boolean }

/** The job's receipt in its place, which a point of the sample must have named. */
function placeDrawn(facts: BatchFacts, job: JobAttestation, position: number, context: VerifyContext): PlacedJob {
  const placed = placeReceipt(facts, job, context.networkId, context.vouchers)
  check(holds(placed, facts.points), 'JOB_NOT_DRAWN')
  return { ...placed, job, position, audited: holds(placed, facts.audited) }
}

type Drawn = {
  model: LoadedModel
  receipt: Receipt
  policy: Policy
  job: JobAttestation
  challenge: JobChallenge
  place: TracePlace
}

/** The job's statements, proven: steps 2 to 5 of DESIGN §5.6. */
async function verifyProofs(drawn: Drawn, context: VerifyContext, outcome: JobOutcome): Promise<void> {
  const { model, receipt, policy, job, challenge, place } = drawn
  const { tileDraws, voter, verifier, committer } = context
  check(job.opening === undefined, 'OPENING', 'values are shown that the policy hides')
  const plan = planShown(model, job, { policy, tileDraws, challenge })
  outcome.digest = coefficientDigest(challenge.seed, voter, plan.statements)
  const records = openTrees(model, receipt, job, plan, place)
  const leaf = openLeaves(job, plan, records)
  outcome.leaves = plan.leaves.length
  outcome.proofs = await checkProofs(verifier, plan.statements, job, { leaf, challenge, chain: committer.chain })
  outcome.finding.verdict = job.concede ? 'tolerance' : 'valid'
  outcome.finding.fault = job.concede ? 'TOLERANCE_CONCEDED' : null
}

/** The job as it is shown, computed again. */
async function verifyOpening(drawn: Drawn, context: VerifyContext, outcome: JobOutcome): Promise<void> {
  const { model, receipt, job, challenge, place } = drawn
  const { committer, commit = commitJob } = context
  const committed = await checkOpening((...args) => commit(committer, ...args), committer, model, receipt, job, place)
  outcome.digest = openingDigest(challenge.seed, context.voter, committed)
  const within = withinTolerance(model, committed)
  outcome.finding.verdict = within ? 'valid' : 'tolerance'
  outcome.finding.fault = within ? null : 'TOLERANCE_EXCEEDED'
}

/** What the job's own attestation is worth; `count` jobs stand in the trace's tree. */
async function verifyJob(
  facts: BatchFacts,
  { job, receipt, position, audited }: PlacedJob,
  count: number,
  context: VerifyContext,
): Promise<JobOutcome> {
  const outcome: JobOutcome = {
    finding: { index: job.index, verdict: 'forged', fault: null, detail: '' },
    digest: new Uint8Array(32),
    proofs: 0,
    leaves: 0,
  }
  const fault = await found(job.index, async () => {
    const model = judgedModel(await context.model(receipt.manifest), receipt.canonical)
    const { manifest } = model
    check(receipt.units === BigInt(manifest.units), 'RECEIPT_UNITS')
    const policy = attestedAs(receipt.policy, manifest, audited)
    check(isCheckable(manifest, context.tileDraws, policy), 'MANIFEST_INVALID', 'too much work to verify')
    const challenge = jobChallenge(facts.challenge, receipt.hash, model.cid.bytes)
    const place = { root: facts.challenge.traceRoot, index: position, count }
    const verify = policy === 'open' ? verifyOpening : verifyProofs
    await verify({ model, receipt, policy, job, challenge, place }, context, outcome)
    return null
  })
  return fault === null ? outcome : { ...outcome, proofs: 0, finding: fault }
}

/**
 * The opened jobs, which must be the drawn ones, each once, in the order of the sum tree. Only then is a job's place in the
 * trace's tree fixed by the sample: a job too many would let the prover shift the others after the challenge and choose
 * between several traces that it anchored for one job. So anything wrong here condemns the whole.
 */
async function placeJobs(
  facts: BatchFacts,
  { batch, jobs }: Attestation,
  context: VerifyContext,
): Promise<{ placed: PlacedJob[]; findings: Finding[] }> {
  const findings: Finding[] = []
  if (!equalBytes(batch, facts.challenge.batch)) findings.push(forged(null, 'ATTESTATION_BATCH'))
  if (jobs.some((job, i) => i > 0 && job.index <= jobs[i - 1]!.index) || jobs.length > facts.points.length)
    findings.push(forged(null, 'JOBS_ORDER'))
  if (findings.length > 0) return { placed: [], findings }
  const placed: PlacedJob[] = []
  for (const [position, job] of jobs.entries()) {
    const result = await found(job.index, () => placeDrawn(facts, job, position, context))
    if ('fault' in result) findings.push(result)
    else placed.push(result)
  }
  for (const point of facts.points)
    if (!placed.some(({ start, end }) => point >= start && point < end))
      findings.push(forged(null, 'DRAW_NOT_OPENED', `point ${point}`))
  return { placed, findings }
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
  const { placed, findings } = await placeJobs(facts, attestation, context)
  const outcomes: JobOutcome[] = []
  if (findings.length === 0)
    for (const job of placed) outcomes.push(await verifyJob(facts, job, placed.length, context))
  const drawn = facts.points.map((point): DrawVerdict => {
    const at = placed.findIndex(({ start, end }) => point >= start && point < end)
    return outcomes[at]?.finding.verdict ?? 'forged'
  })
  // One forged draw loses the lock whatever the others are. Were they told apart, a prover that is caught could hand its
  // attestation or its models to a part of the committee, so that votes differ and no quorum ever slashes it.
  const verdicts = drawn.includes('forged') ? drawn.map((): DrawVerdict => 'forged') : drawn
  const sum = (pick: (outcome: JobOutcome) => number): number => outcomes.reduce((total, each) => total + pick(each), 0)
  return {
    verdicts,
    findings: [...findings, ...outcomes.map(({ finding }) => finding)],
    digest: batchDigest(
      fromHex(context.voter),
      outcomes.map(({ digest }) => digest),
    ),
    proofs: sum(({ proofs }) => proofs),
    leaves: sum(({ leaves }) => leaves),
  }
}
