import { bigintToBytes } from '../../protocol/bytes.ts'
import { FIELD_PRIME, hashToField } from '../../protocol/field.ts'
import { hash } from '../../protocol/hash.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Statement } from '../../protocol/statement.ts'
import { voterSeed } from '../../protocol/vote.ts'

/**
 * Digest of a job's coefficients under the voter's own combination: Σ γ^i·u_i mod r with γ from H(seed, voter). Only who has
 * computed the coefficients can give it, and no voter's digest serves another.
 */
export function coefficientDigest(seed: Uint8Array, voter: Address, statements: Statement[]): Uint8Array {
  const gamma = hashToField('voter-combination', voterSeed(seed, voter))
  let sum = 0n
  const take = (value: bigint): void => {
    sum = (sum * gamma + value) % FIELD_PRIME
  }
  for (const statement of statements) {
    if (statement.kind !== 'relation') continue
    for (const { u } of statement.terms) u.forEach(take)
    take(statement.c)
  }
  return bigintToBytes(sum < 0n ? sum + FIELD_PRIME : sum, 32)
}

/** One digest for the whole batch, over its jobs in order. */
export const batchDigest = (voter: Uint8Array, jobs: Uint8Array[]): Uint8Array => hash('vote-digest', voter, ...jobs)
