import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concat, fromHex, toHex, u32, utf8 } from './bytes.ts'
import type { VoteFields } from './eip712.ts'
import { SinterError } from './errors.ts'
import { hash } from './hash.ts'
import type { Address } from './signature.ts'

/** Verdict on one draw, with the byte that stands for it on chain. */
export const VERDICT_CODES = { valid: 1, tolerance: 2, input: 3, untraced: 4, forged: 5 } as const
export type DrawVerdict = keyof typeof VERDICT_CODES

/** Draws of a batch fit in one 32-byte word. */
export const MAX_DRAWS = 32

/** One byte per draw, zero after the last. */
export function packVerdicts(verdicts: DrawVerdict[]): Uint8Array {
  if (verdicts.length > MAX_DRAWS) throw new SinterError('TOO_MANY_DRAWS', `at most ${MAX_DRAWS} draws`)
  const out = new Uint8Array(32)
  for (const [i, verdict] of verdicts.entries()) out[i] = VERDICT_CODES[verdict]
  return out
}

/** Verdicts that a committee may give; whether a trace is missing is a fact of the chain and not voted. */
const VOTED: readonly number[] = [
  VERDICT_CODES.valid,
  VERDICT_CODES.tolerance,
  VERDICT_CODES.input,
  VERDICT_CODES.forged,
]

/**
 * Votes with the same consequence settle together (`Batches.settle`): equal ones, and all that find any draw forged, since the lock
 * is lost in either case. Returns a name for the consequence of a 32-byte word over `draws` draws, null for one that the contract
 * refuses.
 */
export function consequence(verdicts: Uint8Array, draws: number): string | null {
  const given = [...verdicts.subarray(0, draws)]
  if (!given.every((code) => VOTED.includes(code)) || verdicts.subarray(draws).some((code) => code !== 0)) return null
  return given.includes(VERDICT_CODES.forged) ? 'forged' : toHex(verdicts)
}

/**
 * Whether so many votes may settle what they say: of a first committee all members where a draw is off tolerance and none forged
 * (`Votes.tally`), since the provider's pay is taken for good and a quorum of a few may be one person's. The quorum is another matter.
 */
export function ofOneMind(verdicts: Uint8Array, attempt: number, votes: number, members: number): boolean {
  if (attempt > 0 || verdicts.includes(VERDICT_CODES.forged) || !verdicts.includes(VERDICT_CODES.tolerance)) return true
  return votes >= members
}

/**
 * Salt of a voter's commitment, which nobody else can compute: HMAC-SHA256(private key, "sinter/1/vote-salt" ‖ batch ‖ u32 attempt ‖ attestation).
 * A node that has lost what it knew makes the same commitment again, and not a second one. After a fork that replaced the attestation, a salt that
 * was opened tells nothing about the next.
 */
export function voteSalt(
  privateKey: Uint8Array,
  { batch, attempt, attestation }: Pick<VoteFields, 'batch' | 'attempt' | 'attestation'>,
): Uint8Array {
  return hmac(sha256, privateKey, concat(utf8('sinter/1/vote-salt'), batch, u32(attempt), attestation))
}

/** The seed of a voter's own combination: its vote carries a digest of the coefficients it computed under this seed. */
export function voterSeed(seed: Uint8Array, voter: Address): Uint8Array {
  return hash('voter', seed, fromHex(voter))
}
