import { randomBytes } from 'node:crypto'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { ProverPool } from '../../circuits/pool.ts'
import { bigintToBytes, bytesToBigint } from '../../protocol/bytes.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import { SinterError } from '../../protocol/errors.ts'
import { mod } from '../../protocol/field.ts'
import type { JobAttestationSchema } from '../../protocol/gen/sinter_pb.js'
import type { LeafRef, PointwiseStatement, RelationStatement, Statement } from '../../protocol/statement.ts'
import { TREE } from '../../protocol/statement.ts'
import type { LoadedModel } from '../model/load.ts'
import type { CommittedJob, CommittedTree } from './commit.ts'
import { type JobPlan, planJob, sameTree } from './layout.ts'
import { segmentsOf } from './segments.ts'

const EMPTY_LEAF = { limbs: new Uint16Array(64), salt: 0n }

/** The part of a JobAttestation that comes from the trace and the challenge. */
export type JobProof = Pick<
  MessageInitShape<typeof JobAttestationSchema>,
  'trees' | 'leaves' | 'statements' | 'concede'
>
export type Segment = { proof: Uint8Array; accumulator: Uint8Array }

const treeOf = (job: CommittedJob, ref: LeafRef): CommittedTree => job.trees.find(({ spec }) => sameTree(spec, ref))!
const opened = (job: CommittedJob, ref: LeafRef) => job.open(ref) ?? EMPTY_LEAF

/** Whether every served value lies within the manifest's tolerance of the canonical one. */
export function withinTolerance(model: LoadedModel, job: CommittedJob): boolean {
  const { manifest } = model
  return manifest.outputs.every((output) => {
    const tensor = job.trace.tensors[manifest.tensors[output.tensor]!.viewOf ?? output.tensor]!
    return tensor.value.every((value, i) => Math.abs(value - tensor.served![i]!) <= output.tolerance.quanta)
  })
}

export type Prover = { pool: ProverPool; job: CommittedJob; challenge: JobChallenge; signal?: AbortSignal | undefined }

/** Proves a relation segment by segment; each intermediate running sum is hidden under a fresh blind. */
async function proveRelation(statement: RelationStatement, index: number, prover: Prover): Promise<Segment[]> {
  const { pool, job, challenge, signal } = prover
  const segments = segmentsOf(statement)
  const blinds = segments.map((_, i) => (i === segments.length - 1 ? 0n : bytesToBigint(randomBytes(31))))
  let sum = 0n
  const inputs = segments.map((terms, i) => {
    const leaves = terms.map(({ leaf }) => opened(job, leaf))
    const input = {
      leaves,
      accIn: sum,
      blindIn: i === 0 ? 0n : blinds[i - 1]!,
      blindOut: blinds[i]!,
      u: terms.flatMap(({ u }) => u),
      binding: challenge.binding(index, i),
    }
    terms.forEach(({ u }, k) => {
      for (let j = 0; j < u.length; j++) sum += u[j]! * BigInt(leaves[k]!.limbs[j]!)
    })
    sum = mod(sum)
    return input
  })
  if (sum !== mod(statement.c))
    throw new SinterError('WITNESS_UNSATISFIED', `the relation of op ${statement.op} does not hold on this trace`)
  return Promise.all(
    inputs.map(async (input, i) => {
      const { proof, accOut } = await pool.prove('relation', input, signal)
      return { proof, accumulator: i === inputs.length - 1 ? new Uint8Array() : bigintToBytes(accOut, 32) }
    }),
  )
}

async function provePointwise(statement: PointwiseStatement, index: number, prover: Prover): Promise<Segment[]> {
  const { pool, job, challenge, signal } = prover
  const { a, b, hi, mode, knots, tol, mask } = statement
  const input = {
    a: opened(job, a),
    b: opened(job, b),
    hi: hi === null ? null : opened(job, hi),
    mode,
    knots,
    tol,
    mask,
    binding: challenge.binding(index, 0),
  }
  const { proof } = await pool.prove('pointwise', input, signal)
  return [{ proof, accumulator: new Uint8Array() }]
}

/** Proofs of one statement, segment by segment. Throws `WITNESS_UNSATISFIED` when the trace does not satisfy it. */
export function proveStatement(statement: Statement, index: number, prover: Prover): Promise<Segment[]> {
  return statement.kind === 'relation'
    ? proveRelation(statement, index, prover)
    : provePointwise(statement, index, prover)
}

/** Trees and leaves of a plan with their paths, in the order in which they travel. */
export function openPlan(job: CommittedJob, plan: JobPlan): Pick<JobProof, 'trees' | 'leaves'> {
  return {
    trees: plan.trees.map((spec) => {
      const index = job.trees.findIndex((each) => sameTree(each.spec, spec))
      return { root: job.trees[index]!.tree.root, path: job.tensors.path(index) }
    }),
    leaves: plan.leaves.map((ref) => {
      const { leaves, tree } = treeOf(job, ref)
      return { leaf: leaves[ref.index]!, path: tree.path(ref.index) }
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
  signal?: AbortSignal,
): Promise<JobProof> {
  const concede = !withinTolerance(model, job)
  const flagged = ({ tensor, tile }: { tensor: number; tile: number }): boolean =>
    job.open({ tensor, tree: TREE.pre, index: 2 * tile }) !== null
  const plan = planJob(model, challenge, tileDraws, flagged, concede)
  const prover = { pool, job, challenge, signal }
  const proofs = await Promise.all(plan.statements.map((statement, i) => proveStatement(statement, i, prover)))
  return { concede, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
}
