import { randomBytes } from 'node:crypto'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Committer } from '../../circuits/commit.ts'
import type { ProveOptions, ProverPool } from '../../circuits/pool.ts'
import type { LeafOpening, ProvedRelation } from '../../circuits/prove.ts'
import type { CircuitKind } from '../../circuits/signals.ts'
import { foldStaged, formValue } from '../../models/statements.ts'
import { bigintToBytes, bytesToBigint } from '../../protocol/bytes.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import { signalsHash } from '../../protocol/claims.ts'
import { SinterError } from '../../protocol/errors.ts'
import { mod } from '../../protocol/field.ts'
import type { JobAttestationSchema } from '../../protocol/gen/sinter_pb.js'
import {
  LEAF_LIMBS,
  type LeafRef,
  type PointwiseStatement,
  type RelationTerm,
  type StagedStatement,
  type Statement,
} from '../../protocol/statement.ts'
import type { LoadedModel } from '../model/load.ts'
import { type CommittedJob, type CommittedTree, flagsOf } from './commit.ts'
import { type JobPlan, planJob, sameTree } from './layout.ts'
import { openingOf, withinTolerance } from './opening.ts'
import { leafKey, leavesOf, type Stage, segmentsOf, stagesOf } from './segments.ts'
import { endMasks, powersOf } from './stage.ts'

const EMPTY_LEAF: LeafOpening = { limbs: new Uint16Array(LEAF_LIMBS), salt: 0n }

/** The part of a JobAttestation that comes from the trace and the challenge. */
export type JobProof = Pick<
  MessageInitShape<typeof JobAttestationSchema>,
  'trees' | 'leaves' | 'statements' | 'concede' | 'opening' | 'tensors'
>
export type Segment = { proof: Uint8Array; accumulator: Uint8Array; stage: Uint8Array; signals: Uint8Array }

const NONE = new Uint8Array()

export type Prover = {
  pool: ProverPool
  committer: Committer
  challenge: JobChallenge
  /** What a leaf hides; zeros for the zero leaf. */
  leaf(ref: LeafRef): LeafOpening
  options?: ProveOptions
}

/** Looks up the openings of all leaves that some statements speak of. */
export async function openingsOf(job: CommittedJob, statements: Statement[]): Promise<Prover['leaf']> {
  const refs = [...new Map(statements.flatMap(leavesOf).map((ref) => [leafKey(ref), ref])).values()]
  const found = await job.open(refs)
  const openings = new Map(refs.map((ref, i) => [leafKey(ref), found[i]! ?? EMPTY_LEAF]))
  return (ref) => openings.get(leafKey(ref))!
}

/** Gaps to a maximum have 32 bits. */
const GAP_LIMIT = 1n << 32n

const fresh = (): bigint => bytesToBigint(randomBytes(31))

/** Values of the forms of one staged segment, and the commitment to them. */
type Staged = Stage & { values: bigint[]; blind: bigint; commitment: Uint8Array }

function stageValues(statement: StagedStatement, { committer, leaf }: Prover): Staged[] {
  return stagesOf(statement).map((stage) => {
    const values = stage.forms.map((form) => formValue(form, (ref) => leaf(ref).limbs))
    if (statement.kind === 'extremum' && values.some((value) => value >= GAP_LIMIT))
      throw new SinterError('WITNESS_UNSATISFIED', `an element is above the maximum of op ${statement.op}`)
    const blind = fresh()
    return { ...stage, values, blind, commitment: bigintToBytes(committer.stage(statement.kind, values, blind), 32) }
  })
}

/** Commits to the values of a staged statement, derives γ from the commitments and folds. */
function stage(statement: StagedStatement, index: number, prover: Prover) {
  const stages = stageValues(statement, prover)
  const gamma = prover.challenge.gamma(
    index,
    stages.map(({ commitment }) => commitment),
  )
  return { stages, gamma, relation: foldStaged(statement, gamma) }
}

/** What a staged segment adds to the running sum. */
function stagedSum(kind: StagedStatement['kind'], { values }: Staged, powers: bigint[]): bigint {
  let sum = 0n
  values.forEach((value, i) => {
    sum += powers[i]! * value
    if (kind === 'product' && i % 2 === 1) sum += values[i - 1]! * value
  })
  return sum
}

/** Σ u·z over the terms of a relation segment. */
function termSum(terms: RelationTerm[], leaf: Prover['leaf']): bigint {
  let sum = 0n
  for (const term of terms) {
    const { limbs } = leaf(term.leaf)
    for (let j = 0; j < LEAF_LIMBS; j++) sum += term.u[j]! * BigInt(limbs[j]!)
  }
  return sum
}

/**
 * Proves a relation or a staged statement as one chain, staged segments first. Each intermediate running sum is hidden under a fresh
 * blind. Throws `WITNESS_UNSATISFIED` when the chain does not end where it must.
 */
async function proveChain(
  statement: Exclude<Statement, PointwiseStatement>,
  index: number,
  prover: Prover,
): Promise<Segment[]> {
  const { pool, challenge, leaf, options } = prover
  const { stages, gamma, relation } =
    statement.kind === 'relation' ? { stages: [], gamma: 0n, relation: statement } : stage(statement, index, prover)
  const segments = segmentsOf(relation)
  const last = stages.length + segments.length - 1
  const blinds = Array.from({ length: last + 1 }, (_, i) => (i === last ? 0n : fresh()))
  let sum = 0n
  const link = (i: number, add: bigint) => {
    const accIn = sum
    sum = mod(sum + add)
    return { accIn, blindIn: i === 0 ? 0n : blinds[i - 1]!, blindOut: blinds[i]!, binding: challenge.binding(index, i) }
  }
  const work: (() => Promise<{ kind: CircuitKind; made: ProvedRelation; stage: Uint8Array }>)[] = []
  for (const [i, staged] of stages.entries()) {
    const { values, blind, commitment, ends } = staged
    const powers = powersOf(gamma, staged.first, values.length)
    const kind = (statement as StagedStatement).kind
    const common = { ...link(i, stagedSum(kind, staged, powers)), values, blind, gamma, first: powers[0]! }
    work.push(async () =>
      kind === 'product'
        ? { kind, made: await pool.prove(kind, common, options), stage: commitment }
        : { kind, made: await pool.prove(kind, { ...common, ends: endMasks(ends) }, options), stage: commitment },
    )
  }
  for (const [i, terms] of segments.entries()) {
    const input = {
      ...link(stages.length + i, termSum(terms, leaf)),
      leaves: terms.map((term) => leaf(term.leaf)),
      u: terms.flatMap(({ u }) => u),
    }
    work.push(async () => ({ kind: 'relation', made: await pool.prove('relation', input, options), stage: NONE }))
  }
  if (sum !== mod(relation.c))
    throw new SinterError('WITNESS_UNSATISFIED', `the ${statement.kind} of op ${statement.op} does not hold`)
  return Promise.all(
    work.map(async (prove, i) => {
      const { kind, made, stage } = await prove()
      return {
        proof: made.proof,
        accumulator: i === last ? NONE : bigintToBytes(made.accOut, 32),
        stage,
        signals: signalsHash(kind, made.publicSignals),
      }
    }),
  )
}

async function provePointwise(statement: PointwiseStatement, index: number, prover: Prover): Promise<Segment[]> {
  const { pool, leaf, challenge, options } = prover
  const { a, b, hi, mode, knots, tol, mask } = statement
  const input = {
    a: leaf(a),
    b: leaf(b),
    hi: hi === null ? null : leaf(hi),
    mode,
    knots,
    tol,
    mask,
    binding: challenge.binding(index, 0),
  }
  const { proof, publicSignals } = await pool.prove('pointwise', input, options)
  return [{ proof, accumulator: NONE, stage: NONE, signals: signalsHash('pointwise', publicSignals) }]
}

/** Proofs of one statement, segment by segment. Throws `WITNESS_UNSATISFIED` when the trace does not satisfy it. */
export function proveStatement(statement: Statement, index: number, prover: Prover): Promise<Segment[]> {
  return statement.kind === 'pointwise'
    ? provePointwise(statement, index, prover)
    : proveChain(statement, index, prover)
}

/** Trees and leaves of a plan with their paths, in the order in which they travel, and the root of all trees. */
export function openPlan(job: CommittedJob, plan: JobPlan): Required<Pick<JobProof, 'trees' | 'leaves' | 'tensors'>> {
  const treeOf = (ref: LeafRef): CommittedTree => job.trees.find(({ spec }) => sameTree(spec, ref))!
  return {
    tensors: job.tensors.root,
    trees: plan.trees.map((spec) => {
      const index = job.trees.findIndex((each) => sameTree(each.spec, spec))
      return { root: job.trees[index]!.tree.root, path: job.tensors.path(index) }
    }),
    leaves: plan.leaves.map((ref) => {
      const { tree } = treeOf(ref)
      return { leaf: tree.leaf(ref.index), path: tree.path(ref.index) }
    }),
  }
}

/**
 * Opens and proves what the challenge asks of one drawn job. A served output off by more than the tolerance cannot be proven;
 * the provider then concedes, which costs it far less than silence. Throws the prover pool's codes and `WITNESS_UNSATISFIED`.
 */
export async function proveJob(
  pool: ProverPool,
  model: LoadedModel,
  job: CommittedJob,
  challenge: JobChallenge,
  tileDraws: number,
  options?: ProveOptions,
): Promise<JobProof> {
  const { policy = 'zk' } = job.job
  if (policy === 'open') return { opening: openingOf(job.job) }
  const concede = !withinTolerance(model, job)
  const plan = planJob(model, { policy, tileDraws, challenge }, flagsOf(job), concede)
  const leaf = await openingsOf(job, plan.statements)
  const prover: Prover = { pool, committer: job.committer, leaf, challenge, ...(options && { options }) }
  const proofs = await Promise.all(plan.statements.map((statement, i) => proveStatement(statement, i, prover)))
  return { concede, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
}
