import { evaluate, type Trace, traceOutputs, withServed } from '../../models/canonical.ts'
import type { LinearOp, Manifest } from '../../models/manifest.ts'
import { dequantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import { commitJob, commitTrace, flagsOf } from '../../node/attestation/commit.ts'
import { planJob } from '../../node/attestation/layout.ts'
import { withinTolerance } from '../../node/attestation/opening.ts'
import { openingsOf, openPlan, type Prover, proveStatement, type Segment } from '../../node/attestation/prove.ts'
import { toWire } from '../../node/jobs/tensors.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { Runtime, Served } from '../../node/model/runtime.ts'
import type { NodeParts } from '../../node/node.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/codec.ts'
import { open, seal } from '../../protocol/envelope.ts'
import { EnvelopeSchema } from '../../protocol/gen/sinter_pb.js'
import { attestationDigest } from '../../protocol/rules/attestation.ts'
import type { Statement } from '../../protocol/statement.ts'

/** Providers with one thing changed. Each is the production node with exchanged parts; nothing of this is in the product. */

/** Serves `values` (quantised, in the order of the outputs) as if a model had computed them. */
export function pretend(model: LoadedModel, values: Int16Array[], executionUs: number): Served {
  const { manifest } = model
  const outputs = manifest.outputs.map(({ name, shape, tensor }, i) =>
    toWire(name, shape, dequantise(values[i]!, tensorOf(manifest, tensor).exponent)),
  )
  return { outputs, quantised: values, executionUs }
}

/** Canonical evaluation by another meaning of the model. */
type Forgery = (model: LoadedModel, inputs: Int16Array[]) => Trace

const linearOps = ({ ops }: Manifest): { op: LinearOp; at: number }[] =>
  ops.flatMap((op, at) => (op.kind === 'linear' ? [{ op, at }] : []))

/** Some elements of the output of the linear op before the last are moved, and everything behind it follows from them. */
const forgedOperator: Forgery = ({ manifest, weights }, inputs) => {
  const honest = evaluate(manifest, weights, inputs)
  const { op, at } = linearOps(manifest).at(-2)!
  const { output } = op
  const value = Int16Array.from(honest.tensors[output]!.value, (each, i) => (i < 8 ? 4096 - each : each))
  const rest: Manifest = {
    ...manifest,
    inputs: [{ name: 'forged', tensor: output, shape: tensorOf(manifest, output).shape, lookup: null }],
    ops: manifest.ops.slice(at + 1),
  }
  const behind = evaluate(rest, weights, [value])
  const forged = { ...honest.tensors[output]!, value }
  return { tensors: honest.tensors.map((tensor, id) => (id === output ? forged : (behind.tensors[id] ?? tensor))) }
}

/** One bit of one weight of the last linear op: 2^17, a thousandth of the range of a weight. */
const flippedBit: Forgery = ({ manifest, weights }, inputs) => {
  const slices = linearOps(manifest).flatMap(({ op }) => op.terms.map(({ weight }) => weight))
  const last = slices.findLast((weight) => typeof weight !== 'number')!
  const copy = weights.slice()
  copy[last.offset + 2]! ^= 0x02
  return evaluate(manifest, copy, inputs)
}

/** Serves and traces by a forgery, and fills the statements that do not hold with proofs of the true ones. */
function forger(forge: Forgery): Partial<NodeParts> {
  return {
    runtime: (real: Runtime) => ({
      ...real,
      accepts: () => true,
      serve: async (inputs) => pretend(real.model, traceOutputs(real.model.manifest, forge(real.model, inputs)), 100),
    }),
    commit: async (committer, model, job) => {
      const trace = withServed(model.manifest, forge(model, job.inputs), job.served)
      const honest = await commitJob(committer, model, job)
      return Object.assign(commitTrace(committer, model, job, trace), { honest })
    },
    async prove(pool, model, job, challenge, tileDraws) {
      const { honest } = job as typeof job & { honest: typeof job }
      const plan = planJob(model, { policy: 'zk', tileDraws, challenge }, flagsOf(job), false)
      const { committer } = job
      const prover: Prover = { pool, committer, challenge, leaf: await openingsOf(job, plan.statements) }
      const truthful: Prover = { ...prover, leaf: await openingsOf(honest, plan.statements) }
      const fake = async (statement: Statement, index: number): Promise<Segment[]> => {
        try {
          return await proveStatement(statement, index, prover)
        } catch {
          const stand =
            statement.kind === 'pointwise' && statement.op < 0
              ? plan.statements.find(({ kind }) => kind === 'pointwise')!
              : statement
          const none = new Uint8Array()
          return await proveStatement(stand, index, truthful).catch(() => [
            { proof: new Uint8Array(256), accumulator: none, stage: none, signals: none },
          ])
        }
      }
      const proofs = await Promise.all(plan.statements.map(fake))
      if (!withinTolerance(model, job)) throw new Error('the forger serves what its own trace says')
      return { concede: false, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
    },
  }
}

/** Answers with the logits shifted by one class: no model behind them. The trace is honest, and the lie is conceded. */
const madeUpOutputs: Partial<NodeParts> = {
  runtime: (real) => ({
    ...real,
    accepts: () => true,
    async serve(inputs) {
      const { quantised, executionUs } = await real.serve(inputs)
      const shifted = quantised.map((values) => Int16Array.from(values, (_, i) => values[(i + 1) % values.length]!))
      return pretend(real.model, shifted, executionUs)
    },
  }),
}

/** Attests its first batch honestly, and every later one with the jobs of the first. */
const replayedAttestation: Partial<NodeParts> = {
  attester(real, { identity, networkId, chain }) {
    let first: Uint8Array | null = null
    const replays = new Map<string, Uint8Array>()
    return {
      ...real,
      async attest(batch, facts) {
        if (first === null) {
          first = await real.attest(batch, facts)
          return first
        }
        const opened = open('attestation', networkId, first)
        if (typeof opened === 'string') throw new Error(opened)
        const { bytes } = seal('attestation', networkId, identity.privateKey, {
          batch: fromHex(batch),
          jobs: opened.message.jobs,
        })
        const payload = decode(EnvelopeSchema, bytes)!.payload
        await chain.commitAttestation(batch, toHex(attestationDigest(payload, networkId)))
        replays.set(batch, bytes)
        return bytes
      },
      sealed: async (batch) => replays.get(batch) ?? (await real.sealed(batch)),
    }
  },
}

export const ATTACKS: Record<string, Partial<NodeParts>> = {
  'made-up-outputs': madeUpOutputs,
  'forged-operator': forger(forgedOperator),
  'flipped-weight-bit': forger(flippedBit),
  'replayed-attestation': replayedAttestation,
}
