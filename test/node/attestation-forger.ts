import type { Trace } from '../../models/canonical.ts'
import { evaluate, withServed } from '../../models/canonical.ts'
import type { Manifest, Op } from '../../models/manifest.ts'
import { countWork } from '../../models/tiling.ts'
import { weightsWriter } from '../../models/weights.ts'
import { type CommittedJob, commitJob, commitTrace } from '../../node/attestation/commit.ts'
import { planJob } from '../../node/attestation/layout.ts'
import { openPlan, type Prover, proveJob, proveStatement, type Segment } from '../../node/attestation/prove.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { AttestComponents } from '../../node/stages/attest.ts'
import { toHex } from '../../protocol/bytes.ts'
import { sha256 } from '../../protocol/hash.ts'
import { type Statement, TREE } from '../../protocol/statement.ts'
import { modelOf } from './attestation-world.ts'

/** Providers that lie about one thing, as exchanged parts of the attesting stage. */

type Parts = Pick<AttestComponents, 'commit' | 'prove'>
type Forgery = (honest: Trace, model: LoadedModel, inputs: Int16Array[]) => Trace

/** A trace evaluated anew from `tensor`, which holds `value` now; everything in front of it stays. */
export function forgedAt(trace: Trace, { manifest, weights }: LoadedModel, op: number, value: Int16Array): Trace {
  const { output } = manifest.ops[op]!
  const rest: Manifest = {
    ...manifest,
    inputs: [{ name: 'forged', tensor: output, shape: manifest.tensors[output]!.shape }],
    ops: manifest.ops.slice(op + 1),
  }
  const behind = evaluate(rest, weights, [value])
  const forged = { ...trace.tensors[output]!, value }
  return { tensors: trace.tensors.map((tensor, id) => (id === output ? forged : (behind.tensors[id] ?? tensor))) }
}

/** Leaves and flags of a statement as a trace has them. */
export const flagged =
  (job: CommittedJob) =>
  ({ tensor, tile }: { tensor: number; tile: number }): boolean =>
    job.open({ tensor, tree: TREE.pre, index: 2 * tile }) !== null

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
    commit(committer, model, job) {
      const honest = commitJob(committer, model, job)
      const forged = withServed(model.manifest, forge(honest.trace, model, job.inputs), job.served)
      return Object.assign(commitTrace(committer, model, job, forged), { honest })
    },
    async prove(pool, model, job, challenge, tileDraws) {
      const { honest } = job as CommittedJob & { honest: CommittedJob }
      const plan = planJob(model, challenge, tileDraws, flagged(job), false)
      const prove = async (statement: Statement, index: number, prover: Prover): Promise<Segment[]> => {
        try {
          return await proveStatement(statement, index, prover)
        } catch {
          refused.push(statement.op)
          const stand = { proof: new Uint8Array(256).fill(1), accumulator: new Uint8Array() }
          return proveStatement(statement, index, { ...prover, job: honest }).catch(() => [stand])
        }
      }
      const proofs = await Promise.all(plan.statements.map((each, i) => prove(each, i, { pool, job, challenge })))
      return { concede: false, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
    },
  }
}

/** Proves honestly but for the concession, which it withholds or makes for nothing. */
export const conceding =
  (concede: boolean): Parts['prove'] =>
  async (pool, model, job, challenge, tileDraws) => {
    const plan = planJob(model, challenge, tileDraws, flagged(job), concede)
    const proofs = await Promise.all(
      plan.statements.map((statement, i) => proveStatement(statement, i, { pool, job, challenge })),
    )
    return { concede, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
  }

export const honestly: Parts['prove'] = proveJob

/** y = x·2^(gain − 16), one gemm of `size` rows: at gain 18 every |x| above 2^13 saturates. Exponents agree, τ = 0. */
export async function gainModel(gain: number, size = 64): Promise<LoadedModel> {
  const writer = weightsWriter()
  const op: Op = {
    kind: 'gemm',
    name: 'gain',
    input: 0,
    output: 1,
    weights: writer.weights(Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 2 ** gain : 0))),
    biases: writer.biases(new Array<number>(size).fill(32_768)),
  }
  const weights = writer.finish()
  const file = { cid: `b${'a'.repeat(58)}`, sha256: '0'.repeat(64), bytes: 1 }
  const draft: Manifest = {
    version: 1,
    name: 'gain',
    model: file,
    weights: { ...file, sha256: toHex(sha256(weights)).slice(2), bytes: weights.length },
    inputs: [{ name: 'x', tensor: 0, shape: [size] }],
    outputs: [
      { name: 'y', tensor: 1, shape: [size], tolerance: { quanta: 0, deviationMilli: 0, margin: 1, samples: 1 } },
    ],
    tensors: ['x', 'y'].map((name) => ({ name, shape: [size], exponent: 8, viewOf: null })),
    ops: [op],
    units: 1,
    tiles: 1,
    layers: 1,
    coverage: 1_000_000,
  }
  return modelOf({ manifest: { ...draft, ...countWork(draft) }, weights })
}
