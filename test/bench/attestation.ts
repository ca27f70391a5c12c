import { createProverPool, type ProverPool } from '../../circuits/pool.ts'
import { createVerifier, type Verifier } from '../../circuits/verify.ts'
import { commitSide } from '../../node/attestation/commit.ts'
import { proveJob } from '../../node/attestation/prove.ts'
import { createTracer, type Tracer } from '../../node/attestation/tracer.ts'
import { devnetParams } from '../../node/chain/params.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { sumTree } from '../../protocol/sum-tree.ts'
import { attest, bytes32, committer, makeWorld, verify } from '../node/attestation-world.ts'
import { cpuPerRun, measured } from './measure.ts'

/** Tiles drawn per drawn job, as on a local network. */
export const TILE_DRAWS = 4
/** Jobs drawn from a batch, and voters of a committee, there. */
export const DRAWS = devnetParams.draws
export const COMMITTEE = devnetParams.committeeSize

/** Child processes that work one after the other: one prover, one verifier, one tracer. */
export type Tools = { pool: ProverPool; verifier: Verifier; tracer: Tracer; close(): Promise<void> }

/** Milliseconds that one job of the largest models may be evaluated and committed, on a machine that does other things too. */
const TRACE_MS = 3_600_000
/** And that one proof may take there. */
const PROOF_MS = 600_000

export async function openTools(): Promise<Tools> {
  const pool = createProverPool({ timeoutMs: PROOF_MS })
  const verifier = await createVerifier()
  const tracer = createTracer({ idleMs: 3_600_000, timeoutMs: TRACE_MS })
  const close = async (): Promise<void> => void (await Promise.all([pool.close(), verifier.close(), tracer.close()]))
  return { pool, verifier, tracer, close }
}

/** Milliseconds by the clock and of the processor. */
export type Spent = { ms: number; cpuMs: number }

/** One attestation of a batch of which `jobs` jobs are drawn; everything per drawn job but the attestation's verification. */
export type AttestationCost = {
  jobs: number
  statements: number
  proofs: number
  bytes: number
  trace: Spent
  prove: Spent
  verify: Spent
  attestation: Spent
}

const share = ({ ms, cpuMs }: Spent, count: number): Spent => ({ ms: ms / count, cpuMs: cpuMs / count })
const none = (): Spent => ({ ms: 0, cpuMs: 0 })
const add = (sum: Spent, { ms, cpuMs }: Spent): void => {
  sum.ms += ms
  sum.cpuMs += cpuMs
}

/** Lets one call through at a time and adds up what they spent. */
function inTurn<A extends unknown[], T>(spent: Spent, run: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve()
  return (...args) => {
    const mine = tail.then(async () => {
      const found = await measured(() => run(...args))
      add(spent, found)
      return found.value
    })
    tail = mine.catch(() => {})
    return mine
  }
}

/**
 * Traces, proves and verifies as provider and committee do it, on jobs that are each drawn once. Throws when the attestation of
 * honestly served jobs is not valid.
 * @param say is told when a job has been committed, and when it has been proven
 */
export async function attestModel(
  model: LoadedModel,
  jobs: { inputs: Int16Array[]; served: Int16Array[] }[],
  { pool, verifier, tracer }: Tools,
  say: (what: string) => void = () => {},
): Promise<AttestationCost> {
  const world = makeWorld({
    model,
    receipts: [jobs.length, 0],
    input: (i) => jobs[i]!.inputs,
    serve: (_, inputs) => jobs.find((job) => job.inputs === inputs)!.served,
  })
  const price = world.tree.root.sum / BigInt(jobs.length)
  const points = jobs.map((_, i) => BigInt(i) * price)
  const [trace, prove] = [none(), none()]
  let statements = 0
  const attested = await attest(world, pool, {
    beacon: 'challenge',
    points,
    commit: inTurn(trace, async (...args) => {
      const committed = await tracer.commit(...args)
      say('committed')
      return committed
    }),
    prove: inTurn(prove, async (by, of, job, challenge, _draws, signal) => {
      const made = await proveJob(by, of, job, challenge, TILE_DRAWS, signal)
      statements += made.statements!.length
      say('proven')
      return made
    }),
  })
  const judge = async () => verify(attested, verifier, world, { tileDraws: TILE_DRAWS })
  const { value, ...attestation } = await measured(judge)
  if (value.verdicts.some((verdict) => verdict !== 'valid'))
    throw new Error(`an honest attestation is ${JSON.stringify(value.findings)}`)
  const count = jobs.length
  return {
    jobs: count,
    statements: statements / count,
    proofs: value.proofs / count,
    bytes: attested.sealed.length / count,
    trace: share(trace, count),
    prove: share(prove, count),
    verify: share(attestation, count),
    attestation,
  }
}

/** Processor time of both roots of one request, which the provider computes while it serves (ms). */
export function commitCpuMs(model: LoadedModel, inputs: Int16Array[], served: Int16Array[], runs: number): number {
  const key = bytes32('key')
  const roots = (): void => {
    commitSide(committer, model, 'input', key, inputs)
    commitSide(committer, model, 'output', key, served)
  }
  cpuPerRun(Math.ceil(runs / 10), roots)
  return cpuPerRun(runs, roots)
}

/** Processor time of the sum tree over the receipts of a batch and of the paths of its draws (ms). */
export function batchCpuMs(jobs: number): number {
  const receipts = Array.from({ length: jobs }, (_, i) => ({ receiptHash: bytes32(`receipt ${i}`), price: 1_000n }))
  return cpuPerRun(1, () => {
    const tree = sumTree(receipts)
    for (let i = 0; i < DRAWS; i++) tree.path(Math.floor((i * jobs) / DRAWS))
  })
}
