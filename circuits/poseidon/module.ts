import { FIELD_PRIME } from '../../protocol/field.ts'
import { wasmModule } from './assembler.ts'
import { multiply } from './multiply.ts'
import {
  AT,
  HALF_FULL,
  HIGH,
  LANES,
  LIFT,
  LIFT_CARRY,
  LOW,
  limbsOf,
  MASK,
  P,
  P_INVERSE,
  R,
  UNIT,
  UNIT_BITS,
  VECTOR,
  WIDTH,
} from './numbers.ts'
import { CALL, fullRound, hash, power } from './permutation.ts'
import { read, write } from './scalars.ts'

/** Numbers of elements that are hashed somewhere: a link of a chain, a leaf, a stage. */
const COUNTS = [2, 6, 16]

/** circomlibjs's optimised constants, by t - 2. */
export type PoseidonConstants = Record<'C' | 'S', string[][]> & Record<'M' | 'P', string[][][]>

/** Full rounds; partial ones follow from the table's length. */
const partialRounds = (constants: PoseidonConstants, t: number): number => constants.S[t - 2]!.length / (2 * t - 1)

/** Numbers to be multiplied with: Montgomery form, as doubles. */
const factor = (value: bigint): number[] => limbsOf((value * R) % FIELD_PRIME).map(Number)
/** Numbers to be added: Montgomery form, as integers. */
const addend = (value: bigint): bigint[] => limbsOf((value * R) % FIELD_PRIME)

function tableOf(constants: PoseidonConstants, t: number): Uint8Array {
  const numbers: (number | bigint)[] = []
  const rounds = partialRounds(constants, t)
  const C = constants.C[t - 2]!.map(BigInt)
  const S = constants.S[t - 2]!.map(BigInt)
  for (const matrix of [constants.M[t - 2]!, constants.P[t - 2]!])
    for (let i = 0; i < t; i++) for (let j = 0; j < t; j++) numbers.push(...factor(BigInt(matrix[j]![i]!)))
  const add = (from: number, count: number): void => {
    for (let i = from; i < from + count; i++) numbers.push(...addend(C[i] ?? 0n))
  }
  add(0, (HALF_FULL + 1) * t)
  for (let round = 0; round < rounds; round++) {
    add((HALF_FULL + 1) * t + round, 1)
    for (const value of S.slice((2 * t - 1) * round, (2 * t - 1) * (round + 1))) numbers.push(...factor(value))
  }
  // The last round adds nothing.
  add((HALF_FULL + 1) * t + rounds, HALF_FULL * t)
  const out = new DataView(new ArrayBuffer(8 * numbers.length))
  for (const [i, value] of numbers.entries())
    if (typeof value === 'bigint') out.setBigInt64(8 * i, value, true)
    else out.setFloat64(8 * i, value, true)
  return new Uint8Array(out.buffer)
}

/** The module; exports `memory`, which begins with AT.head, and `hash(table, t, partial)`. */
export function buildPoseidonModule(constants: PoseidonConstants): Uint8Array {
  const parts = COUNTS.map((count) => tableOf(constants, count + 1))
  const size = AT.tables + parts.reduce((sum, { length }) => sum + length, 0)
  const data = new Uint8Array(size)
  const view = new DataView(data.buffer)
  const splat = (at: number, value: number | bigint, copies = 2): void => {
    for (let i = 0; i < copies; i++)
      if (typeof value === 'bigint') view.setBigUint64(at + 8 * i, BigInt.asUintN(64, value), true)
      else view.setFloat64(at + 8 * i, value, true)
  }
  const element = (at: number, value: bigint): void => {
    for (const [k, limb] of limbsOf(value).entries()) splat(at + VECTOR * WIDTH * k, Number(limb), 2 * WIDTH)
  }
  for (const [k, limb] of P.entries()) {
    splat(AT.prime + VECTOR * k, Number(limb))
    splat(AT.primeBits + VECTOR * k, limb)
  }
  splat(AT.inverse, P_INVERSE)
  splat(AT.mask, MASK)
  splat(AT.high, HIGH)
  splat(AT.both, HIGH + LOW)
  splat(AT.unit, UNIT)
  splat(AT.unitBits, UNIT_BITS)
  splat(AT.lift, LIFT)
  splat(AT.liftCarry, LIFT_CARRY)
  element(AT.rSquared, (R * R) % FIELD_PRIME)
  element(AT.one, 1n)
  const head = [LANES, AT.inputs, AT.out]
  let at = AT.tables
  for (const [i, count] of COUNTS.entries()) {
    data.set(parts[i]!, at)
    head.push(count, at, partialRounds(constants, count + 1))
    at += parts[i]!.length
  }
  for (const [i, value] of head.entries()) view.setUint32(AT.head + 4 * i, value, true)
  const functions = [
    multiply({ by: 'element', more: 'nothing' }),
    multiply({ by: 'element', more: 'constant' }),
    multiply({ by: 'constant', more: 'terms' }),
    multiply({ by: 'constant', more: 'element' }),
    read(),
    write(),
    power(),
    fullRound(),
    hash(),
  ]
  return wasmModule(functions, { hash: CALL.hash }, { pages: Math.ceil(size / 2 ** 16), data })
}
