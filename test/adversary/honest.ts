import { createProver } from '../../circuits/prove.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../../circuits/signals.ts'
import { createVerifier } from '../../circuits/verify.ts'
import type { Manifest, Op } from '../../models/manifest.ts'
import { openMultiplier } from '../../models/multiply-onnx.ts'
import { commitJob } from '../../node/attestation/commit.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { idealProofs, type OnWitness } from '../node/attestation-ideal.ts'
import { attest, makeWorld, verify } from '../node/attestation-world.ts'
import { openR1cs } from './r1cs.ts'
import { openReference, type Reference, type ReferenceName } from './reference.ts'

/**
 * Honest jobs through the whole attestation: served by ONNX Runtime, traced, drawn, opened, planned and judged by the product's own
 * code. Each proof that it asks for is judged by its witness: it must satisfy every constraint of the circuit's source.
 */

/** Threads of the runtime that serves and of the one that multiplies for the trace; 0: the loops of this process. */
const THREADS = [0, 1, 2, 4] as const
const JOBS = 8

export type HonestTally = {
  model: ReferenceName
  jobs: number
  statements: number
  witnesses: number
  rejected: number
  /** Witnesses that were proven, and the proof verified with the pinned key. */
  proved: number
}

type Wanted = { model: ReferenceName; statements: number; proofs: number }

/** @param kinds circuits that the wanted models use; their compilation takes seconds each */
export async function judgeHonest(
  wanted: Wanted[],
  kinds: readonly CircuitKind[] = CIRCUIT_KINDS,
  onTally?: (tally: HonestTally) => void,
): Promise<HonestTally[]> {
  const r1cs = await openR1cs(kinds)
  const prover = await createProver()
  const verifier = await createVerifier()
  const tallies: HonestTally[] = []
  try {
    for (const want of wanted) {
      const tally: HonestTally = { model: want.model, jobs: 0, statements: 0, witnesses: 0, rejected: 0, proved: 0 }
      const seen = new Map<CircuitKind, number>()
      const reference = await openReference(want.model)
      const share = Math.ceil(want.proofs / circuitsOf(reference.model.manifest).size)
      const onWitness: OnWitness = async (kind, input, wires) => {
        tally.witnesses++
        if (!(await r1cs.satisfies(kind, wires))) tally.rejected++
        // The first ones of each circuit that the model uses, as many of one as of another.
        const before = seen.get(kind) ?? 0
        seen.set(kind, before + 1)
        if (tally.proved >= want.proofs || before >= share) return
        tally.proved++
        const { proof, publicSignals } = await prover.prove(kind, input)
        if (!(await verifier.verify(kind, publicSignals, proof)).ok) tally.rejected++
      }
      await judgeModel(reference, want, tally, onWitness)
      tallies.push(tally)
      onTally?.(tally)
    }
  } finally {
    await r1cs.close()
    await prover.close()
    await verifier.close()
  }
  return tallies
}

/** Circuits of the statements about a model. */
const circuitsOf = ({ ops }: Manifest): Set<CircuitKind> =>
  new Set(['relation', 'pointwise', ...ops.map(({ kind }) => CIRCUIT_OF[kind])])
const CIRCUIT_OF: Record<Op['kind'], CircuitKind> = {
  linear: 'relation',
  table: 'pointwise',
  extremum: 'extremum',
  product: 'product',
  divide: 'product',
  root: 'product',
}

/** Batches of eight jobs each, all of them drawn, until there are enough statements. Each batch has its own number of threads. */
async function judgeModel(
  { model, samples, open }: Reference,
  want: Wanted,
  tally: HonestTally,
  onWitness: OnWitness,
): Promise<void> {
  const ideal = await idealProofs(onWitness)
  for (let batch = 0; tally.statements < want.statements; batch++) {
    const threads = THREADS[batch % THREADS.length]!
    const server = await open(Math.max(1, threads))
    const inputs = Array.from({ length: JOBS }, (_, i) => samples[(JOBS * batch + i) % samples.length]!)
    const answers = new Map<Int16Array[], Int16Array[]>()
    for (const input of inputs) answers.set(input, await server.serve(input))
    await server.close()
    const world = makeWorld({
      model,
      receipts: [JOBS, 0],
      input: (i) => inputs[i]!,
      serve: (_, input) => answers.get(input)!,
    })
    const traced: LoadedModel = threads === 0 ? model : { ...model, ...{ multiply: await openMultiplier(threads, 0) } }
    const attested = await attest(world, ideal.pool, {
      // The last point of each job: the session had three more before this batch.
      points: world.jobs.map(({ cumulative, price }) => cumulative - 3n * price - 1n),
      beacon: `honest ${batch}`,
      commit: (committer, _, job) => commitJob(committer, traced, job),
    })
    const { verdicts } = await verify(attested, ideal.verifier, world)
    tally.jobs += JOBS
    tally.rejected += verdicts.filter((verdict) => verdict !== 'valid').length
    tally.statements += attested.message.jobs.reduce((sum, { statements }) => sum + statements.length, 0)
  }
}
