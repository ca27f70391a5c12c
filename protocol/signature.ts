import { secp256k1 } from '@noble/curves/secp256k1.js'
import { bytesToBigint, concat, type Hex, toHex } from './bytes.ts'
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
  const recovered = secp256k1.sign(digest, privateKey, { prehash: false, format: 'recovered', lowS: true })
  return concat(recovered.subarray(1), recovered.subarray(0, 1))
}

/** Who made a signature: compressed public key and address. */
export type Signer = { key: Uint8Array; address: Address }

type Point = InstanceType<typeof secp256k1.Point>
type Known = Signer & { point: Point; seen: number }

/**
 * Signers that were expected and did sign, the last ones last. One that signs again and again gets tables of its point's multiples: to
 * verify against a known key then takes a quarter of the time of recovering an unknown one.
 */
const known = new Map<Address, Known>()
const KNOWN_SIGNERS = 64
/** Signatures after which tables, about half a megabyte, are worth their while. */
const TABLES_AFTER = 3

function remember(signer: Signer, point: Point): void {
  const found = known.get(signer.address)
  known.delete(signer.address)
  const entry = found ?? { ...signer, point, seen: 0 }
  entry.seen++
  if (entry.seen === TABLES_AFTER) entry.point.precompute(6)
  known.set(signer.address, entry)
  const [oldest] = known.keys()
  if (known.size > KNOWN_SIGNERS && oldest !== undefined) known.delete(oldest)
}

const { Fn } = secp256k1.Point

/** Whether recovery would give exactly this key: the point behind r has the x of r and the parity of v. */
function isBy(point: Point, digest: Uint8Array, r: bigint, s: bigint, v: number): boolean {
  const inverse = Fn.inv(s)
  const u1 = Fn.mul(Fn.create(bytesToBigint(digest)), inverse)
  const u2 = Fn.mul(r, inverse)
  const sum = secp256k1.Point.BASE.multiplyUnsafe(u1).add(point.multiplyUnsafe(u2))
  if (sum.is0()) return false
  const { x, y } = sum.toAffine()
  return x === r && Number(y & 1n) === v
}

const signerOf = (point: Point): Signer => ({
  key: point.toBytes(true),
  address: toHex(keccak256(point.toBytes(false).subarray(1)).subarray(12)),
})

/**
 * Who made the signature over a 32-byte digest, or null. High s is refused, so a signature has one form only.
 * @param expected who probably did: makes it faster when they did, and changes no answer
 */
export function recoverSigner(digest: Uint8Array, signature: Uint8Array, expected?: Address): Signer | null {
  if (signature.length !== SIGNATURE_BYTES || signature[64]! > 1) return null
  try {
    const form = concat(signature.subarray(64), signature.subarray(0, 64))
    const parsed = secp256k1.Signature.fromBytes(form, 'recovered')
    if (parsed.hasHighS()) return null
    const candidate = expected === undefined ? undefined : known.get(expected)
    if (
      candidate !== undefined &&
      candidate.seen >= TABLES_AFTER &&
      isBy(candidate.point, digest, parsed.r, parsed.s, signature[64]!)
    ) {
      remember(candidate, candidate.point)
      return { key: candidate.key.slice(), address: candidate.address }
    }
    const point = parsed.recoverPublicKey(digest)
    const signer = signerOf(point)
    if (signer.address === expected) remember(signer, point)
    return signer
  } catch {
    return null
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
