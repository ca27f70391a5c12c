import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, u32, utf8 } from './bytes.ts'
import { sha256 } from './sha256.ts'

export { sha256 }

export const HASH_BYTES = 32

export const keccak256 = (bytes: Uint8Array): Uint8Array => keccak_256(bytes)

/**
 * Domain-separated SHA-256: H("sinter/1/" ‖ domain ‖ 0x00 ‖ for each part u32be length ‖ part).
 * Lengths make the encoding injective, so two different lists of parts never hash the same bytes.
 */
export function hash(domain: string, ...parts: Uint8Array[]): Uint8Array {
  const framed: Uint8Array[] = [utf8(`sinter/1/${domain}`), new Uint8Array(1)]
  for (const part of parts) framed.push(u32(part.length), part)
  return sha256(concat(...framed))
}
