import { bytesToBigint } from './bytes.ts'
import { hash } from './hash.ts'

/** Order r of the BN254 scalar field, over which the circuits work. */
export const FIELD_PRIME = 21888242871839275222246405745257275088548364400416034343698204186575808495617n

/** The representative of `x` in [0, r). */
export function mod(x: bigint): bigint {
  const m = x % FIELD_PRIME
  return m < 0n ? m + FIELD_PRIME : m
}

/** A hash as a field element: two digests (512 bits) reduced mod r, so the bias is below 2^-250. */
export function hashToField(domain: string, ...parts: Uint8Array[]): bigint {
  const high = hash(`${domain}/0`, ...parts)
  const low = hash(`${domain}/1`, ...parts)
  return mod((bytesToBigint(high) << 256n) | bytesToBigint(low))
}

/** A hash as an integer below 2^248, which is a canonical field element without reduction. */
export function hashTo248(domain: string, ...parts: Uint8Array[]): bigint {
  return bytesToBigint(hash(domain, ...parts).subarray(0, 31))
}
