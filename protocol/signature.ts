import { secp256k1 } from '@noble/curves/secp256k1.js'
import { concat, type Hex, toHex } from './bytes.ts'
import { keccak256 } from './hash.ts'

/** An EVM address in lower-case hex: how the protocol names people, off chain and on. */
export type Address = Hex

export const SIGNATURE_BYTES = 65

/** EVM address of a secp256k1 public key (33 bytes compressed or 65 uncompressed). */
export function addressOf(publicKey: Uint8Array): Address {
  const point = secp256k1.Point.fromBytes(publicKey).toBytes(false)
  return toHex(keccak256(point.subarray(1)).subarray(12))
}

export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  return secp256k1.getPublicKey(privateKey, true)
}

/** 65 bytes r ‖ s ‖ v (v 0 or 1, s in the lower half) over a 32-byte digest. Deterministic (RFC 6979). */
export function signDigest(digest: Uint8Array, privateKey: Uint8Array): Uint8Array {
  const recovered = secp256k1.sign(digest, privateKey, { prehash: false, format: 'recovered', lowS: true })
  return concat(recovered.subarray(1), recovered.subarray(0, 1))
}

/** Compressed public key that made the signature, or null. High s is refused, so a signature has one form only. */
export function recoverPublicKey(digest: Uint8Array, signature: Uint8Array): Uint8Array | null {
  if (signature.length !== SIGNATURE_BYTES || signature[64]! > 1) return null
  try {
    const form = concat(signature.subarray(64), signature.subarray(0, 64))
    const parsed = secp256k1.Signature.fromBytes(form, 'recovered')
    if (parsed.hasHighS()) return null
    return parsed.recoverPublicKey(digest).toBytes(true)
  } catch {
    return null
  }
}

/** Address that made the signature, or null. */
export function recoverAddress(digest: Uint8Array, signature: Uint8Array): Address | null {
  const key = recoverPublicKey(digest, signature)
  return key === null ? null : addressOf(key)
}
