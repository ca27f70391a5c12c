import { createHasher } from '@noble/curves/abstract/hash-to-curve.js'
import { bn254 } from '@noble/curves/bn254.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { bigintToBytes, bytesToBigint, fromHex } from './bytes.ts'
import { SinterError } from './errors.ts'

/**
 * Rounds of drand's scheme `bls-bn254-unchained-on-g1` (its network evmnet): the signature of round r is the point
 * secret · H(keccak256(u64be(r))) of G1, the group's key is secret · G2. H is RFC 9380's hash to curve with
 * expand_message_xmd over keccak256 and the map of Shallue and van de Woestijne. protocol/contracts/DrandBeacon.sol verifies the same.
 */
export const DRAND_DST = 'BLS_SIG_BN254G1_XMD:KECCAK-256_SVDW_RO_NUL_'

/** Key and times of a drand network. `publicKey`: 128 bytes x₁ ‖ x₀ ‖ y₁ ‖ y₀ (imaginary part first, as EIP-197). Seconds. */
export type DrandNetwork = { publicKey: Uint8Array; genesis: number; period: number }

/** drand's public network for EVM chains: chain 04f1e906…, a round every three seconds. */
export const EVMNET: DrandNetwork = {
  publicKey: fromHex(
    '07e1d1d335df83fa98462005690372c643340060d205306a9aa8106b6bd0b3820557ec32c2ad488e4d4f6008f89a346f18492092ccc0d594610de2732c8b808f0095685ae3a85ba243747b1b2f426049010f6b73a0cf1d389351d5aaaa1047f6297d3a4f9749b33eb2d904c9d9ebf17224150ddd7abd7567a9bec6c74480ee0b',
  ),
  genesis: 1_727_521_075,
  period: 3,
}
export const EVMNET_CHAIN = '04f1e9062b8a81f848fded9c12306733282b2727ecced50032187751166ec8c3'

const { Fp } = bn254.fields
const { Point } = bn254.G1

/** RFC 9380 §6.6.1 with Z = 1 on y² = x³ + 3. */
const Z = 1n
const curve = (x: bigint): bigint => Fp.add(Fp.mul(Fp.sqr(x), x), 3n)
const C1 = curve(Z)
const C2 = Fp.neg(Fp.div(Z, 2n))
const C3 = (() => {
  const root = Fp.sqrt(Fp.neg(Fp.mul(C1, 3n)))
  return (root & 1n) === 0n ? root : Fp.neg(root)
})()
const C4 = Fp.neg(Fp.div(Fp.mul(4n, C1), 3n))

const rootOf = (square: bigint): bigint | null => {
  try {
    return Fp.sqrt(square)
  } catch {
    return null
  }
}

/** The map of Shallue and van de Woestijne. */
export function mapToG1(u: bigint): { x: bigint; y: bigint } {
  const scaled = Fp.mul(Fp.sqr(u), C1)
  const plus = Fp.add(1n, scaled)
  const minus = Fp.sub(1n, scaled)
  const product = Fp.mul(plus, minus)
  const inverse = Fp.is0(product) ? 0n : Fp.inv(product)
  const shift = Fp.mul(Fp.mul(Fp.mul(u, minus), inverse), C3)
  const third = Fp.add(Z, Fp.mul(C4, Fp.sqr(Fp.mul(Fp.sqr(plus), inverse))))
  for (const x of [Fp.sub(C2, shift), Fp.add(C2, shift), third]) {
    const y = rootOf(curve(x))
    if (y !== null) return { x, y: (y & 1n) === (u & 1n) ? y : Fp.neg(y) }
  }
  throw new SinterError('DRAND_MAP', 'the map to the curve has no image, which cannot be')
}

const hasher = createHasher(Point, ([u]) => mapToG1(u!), {
  DST: DRAND_DST,
  encodeDST: DRAND_DST,
  p: Fp.ORDER,
  m: 1,
  k: 128,
  expand: 'xmd',
  hash: keccak_256,
})

export const roundMessage = (round: bigint): Uint8Array => keccak_256(bigintToBytes(round, 8))

/** H of a round's message: 64 bytes x ‖ y. */
export function roundPoint(round: bigint): Uint8Array {
  return encodeG1(hasher.hashToCurve(roundMessage(round)))
}

type G1 = InstanceType<typeof Point>

function encodeG1(point: G1): Uint8Array {
  const { x, y } = point.toAffine()
  return new Uint8Array([...bigintToBytes(x, 32), ...bigintToBytes(y, 32)])
}

/** Throws `DRAND_POINT` unless these are 64 bytes of a point of the curve, not the one at infinity. */
function decodeG1(bytes: Uint8Array): G1 {
  try {
    if (bytes.length !== 64) throw new Error('length')
    const [x, y] = [bytesToBigint(bytes.subarray(0, 32)), bytesToBigint(bytes.subarray(32))]
    const point = Point.fromAffine({ x, y })
    if (point.is0()) throw new Error('infinity')
    point.assertValidity()
    return point
  } catch (cause) {
    throw new SinterError('DRAND_POINT', 'not a point of the curve', { cause })
  }
}

/** Throws `DRAND_POINT`. */
function decodeG2(bytes: Uint8Array): InstanceType<typeof bn254.G2.Point> {
  try {
    if (bytes.length !== 128) throw new Error('length')
    const [x1, x0, y1, y0] = [0, 32, 64, 96].map((at) => bytesToBigint(bytes.subarray(at, at + 32)))
    const point = bn254.G2.Point.fromAffine({ x: { c0: x0!, c1: x1! }, y: { c0: y0!, c1: y1! } })
    if (point.is0()) throw new Error('infinity')
    point.assertValidity()
    return point
  } catch (cause) {
    throw new SinterError('DRAND_POINT', 'not a public key', { cause })
  }
}

/** Whether these 64 bytes are the network's signature of the round. Throws `DRAND_POINT` when the network's key is none. */
export function verifyRound(
  { publicKey }: Pick<DrandNetwork, 'publicKey'>,
  round: bigint,
  signature: Uint8Array,
): boolean {
  const key = decodeG2(publicKey)
  try {
    const pairs = [
      { g1: decodeG1(signature), g2: bn254.G2.Point.BASE.negate() },
      { g1: hasher.hashToCurve(roundMessage(round)) as G1, g2: key },
    ]
    return bn254.fields.Fp12.eql(bn254.pairingBatch(pairs), bn254.fields.Fp12.ONE)
  } catch {
    return false
  }
}

/** A source of rounds with a key of one's own, for development networks: whoever has the key knows every round beforehand. */
export function localRounds(secret: bigint): { publicKey: Uint8Array; sign(round: bigint): Uint8Array } {
  const { x, y } = bn254.G2.Point.BASE.multiply(secret).toAffine()
  return {
    publicKey: new Uint8Array([x.c1, x.c0, y.c1, y.c0].flatMap((part) => [...bigintToBytes(part, 32)])),
    sign: (round) => encodeG1((hasher.hashToCurve(roundMessage(round)) as G1).multiply(secret)),
  }
}
