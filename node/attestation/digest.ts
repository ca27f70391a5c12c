import { bigintToBytes } from '../../protocol/bytes.ts'
import { hashToField, mod } from '../../protocol/field.ts'
import { hash } from '../../protocol/hash.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Statement } from '../../protocol/statement.ts'
import { voterSeed } from '../../protocol/vote.ts'

/**
 * Digest of a job's coefficients under the voter's own combination: Σ γ^i·u_i mod r with γ from H(seed, voter). Of each statement
 * in order, pointwise ones left out: the coefficients of its terms and its constant, then of each staged form its constant and its
 * coefficients. Only who has computed them can give it, and no voter's digest serves another.
 */
export function coefficientDigest(seed: Uint8Array, voter: Address, statements: Statement[]): Uint8Array {
  const gamma = hashToField('voter-combination', voterSeed(seed, voter))
  let sum = 0n
  const take = (value: bigint): void => {
    sum = mod(sum * gamma + value)
  }
  for (const statement of statements) {
    if (statement.kind === 'pointwise') continue
    for (const { u } of statement.terms) u.forEach(take)
    take(statement.c)
    if (statement.kind === 'relation') continue
    for (const { constant, limbs } of statement.forms) {
      take(constant)
      for (const { u } of limbs) take(u)
    }
  }
  return bigintToBytes(sum, 32)
}

/** One digest for the whole batch, over its jobs in order. */
export const batchDigest = (voter: Uint8Array, jobs: Uint8Array[]): Uint8Array => hash('vote-digest', voter, ...jobs)
