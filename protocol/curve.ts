import { recover as recoverPoint, signRecoverable } from 'tiny-secp256k1'
import type { Hex } from './bytes.ts'

/** secp256k1 by Bitcoin's library in WebAssembly, four times as fast as JavaScript. Pages, which may not compile it at once, have curve.browser.ts. */

/** 64 bytes r ‖ s, s in the lower half, and the parity of the point behind r. Deterministic (RFC 6979). */
export function sign(digest: Uint8Array, privateKey: Uint8Array): { signature: Uint8Array; parity: number } {
  const { signature, recoveryId } = signRecoverable(digest, privateKey)
  return { signature, parity: recoveryId }
}

/**
 * The uncompressed public key (65 bytes) that made a signature of 64 bytes, or null.
 * @param _expected whose it may be: of no use here
 */
export function recover(digest: Uint8Array, signature: Uint8Array, parity: number, _expected?: Hex): Uint8Array | null {
  try {
    return recoverPoint(digest, signature, parity as 0 | 1, false)
  } catch {
    return null
  }
}
