import { secp256k1 } from '@noble/curves/secp256k1.js'
import { bytesToBigint, concat, type Hex, toHex } from './bytes.ts'
import { recover, sign } from './curve.ts'
import { keccak256 } from './hash.ts'

/** An EVM address in lower-case hex: how the protocol names people, off chain and on. */
export type Address = Hex

export const SIGNATURE_BYTES = 65

/** EVM address of a secp256k1 public key (33 bytes compressed or 65 uncompressed). */
export function addressOf(publicKey: Uint8Array): Address {
  const point = secp256k1.Point.fromBytes(publicKey).toBytes(false)
  return toHex(keccak256(point.subarray(1)).subarray(12))
}

const addresses = new WeakMap<Uint8Array, Address>()

/** Address of a private key. Kept for as long as the caller keeps the array that holds the key, which nobody changes. */
export function addressOfKey(privateKey: Uint8Array): Address {
  const found = addresses.get(privateKey)
  if (found !== undefined) return found
  const address = addressOf(publicKeyOf(privateKey))
  addresses.set(privateKey, address)
  return address
}

export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  return secp256k1.getPublicKey(privateKey, true)
}

/** 65 bytes r ‖ s ‖ v (v 0 or 1, s in the lower half) over a 32-byte digest. Deterministic (RFC 6979). */
export function signDigest(digest: Uint8Array, privateKey: Uint8Array): Uint8Array {
  const { signature, parity } = sign(digest, privateKey)
  return concat(signature, Uint8Array.of(parity))
}

/** Who made a signature: compressed public key and address. */
export type Signer = { key: Uint8Array; address: Address }

const HIGHEST_S = secp256k1.Point.Fn.ORDER >> 1n

/**
 * Who made the signature over a 32-byte digest, or null. High s is refused, so a signature has one form only.
 * @param expected who probably did: makes it faster when they did, and changes no answer
 */
export function recoverSigner(digest: Uint8Array, signature: Uint8Array, expected?: Address): Signer | null {
  if (signature.length !== SIGNATURE_BYTES || signature[64]! > 1) return null
  if (bytesToBigint(signature.subarray(32, 64)) > HIGHEST_S) return null
  const point = recover(digest, signature.subarray(0, 64), signature[64]!, expected)
  if (point === null) return null
  return {
    key: concat(Uint8Array.of(2 + (point[64]! & 1)), point.subarray(1, 33)),
    address: toHex(keccak256(point.subarray(1)).subarray(12)),
  }
}

/** Compressed public key that made the signature, or null. */
export function recoverPublicKey(digest: Uint8Array, signature: Uint8Array): Uint8Array | null {
  return recoverSigner(digest, signature)?.key ?? null
}

/** Address that made the signature, or null. `expected` as in `recoverSigner`. */
export function recoverAddress(digest: Uint8Array, signature: Uint8Array, expected?: Address): Address | null {
  return recoverSigner(digest, signature, expected)?.address ?? null
}
