import { bn254 } from '@noble/curves/bn254.js'
import { bigintToBytes, bytesToBigint, fromHex, type Hex, toHex } from '../bytes.ts'
import { EVMNET, localRounds, roundPoint } from '../drand.ts'
import { hash } from '../hash.ts'

/** Words of 32 bytes. */
function words(bytes: Uint8Array): Hex[] {
  return Array.from({ length: bytes.length / 32 }, (_, i) => toHex(bytes.subarray(32 * i, 32 * i + 32)))
}

/** Rounds as drand's evmnet has published them. */
const EVMNET_ROUNDS: [round: bigint, signature: string][] = [
  [
    513n,
    '06ded8c05af23042a0caf9b404c6140f9ec64adbaf82f04d5c37153e8412ed580f827c7d5ac7d02ca0bbd989d07594729bdcde7d6dc1001191c59dc9033d31b2',
  ],
  [
    9_337_227n,
    '01d65d6128f4b2df3d08de85543d8efe06b0281d0770246ae3672e8ddd3efda0269373123458f0b5c0073eeed1c816a06809e127421513e34ee07df6987910b3',
  ],
]

/** A point of the curve over Fp² that is not in the subgroup: the first one by its abscissa. */
function outsideSubgroup(): Uint8Array {
  const { Fp2 } = bn254.fields
  const b = Fp2.div({ c0: 3n, c1: 0n }, { c0: 9n, c1: 1n })
  for (let c0 = 1n; ; c0++) {
    const x = { c0, c1: 0n }
    try {
      const y = Fp2.sqrt(Fp2.add(Fp2.mul(Fp2.sqr(x), x), b))
      const point = bn254.G2.Point.fromAffine({ x, y })
      if (point.isTorsionFree()) continue
      return new Uint8Array([x.c1, x.c0, y.c1, y.c0].flatMap((part) => [...bigintToBytes(part, 32)]))
    } catch {
      // No ordinate to this one.
    }
  }
}

/** Rounds of drand's evmnet, of a source with a known key, and a key that is none. */
export function drandCases(): unknown {
  const secret = bytesToBigint(hash('vector', new TextEncoder().encode('drand')).subarray(0, 31))
  const local = localRounds(secret)
  const rounds = [...Array.from({ length: 12 }, (_, i) => BigInt(i + 1)), 1n << 32n, (1n << 64n) - 1n]
  const describe = (round: bigint, signature: Uint8Array) => ({
    round: round.toString(),
    point: words(roundPoint(round)),
    signature: words(signature),
  })
  return {
    evmnet: {
      publicKey: words(EVMNET.publicKey),
      genesis: EVMNET.genesis,
      period: EVMNET.period,
      rounds: EVMNET_ROUNDS.map(([round, signature]) => describe(round, fromHex(signature))),
    },
    local: {
      secret: secret.toString(),
      publicKey: words(local.publicKey),
      rounds: rounds.map((round) => describe(round, local.sign(round))),
    },
    outsideSubgroup: words(outsideSubgroup()),
  }
}
