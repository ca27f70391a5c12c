import { evaluate, type Trace, withServed } from '../../models/canonical.ts'
import type { Manifest } from '../../models/manifest.ts'
import { inputsOf, resolveTensor } from '../../models/tiling.ts'
import { type CommittedJob, commitJob, commitTrace, flagsOf } from '../../node/attestation/commit.ts'
import { type JobPlan, planJob } from '../../node/attestation/layout.ts'
import {
  openingsOf,
  openPlan,
  type Prover,
  proveJob,
  proveStatement,
  type Segment,
} from '../../node/attestation/prove.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { AttestComponents } from '../../node/stages/attest.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import type { Statement } from '../../protocol/statement.ts'

/** Providers that lie about one thing, as exchanged parts of the attesting stage. */

type Parts = Pick<AttestComponents, 'commit' | 'prove'>
type Forgery = (honest: Trace, model: LoadedModel, inputs: Int16Array[]) => Trace

/**
 * A trace evaluated anew from `tensor`, which holds `value` now; everything in front of it stays. What is computed anew must not
 * read 32-bit tensors from before.
 */
export function forgedAt(trace: Trace, { manifest, weights }: LoadedModel, op: number, value: Int16Array): Trace {
  const { output } = manifest.ops[op]!
  const ops = manifest.ops.slice(op + 1)
  const made = new Set(ops.map((each) => each.output))
  const read = new Set(ops.flatMap((each) => inputsOf(each).map((id) => resolveTensor(manifest, id))))
  read.add(output)
  const kept = [...read].filter((id) => !made.has(id))
  const rest: Manifest = {
    ...manifest,
    inputs: kept.map((id) => ({ name: `kept ${id}`, tensor: id, shape: manifest.tensors[id]!.shape, lookup: null })),
    ops,
  }
  const values = kept.map((id) => (id === output ? value : (trace.tensors[id]!.value as Int16Array)))
  const behind = evaluate(rest, weights, values)
  const forged = { ...trace.tensors[output]!, value }
  return {
    tensors: trace.tensors.map((tensor, id) => (id === output ? forged : made.has(id) ? behind.tensors[id]! : tensor)),
  }
}

export const planOf = (
  model: LoadedModel,
  job: CommittedJob,
  challenge: JobChallenge,
  tileDraws: number,
  concede: boolean,
): JobPlan => planJob(model, { policy: job.job.policy ?? 'zk', tileDraws, challenge }, flagsOf(job), concede)

/** Which statements could not be proven, by op, over all jobs that it attested. */
export type Forger = Parts & { refused: number[] }

/**
 * Commits a forged trace and proves what holds of it. Where a statement does not hold it hands in the best it has: a proof of
 * the same statement about the honest trace.
 */
export function forger(forge: Forgery): Forger {
  const refused: number[] = []
  return {
    refused,
    async commit(committer, model, job) {
      const honest = await commitJob(committer, model, job)
      const trace = evaluate(model.manifest, model.weights, job.inputs)
      const forged = withServed(model.manifest, forge(trace, model, job.inputs), job.served)
      return Object.assign(commitTrace(committer, model, job, forged), { honest })
    },
    async prove(pool, model, job, challenge, tileDraws) {
      const { honest } = job as CommittedJob & { honest: CommittedJob }
      const plan = planOf(model, job, challenge, tileDraws, false)
      const { committer } = job
      const prover: Prover = { pool, committer, challenge, leaf: await openingsOf(job, plan.statements) }
      const truthful: Prover = { ...prover, leaf: await openingsOf(honest, plan.statements) }
      const prove = async (statement: Statement, index: number): Promise<Segment[]> => {
        try {
          return await proveStatement(statement, index, prover)
        } catch {
          refused.push(statement.op)
          const none = new Uint8Array()
          const stand = { proof: new Uint8Array(256).fill(1), accumulator: none, stage: none, signals: none }
          return proveStatement(statement, index, truthful).catch(() => [stand])
        }
      }
      const proofs = await Promise.all(plan.statements.map(prove))
      return { concede: false, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
    },
  }
}

/** Proves honestly but for the concession, which it withholds or makes for nothing. */
export const conceding =
  (concede: boolean): Parts['prove'] =>
  async (pool, model, job, challenge, tileDraws) => {
    const plan = planOf(model, job, challenge, tileDraws, concede)
    const leaf = await openingsOf(job, plan.statements)
    const prover: Prover = { pool, committer: job.committer, challenge, leaf }
    const proofs = await Promise.all(plan.statements.map((statement, i) => proveStatement(statement, i, prover)))
    return { concede, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
  }

export const honestly: Parts['prove'] = proveJob
