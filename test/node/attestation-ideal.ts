import { createHash, randomBytes } from 'node:crypto'
import { readArtifact } from '../../circuits/artifacts.ts'
import type { ProverPool } from '../../circuits/pool.ts'
import {
  type PointwiseInput,
  type ProverInputs,
  pointwiseWitnessInput,
  type RelationInput,
  relationWitnessInput,
} from '../../circuits/prove.ts'
import { isCanonical, scalarBuffer } from '../../circuits/scalars.ts'
import { type CircuitKind, extremumSignals, productSignals, SIGNAL_COUNT } from '../../circuits/signals.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { createWitnessCalculator, type WitnessCalculator } from '../../circuits/witness.ts'
import { SinterError } from '../../protocol/errors.ts'
import { mod } from '../../protocol/field.ts'
import { hash } from '../../protocol/hash.ts'
import { committer } from './attestation-world.ts'

/** Verifies each proof once, however many mutations of its attestation a test looks at. */
export function remembering(verifier: Pick<Verifier, 'verify'>): Verifier {
  const known = new Map<string, ReturnType<Verifier['verify']>>()
  return {
    verify(kind, signals, proof) {
      const key = createHash('sha256').update(kind).update(signals.join()).update('/').update(proof).digest('hex')
      const verdict = known.get(key) ?? verifier.verify(kind, signals, proof)
      known.set(key, verdict)
      return verdict
    },
    close: async () => {},
  } as Verifier
}

type StagedInput = ProverInputs['product'] | ProverInputs['extremum']

/** What the staged circuits say, in plain arithmetic. Throws `WITNESS_UNSATISFIED`. */
function stagedSignals(kind: 'product' | 'extremum', input: StagedInput): { signals: bigint[]; accOut: bigint } {
  const { values, blind, accIn, blindIn, blindOut, gamma, first, binding } = input
  const refuse = (): never => {
    throw new SinterError('WITNESS_UNSATISFIED', `not a ${kind}`)
  }
  let sum = accIn
  let power = first
  for (const [i, value] of values.entries()) {
    sum += power * value
    power = mod(power * gamma)
    if (kind === 'product' && i % 2 === 1) sum += values[i - 1]! * value
  }
  const common = {
    com: committer.stage(kind, values, blind),
    accIn: committer.chain(accIn, blindIn),
    accOut: committer.chain(mod(sum), blindOut),
    binding,
    gamma,
    first,
  }
  if (kind === 'product') return { signals: productSignals(common), accOut: common.accOut }
  const { ends } = input as ProverInputs['extremum']
  let product = 1n
  values.forEach((value, d) => {
    if (value < 0n || value >= 1n << 32n) refuse()
    product *= value === 0n ? 0n : 1n
    if (!((ends[d < 128 ? 0 : 1]! >> BigInt(d % 128)) & 1n)) return
    if (product !== 0n) refuse()
    product = 1n
  })
  if (!(ends[1] >> 127n)) refuse()
  return { signals: extremumSignals({ ...common, ends }), accOut: common.accOut }
}

/**
 * An ideal proof system: the circuits' own constraints (of the staged ones, the equations they stand for) decide what can be
 * proven, and a proof is a tag that only this pool can make. For everything about attestations that does not lie in the pairing.
 */
export async function idealProofs(): Promise<{ pool: ProverPool; verifier: Verifier; proven(): number }> {
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
        if (kind === 'product' || kind === 'extremum') {
          const made = stagedSignals(kind, input as StagedInput)
          count++
          return { ...made, publicSignals: made.signals, proof: tag(kind, made.signals) } as never
        }
        const made =
          kind === 'relation'
            ? relationWitnessInput(committer, input as RelationInput)
            : pointwiseWitnessInput(committer, input as PointwiseInput)
        ;(await calculator(kind)).calculate(made.input)
        count++
        return { ...made, publicSignals: made.signals, proof: tag(kind, made.signals) } as never
      },
      close: async () => {},
    },
    verifier: {
      async verify(kind, signals, proof) {
        if (signals.length !== SIGNAL_COUNT[kind])
          throw new SinterError('SIGNAL_COUNT', 'a statement of the wrong length')
        if (!signals.every(isCanonical)) return { ok: false, code: 'SIGNAL_RANGE' }
        if (proof.length !== 256) return { ok: false, code: 'PROOF_LENGTH' }
        return Buffer.from(tag(kind, signals)).equals(proof) ? { ok: true } : { ok: false, code: 'PAIRING' }
      },
      close: async () => {},
    } as Verifier,
  }
}
