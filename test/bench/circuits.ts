import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as snarkjs from 'snarkjs'
import { readArtifact, readArtifactIndex } from '../../circuits/artifacts.ts'
import { contribute, makePhase1, preparePhase1, startKey } from '../../circuits/ceremony.ts'
import { createCommitter } from '../../circuits/commit.ts'
import { compileSource } from '../../circuits/compile.ts'
import { createProverPool, type ProverPool } from '../../circuits/pool.ts'
import type { Proved } from '../../circuits/prove.ts'
import { CIRCUIT_KINDS, type CircuitKind, SEGMENT_LIMBS } from '../../circuits/signals.ts'
import { createVerifier, type ProofClaim } from '../../circuits/verify.ts'
import { EXTREMUM_GAPS, LEAF_LIMBS, STAGE_FORMS } from '../../protocol/statement.ts'
import { extremumInput, leaf, pointwiseInput, productInput, relationInput } from '../circuits/fixtures.ts'
import { measured, percentile, time, usage } from './measure.ts'

/** What each of the four circuits costs, and what a verification costs beside one of the smallest key there is. */

/**
 * 16-bit limbs that one proof opens: ten leaves; two leaves and the unclamped one; gaps of two limbs each. A product opens none but
 * stages field elements, which count as one each.
 */
const LIMBS: Record<CircuitKind, number> = {
  relation: SEGMENT_LIMBS,
  pointwise: 3 * LEAF_LIMBS,
  product: STAGE_FORMS.product,
  extremum: 2 * EXTREMUM_GAPS,
}

export type CircuitCost = {
  constraints: number
  limbs: number
  proveMs: number
  /** Processor time of a proof and its own verification, which other work on the machine burdens less than the clock. */
  proveCpuMs: number
  verifyMs: number
  /** Per proof, of several of one key verified together. */
  verifyTogetherMs: number
  /** Most that the proving child was resident. */
  peakMb: number | null
  zkeyMb: number
}

export type CircuitCosts = {
  circuits: Record<CircuitKind, CircuitCost>
  commitLimbsPerS: number
  /** snarkjs's own verification of a key with one public input (ms). */
  smallestMs: number
}

const TOGETHER = 8

const proveSample = (pool: ProverPool, kind: CircuitKind): Promise<Proved> => {
  switch (kind) {
    case 'relation':
      return pool.prove('relation', relationInput())
    case 'pointwise':
      return pool.prove('pointwise', pointwiseInput({ tol: 2 }))
    case 'product':
      return pool.prove('product', productInput())
    case 'extremum':
      return pool.prove('extremum', extremumInput())
  }
}

/** Proofs of one circuit in a child that proves nothing else, so that its memory is that circuit's. */
async function proveCost(kind: CircuitKind, rounds: number) {
  const pool = createProverPool()
  try {
    let last = await proveSample(pool, kind)
    const { value: samples, cpuMs } = await measured(() =>
      time(rounds, async () => {
        last = await proveSample(pool, kind)
      }),
    )
    return {
      claim: { kind, signals: last.publicSignals, proof: last.proof } satisfies ProofClaim,
      proveMs: percentile(samples, 0.5),
      proveCpuMs: cpuMs / rounds,
      peakMb: usage(process.pid)?.childPeakMb ?? null,
    }
  } finally {
    await pool.close()
  }
}

type SmallProver = {
  fullProve(input: object, wasm: string, zkey: string): Promise<{ proof: unknown; publicSignals: unknown }>
}

/** A key with one public input, set up here, and snarkjs's verification of a proof under it. */
async function smallestVerification(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'sinter-bench-key-'))
  const at = (name: string): string => join(folder, name)
  try {
    await writeFile(
      at('square.circom'),
      `pragma circom 2.2.0;
       template T() { signal input y; signal input x; y === x * x; }
       component main {public [y]} = T();`,
    )
    const { r1cs, wasm } = await compileSource(at('square.circom'), folder)
    await makePhase1(at('phase1'), at('powers'), 4, 'ab'.repeat(32))
    await preparePhase1(at('phase1'), at('prepared'))
    await startKey(r1cs, at('prepared'), at('start.zkey'))
    await contribute(at('start.zkey'), at('key.zkey'), 'bench')
    const vkey = await snarkjs.zKey.exportVerificationKey(at('key.zkey'))
    const { fullProve } = snarkjs.groth16 as unknown as SmallProver
    const { proof, publicSignals } = await fullProve({ x: 3, y: 9 }, wasm, at('key.zkey'))
    return async () => {
      if (!(await snarkjs.groth16.verify(vkey, publicSignals, proof))) throw new Error('the smallest proof is refused')
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Turns by turns, so that whatever else the machine does burdens all alike. */
async function verifyCosts(claims: ProofClaim[], rounds: number) {
  const smallest = await smallestVerification()
  const verifier = await createVerifier()
  const ms = new Map<string, number[]>()
  const note = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    const samples = ms.get(what) ?? []
    ms.set(what, samples)
    samples.push(...(await time(1, run)))
  }
  try {
    for (let round = 0; round <= rounds; round++) {
      if (round === 1) ms.clear()
      await note('smallest', smallest)
      for (const claim of claims) {
        await note(claim.kind, async () => {
          const verdict = await verifier.verify(claim.kind, claim.signals, claim.proof)
          if (!verdict.ok) throw new Error(`a ${claim.kind} proof does not verify: ${verdict.code}`)
        })
        await note(`${claim.kind} together`, () => verifier.verifyAll(new Array<ProofClaim>(TOGETHER).fill(claim)))
      }
    }
  } finally {
    await verifier.close()
    await (await snarkjs.curves.getCurveFromName('bn128')).terminate()
  }
  return (what: string): number => percentile(ms.get(what)!, 0.5)
}

/** @param rounds how often each thing is measured; medians are given */
export async function measureCircuits(rounds: number): Promise<CircuitCosts> {
  const committer = await createCommitter()
  const { limbs, salt } = leaf('bench', (j) => (j * 50_021) & 0xffff)
  const commits = 500 * rounds
  const warm = (count: number): number => {
    const before = process.cpuUsage()
    committer.leavesBytes(count, () => ({ limbs, salt }))
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }
  warm(200)
  const commitLimbsPerS = (LEAF_LIMBS * commits) / warm(commits)
  const proven = []
  for (const kind of CIRCUIT_KINDS) proven.push(await proveCost(kind, rounds))
  const median = await verifyCosts(
    proven.map(({ claim }) => claim),
    5 * rounds,
  )
  const index = await readArtifactIndex()
  const circuits = {} as Record<CircuitKind, CircuitCost>
  for (const [i, kind] of CIRCUIT_KINDS.entries()) {
    const { proveMs, proveCpuMs, peakMb } = proven[i]!
    circuits[kind] = {
      constraints: index[kind].constraints,
      limbs: LIMBS[kind],
      proveMs,
      proveCpuMs,
      verifyMs: median(kind),
      verifyTogetherMs: median(`${kind} together`) / TOGETHER,
      peakMb,
      zkeyMb: (await readArtifact(kind, 'zkey')).length / 2 ** 20,
    }
  }
  return { circuits, commitLimbsPerS, smallestMs: median('smallest') }
}
