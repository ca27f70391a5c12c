import { equalBytes } from '../bytes.ts'
import { recoverTyped, type SigningDomain, type VoteFields, voteDigest } from '../eip712.ts'
import { type Opened, open } from '../envelope.ts'
import { MAX_VOTE_BYTES } from '../limits.ts'
import type { Address } from '../signature.ts'
import { ignore, reject } from '../verdict.ts'
import { voteCommitment } from '../vote.ts'
import { accepted, type Judged, oversized } from './judged.ts'

export type Vote = { voter: Address; batch: Uint8Array; attempt: number } & (
  | { kind: 'commitment'; commitment: Uint8Array }
  | { kind: 'reveal'; vote: VoteFields; signature: Uint8Array }
)

export type VoteContext = {
  networkId: Uint8Array
  /** Chain and batches contract of the network. */
  domain: SigningDomain
  /** Committee of the batch's present attempt, null while there is none. */
  panel(batch: Uint8Array): Promise<{ committee: Address[]; attempt: number; attestation: Uint8Array } | null>
  /** The commitment this voter published for that attempt, if any reached us. */
  commitment(batch: Uint8Array, attempt: number, voter: Address): Uint8Array | null
  seen(id: Uint8Array): boolean
}

type Reveal = NonNullable<Opened<'vote'>['message']['body']['value']>

function judgeReveal(reveal: Exclude<Reveal, Uint8Array>, opened: Opened<'vote'>, context: VoteContext): Judged<Vote> {
  const { batch, attempt } = opened.message
  const { attestation, verdicts, digest, signature, salt } = reveal
  // [REJECT] Attestation, verdicts, digest and salt have 32 bytes.
  for (const field of [attestation, verdicts, digest, salt]) if (field.length !== 32) return reject('VOTE_FIELDS')
  // [IGNORE] The commitment came first.
  const commitment = context.commitment(batch, attempt, opened.signer)
  if (commitment === null) return ignore('VOTE_NOT_COMMITTED')
  // [IGNORE] The reveal is what was committed. A voter may have sent others another commitment: who passes its reveal on is not to blame.
  const vote = { batch, attempt, attestation, verdicts, digest }
  if (!equalBytes(voteCommitment(vote, signature, salt), commitment)) return ignore('VOTE_COMMITMENT')
  // [REJECT] The vote's own signature is the voter's for this chain and this contract.
  if (recoverTyped(voteDigest(context.domain, vote), signature) !== opened.signer) return reject('VOTE_SIGNATURE')
  return accepted({ kind: 'reveal', voter: opened.signer, batch, attempt, vote, signature })
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
  if (body.case === 'commitment') {
    // [REJECT] A commitment has 32 bytes.
    if (body.value.length !== 32) return reject('VOTE_FIELDS')
    // [IGNORE] A voter commits once; whatever comes later does not replace it.
    if (context.commitment(message.batch, message.attempt, signer) !== null) return ignore('VOTE_COMMITTED_BEFORE')
    return accepted({
      kind: 'commitment',
      voter: signer,
      batch: message.batch,
      attempt: message.attempt,
      commitment: body.value,
      id,
    })
  }
  // [REJECT] What is no commitment is a reveal.
  if (body.case !== 'reveal') return reject('VOTE_FIELDS')
  // [REJECT] It is about the attestation committed on chain.
  if (!equalBytes(body.value.attestation, panel.attestation)) return reject('VOTE_ATTESTATION')
  const judged = judgeReveal(body.value, opened, context)
  return judged.action === 'accept' ? accepted({ ...judged.value, id }) : judged
}
