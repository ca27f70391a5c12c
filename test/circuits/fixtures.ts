import { existsSync, readFileSync } from 'node:fs'
import { readArtifact } from '../../circuits/artifacts.ts'
import type { Committer } from '../../circuits/commit.ts'
import {
  type LeafOpening,
  type PointwiseInput,
  type ProverInputs,
  pointwiseWitnessInput,
  type RelationInput,
  relationWitnessInput,
  type StageInput,
  stageWitnessInput,
} from '../../circuits/prove.ts'
import type { CircuitKind } from '../../circuits/signals.ts'
import { createWitnessCalculator, type WitnessCalculator } from '../../circuits/witness.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { hashToField } from '../../protocol/field.ts'

export const ALL = (1n << 64n) - 1n
export const OFFSET = 32768

/** A field element that differs for every label. */
export const element = (label: string): bigint => hashToField('test/circuits', utf8(label))

/** 64 limbs that are `of(j)` at j. */
export const limbs = (of: (j: number) => number): Uint16Array => Uint16Array.from({ length: 64 }, (_, j) => of(j))

export const leaf = (label: string, of: (j: number) => number): LeafOpening => ({
  limbs: limbs(of),
  salt: element(label),
})

/** Signed knots of max(0, x) and of x. */
export const RELU = Array.from({ length: 65 }, (_, i) => BigInt(Math.max(0, 1024 * i - OFFSET)))
export const IDENTITY = Array.from({ length: 65 }, (_, i) => BigInt(1024 * i - OFFSET))

/** The canonical table of DESIGN 5.1 in integers: signed value for the limb `u`. */
export function tableModel(knots: readonly bigint[], u: number): bigint {
  const i = u >> 10
  const rise = (knots[i + 1]! - knots[i]!) * BigInt(u & 1023) + 512n
  return knots[i]! + (rise >> 10n)
}

/** Clamp of a saturated tile in integers: the limb for a pair (lo, hi). */
export function clampModel(lo: number, hi: number): number {
  const value = (hi - OFFSET) * 65536 + lo
  return Math.max(0, Math.min(65535, value))
}

/** What the pointwise circuit should accept. */
export function pointwiseModel({ a, b, hi, mode, knots, tol, mask }: PointwiseInput): boolean {
  for (let j = 0; j < 64; j++) {
    if (((mask >> BigInt(j)) & 1n) === 0n) continue
    const y = b.limbs[j]!
    if (mode === 'clamp') {
      if (y !== clampModel(a.limbs[j]!, hi?.limbs[j] ?? 0)) return false
    } else {
      const off = BigInt(y - OFFSET) - tableModel(knots, a.limbs[j]!)
      if (off > BigInt(tol) || off < -BigInt(tol)) return false
    }
  }
  return true
}

export function relationInput(change: Partial<RelationInput> = {}): RelationInput {
  const leaves = Array.from({ length: 10 }, (_, k) => leaf(`leaf ${k}`, (j) => (k * 7919 + j * 104729) & 0xffff))
  return {
    leaves,
    accIn: element('sum'),
    blindIn: element('blind in'),
    blindOut: element('blind out'),
    u: Array.from({ length: 640 }, (_, i) => element(`u ${i}`)),
    binding: element('binding') >> 8n,
    ...change,
  }
}

/** A true statement: relu over a spread of limbs. */
export function pointwiseInput(change: Partial<PointwiseInput> = {}): PointwiseInput {
  const a = leaf('a', (j) => (j * 1040 + 3) & 0xffff)
  return {
    a,
    b: leaf('b', (j) => Math.max(a.limbs[j]!, OFFSET)),
    hi: null,
    mode: 'table',
    knots: RELU,
    tol: 0,
    mask: ALL,
    binding: element('binding') >> 8n,
    ...change,
  }
}

export function clampInput(change: Partial<PointwiseInput> = {}): PointwiseInput {
  const a = leaf('lo', (j) => (j * 50021) & 0xffff)
  const hi = leaf('hi', (j) => OFFSET + (j % 5) - 2)
  const b = leaf('b', (j) => clampModel(a.limbs[j]!, hi.limbs[j]!))
  return pointwiseInput({ a, b, hi, mode: 'clamp', knots: new Array<bigint>(65).fill(0n), ...change })
}

const stageInput = (label: string, values: bigint[]): StageInput => ({
  values,
  blind: element(`${label} stage blind`),
  accIn: element(`${label} sum`),
  blindIn: element(`${label} blind in`),
  blindOut: element(`${label} blind out`),
  gamma: element(`${label} gamma`),
  first: element(`${label} first`),
  binding: element('binding') >> 8n,
})

/** 64 pairs of arbitrary field elements. */
export const productInput = (change: Partial<StageInput> = {}): StageInput => ({
  ...stageInput(
    'product',
    Array.from({ length: 128 }, (_, i) => element(`factor ${i}`)),
  ),
  ...change,
})

/** `ends` of windows of these lengths. */
export function endsOf(lengths: readonly number[]): [bigint, bigint] {
  let mask = 0n
  let at = 0
  for (const length of lengths) {
    at += length
    mask |= 1n << BigInt(at - 1)
  }
  return [BigInt.asUintN(128, mask), mask >> 128n]
}

/** 64 windows of four gaps, the zero of window w in place w mod 4. */
export const extremumInput = (change: Partial<ProverInputs['extremum']> = {}): ProverInputs['extremum'] => ({
  ...stageInput(
    'extremum',
    Array.from({ length: 256 }, (_, i) =>
      i % 4 === (i >> 2) % 4 ? 0n : 1n + (element(`gap ${i}`) % ((1n << 32n) - 1n)),
    ),
  ),
  ends: endsOf(new Array(64).fill(4)),
  ...change,
})

export const calculator = async (kind: CircuitKind): Promise<WitnessCalculator> =>
  createWitnessCalculator(await readArtifact(kind, 'wasm'))

/** Whether the statement has a witness. Any fault but `WITNESS_UNSATISFIED` is thrown. */
export function satisfied(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch (error) {
    if (error instanceof SinterError && error.code === 'WITNESS_UNSATISFIED') return false
    throw error
  }
}

export const pointwiseHolds = (committer: Committer, witness: WitnessCalculator, input: PointwiseInput): boolean =>
  satisfied(() => witness.calculate(pointwiseWitnessInput(committer, input).input))

export const relationHolds = (committer: Committer, witness: WitnessCalculator, input: RelationInput): boolean =>
  satisfied(() => witness.calculate(relationWitnessInput(committer, input).input))

export const stageHolds = <K extends 'product' | 'extremum'>(
  committer: Committer,
  witness: WitnessCalculator,
  kind: K,
  input: ProverInputs[K],
): boolean => satisfied(() => witness.calculate(stageWitnessInput(committer, kind, input).input))

/**
 * Milliseconds of processor time that this process itself spent during `run`, children not counted. Unlike the longest
 * pause of the event loop it does not depend on what else the machine is doing.
 */
export async function ownWork(run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/** Process ids of this process's children, where the system tells (Linux). */
export function childIds(): number[] {
  const file = `/proc/self/task/${process.pid}/children`
  return existsSync(file) ? readFileSync(file, 'utf8').split(' ').filter(Boolean).map(Number) : []
}

/** The code of the SinterError that `run` ends with, or null when it does not fail. */
export async function codeOf(run: () => unknown): Promise<string | null> {
  try {
    await run()
    return null
  } catch (error) {
    if (error instanceof SinterError) return error.code
    throw error
  }
}
