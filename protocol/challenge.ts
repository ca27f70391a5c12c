import { bigintToBytes, concat, fromHex, u32 } from './bytes.ts'
import { type Randomness, seededRandomness } from './draw.ts'
import { SinterError } from './errors.ts'
import { hashTo248, hashToField } from './field.ts'
import { HASH_BYTES, hash } from './hash.ts'
import type { Address } from './signature.ts'

/** Everything the challenge of a batch binds. All of it is on chain before the challenge's beacon value exists. */
export type ChallengeContext = {
  chainId: number
  batches: Address
  batch: Uint8Array
  provider: Address
  traceRoot: Uint8Array
  /** Value of the challenge slot. */
  beacon: Uint8Array
}

export type JobChallenge = {
  seed: Uint8Array
  /** Which ops and tiles. */
  random: Randomness
  /** The random combination of the rows of folded tiles, in [1, r). */
  rho: bigint
  /** Public signal that ties a proof to chain, contract, batch, job, provider, manifest, challenge and place. */
  binding(statement: number, segment: number): bigint
  /**
   * What folds "each staged value is its form" into a staged statement's chain, in [1, r). It comes after the commitments to
   * the values (`stages`, 32 bytes for each staged segment, in order), so none of them can be chosen with it in mind. Throws `STAGE_LENGTH`.
   */
  gamma(statement: number, stages: Uint8Array[]): bigint
}

/** The challenge of one drawn job, the same for prover and every verifier. */
export function jobChallenge(context: ChallengeContext, receiptHash: Uint8Array, manifest: Uint8Array): JobChallenge {
  const seed = hash(
    'challenge',
    bigintToBytes(BigInt(context.chainId), 32),
    fromHex(context.batches),
    context.batch,
    fromHex(context.provider),
    context.traceRoot,
    context.beacon,
    receiptHash,
    manifest,
  )
  // Zero would make every row vanish; it is as likely as any other value, and excluded all the same.
  const rho = hashToField('rho', seed) || 1n
  return {
    seed,
    random: seededRandomness(seed),
    rho,
    binding: (statement, segment) => hashTo248('binding', seed, concat(u32(statement), u32(segment))),
    gamma(statement, stages) {
      if (stages.some((stage) => stage.length !== HASH_BYTES))
        throw new SinterError('STAGE_LENGTH', `a stage commitment has ${HASH_BYTES} bytes`)
      return hashToField('gamma', seed, u32(statement), concat(...stages)) || 1n
    },
  }
}
