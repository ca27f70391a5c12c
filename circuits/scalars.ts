import { FIELD_PRIME } from '../protocol/field.ts'

export const SCALAR_BYTES = 32
const WORD = (1n << 64n) - 1n

/** Writes `value` in [0, 2^256) as 32 little-endian bytes at `offset`. */
export function writeScalar(view: DataView, offset: number, value: bigint): void {
  for (let word = 0; word < 4; word++) {
    view.setBigUint64(offset + 8 * word, value & WORD, true)
    value >>= 64n
  }
}

/** The integer of 32 little-endian bytes at `offset`. */
export function readScalar(view: DataView, offset: number): bigint {
  let value = 0n
  for (let word = 3; word >= 0; word--) value = (value << 64n) | view.getBigUint64(offset + 8 * word, true)
  return value
}

/** 32 little-endian bytes per value; every value in [0, 2^256). */
export function scalarBuffer(values: readonly bigint[]): Uint8Array {
  const out = new Uint8Array(SCALAR_BYTES * values.length)
  const view = new DataView(out.buffer)
  for (let i = 0; i < values.length; i++) writeScalar(view, SCALAR_BYTES * i, values[i]!)
  return out
}

/** Whether `value` is the one representative of its class, in [0, r). */
export function isCanonical(value: bigint): boolean {
  return value >= 0n && value < FIELD_PRIME
}
