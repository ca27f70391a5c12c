import { equalBytes } from '../bytes.ts'
import { commitmentDigest, recoverTyped, type SigningDomain, type VoteFields, voteCommitment } from '../eip712.ts'
import { type Opened, open } from '../envelope.ts'
import { MAX_VOTE_BYTES } from '../limits.ts'
import type { Address } from '../signature.ts'
import { ignore, reject } from '../verdict.ts'
import { accepted, type Judged, oversized } from './judged.ts'

export type Vote = { voter: Address; batch: Uint8Array; attempt: number } & (
  | ({ kind: 'commitment' } & SignedCommitment)
  | { kind: 'reveal'; vote: VoteFields; salt: Uint8Array }
)

/** A commitment to a vote on this attestation, and its voter's signature (65 bytes, EIP-712). */
export type SignedCommitment = { attestation: Uint8Array; commitment: Uint8Array; signature: Uint8Array }

/** Two commitments that one voter signed for one attempt and attestation: what `Votes.proveEquivocation` takes. */
export type Equivocation = {
  voter: Address
  batch: Uint8Array
  attempt: number
  attestation: Uint8Array
  signed: SignedCommitment[]
}

export type VoteContext = {
  networkId: Uint8Array
  /** Chain and votes contract of the network. */
  domain: SigningDomain
  /** Committee of the batch's present attempt, null while there is none. */
  panel(batch: Uint8Array): Promise<{ committee: Address[]; attempt: number; attestation: Uint8Array } | null>
  /** The last commitment this voter published for that attempt, if any reached us. */
  commitment(batch: Uint8Array, attempt: number, voter: Address): SignedCommitment | null
  seen(id: Uint8Array): boolean
  /** Told of a voter that committed to a second vote. */
  equivocated?(proof: Equivocation): void
}

type Body = Opened<'vote'>['message']['body']
type Reveal = Extract<Body, { case: 'reveal' }>['value']
type Commitment = Extract<Body, { case: 'commitment' }>['value']

function judgeCommitment(
  { attestation, commitment, signature }: Commitment,
  opened: Opened<'vote'>,
  context: VoteContext,
): Judged<Vote> {
  const { batch, attempt } = opened.message
  const voter = opened.signer
  // [REJECT] A commitment has 32 bytes.
  if (commitment.length !== 32) return reject('VOTE_FIELDS')
  // [REJECT] Its own signature is the voter's for this chain and this contract.
  const digest = commitmentDigest(context.domain, { batch, attempt, attestation, commitment })
  if (recoverTyped(digest, signature, voter) !== voter) return reject('VOTE_SIGNATURE')
  const signed = { attestation, commitment, signature }
  const known = context.commitment(batch, attempt, voter)
  // What was said of an attestation that a fork took back is another matter.
  if (known === null || !equalBytes(known.attestation, attestation))
    return accepted({ kind: 'commitment', voter, batch, attempt, ...signed })
  const second = !equalBytes(known.commitment, commitment)
  if (second) context.equivocated?.({ voter, batch, attempt, attestation, signed: [known, signed] })
  // [IGNORE] A voter commits once; whatever comes later does not replace it.
  return ignore('VOTE_COMMITTED_BEFORE')
}

function judgeReveal(reveal: Reveal, opened: Opened<'vote'>, context: VoteContext): Judged<Vote> {
  const { batch, attempt } = opened.message
  const { attestation, verdicts, digest, salt } = reveal
  // [REJECT] Verdicts, digest and salt have 32 bytes.
  for (const field of [verdicts, digest, salt]) if (field.length !== 32) return reject('VOTE_FIELDS')
  // [IGNORE] The commitment came first.
  const known = context.commitment(batch, attempt, opened.signer)
  if (known === null) return ignore('VOTE_NOT_COMMITTED')
  // [IGNORE] The reveal is what was committed. A voter may have sent others another commitment: who passes its reveal on is not to blame.
  const vote = { batch, attempt, attestation, verdicts, digest }
  if (!equalBytes(voteCommitment(vote, salt, opened.signer), known.commitment)) return ignore('VOTE_COMMITMENT')
  return accepted({ kind: 'reveal', voter: opened.signer, batch, attempt, vote, salt })
}

/** Judges a gossiped vote. The caller records commitments and `id` as seen on acceptance only. */
export async function judgeVote(bytes: Uint8Array, context: VoteContext): Promise<Judged<Vote & { id: Uint8Array }>> {
  // [REJECT] The message is at most MAX_VOTE_BYTES.
  const tooLarge = oversized(bytes, MAX_VOTE_BYTES)
  if (tooLarge) return tooLarge
  // [REJECT] The envelope and the vote are canonically encoded and the signature recovers a key.
  const opened = open('vote', context.networkId, bytes)
  if (typeof opened === 'string') return reject(opened)
  const { message, signer, id } = opened
  // [REJECT] The batch id is 32 bytes.
  if (message.batch.length !== 32) return reject('VOTE_FIELDS')
  // [IGNORE] The vote was not seen before.
  if (context.seen(id)) return ignore('DUPLICATE')
  // [IGNORE] The committee is known and this is its present attempt.
  const panel = await context.panel(message.batch)
  if (panel === null) return ignore('COMMITTEE_UNKNOWN')
  if (message.attempt !== panel.attempt) return ignore('VOTE_ATTEMPT')
  // [REJECT] The signer sits on it.
  if (!panel.committee.includes(signer)) return reject('VOTE_NOT_ON_COMMITTEE')
  const { body } = message
  // [REJECT] It is a commitment or a reveal.
  if (body.case === undefined) return reject('VOTE_FIELDS')
  // [IGNORE] It is about the attestation committed on chain. Who forwards it may see another fork.
  if (!equalBytes(body.value.attestation, panel.attestation)) return ignore('VOTE_ATTESTATION')
  if (body.case === 'commitment') {
    const judged = judgeCommitment(body.value, opened, context)
    return judged.action === 'accept' ? accepted({ ...judged.value, id }) : judged
  }
  const judged = judgeReveal(body.value, opened, context)
  return judged.action === 'accept' ? accepted({ ...judged.value, id }) : judged
}
