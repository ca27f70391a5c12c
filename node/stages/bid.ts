import { bigintToBytes, equalBytes } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/codec.ts'
import { seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { BidReplySchema } from '../../protocol/gen/sinter_pb.js'
import type { MadeBid } from '../../protocol/rules/assignment.ts'
import type { Offer } from '../../protocol/rules/offer.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import { type Identity, publicKeyOfPeer } from '../identity/identity.ts'
import type { Runtime } from '../model/runtime.ts'
import { targetsOf } from '../net/addresses.ts'
import type { Log } from '../net/log.ts'
import type { Streams } from '../net/streams.ts'
import { bounded } from './seen.ts'

export type BidComponents = {
  identity: Identity
  networkId: Uint8Array
  streams: Pick<Streams, 'open'>
  /** Loads a manifest's model, or gives the loaded one, if its jobs can be attested under the policy. */
  runtime(manifest: string, policy: Policy): Promise<Runtime>
  isWarm(manifest: string): boolean
  /** Told of each offer that can be paid; whether to load the model for it if it is not loaded. @default always */
  wanted?(manifest: string, consumer: Address): boolean
  /** Tokens that an account could pay with, in its wallet and in the escrow, base units. */
  fundsOf(account: Address): Promise<bigint>
  now(): number
  log: Log
}

export type BidInit = {
  /** Base units per job. */
  price: bigint
  hardwareClass: string
  /** MiB that jobs may use. */
  memoryMib: number
  executionProvider: string
  /** Where this node is, such as `eu-west`. @default no say */
  region?: string
  /** How long a bid stands after the offer's deadline (ms). @default 60_000 */
  lifeMs?: number
  /** Offers worked on at once. @default 8 */
  concurrency?: number
  /** Of these, offers of one consumer; more wait for a place until their deadline. @default 2 */
  perConsumer?: number
  /** Answers offers that name addresses of this machine or of private networks, as on a local network. @default false */
  internalAddresses?: boolean
}

export type Bidder = {
  /** Takes an accepted offer: bids if this node wants and can do the work. Never throws. */
  consider(offer: Offer): Promise<void>
  /** A bid this node made, by id. */
  made(id: Uint8Array): MadeBid | null
}

/** Offers that may wait for a place, and those of one consumer among them; more are left to others. */
const MOST_WAITING = 64
const MOST_WAITING_OF_ONE = 16

/** Why this node does not bid, or null. */
function unsuited(offer: Offer, init: BidInit): string | null {
  if (offer.hardwareClass !== 'any' && offer.hardwareClass !== init.hardwareClass) return 'HARDWARE_CLASS'
  if (offer.memoryMib > init.memoryMib) return 'MEMORY'
  if (init.price > offer.priceCeiling) return 'PRICE'
  return null
}

export function createBidder(components: BidComponents, init: BidInit): Bidder {
  const { identity, networkId, streams, log } = components
  const { lifeMs = 60_000, concurrency = 8, perConsumer = 2, internalAddresses = false } = init
  const bids = bounded<MadeBid>()
  /** Consumers of the offers that are being worked on, one entry an offer. */
  const working: Address[] = []
  /** Oldest first. A gateway asks for all of its models at once, and what it asks for last is wanted as much. */
  const waiting: { offer: Offer; start(): void }[] = []

  const fits = ({ consumer }: Offer): boolean =>
    working.length < concurrency && working.filter((each) => each === consumer).length < perConsumer
  const mayWait = ({ consumer }: Offer): boolean =>
    waiting.length < MOST_WAITING &&
    waiting.filter(({ offer }) => offer.consumer === consumer).length < MOST_WAITING_OF_ONE

  /** Resolves when the offer has its place, which it takes from then on. */
  async function placeFor(offer: Offer): Promise<void> {
    if (fits(offer)) working.push(offer.consumer)
    else await new Promise<void>((start) => waiting.push({ offer, start }))
  }
  function leave({ consumer }: Offer): void {
    working.splice(working.indexOf(consumer), 1)
    const next = waiting.findIndex(({ offer }) => fits(offer))
    if (next < 0) return
    const [{ offer, start }] = waiting.splice(next, 1) as [(typeof waiting)[number]]
    working.push(offer.consumer)
    start()
  }

  function checkTime({ deadlineMs }: Offer): void {
    if (components.now() > deadlineMs) throw new SinterError('OFFER_EXPIRED', 'the offer’s deadline has passed')
  }

  async function bid(offer: Offer): Promise<void> {
    checkTime(offer)
    // An offer costs its sender nothing; fetching, loading and trying a model costs us much. So it comes from somebody who can pay.
    if ((await components.fundsOf(offer.consumer)) < init.price)
      throw new SinterError('CONSUMER_FUNDS', 'the consumer has no tokens to pay a job with')
    const manifest = offer.manifest.toString()
    if (components.wanted?.(manifest, offer.consumer) === false)
      return log.info({ event: 'offer.passed', reason: 'ELSEWHERE' }, 'no bid on this offer')
    const warm = components.isWarm(manifest)
    // The model is fetched, checked and tried before any promise is made about it.
    const runtime = await components.runtime(manifest, offer.policy)
    const probe = performance.now()
    const zeros = runtime.model.manifest.inputs.map(({ shape }) => new Int16Array(shape.reduce((a, b) => a * b, 1)))
    await (offer.canonical ? runtime.serveCanonical(zeros) : runtime.serve(zeros))
    const expectedLatencyMs = Math.ceil(performance.now() - probe)
    // The model may have been ready too late.
    checkTime(offer)
    const expiryMs = offer.deadlineMs + lifeMs
    const sealed = seal('bid', networkId, identity.privateKey, {
      offer: offer.id,
      price: bigintToBytes(init.price, 16),
      expectedLatencyMs,
      warm,
      expiryMs: BigInt(expiryMs),
      executionProvider: init.executionProvider,
      region: init.region ?? '',
    })
    bids.set(sealed.id, {
      id: sealed.id,
      offer: offer.id,
      consumer: offer.consumer,
      manifest,
      price: init.price,
      policy: offer.policy,
      canonical: offer.canonical,
      expiryMs,
    })
    const stream = await streams.open(targetsOf(offer.addresses, offer.consumerKey, internalAddresses), 'bid')
    try {
      if (!equalBytes(publicKeyOfPeer(stream.remotePeer), offer.consumerKey))
        throw new SinterError('BID_CONSUMER', 'the peer at the offer’s address is not the consumer that signed it')
      await stream.write(sealed.bytes)
      const reply = decode(BidReplySchema, await stream.read(10_000))
      log.info(
        { event: 'bid.sent', manifest, price: init.price.toString(), taken: reply?.taken, code: reply?.code },
        'bid sent',
      )
    } finally {
      await stream.close()
    }
  }

  return {
    made: (id) => bids.get(id),
    async consider(offer) {
      if (offer.consumer === identity.address) return
      const reason = unsuited(offer, init) ?? (fits(offer) || mayWait(offer) ? null : 'BUSY')
      if (reason !== null) {
        log.info({ event: 'offer.passed', reason }, 'no bid on this offer')
        return
      }
      await placeFor(offer)
      try {
        await bid(offer)
      } catch (error) {
        log.warn({ event: 'bid.failed', code: errorCode(error), error: describeError(error) }, 'no bid could be made')
      } finally {
        leave(offer)
      }
    },
  }
}
