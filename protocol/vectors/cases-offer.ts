import type { MessageInitShape } from '@bufbuild/protobuf'
import { bigintToBytes, type Hex, toHex, U128_MAX } from '../bytes.ts'
import { seal } from '../envelope.ts'
import type { BidSchema, OfferSchema } from '../gen/sinter_pb.js'
import { MAX_BID_BYTES, MAX_OFFER_BYTES } from '../limits.ts'
import {
  brokenEnvelopes,
  bytes,
  type Case,
  type Expectation,
  hex,
  NETWORK_ID,
  NOW_MS,
  OTHER_NETWORK_ID,
  person,
  type Step,
} from './cases.ts'

const consumer = person('consumer')
const provider = person('provider')
const stranger = person('stranger')
const amount = (value: bigint): Uint8Array => bigintToBytes(value, 16)

/** A CID of version 1, codec raw, SHA-256. */
export const MANIFEST = Uint8Array.of(0x01, 0x55, 0x12, 0x20, ...bytes('manifest'))

type OfferInit = MessageInitShape<typeof OfferSchema>
type BidInit = MessageInitShape<typeof BidSchema>

let made = 0
function offer(changes: Partial<OfferInit> = {}): OfferInit {
  return {
    manifest: MANIFEST,
    hardwareClass: 'any',
    region: '',
    memoryMib: 0,
    priceCeiling: amount(2_000n),
    jobs: 100n,
    deadlineMs: BigInt(NOW_MS + 3_000),
    policy: 'zk',
    addresses: ['/ip4/127.0.0.1/tcp/4001'],
    nonce: bytes('nonce', made++).subarray(0, 16),
    ...changes,
  }
}

const sealOffer = (init: OfferInit, key = consumer.key, network = NETWORK_ID): Hex =>
  toHex(seal('offer', network, key, init).bytes)

function offerSteps(): Step[] {
  const step = (name: string, changes: Partial<OfferInit>, expect: Expectation): Step => ({
    name,
    bytes: sealOffer(offer(changes)),
    expect,
  })
  const deadline = (ms: number): Partial<OfferInit> => ({ deadlineMs: BigInt(NOW_MS + ms) })
  const addresses = (count: number, length: number): Partial<OfferInit> => ({
    addresses: Array.from({ length: count }, () => 'a'.repeat(length)),
  })
  return [
    step('deadline just within the clocks’ difference', deadline(-4_999), 'accept'),
    step('deadline past, beyond the clocks’ difference', deadline(-5_000), 'ignore OFFER_EXPIRED'),
    step('deadline as far ahead as allowed', deadline(605_000), 'accept'),
    step('deadline too far ahead', deadline(605_001), 'ignore OFFER_TOO_FAR_AHEAD'),
    step('no manifest', { manifest: new Uint8Array() }, 'reject OFFER_MANIFEST'),
    step('a manifest that is no CID', { manifest: bytes('manifest') }, 'reject OFFER_MANIFEST'),
    step('a CID with a byte too many', { manifest: Uint8Array.of(...MANIFEST, 0) }, 'reject OFFER_MANIFEST'),
    step('the smallest price', { priceCeiling: amount(1n) }, 'accept'),
    step('the largest price', { priceCeiling: amount(U128_MAX) }, 'accept'),
    step('price zero', { priceCeiling: amount(0n) }, 'reject OFFER_PRICE'),
    step('price of 15 bytes', { priceCeiling: amount(1n).subarray(1) }, 'reject OFFER_PRICE'),
    step('price of 17 bytes', { priceCeiling: bigintToBytes(1n, 17) }, 'reject OFFER_PRICE'),
    step('one job', { jobs: 1n }, 'accept'),
    step('no jobs', { jobs: 0n }, 'reject OFFER_JOBS'),
    step('a million jobs', { jobs: 1_000_000n }, 'accept'),
    step('a million and one jobs', { jobs: 1_000_001n }, 'reject OFFER_JOBS'),
    step('every tile', { policy: 'full' }, 'accept'),
    step('jobs that may be opened, served canonically', { policy: 'open', canonical: true }, 'accept'),
    step('no policy', { policy: '' }, 'reject OFFER_POLICY'),
    step('a policy that the network does not have', { policy: 'trust' }, 'reject OFFER_POLICY'),
    step('eight addresses of 256 characters', addresses(8, 256), 'accept'),
    step('no address', { addresses: [] }, 'reject OFFER_ADDRESSES'),
    step('nine addresses', addresses(9, 20), 'reject OFFER_ADDRESSES'),
    step('an address of 257 characters', addresses(1, 257), 'reject OFFER_ADDRESSES'),
    step('a nonce of 15 bytes', { nonce: bytes('short').subarray(0, 15) }, 'reject OFFER_FIELDS'),
    step('a hardware class of 64 characters', { hardwareClass: 'h'.repeat(64) }, 'accept'),
    step('a hardware class of 65 characters', { hardwareClass: 'h'.repeat(65) }, 'reject OFFER_FIELDS'),
    step('a region of 32 characters', { region: 'r'.repeat(32) }, 'accept'),
    step('a region of 33 characters', { region: 'r'.repeat(33) }, 'reject OFFER_FIELDS'),
  ]
}

function offers(): Case[] {
  const first = offer()
  const bad = offer({ jobs: 0n })
  return [
    { rule: 'offer', name: 'each field at its limits', context: { nowMs: NOW_MS }, steps: offerSteps() },
    {
      rule: 'offer',
      name: 'seen is what was accepted',
      context: { nowMs: NOW_MS },
      steps: [
        { name: 'an offer', bytes: sealOffer(first), expect: 'accept' },
        { name: 'again', bytes: sealOffer(first), expect: 'ignore DUPLICATE' },
        { name: 'the same payload, signed by somebody else', bytes: sealOffer(first, stranger.key), expect: 'accept' },
        { name: 'a bad one', bytes: sealOffer(bad), expect: 'reject OFFER_JOBS' },
        { name: 'the bad one again', bytes: sealOffer(bad), expect: 'reject OFFER_JOBS' },
      ],
    },
    {
      rule: 'offer',
      name: 'sizes and encodings',
      context: { nowMs: NOW_MS },
      steps: [
        ...brokenEnvelopes(seal('offer', NETWORK_ID, consumer.key, first).envelope),
        { name: 'the largest size', bytes: { zeros: MAX_OFFER_BYTES }, expect: 'reject ENVELOPE_MALFORMED' },
        { name: 'one byte more', bytes: { zeros: MAX_OFFER_BYTES + 1 }, expect: 'reject TOO_LARGE' },
      ],
    },
  ]
}

function bid(changes: Partial<BidInit> = {}): BidInit {
  return {
    offer: bytes('offer'),
    price: amount(1_500n),
    expectedLatencyMs: 12,
    warm: true,
    expiryMs: BigInt(NOW_MS + 60_000),
    executionProvider: 'cpu',
    region: '',
    ...changes,
  }
}

const sealBid = (init: BidInit, key = provider.key, network = NETWORK_ID): Hex =>
  toHex(seal('bid', network, key, init).bytes)

function bids(): Case[] {
  const context = {
    nowMs: NOW_MS,
    offer: { id: hex('offer'), consumer: consumer.address, priceCeiling: '2000', deadlineMs: NOW_MS + 3_000 },
    peerKey: toHex(provider.publicKey),
  }
  const step = (name: string, changes: Partial<BidInit>, expect: Expectation): Step => ({
    name,
    bytes: sealBid(bid(changes)),
    expect,
  })
  const at = (name: string, ms: number, latency: number, expect: Expectation): Step => ({
    ...step(name, { expectedLatencyMs: latency }, expect),
    context: { nowMs: NOW_MS + ms },
  })
  return [
    {
      rule: 'bid',
      name: 'each field at its limits',
      context,
      steps: [
        step('a bid', {}, 'accept'),
        step('again', {}, 'ignore DUPLICATE'),
        step('a bid on another offer', { offer: bytes('offer', 1) }, 'reject BID_OFFER'),
        step('at the ceiling', { price: amount(2_000n) }, 'accept'),
        step('one unit above the ceiling', { price: amount(2_001n) }, 'reject PRICE_ABOVE_CEILING'),
        step('one unit', { price: amount(1n) }, 'accept'),
        step('for nothing', { price: amount(0n) }, 'reject BID_PRICE'),
        step('price of 15 bytes', { price: amount(7n).subarray(1) }, 'reject BID_PRICE'),
        step('execution provider of 32 characters', { executionProvider: 'e'.repeat(32) }, 'accept'),
        step('execution provider of 33 characters', { executionProvider: 'e'.repeat(33) }, 'reject BID_FIELDS'),
        step('region of 32 characters', { region: 'r'.repeat(32) }, 'accept'),
        step('region of 33 characters', { region: 'r'.repeat(33) }, 'reject BID_FIELDS'),
        step('expires a millisecond from now', { expiryMs: BigInt(NOW_MS + 1) }, 'accept'),
        step('expires now', { expiryMs: BigInt(NOW_MS) }, 'ignore BID_EXPIRED'),
        at('at the deadline', 3_000, 13, 'accept'),
        at('a millisecond after the deadline', 3_001, 14, 'ignore BID_LATE'),
      ],
    },
    {
      rule: 'bid',
      name: 'who bids',
      context,
      steps: [
        { name: 'signed by another than the peer', bytes: sealBid(bid(), stranger.key), expect: 'reject BID_SIGNER' },
        {
          name: 'signed for another network',
          bytes: sealBid(bid(), provider.key, OTHER_NETWORK_ID),
          expect: 'reject BID_SIGNER',
        },
        {
          name: 'the consumer bids on its own offer',
          bytes: sealBid(bid(), consumer.key),
          context: { peerKey: toHex(consumer.publicKey) },
          expect: 'reject BID_SELF',
        },
      ],
    },
    {
      rule: 'bid',
      name: 'sizes and encodings',
      context,
      steps: [
        ...brokenEnvelopes(seal('bid', NETWORK_ID, provider.key, bid()).envelope),
        { name: 'the largest size', bytes: { zeros: MAX_BID_BYTES }, expect: 'reject ENVELOPE_MALFORMED' },
        { name: 'one byte more', bytes: { zeros: MAX_BID_BYTES + 1 }, expect: 'reject TOO_LARGE' },
      ],
    },
  ]
}

export function offerCases(): Case[] {
  made = 0
  return [...offers(), ...bids()]
}
