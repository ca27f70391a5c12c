import { createHash, randomBytes } from 'node:crypto'
import { readArtifact } from '../../circuits/artifacts.ts'
import type { ProverPool } from '../../circuits/pool.ts'
import {
  type ProverInputs,
  pointwiseWitnessInput,
  relationWitnessInput,
  stageWitnessInput,
} from '../../circuits/prove.ts'
import { isCanonical, scalarBuffer } from '../../circuits/scalars.ts'
import { type CircuitKind, SIGNAL_COUNT } from '../../circuits/signals.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { createWitnessCalculator, type WitnessCalculator } from '../../circuits/witness.ts'
import { SinterError } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import { committer } from './attestation-world.ts'

/** A verifier that judges one proof after the other. */
function oneByOne(verify: Verifier['verify']): Verifier {
  return {
    verify,
    async verifyAll(claims) {
      for (const [index, { kind, signals, proof }] of claims.entries()) {
        const verdict = await verify(kind, signals, proof)
        if (!verdict.ok) return { ...verdict, index }
      }
      return { ok: true }
    },
    close: async () => {},
  }
}

/** Verifies each proof once, however many mutations of its attestation a test looks at. */
export function remembering(verifier: Pick<Verifier, 'verify'>): Verifier {
  const known = new Map<string, ReturnType<Verifier['verify']>>()
  return oneByOne((kind, signals, proof) => {
    const key = createHash('sha256').update(kind).update(signals.join()).update('/').update(proof).digest('hex')
    const verdict = known.get(key) ?? verifier.verify(kind, signals, proof)
    known.set(key, verdict)
    return verdict
  })
}

/** Public signals and circuit input of whatever kind. */
function witnessInput<K extends CircuitKind>(kind: K, input: ProverInputs[K]) {
  switch (kind) {
    case 'relation':
      return relationWitnessInput(committer, input as ProverInputs['relation'])
    case 'pointwise':
      return pointwiseWitnessInput(committer, input as ProverInputs['pointwise'])
    case 'product':
      return stageWitnessInput(committer, 'product', input as ProverInputs['product'])
    default:
      return stageWitnessInput(committer, 'extremum', input as ProverInputs['extremum'])
  }
}

/** Told of each witness that a proof stands for, before there is one. */
export type OnWitness = <K extends CircuitKind>(kind: K, input: ProverInputs[K], wires: Uint8Array) => Promise<void>

/**
 * An ideal proof system: the circuits' own constraints decide what can be proven, and a proof is a tag that only this pool
 * can make. For everything about attestations that does not lie in the pairing.
 */
export async function idealProofs(
  onWitness?: OnWitness,
): Promise<{ pool: ProverPool; verifier: Verifier; proven(): number }> {
  const secret = randomBytes(32)
  let count = 0
  const calculators = new Map<CircuitKind, Promise<WitnessCalculator>>()
  const calculator = (kind: CircuitKind): Promise<WitnessCalculator> => {
    const known = calculators.get(kind) ?? readArtifact(kind, 'wasm').then(createWitnessCalculator)
    calculators.set(kind, known)
    return known
  }
  const tag = (kind: CircuitKind, signals: readonly bigint[]): Uint8Array => {
    const one = hash('ideal', secret, Buffer.from(kind), scalarBuffer(signals))
    return Uint8Array.from({ length: 256 }, (_, i) => one[i % 32]!)
  }
  return {
    proven: () => count,
    pool: {
      async prove(kind, input) {
        const made = witnessInput(kind, input)
        const wires = (await calculator(kind)).calculate(made.input)
        await onWitness?.(kind, input, wires)
        count++
        return { ...made, publicSignals: made.signals, proof: tag(kind, made.signals) } as never
      },
      close: async () => {},
    },
    verifier: oneByOne(async (kind, signals, proof) => {
      if (signals.length !== SIGNAL_COUNT[kind])
        throw new SinterError('SIGNAL_COUNT', 'a statement of the wrong length')
      if (!signals.every(isCanonical)) return { ok: false, code: 'SIGNAL_RANGE' }
      if (proof.length !== 256) return { ok: false, code: 'PROOF_LENGTH' }
      return Buffer.from(tag(kind, signals)).equals(proof) ? { ok: true } : { ok: false, code: 'PAIRING' }
    }),
  }
}
