import { CID } from 'multiformats/cid'
import { bytesToBigint } from '../bytes.ts'
import { type Opened, open } from '../envelope.ts'
import {
  CLOCK_SKEW_MS,
  MAX_ADDRESS_LENGTH,
  MAX_ADDRESSES,
  MAX_OFFER_BYTES,
  MAX_OFFER_LIFE_MS,
  MAX_SESSION_JOBS,
} from '../limits.ts'
import { ignore, reject } from '../verdict.ts'
import { accepted, type Judged, oversized } from './judged.ts'
import { POLICIES, type Policy } from './receipt.ts'

export type Offer = {
  id: Uint8Array
  consumer: Opened<'offer'>['signer']
  consumerKey: Uint8Array
  manifest: CID
  hardwareClass: string
  memoryMib: number
  priceCeiling: bigint
  jobs: bigint
  deadlineMs: number
  /** How drawn jobs are to be attested. */
  policy: Policy
  /** Jobs are to be served by the canonical evaluation. */
  canonical: boolean
  /** Where providers had best be; empty for anywhere. A hint: a provider elsewhere may bid. */
  region: string
  addresses: string[]
}

export type OfferContext = { networkId: Uint8Array; nowMs: number; seen(id: Uint8Array): boolean }

function manifestCid(bytes: Uint8Array): CID | null {
  try {
    return CID.decode(bytes)
  } catch {
    return null
  }
}

/** Judges a gossiped offer. The caller records `id` as seen on acceptance only. */
export function judgeOffer(bytes: Uint8Array, context: OfferContext): Judged<Offer> {
  // [REJECT] The message is at most MAX_OFFER_BYTES.
  const tooLarge = oversized(bytes, MAX_OFFER_BYTES)
  if (tooLarge) return tooLarge
  // [REJECT] The envelope and the offer are canonically encoded and the signature recovers a key.
  const opened = open('offer', context.networkId, bytes)
  if (typeof opened === 'string') return reject(opened)
  const { message, id } = opened
  // [IGNORE] The offer was not seen before.
  if (context.seen(id)) return ignore('DUPLICATE')
  // [IGNORE] The deadline is ahead, by no more than MAX_OFFER_LIFE_MS; clocks may differ by CLOCK_SKEW_MS.
  const deadlineMs = Number(message.deadlineMs)
  if (deadlineMs <= context.nowMs - CLOCK_SKEW_MS) return ignore('OFFER_EXPIRED')
  if (deadlineMs > context.nowMs + MAX_OFFER_LIFE_MS + CLOCK_SKEW_MS) return ignore('OFFER_TOO_FAR_AHEAD')
  // [REJECT] The manifest is a CID.
  const manifest = manifestCid(message.manifest)
  if (manifest === null) return reject('OFFER_MANIFEST')
  // [REJECT] The price ceiling is a positive amount, and the number of jobs is in [1, MAX_SESSION_JOBS].
  if (message.priceCeiling.length !== 16) return reject('OFFER_PRICE')
  const priceCeiling = bytesToBigint(message.priceCeiling)
  if (priceCeiling === 0n) return reject('OFFER_PRICE')
  if (message.jobs < 1n || message.jobs > MAX_SESSION_JOBS) return reject('OFFER_JOBS')
  // [REJECT] The policy is one of the network's.
  const policy = POLICIES.find((known) => known === message.policy)
  if (policy === undefined) return reject('OFFER_POLICY')
  // [REJECT] There are 1 to MAX_ADDRESSES addresses of at most MAX_ADDRESS_LENGTH characters.
  const { addresses, nonce, hardwareClass, memoryMib, region } = message
  if (addresses.length < 1 || addresses.length > MAX_ADDRESSES) return reject('OFFER_ADDRESSES')
  if (addresses.some((text) => text.length > MAX_ADDRESS_LENGTH)) return reject('OFFER_ADDRESSES')
  // [REJECT] The nonce has 16 bytes, the hardware class at most 64 characters, the region at most 32.
  if (nonce.length !== 16 || hardwareClass.length > 64 || region.length > 32) return reject('OFFER_FIELDS')
  return accepted({
    id,
    consumer: opened.signer,
    consumerKey: opened.signerKey,
    manifest,
    hardwareClass,
    memoryMib,
    priceCeiling,
    jobs: message.jobs,
    deadlineMs,
    policy,
    canonical: message.canonical,
    region,
    addresses,
  })
}
