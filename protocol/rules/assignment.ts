import { equalBytes } from '../bytes.ts'
import { type Opened, openEnvelope } from '../envelope.ts'
import type { Envelope } from '../gen/sinter_pb.js'
import type { Address } from '../signature.ts'
import { reject } from '../verdict.ts'
import { accepted, type Judged } from './judged.ts'
import type { Policy } from './receipt.ts'

/** A bid as its maker remembers it. */
export type MadeBid = {
  id: Uint8Array
  offer: Uint8Array
  consumer: Address
  manifest: string
  price: bigint
  /** What the offer asked for, and so every receipt says. */
  policy: Policy
  canonical: boolean
  expiryMs: number
}

/** A session as the chain states it. `spent` is what batches have already taken. Who pays is not asked: the chain has reserved it. */
export type ChainSession = {
  /** The voucher key. */
  signer: Address
  provider: Address
  ceiling: bigint
  spent: bigint
  /** Unix seconds. */
  expiry: number
  closing: boolean
}

export type AssignmentContext = {
  networkId: Uint8Array
  nowMs: number
  provider: Address
  peerKey: Uint8Array
  bid(id: Uint8Array): MadeBid | null
  session(id: Uint8Array): Promise<ChainSession | null>
  /** A session that already runs here under this bid may be resumed after the bid's expiry. */
  resumable(session: Uint8Array, bid: Uint8Array): Promise<boolean>
  /** Seconds a session must have left, so that its receipts can still be anchored. */
  minimumLifeS: number
}

export type Assignment = {
  session: Uint8Array
  bid: MadeBid
  signer: Address
  ceiling: bigint
  opened: Opened<'assignment'>
}

/** Judges the first frame of a job stream, at the provider. */
export async function judgeAssignment(envelope: Envelope, context: AssignmentContext): Promise<Judged<Assignment>> {
  // [REJECT] The envelope and the assignment are canonically encoded and the signature recovers a key.
  const opened = openEnvelope('assignment', context.networkId, envelope)
  if (typeof opened === 'string') return reject(opened)
  const { message, signer, signerKey } = opened
  // [REJECT] The signer is the peer at the other end of the stream.
  if (!equalBytes(signerKey, context.peerKey)) return reject('ASSIGNMENT_SIGNER')
  // [REJECT] The session id is 32 bytes.
  if (message.session.length !== 32) return reject('ASSIGNMENT_FIELDS')
  // [REJECT] It takes a bid that this node made, for that offer, to that consumer, in time.
  const bid = context.bid(message.bid)
  if (bid === null || !equalBytes(bid.offer, message.offer)) return reject('ASSIGNMENT_BID')
  if (bid.consumer !== signer) return reject('ASSIGNMENT_CONSUMER')
  if (bid.expiryMs <= context.nowMs && !(await context.resumable(message.session, message.bid)))
    return reject('BID_EXPIRED')
  // [REJECT] The session stands on chain with this signer as its voucher key and this provider, open, and its ceiling still pays for a job.
  const session = await context.session(message.session)
  if (session === null || session.signer !== signer) return reject('SESSION_UNKNOWN')
  if (session.provider !== context.provider) return reject('SESSION_PROVIDER')
  if (session.closing || session.expiry * 1000 < context.nowMs + context.minimumLifeS * 1000)
    return reject('SESSION_CLOSING')
  if (session.ceiling - session.spent < bid.price) return reject('SESSION_CEILING')
  return accepted({ session: message.session, bid, signer, ceiling: session.ceiling, opened })
}
