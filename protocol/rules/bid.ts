import { bytesToBigint, equalBytes } from '../bytes.ts'
import { type Opened, open } from '../envelope.ts'
import { MAX_BID_BYTES } from '../limits.ts'
import { ignore, reject } from '../verdict.ts'
import { accepted, type Judged, oversized } from './judged.ts'
import type { Offer } from './offer.ts'

export type Bid = {
  id: Uint8Array
  provider: Opened<'bid'>['signer']
  providerKey: Uint8Array
  price: bigint
  expectedLatencyMs: number
  warm: boolean
  expiryMs: number
  executionProvider: string
  /** Where it says it is; empty for no say. */
  region: string
}

export type BidContext = {
  networkId: Uint8Array
  nowMs: number
  offer: Pick<Offer, 'id' | 'consumer' | 'priceCeiling' | 'deadlineMs'>
  /** The key of the peer that opened the stream. */
  peerKey: Uint8Array
  seen(id: Uint8Array): boolean
}

/** Judges a bid received on the bid stream, at the consumer. Whether the bidder is staked is asked of the chain afterwards. */
export function judgeBid(bytes: Uint8Array, context: BidContext): Judged<Bid> {
  // [REJECT] The message is at most MAX_BID_BYTES.
  const tooLarge = oversized(bytes, MAX_BID_BYTES)
  if (tooLarge) return tooLarge
  // [REJECT] The envelope and the bid are canonically encoded and the signature recovers a key.
  const opened = open('bid', context.networkId, bytes)
  if (typeof opened === 'string') return reject(opened)
  const { message, id, signer, signerKey } = opened
  // [REJECT] The bid is for this offer.
  if (!equalBytes(message.offer, context.offer.id)) return reject('BID_OFFER')
  // [REJECT] The bidder is the peer at the other end of the stream, and not the consumer itself.
  if (!equalBytes(signerKey, context.peerKey)) return reject('BID_SIGNER')
  if (signer === context.offer.consumer) return reject('BID_SELF')
  // [REJECT] The price is positive and at most the offer's ceiling.
  if (message.price.length !== 16) return reject('BID_PRICE')
  const price = bytesToBigint(message.price)
  if (price === 0n) return reject('BID_PRICE')
  if (price > context.offer.priceCeiling) return reject('PRICE_ABOVE_CEILING')
  // [REJECT] The names of the execution provider and the region have at most 32 characters.
  if (message.executionProvider.length > 32 || message.region.length > 32) return reject('BID_FIELDS')
  // [IGNORE] The bid was not seen before, came before the offer's deadline and has not expired.
  if (context.seen(id)) return ignore('DUPLICATE')
  if (context.nowMs > context.offer.deadlineMs) return ignore('BID_LATE')
  const expiryMs = Number(message.expiryMs)
  if (expiryMs <= context.nowMs) return ignore('BID_EXPIRED')
  const { expectedLatencyMs, warm, executionProvider, region } = message
  return accepted({
    id,
    provider: signer,
    providerKey: signerKey,
    price,
    expectedLatencyMs,
    warm,
    expiryMs,
    executionProvider,
    region,
  })
}
