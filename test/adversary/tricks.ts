import { evaluate, type Trace, traceOutputs } from '../../models/canonical.ts'
import type { LinearOp, Manifest } from '../../models/manifest.ts'
import { elementCount, inputsOf, resolveTensor, tensorOf } from '../../models/tiling.ts'
import { type CommittedJob, commitJob, type ServedJob } from '../../node/attestation/commit.ts'
import { openPlan, proveJob } from '../../node/attestation/prove.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { Runtime } from '../../node/model/runtime.ts'
import type { NodeParts } from '../../node/node.ts'
import type { AttestComponents } from '../../node/stages/attest.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import { sha256 } from '../../protocol/hash.ts'
import { forger, planOf } from '../node/attestation-forger.ts'
import { pretend } from './attacks.ts'
import { fourBits, rewritten } from './detection.ts'

/**
 * The cheats of DESIGN §10 that a provider commits in one job, each with one thing changed. What a provider remembers of an honest job
 * that came before, some of them use again.
 */

type Parts = Pick<AttestComponents, 'commit' | 'prove'>
export type Trick = Parts & {
  /** What is served, quantised. */
  serve(model: LoadedModel, inputs: Int16Array[]): Int16Array[]
}

const canonical = ({ manifest, weights }: LoadedModel, inputs: Int16Array[]): Int16Array[] =>
  traceOutputs(manifest, evaluate(manifest, weights, inputs))

type Forge = (model: LoadedModel, inputs: Int16Array[]) => Trace

/** Serves and traces what another evaluation of the model gives. */
const evaluatedBy = (forge: Forge): Trick => ({
  ...forger((_, model, inputs) => forge(model, inputs)),
  serve: (model, inputs) => traceOutputs(model.manifest, forge(model, inputs)),
})

const linearOps = ({ ops }: Manifest): { op: LinearOp; at: number }[] =>
  ops.flatMap((op, at) => (op.kind === 'linear' ? [{ op, at }] : []))

/** The linear layer before the last hands on the first values that it was given, as if it were not there. */
const withoutLayer: Forge = (model, inputs) => {
  const { manifest, weights } = model
  const { op, at } = linearOps(manifest).at(-2)!
  const from = resolveTensor(manifest, inputsOf(op)[0]!)
  const { value } = evaluate(manifest, weights, inputs).tensors[from]!
  return rewritten(model, inputs, at, value.slice(0, elementCount(tensorOf(manifest, op.output).shape)))
}

/** The rows of the last layer in reverse: a model of the same shapes with other weights. */
const withSwappedRows: Forge = ({ manifest, weights }, inputs) => {
  const { weight } = linearOps(manifest).at(-1)!.op.terms[0]!
  if (typeof weight === 'number') throw new Error('a layer with an array of weights was expected')
  const copy = weights.slice()
  const row = 4 * weight.strides[0]!
  for (let i = 0; i < (4 * weight.count) / row; i++)
    copy.set(
      weights.subarray(weight.offset + row * i, weight.offset + row * (i + 1)),
      weight.offset + 4 * weight.count - row * (i + 1),
    )
  return evaluate(manifest, copy, inputs)
}

/** The input, moved by one place. */
const moved = (inputs: Int16Array[]): Int16Array[] =>
  inputs.map((values) => values.map((_, i) => values[(i + 1) % values.length]!))

export type TrickName = (typeof TRICKS)[number]
export const TRICKS = [
  'honest',
  'layer-skipped',
  'four-bit-weights',
  'swapped-weights',
  'wrong-input',
  'cached-output',
  're-salted',
  'spliced-statements',
  'stale-randomness',
  'silence',
] as const

/** All tricks of one provider, sharing what it remembers of its honest job. */
export function tricks(): Record<TrickName, Trick> {
  const memory: { inputs?: Int16Array[]; challenge?: JobChallenge; statements?: unknown } = {}
  const plain: Trick = { serve: canonical, commit: commitJob, prove: proveJob }
  /** Commits and proves the job as if these had been its inputs. */
  const about = (inputs: (job: ServedJob) => Int16Array[]): Parts => ({
    commit: (committer, model, job) => commitJob(committer, model, { ...job, inputs: inputs(job) }),
    prove: proveJob,
  })
  return {
    honest: {
      ...plain,
      async prove(pool, model, job, challenge, tileDraws, signal) {
        const proof = await proveJob(pool, model, job, challenge, tileDraws, signal)
        Object.assign(memory, { inputs: job.job.inputs, challenge, statements: proof.statements })
        return proof
      },
    },
    'layer-skipped': evaluatedBy(withoutLayer),
    'four-bit-weights': evaluatedBy(({ manifest, weights }, inputs) =>
      evaluate(manifest, fourBits(manifest, weights), inputs),
    ),
    'swapped-weights': evaluatedBy(withSwappedRows),
    'wrong-input': {
      ...about(({ inputs }) => moved(inputs)),
      serve: (model, inputs) => canonical(model, moved(inputs)),
    },
    'cached-output': { ...about(() => memory.inputs!), serve: (model) => canonical(model, memory.inputs!) },
    're-salted': {
      ...plain,
      async prove(pool, model, { job, committer }, challenge, tileDraws) {
        const salted = await commitJob(committer, model, { ...job, jobKey: sha256(job.jobKey) })
        return proveJob(pool, model, salted, challenge, tileDraws)
      },
    },
    'spliced-statements': {
      ...plain,
      async prove(_, model, job, challenge, tileDraws) {
        const plan = planOf(model, job, challenge, tileDraws, false)
        const given = memory.statements as NonNullable<Awaited<ReturnType<Parts['prove']>>['statements']>
        // As many as are asked for, each the earlier job's or a repetition of it.
        const statements = plan.statements.map((_, i) => given[i % given.length]!)
        return { concede: false, ...openPlan(job, plan), statements }
      },
    },
    'stale-randomness': {
      ...plain,
      prove: (pool, model, job, _, tileDraws) => proveJob(pool, model, job, memory.challenge!, tileDraws),
    },
    silence: { ...plain, prove: () => new Promise(() => {}) },
  }
}

const keyOf = (inputs: Int16Array[]): string => inputs.map((values) => values.join()).join('/')

/** A node that plays the tricks of a list, one for each job that it serves, the last one from there on. */
export function scheduled(names: TrickName[]): Partial<NodeParts> {
  const all = tricks()
  const played = new Map<string, Trick>()
  let served = 0
  return {
    runtime: (real: Runtime) => ({
      ...real,
      accepts: () => true,
      async serve(inputs) {
        // What a node tries before it bids is no job.
        if (inputs.every((values) => values.every((value) => value === 0))) return real.serve(inputs)
        const trick = all[names[Math.min(served++, names.length - 1)]!]
        played.set(keyOf(inputs), trick)
        return pretend(real.model, trick.serve(real.model, inputs), 100)
      },
    }),
    async commit(committer, model, job) {
      const trick = played.get(keyOf(job.inputs))!
      return Object.assign(await trick.commit(committer, model, job), { trick })
    },
    prove(pool, model, job, challenge, tileDraws, signal) {
      const { trick } = job as CommittedJob & { trick: Trick }
      return trick.prove(pool, model, job, challenge, tileDraws, signal)
    },
  }
}
