import { bytesToBigint, concat, u32, utf8 } from './bytes.ts'
import { hash, keccak256 } from './hash.ts'

const DRAW = utf8('sinter/draw/1')
const SPACE = 1n << 256n

/**
 * The k points of [0, total) that a batch's sample beacon names, as `Batches.samplePoints` computes them:
 * keccak256("sinter/draw/1" ‖ batch ‖ beacon ‖ u32 draw ‖ u32 counter), rejected above the largest multiple of the total.
 */
export function samplePoints(batch: Uint8Array, beacon: Uint8Array, total: bigint, draws: number): bigint[] {
  const limit = (SPACE / total) * total
  return Array.from({ length: draws }, (_, draw) => {
    for (let counter = 0; ; counter++) {
      const h = bytesToBigint(keccak256(concat(DRAW, batch, beacon, u32(draw), u32(counter))))
      if (h < limit) return h % total
    }
  })
}

/** A uniform integer in [0, bound) named by a domain. */
export type Randomness = (domain: string, bound: number) => number

/** Unbiased integers from a seed: rejection sampling over 48-bit prefixes of domain-separated hashes. */
export function seededRandomness(seed: Uint8Array): Randomness {
  return (domain, bound) => {
    if (!Number.isSafeInteger(bound) || bound < 1 || bound > 2 ** 40) throw new RangeError('bound out of range')
    const limit = Math.floor(2 ** 48 / bound) * bound
    for (let counter = 0; ; counter++) {
      const h = Number(bytesToBigint(hash(`select/${domain}`, seed, u32(counter)).subarray(0, 6)))
      if (h < limit) return h % bound
    }
  }
}
