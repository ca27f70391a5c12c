import { secp256k1 } from '@noble/curves/secp256k1.js'
import { bytesToBigint, concat, type Hex, toHex } from './bytes.ts'
import { keccak256 } from './hash.ts'

/** secp256k1 in JavaScript, for pages. */

type Point = InstanceType<typeof secp256k1.Point>
type Known = { point: Point; seen: number }

/** As curve.ts. */
export function sign(digest: Uint8Array, privateKey: Uint8Array): { signature: Uint8Array; parity: number } {
  const recovered = secp256k1.sign(digest, privateKey, { prehash: false, format: 'recovered', lowS: true })
  return { signature: recovered.slice(1), parity: recovered[0]! }
}

/**
 * Signers that were expected and did sign, by address, the last ones last. One that signs again and again gets tables of its point's multiples: to
 * verify against a known key then takes a quarter of the time of recovering an unknown one.
 */
const known = new Map<Hex, Known>()
const KNOWN_SIGNERS = 64
/** Signatures after which tables, about half a megabyte, are worth their while. */
const TABLES_AFTER = 3

function remember(address: Hex, point: Point): void {
  const entry = known.get(address) ?? { point, seen: 0 }
  known.delete(address)
  entry.seen++
  if (entry.seen === TABLES_AFTER) entry.point.precompute(6)
  known.set(address, entry)
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

/**
 * As curve.ts.
 * @param expected who probably did: makes it faster when they did, and changes no answer
 */
export function recover(digest: Uint8Array, signature: Uint8Array, parity: number, expected?: Hex): Uint8Array | null {
  try {
    const parsed = secp256k1.Signature.fromBytes(concat(Uint8Array.of(parity), signature), 'recovered')
    const candidate = expected === undefined ? undefined : known.get(expected)
    if (
      expected !== undefined &&
      candidate !== undefined &&
      candidate.seen >= TABLES_AFTER &&
      isBy(candidate.point, digest, parsed.r, parsed.s, parity)
    ) {
      remember(expected, candidate.point)
      return candidate.point.toBytes(false)
    }
    const point = parsed.recoverPublicKey(digest)
    const bytes = point.toBytes(false)
    if (expected === toHex(keccak256(bytes.subarray(1)).subarray(12))) remember(expected, point)
    return bytes
  } catch {
    return null
  }
}
