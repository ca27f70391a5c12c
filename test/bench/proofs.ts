import { randomBytes } from 'node:crypto'
import { CID } from 'multiformats/cid'
import { createCommitter } from '../../circuits/commit.ts'
import { createProverPool, type ProverPool } from '../../circuits/pool.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../../circuits/signals.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { fileCid } from '../../models/cid.ts'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { commitJob, commitSide, type ServedJob } from '../../node/attestation/commit.ts'
import { proveJob } from '../../node/attestation/prove.ts'
import { createExecutor } from '../../node/exec/host.ts'
import { dequantisedInputs, quantisedInputs, quantisedOutputs, toWire } from '../../node/jobs/tensors.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { cpuPerRun, mean, percentile, time } from './measure.ts'

/** Costs off the latency path, each measured alone: commitments, proofs, verification. */
export type ProofCosts = {
  /** Processor time of both roots of a request, which consumer and provider each compute (ms). */
  commitMs: number
  /** Canonical evaluation and all commitments of one drawn job (ms). */
  traceMs: number
  /** Per proof, key loaded (ms). */
  prove: Record<CircuitKind, number>
  verify: Record<CircuitKind, number>
  /** A statement is one proof, or for long relations a chain of several. */
  statements: number
  proofs: Record<CircuitKind, number>
  proveStatementMs: number
  verifyStatementMs: number
  /** First proof of a pool: process start and keys included (ms). */
  coldProofMs: number
}

const TILE_DRAWS = 4
const JOBS = 3
const log = { debug() {}, info() {}, warn() {}, error() {} }

/** A pool that lets one proof through at a time and notes how long each took and what it gave. */
function timedPool(pool: ProverPool) {
  const proven: { kind: CircuitKind; ms: number; publicSignals: bigint[]; proof: Uint8Array }[] = []
  let tail: Promise<unknown> = Promise.resolve()
  const timed: ProverPool = {
    prove(kind, input, signal) {
      const mine = tail.then(async () => {
        const started = performance.now()
        const made = await pool.prove(kind, input, signal)
        const { publicSignals, proof } = made
        proven.push({ kind, ms: performance.now() - started, publicSignals, proof })
        return made
      })
      tail = mine.catch(() => {})
      return mine
    },
    close: () => pool.close(),
  }
  return { timed, proven }
}

export async function measureProofs(): Promise<ProofCosts> {
  const digits = loadDigits()
  const { manifest, weights } = digits
  const model: LoadedModel = { cid: CID.parse(await fileCid(digits.manifestBytes)), manifest, weights }
  const committer = await createCommitter()
  const { images } = loadHeldOut()
  const executor = await createExecutor({
    model: digits.model,
    executionProvider: 'cpu',
    timeoutMs: 30_000,
    memoryMb: 1024,
    log,
  })
  const jobs: ServedJob[] = []
  for (const image of images.slice(0, JOBS)) {
    const [input] = manifest.inputs
    const inputs = quantisedInputs(manifest, [toWire(input!.name, input!.shape, image)])
    const data = dequantisedInputs(manifest, inputs)[0]!
    const results = await executor.run({ [input!.name]: { shape: [1, ...input!.shape], data } })
    const outputs = manifest.outputs.map(({ name, shape }) => toWire(name, shape, results[name]!.data))
    const served = quantisedOutputs(manifest, outputs)
    jobs.push({ receiptHash: new Uint8Array(randomBytes(32)), jobKey: new Uint8Array(randomBytes(32)), inputs, served })
  }
  await executor.close()

  const [first] = jobs
  const roots = (): void => {
    commitSide(committer, model, 'input', first!.jobKey, first!.inputs)
    commitSide(committer, model, 'output', first!.jobKey, first!.served)
  }
  cpuPerRun(50, roots)
  const commitMs = cpuPerRun(500, roots)
  const traces = await time(20, (i) => commitJob(committer, model, jobs[i % JOBS]!))

  const { timed, proven } = timedPool(createProverPool())
  let statements = 0
  try {
    for (const job of jobs) {
      const context = {
        chainId: 31337,
        batches: `0x${'11'.repeat(20)}` as const,
        batch: new Uint8Array(32),
        provider: `0x${'22'.repeat(20)}` as const,
        traceRoot: new Uint8Array(32),
        beacon: new Uint8Array(randomBytes(32)),
      }
      const challenge = jobChallenge(context, job.receiptHash, model.cid.bytes)
      const committed = await commitJob(committer, model, job)
      const made = await proveJob(timed, model, committed, challenge, TILE_DRAWS)
      statements += made.statements!.length
    }
  } finally {
    await timed.close()
  }
  const verifier = await createVerifier()
  const verified: { kind: CircuitKind; ms: number }[] = []
  try {
    for (const round of [0, 1])
      for (const { kind, publicSignals, proof } of proven) {
        const started = performance.now()
        const verdict = await verifier.verify(kind, publicSignals, proof)
        if (!verdict.ok) throw new Error(`a ${kind} proof does not verify: ${verdict.code}`)
        if (round === 1) verified.push({ kind, ms: performance.now() - started })
      }
  } finally {
    await verifier.close()
  }
  // The first proof of each circuit loads its key.
  const warm = proven.filter((each, i) => proven.findIndex(({ kind }) => kind === each.kind) !== i)
  const of = (all: { kind: CircuitKind; ms: number }[], kind: CircuitKind): number[] =>
    all.filter((each) => each.kind === kind).map(({ ms }) => ms)
  const count = (kind: CircuitKind): number => of(proven, kind).length
  const median = (all: { kind: CircuitKind; ms: number }[]): Record<CircuitKind, number> =>
    Object.fromEntries(CIRCUIT_KINDS.map((kind) => [kind, percentile(of(all, kind), 0.5)])) as Record<
      CircuitKind,
      number
    >
  const perStatement = (all: { ms: number }[]): number => (mean(all.map(({ ms }) => ms)) * proven.length) / statements
  return {
    commitMs,
    traceMs: percentile(traces, 0.5),
    prove: median(warm),
    verify: median(verified),
    statements: statements / JOBS,
    proofs: Object.fromEntries(CIRCUIT_KINDS.map((kind) => [kind, count(kind) / JOBS])) as Record<CircuitKind, number>,
    proveStatementMs: perStatement(warm),
    verifyStatementMs: perStatement(verified),
    coldProofMs: proven[0]!.ms,
  }
}
