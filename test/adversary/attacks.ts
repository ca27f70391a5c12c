import { evaluate, type Trace, traceOutputs, withServed } from '../../models/canonical.ts'
import { isLinear, type LinearOp, type Manifest } from '../../models/manifest.ts'
import { dequantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import { commitJob, commitTrace } from '../../node/attestation/commit.ts'
import { planJob } from '../../node/attestation/layout.ts'
import { openPlan, type Prover, proveStatement, type Segment, withinTolerance } from '../../node/attestation/prove.ts'
import { toWire } from '../../node/jobs/tensors.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { Runtime, Served } from '../../node/model/runtime.ts'
import type { NodeParts } from '../../node/node.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/codec.ts'
import { open, seal } from '../../protocol/envelope.ts'
import { EnvelopeSchema } from '../../protocol/gen/sinter_pb.js'
import { attestationDigest } from '../../protocol/rules/attestation.ts'
import { type Statement, TREE } from '../../protocol/statement.ts'

/** Providers with one thing changed. Each is the production node with exchanged parts; nothing of this is in the product. */

/** Serves `values` (quantised, in the order of the outputs) as if a model had computed them. */
function pretend(model: LoadedModel, values: Int16Array[], executionUs: number): Served {
  const { manifest } = model
  const outputs = manifest.outputs.map(({ name, shape, tensor }, i) =>
    toWire(name, shape, dequantise(values[i]!, tensorOf(manifest, tensor).exponent)),
  )
  return { outputs, quantised: values, executionUs }
}

/** Canonical evaluation by another meaning of the model. */
type Forgery = (model: LoadedModel, inputs: Int16Array[]) => Trace

/** The largest element of one operator's output is moved, and everything behind it follows from the moved value. */
const forgedOperator: Forgery = ({ manifest, weights }, inputs) => {
  const honest = evaluate(manifest, weights, inputs)
  const at = manifest.ops.findIndex(({ kind }) => kind === 'averagepool')
  const { output } = manifest.ops[at]!
  const forged = { ...honest.tensors[output]!, value: honest.tensors[output]!.value.slice() }
  for (let i = 0; i < 8; i++) forged.value[i]! = -forged.value[i]! + 4096
  const rest: Manifest = {
    ...manifest,
    inputs: [{ name: 'forged', tensor: output, shape: tensorOf(manifest, output).shape }],
    ops: manifest.ops.slice(at + 1),
  }
  const behind = evaluate(rest, weights, [forged.value])
  return { tensors: honest.tensors.map((tensor, id) => (id === output ? forged : (behind.tensors[id] ?? tensor))) }
}

/** One bit of one weight of the last linear op: 2^17, a thousandth of the range of a weight. */
const flippedBit: Forgery = ({ manifest, weights }, inputs) => {
  const last = manifest.ops.findLast(
    (op): op is Exclude<LinearOp, { kind: 'averagepool' }> => isLinear(op) && op.kind !== 'averagepool',
  )!
  const copy = weights.slice()
  copy[last.weights.offset + 2]! ^= 0x02
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
    commit: (committer, model, job) => {
      const forged = commitTrace(
        committer,
        model,
        job,
        withServed(model.manifest, forge(model, job.inputs), job.served),
      )
      return Object.assign(forged, { honest: commitJob(committer, model, job) })
    },
    async prove(pool, model, job, challenge, tileDraws) {
      const { honest } = job as typeof job & { honest: typeof job }
      const flagged = ({ tensor, tile }: { tensor: number; tile: number }): boolean =>
        job.open({ tensor, tree: TREE.pre, index: 2 * tile }) !== null
      const plan = planJob(model, challenge, tileDraws, flagged, false)
      const fake = async (statement: Statement, index: number, prover: Prover): Promise<Segment[]> => {
        try {
          return await proveStatement(statement, index, prover)
        } catch {
          const stand =
            statement.kind === 'pointwise' && statement.op < 0
              ? plan.statements.find(({ kind }) => kind === 'pointwise')!
              : statement
          return await proveStatement(stand, index, { ...prover, job: honest }).catch(() => [
            { proof: new Uint8Array(256), accumulator: new Uint8Array() },
          ])
        }
      }
      const proofs = await Promise.all(
        plan.statements.map((statement, i) => fake(statement, i, { pool, job, challenge })),
      )
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
        await chain.commitAttestation(batch, toHex(attestationDigest(payload)))
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
