import { curves } from 'snarkjs'
import { describeError, SinterError } from '../protocol/errors.ts'
import { mod } from '../protocol/field.ts'
import { LEAF_LIMBS, SEGMENT_LEAVES, TABLE_SEGMENTS } from '../protocol/statement.ts'
import { artifactPath, readArtifact, readVerifyingKey } from './artifacts.ts'
import { type Committer, createCommitter } from './commit.ts'
import { type ProofVerdict, prepareVerifier, prove } from './groth16.ts'
import { proveExternally } from './rapidsnark.ts'
import { isCanonical } from './scalars.ts'
import {
  type CircuitKind,
  extremumSignals,
  pointwiseSignals,
  productSignals,
  relationSignals,
  SIGNAL_COUNT,
} from './signals.ts'
import { type CircuitInput, createWitnessCalculator, type WitnessCalculator } from './witness.ts'
import { type ProvingKey, readProvingKey } from './zkey.ts'

/** A committed leaf with what opens it: exactly 64 limbs and a salt in [0, r). */
export type LeafOpening = { limbs: Uint16Array; salt: bigint }

/** One segment: at most ten leaves with 64 coefficients each; `accIn` is the running sum itself, not its commitment. */
export type RelationInput = {
  leaves: LeafOpening[]
  accIn: bigint
  blindIn: bigint
  blindOut: bigint
  /** In [0, r). */
  u: bigint[]
  binding: bigint
}

export type PointwiseInput = {
  a: LeafOpening
  b: LeafOpening
  /** Null stands for the zero leaf. */
  hi: LeafOpening | null
  mode: 'table' | 'clamp'
  /** 65 signed integers in [-2^17, 2^17). */
  knots: bigint[]
  /** In [0, 2^16); 0 in clamp mode. */
  tol: number
  /** Bit j: pair j is checked. */
  mask: bigint
  binding: bigint
}

/** A segment of staged values, in [0, r), with the blind of their commitment; `accIn` is the running sum itself. */
export type StageInput = {
  values: bigint[]
  blind: bigint
  accIn: bigint
  blindIn: bigint
  blindOut: bigint
  gamma: bigint
  first: bigint
  binding: bigint
}

export type ProverInputs = {
  relation: RelationInput
  pointwise: PointwiseInput
  product: StageInput
  /** The values are gaps; `ends` as in `extremumSignals`. */
  extremum: StageInput & { ends: readonly [bigint, bigint] }
}

export type Proved = { proof: Uint8Array; publicSignals: bigint[] }
/** `accIn` and `accOut` are the chain commitments, `sum` the running sum in [0, r) that `accOut` commits. */
export type ProvedRelation = Proved & { accIn: bigint; accOut: bigint; sum: bigint }
export type ProverOutputs = {
  relation: ProvedRelation
  pointwise: Proved
  product: ProvedRelation
  extremum: ProvedRelation
}

/** Proves in the calling thread, blocking it: meant for a process of its own (see pool.ts). */
export type Prover = {
  /**
   * The proof, verified. Throws `WITNESS_UNSATISFIED` for a false statement, `PROOF_INVALID` when a proof fails its own
   * verification, and the codes of the artifact and input checks.
   */
  prove<K extends CircuitKind>(kind: K, input: ProverInputs[K]): Promise<ProverOutputs[K]>
  close(): Promise<void>
}

/** A program that proves in our place: `binary key.zkey witness.wtns proof.json public.json`. */
export type ExternalProver = {
  binary: string
  /** Private to this process: witnesses pass through it. */
  folder: string
  /** Told once, when the program failed and is not asked again. */
  warn(message: string): void
}

const ZERO_OPENING: LeafOpening = { limbs: new Uint16Array(LEAF_LIMBS), salt: 0n }

/** Public signals and circuit input of a segment. Throws `SEGMENT_SHAPE`, `SIGNAL_RANGE` and the committer's codes. */
export function relationWitnessInput(
  committer: Committer,
  input: RelationInput,
): { signals: bigint[]; input: CircuitInput; accIn: bigint; accOut: bigint; sum: bigint } {
  const { leaves, u, blindIn, blindOut, binding } = input
  if (u.length !== LEAF_LIMBS * leaves.length)
    throw new SinterError('SEGMENT_SHAPE', `${leaves.length} leaves need ${LEAF_LIMBS * leaves.length} coefficients`)
  let sum = input.accIn
  leaves.forEach(({ limbs }, k) => {
    for (let j = 0; j < limbs.length; j++) sum += u[LEAF_LIMBS * k + j]! * BigInt(limbs[j]!)
  })
  sum = mod(sum)
  const accIn = committer.chain(input.accIn, blindIn)
  const accOut = committer.chain(sum, blindOut)
  const committed = leaves.map(({ limbs, salt }) => committer.leaf(limbs, salt))
  const signals = relationSignals({ leaves: committed, accIn, accOut, binding, u })
  requireCanonical(signals)
  const padded = [...leaves, ...new Array<LeafOpening>(SEGMENT_LEAVES - leaves.length).fill(ZERO_OPENING)]
  const limbs = new Uint16Array(SEGMENT_LEAVES * LEAF_LIMBS)
  padded.forEach((leaf, k) => {
    limbs.set(leaf.limbs, LEAF_LIMBS * k)
  })
  return {
    signals,
    accIn,
    accOut,
    sum,
    input: {
      leaf: signals.slice(0, SEGMENT_LEAVES),
      accIn: [accIn],
      accOut: [accOut],
      binding: [binding],
      u: signals.slice(SEGMENT_LEAVES + 3),
      limbs,
      salt: padded.map((leaf) => leaf.salt),
      acc: [input.accIn],
      blindIn: [blindIn],
      blindOut: [blindOut],
    },
  }
}

/** Public signals and circuit input of a pointwise statement. Throws as `relationWitnessInput`, and `KNOT_COUNT`. */
export function pointwiseWitnessInput(
  committer: Committer,
  input: PointwiseInput,
): { signals: bigint[]; input: CircuitInput } {
  const { a, b, mode, knots, tol, mask, binding } = input
  const hi = input.hi ?? ZERO_OPENING
  const signals = pointwiseSignals({
    a: committer.leaf(a.limbs, a.salt),
    b: committer.leaf(b.limbs, b.salt),
    hi: committer.leaf(hi.limbs, hi.salt),
    mode,
    mask,
    tol,
    binding,
    knots,
  })
  requireCanonical(signals)
  const names = ['a', 'b', 'hi', 'mode', 'mask', 'tol', 'binding'] as const
  return {
    signals,
    input: {
      ...Object.fromEntries(names.map((name, i) => [name, [signals[i]!]])),
      knot: signals.slice(-TABLE_SEGMENTS - 1),
      aLimbs: a.limbs,
      bLimbs: b.limbs,
      hiLimbs: hi.limbs,
      aSalt: [a.salt],
      bSalt: [b.salt],
      hiSalt: [hi.salt],
    },
  }
}

/** Public signals and circuit input of a staged segment. Throws `SIGNAL_RANGE` and the committer's codes. */
export function stageWitnessInput<K extends 'product' | 'extremum'>(
  committer: Committer,
  kind: K,
  input: ProverInputs[K],
): { signals: bigint[]; input: CircuitInput; accIn: bigint; accOut: bigint; sum: bigint } {
  const { values, blind, blindIn, blindOut, gamma, first, binding } = input
  const com = committer.stage(kind, values, blind)
  let sum = input.accIn
  let power = first
  for (let i = 0; i < values.length; i++) {
    sum += power * values[i]!
    power = mod(power * gamma)
    if (kind === 'product' && i % 2 === 1) sum += values[i - 1]! * values[i]!
  }
  sum = mod(sum)
  const accIn = committer.chain(input.accIn, blindIn)
  const accOut = committer.chain(sum, blindOut)
  const common = { com, accIn, accOut, binding, gamma, first }
  const ends = kind === 'extremum' ? (input as ProverInputs['extremum']).ends : null
  const signals = ends === null ? productSignals(common) : extremumSignals({ ...common, ends })
  requireCanonical(signals)
  const own = ends === null ? { values } : { gaps: values, ends }
  return {
    signals,
    accIn,
    accOut,
    sum,
    input: {
      commitment: [com],
      accIn: [accIn],
      accOut: [accOut],
      binding: [binding],
      gamma: [gamma],
      first: [first],
      ...own,
      stageBlind: [blind],
      acc: [input.accIn],
      blindIn: [blindIn],
      blindOut: [blindOut],
    },
  }
}

function requireCanonical(signals: bigint[]): void {
  if (!signals.every(isCanonical)) throw new SinterError('SIGNAL_RANGE', 'a public signal is not in [0, r)')
}

type Prepared<K extends CircuitKind> = Omit<ProverOutputs[K], keyof Proved> & { signals: bigint[]; input: CircuitInput }

const PREPARE: { [K in CircuitKind]: (committer: Committer, input: ProverInputs[K]) => Prepared<K> } = {
  relation: relationWitnessInput,
  pointwise: pointwiseWitnessInput,
  product: (committer, input) => stageWitnessInput(committer, 'product', input),
  extremum: (committer, input) => stageWitnessInput(committer, 'extremum', input),
}

type Circuit = {
  key: ProvingKey
  witness: WitnessCalculator
  verify: (signals: readonly bigint[], proof: Uint8Array) => Promise<ProofVerdict>
}

/**
 * A prover whose keys are loaded on first use and kept. Every proof is verified before it is returned.
 * `threads: 'all'` lets the curve library start a worker thread per core. @default 'one'
 * `external` is asked first; where it fails or gives a proof that does not verify, we prove ourselves, then and from then on.
 */
export async function createProver(
  options: { threads?: 'one' | 'all'; external?: ExternalProver } = {},
): Promise<Prover> {
  const curve = await curves.getCurveFromName('bn128', { singleThread: options.threads !== 'all' })
  const committer = await createCommitter()
  const circuits = new Map<CircuitKind, Promise<Circuit>>()
  let external = options.external

  const load = async (kind: CircuitKind): Promise<Circuit> => {
    const key = readProvingKey(await readArtifact(kind, 'zkey'))
    if (key.publicSignals !== SIGNAL_COUNT[kind])
      throw new SinterError('KEY_FORMAT', `the key of ${kind} is for another number of public signals`)
    const witness = await createWitnessCalculator(await readArtifact(kind, 'wasm'))
    return { key, witness, verify: prepareVerifier(curve, await readVerifyingKey(kind)) }
  }
  const circuit = (kind: CircuitKind): Promise<Circuit> => {
    let loaded = circuits.get(kind)
    if (loaded === undefined) {
      loaded = load(kind)
      circuits.set(kind, loaded)
    }
    return loaded
  }

  /** A verified proof of the other program, or null and no further question to it. */
  const askOther = async (
    { binary, folder, warn }: ExternalProver,
    kind: CircuitKind,
    wires: Uint8Array,
    check: (proof: Uint8Array) => Promise<ProofVerdict>,
  ): Promise<Uint8Array | null> => {
    try {
      const proof = await proveExternally(binary, artifactPath(kind, 'zkey'), wires, folder)
      const verdict = await check(proof)
      if (verdict.ok) return proof
      throw new SinterError('EXTERNAL_PROOF', `its ${kind} proof does not verify (${verdict.code})`)
    } catch (error) {
      external = undefined
      warn(`${binary} is not used for proofs any more: ${describeError(error)}`)
      return null
    }
  }

  return {
    async prove<K extends CircuitKind>(kind: K, input: ProverInputs[K]): Promise<ProverOutputs[K]> {
      const { signals, input: values, ...links } = PREPARE[kind](committer, input)
      const { key, witness, verify } = await circuit(kind)
      const wires = witness.calculate(values)
      const given = external && (await askOther(external, kind, wires, (proof) => verify(signals, proof)))
      const proof = given ?? (await prove(curve, key, wires))
      if (proof !== given) {
        const verdict = await verify(signals, proof)
        if (!verdict.ok)
          throw new SinterError('PROOF_INVALID', `a fresh proof failed its verification (${verdict.code})`)
      }
      return { proof, publicSignals: signals, ...links } as unknown as ProverOutputs[K]
    },
    close: () => curve.terminate(),
  }
}
