import { randomBytes } from '@noble/hashes/utils.js'
import { bigintToBytes } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { seal } from '../../protocol/envelope.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { BidReplySchema } from '../../protocol/gen/sinter_pb.js'
import { type Bid, judgeBid } from '../../protocol/rules/bid.ts'
import { judgeOffer, type Offer } from '../../protocol/rules/offer.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import { type Identity, publicKeyOfPeer } from '../identity/identity.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Gossip } from '../net/gossip.ts'
import type { Log } from '../net/log.ts'
import type { Streams } from '../net/streams.ts'
import { bounded } from '../stages/seen.ts'

export type OfferComponents = {
  identity: Identity
  networkId: Uint8Array
  network: Pick<Gossip, 'publish'> & { addresses(): string[] }
  streams: Pick<Streams, 'handle'>
  /** Whether the chain's registry has this operator with stake. */
  staked(provider: Address): Promise<boolean>
  now(): number
  log: Log
  /** How long one offer stands where the window is long enough for several (ms). @default a quarter of the window, 8_000 at least */
  roundMs?: number
}

export type OfferTerms = {
  model: LoadedModel
  /** Base units per job. */
  priceCeiling: bigint
  jobs: bigint
  /** How long bids are gathered (ms). @default 3_000 */
  windowMs?: number
  /** Stop as soon as this holds. @default never: the window decides */
  enough?(bids: ReceivedBid[]): boolean
  /** What one offer has to bring; while it does not, another is made as long as the window lasts. @default a bid */
  least?(bids: ReceivedBid[]): boolean
  /** @default 'any' */
  hardwareClass?: string
  /** How drawn jobs are attested. @default 'zk' */
  policy?: Policy
  /** Jobs are served by the canonical evaluation: the same bits from every provider, slower. @default false */
  canonical?: boolean
  /** Where providers had best be, such as `eu-west`: a hint, those elsewhere may bid. @default anywhere */
  region?: string
  /** Ends the gathering early, with the bids that are in. */
  signal?: AbortSignal
}

/** A bid with the peer id to reach its maker by. */
export type ReceivedBid = Bid & { peerId: string }

type OpenOffer = { offer: Offer; bids: ReceivedBid[]; bidders: Set<Address>; arrived(): void }

/**
 * An offer stands for a quarter of the window, at least so long (ms). Who was not connected when it was published, or had its hands full, is asked by
 * the next one: the same offer would be taken for one that was seen.
 */
const LEAST_ROUND_MS = 8_000
const ROUNDS = 4
/** Pause after an offer that nobody was there to take (ms). */
const UNPUBLISHED_PAUSE_MS = 500

/** Bidders on one offer that are looked at, staked or not. */
const MAX_BIDDERS = 1_024

/** Publishes offers and gathers the bids that answer them. One instance serves the bid protocol for all offers of a client. */
export type OfferDesk = { gather(terms: OfferTerms): Promise<{ offer: Offer; bids: ReceivedBid[] }> }

export async function createOfferDesk(components: OfferComponents): Promise<OfferDesk> {
  const { identity, networkId, network, streams, log } = components
  const open = new Map<string, OpenOffer>()
  const seen = bounded<true>()

  /** Judges one bid against each open offer: it names one of them, or it is refused. */
  async function receive(bytes: Uint8Array, peerKey: Uint8Array, peerId: string): Promise<string | null> {
    let code = 'BID_OFFER'
    for (const each of open.values()) {
      const { offer, bids, arrived } = each
      const context = { networkId, nowMs: components.now(), offer, peerKey, seen: (id: Uint8Array) => seen.has(id) }
      const judged = judgeBid(bytes, context)
      if (judged.action !== 'accept') {
        if (judged.code !== 'BID_OFFER') code = judged.code
        continue
      }
      const { id, provider } = judged.value
      // [IGNORE] A provider bids once on an offer.
      if (each.bidders.has(provider)) return 'BID_REPEATED'
      // [IGNORE] There is room: each bid costs a question to the chain.
      if (each.bidders.size >= MAX_BIDDERS) return 'BIDS_FULL'
      each.bidders.add(provider)
      // [REJECT] The bidder is registered and staked, by the chain and not by its own word.
      if (!(await components.staked(provider))) return 'PROVIDER_NOT_STAKED'
      seen.set(id, true)
      bids.push({ ...judged.value, peerId })
      arrived()
      return null
    }
    return code
  }

  await streams.handle('bid', async (stream, peer) => {
    const code = await receive(await stream.read(10_000), publicKeyOfPeer(peer), peer.toString())
    // One that comes when its offer is over is nobody's fault.
    const level = code === 'BID_OFFER' || code === 'BID_LATE' ? 'debug' : 'warn'
    if (code !== null) log[level]({ event: 'bid.refused', code, peer: peer.toString() }, 'bid refused')
    await stream.write(encode(BidReplySchema, { taken: code === null, code: code ?? '' }))
  })

  /** Whoever cannot listen, as a page, says who it is: providers that it is connected to answer over that connection. */
  function reachable(): string[] {
    const own = network.addresses()
    return own.length > 0 ? own : [`/p2p/${identity.peerId}`]
  }

  /** One offer, and what is bid on it within `windowMs`. */
  async function round(terms: OfferTerms, windowMs: number): Promise<{ offer: Offer; bids: ReceivedBid[] }> {
    const sealed = seal('offer', networkId, identity.privateKey, {
      manifest: terms.model.cid.bytes,
      hardwareClass: terms.hardwareClass ?? 'any',
      memoryMib: 0,
      priceCeiling: bigintToBytes(terms.priceCeiling, 16),
      jobs: terms.jobs,
      deadlineMs: BigInt(components.now() + windowMs),
      policy: terms.policy ?? 'zk',
      canonical: terms.canonical ?? false,
      region: terms.region ?? '',
      addresses: reachable(),
      nonce: randomBytes(16),
    })
    // Our own offer goes through the rule that everybody else applies, so a bad one is refused here and not by silence.
    const judged = judgeOffer(sealed.bytes, { networkId, nowMs: components.now(), seen: () => false })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'this offer would be refused by the network')
    const offer = judged.value
    const bids: ReceivedBid[] = []
    const key = offer.id.toString()
    try {
      await new Promise<void>((resolve, reject) => {
        const done = (): void => {
          clearTimeout(timer)
          terms.signal?.removeEventListener('abort', done)
          resolve()
        }
        const timer = setTimeout(done, windowMs)
        if (terms.signal?.aborted) return done()
        terms.signal?.addEventListener('abort', done)
        const arrived = (): void => {
          if (terms.enough?.(bids)) done()
        }
        open.set(key, { offer, bids, bidders: new Set(), arrived })
        network.publish('offers', sealed.bytes).catch((error: unknown) => {
          reject(new SinterError(errorCode(error), 'the offer could not be published', { cause: error }))
          done()
        })
      })
    } finally {
      open.delete(key)
    }
    return { offer, bids }
  }

  return {
    async gather(terms) {
      const { windowMs = 3_000, least = (bids) => bids.length > 0, signal } = terms
      const until = components.now() + windowMs
      const roundMs = components.roundMs ?? Math.max(LEAST_ROUND_MS, Math.ceil(windowMs / ROUNDS))
      for (;;) {
        const left = until - components.now()
        // A rest that is too short for an offer of its own is part of this one.
        const lasts = left < 2 * roundMs ? left : roundMs
        try {
          const gathered = await round(terms, Math.max(lasts, 1))
          if (least(gathered.bids) || signal?.aborted || until - components.now() <= UNPUBLISHED_PAUSE_MS)
            return gathered
        } catch (error) {
          if (errorCode(error) !== 'GOSSIP_NO_PEERS' || left <= UNPUBLISHED_PAUSE_MS || signal?.aborted) throw error
          // Nobody who passes offers on is connected yet.
          await new Promise((resolve) => setTimeout(resolve, UNPUBLISHED_PAUSE_MS))
        }
      }
    },
  }
}

/** The bid to take: the cheapest, and of equals the one that promises the shortest latency. Throws `NO_BIDS`. */
export function chooseBid(bids: ReceivedBid[]): ReceivedBid {
  const [best] = [...bids].sort((a, b) =>
    a.price === b.price ? a.expectedLatencyMs - b.expectedLatencyMs : a.price < b.price ? -1 : 1,
  )
  if (best === undefined)
    throw new SinterError('NO_BIDS', 'no provider bid on the offer: try a higher ceiling or a longer window')
  return best
}

/** What a provider asks. */
export type Quote = {
  provider: Address
  price: bigint
  expectedLatencyMs: number
  warm: boolean
  executionProvider: string
}

/** A bid as its user sees it. */
export const quoteOf = ({ provider, price, expectedLatencyMs, warm, executionProvider }: ReceivedBid): Quote => ({
  ...{ provider, price, expectedLatencyMs, warm, executionProvider },
})
