/** Offers from strangers: what they may make a node do, and whom they may make it talk to. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createOfferDesk } from '../../node/client/offer.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import type { Runtime } from '../../node/model/runtime.ts'
import { targetsOf } from '../../node/net/addresses.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import type { StreamHandler } from '../../node/net/streams.ts'
import { createBidder } from '../../node/stages/bid.ts'
import { bigintToBytes, toHex } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { open, seal } from '../../protocol/envelope.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { BidReplySchema } from '../../protocol/gen/sinter_pb.js'
import type { Offer } from '../../protocol/rules/offer.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { bytes32, consumer, digitsRuntime, log, model, NETWORK, PRICE, provider, streamPair } from './session-world.ts'

const self = consumer.peerId.toString()

function offerOf(change: Partial<Offer> = {}): Offer {
  return {
    id: bytes32(),
    consumer: consumer.address,
    consumerKey: consumer.publicKey,
    manifest: model.cid,
    hardwareClass: 'any',
    region: '',
    memoryMib: 0,
    priceCeiling: 2n * PRICE,
    jobs: 1n,
    deadlineMs: Date.now() + 5_000,
    policy: 'zk',
    canonical: false,
    addresses: ['/ip4/127.0.0.1/tcp/4001'],
    ...change,
  }
}

function createWorld(
  change: { funds?: bigint; internal?: boolean; runtime?: (cid: string, policy: Policy) => Promise<Runtime> } = {},
) {
  const opened: unknown[] = []
  const loaded: string[] = []
  const sent: Uint8Array[] = []
  const bidder = createBidder(
    {
      identity: provider,
      networkId: NETWORK,
      streams: {
        async open(target) {
          opened.push(target)
          const [mine, theirs] = streamPair()
          void (async () => {
            sent.push(await theirs.read(1_000))
            await theirs.write(encode(BidReplySchema, { taken: true, code: '' }))
          })().catch(() => {})
          return { ...mine, remotePeer: consumer.peerId, closed: false } as FrameStream
        },
      },
      runtime: async (cid, policy) => {
        loaded.push(cid)
        return (change.runtime ?? (async () => digitsRuntime))(cid, policy)
      },
      isWarm: () => false,
      fundsOf: async () => change.funds ?? PRICE,
      now: Date.now,
      log,
    },
    {
      price: PRICE,
      hardwareClass: 'cpu',
      memoryMib: 1_024,
      executionProvider: 'cpu',
      internalAddresses: change.internal ?? true,
    },
  )
  return { bidder, opened, loaded, sent }
}

test('a suitable offer gets a signed bid that the node remembers', async () => {
  const { bidder, sent, opened } = createWorld()
  const offer = offerOf()
  await bidder.consider(offer)
  assert.equal(opened, [[`/ip4/127.0.0.1/tcp/4001/p2p/${self}`]])
  const bid = open('bid', NETWORK, sent[0]!)
  assert.is.not(typeof bid, 'string')
  if (typeof bid === 'string') return
  assert.is(bid.signer, provider.address)
  assert.equal(bid.message.offer, offer.id)
  assert.is(bidder.made(bid.id)!.price, PRICE)
  assert.is(bidder.made(bytes32()), null)
})

test('an offer that does not suit, or from oneself, loads nothing', async () => {
  const { bidder, loaded, opened } = createWorld()
  for (const change of [
    { hardwareClass: 'h100' },
    { memoryMib: 2_048 },
    { priceCeiling: PRICE - 1n },
    { consumer: provider.address },
  ])
    await bidder.consider(offerOf(change))
  assert.equal([loaded, opened], [[], []])
})

test('an offer of somebody without the price of a job loads nothing', async () => {
  const poor = createWorld({ funds: PRICE - 1n })
  await poor.bidder.consider(offerOf())
  assert.equal([poor.loaded, poor.opened], [[], []])
})

test('a flood of offers is worked on a few at a time, and one consumer does not take all places', async () => {
  const { bidder, loaded } = createWorld({ runtime: () => new Promise(() => {}) })
  for (let i = 0; i < 50; i++) void bidder.consider(offerOf())
  for (let i = 0; i < 50; i++) void bidder.consider(offerOf({ consumer: `0x${i.toString(16).padStart(40, '0')}` }))
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.is(loaded.length, 8)
})

test('16 offers of one consumer wait and 64 of all, and those beyond are left to others', async () => {
  const slow = async (): Promise<never> => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    throw new SinterError('MODEL_UNPROVABLE', 'no')
  }
  const one = createWorld({ runtime: slow })
  await Promise.all(Array.from({ length: 50 }, () => one.bidder.consider(offerOf())))
  assert.is(one.loaded.length, 2 + 16)
  const many = createWorld({ runtime: slow })
  const of = (i: number): Offer => offerOf({ consumer: `0x${i.toString(16).padStart(40, '0')}` })
  await Promise.all(Array.from({ length: 100 }, (_, i) => many.bidder.consider(of(i))))
  assert.is(many.loaded.length, 8 + 64)
  // And who was turned away is heard when there is room again.
  await many.bidder.consider(of(99))
  assert.is(many.loaded.length, 8 + 64 + 1)
})

test('offers of one consumer for several models wait for each other, unless they are over by then', async () => {
  const late = bytes32()
  const { bidder, sent, loaded } = createWorld({
    runtime: async () => {
      const place = loaded.length
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (place <= 2) throw new SinterError('MODEL_UNPROVABLE', 'no')
      return digitsRuntime
    },
  })
  const offers = [offerOf(), offerOf(), offerOf(), offerOf({ id: late, deadlineMs: Date.now() + 10 }), offerOf()]
  await Promise.all(offers.map((offer) => bidder.consider(offer)))
  const answered = sent.map((bytes) => {
    const bid = open('bid', NETWORK, bytes)
    return typeof bid === 'string' ? bid : toHex(bid.message.offer)
  })
  assert.equal(
    answered,
    [2, 4].map((place) => toHex(offers[place]!.id)),
  )
  assert.is(loaded.length, 4)
})

test('a model that cannot be loaded costs one offer', async () => {
  let fail = true
  const { bidder, sent } = createWorld({
    runtime: async () => {
      if (fail) throw new SinterError('MODEL_UNPROVABLE', 'no')
      return digitsRuntime
    },
  })
  await bidder.consider(offerOf())
  fail = false
  await bidder.consider(offerOf())
  assert.is(sent.length, 1)
})

test('what an offer asks of its jobs is asked of the model, tried, and remembered with the bid', async () => {
  const asked: Policy[] = []
  let canonical = 0
  const runtime: Runtime = {
    ...digitsRuntime,
    serveCanonical(inputs) {
      canonical++
      return digitsRuntime.serveCanonical(inputs)
    },
  }
  const { bidder, sent } = createWorld({
    runtime: async (_, policy) => {
      asked.push(policy)
      if (policy === 'full') throw new SinterError('MODEL_UNPROVABLE', 'too many tiles')
      return runtime
    },
  })
  await bidder.consider(offerOf({ policy: 'full' }))
  assert.is(sent.length, 0)
  await bidder.consider(offerOf({ policy: 'open', canonical: true }))
  await bidder.consider(offerOf())
  assert.equal([asked, canonical], [['full', 'open', 'zk'], 1])
  const made = sent.map((bytes) => bidder.made((open('bid', NETWORK, bytes) as { id: Uint8Array }).id)!)
  assert.equal(
    made.map(({ policy, canonical }) => [policy, canonical]),
    [
      ['open', true],
      ['zk', false],
    ],
  )
})

test('only addresses that can be the sender’s own are dialled, each bound to its key', () => {
  const other = identityFromKey(bytes32()).peerId.toString()
  const dialled = (addresses: string[], internal = false) => {
    const targets = targetsOf(addresses, consumer.publicKey, internal)
    return Array.isArray(targets) ? targets : []
  }
  for (const internal of [
    '/ip4/127.0.0.1/tcp/22',
    '/ip4/10.1.2.3/tcp/80',
    '/ip4/172.31.0.1/tcp/80',
    '/ip4/192.168.1.1/tcp/80',
    '/ip4/169.254.169.254/tcp/80',
    '/ip4/100.64.0.1/tcp/80',
    '/ip4/0.0.0.0/tcp/80',
    '/ip4/255.255.255.255/tcp/80',
    '/ip6/::1/tcp/80',
    '/ip6/fd00::1/tcp/80',
    '/ip6/fe80::1/tcp/80',
    '/ip6/::ffff:127.0.0.1/tcp/80',
    '/ip6/64:ff9b::7f00:1/tcp/80',
  ]) {
    assert.equal(dialled([internal]), [], internal)
    assert.is(dialled([internal], true).length, 1, internal)
  }
  for (const bad of [
    '/dns4/internal.example.com/tcp/80',
    '/ip4/8.8.8.8/udp/53',
    `/ip4/8.8.8.8/tcp/4001/p2p/${other}`,
    `/ip4/8.8.8.8/tcp/4001/p2p/${other}/p2p-circuit/p2p/${self}`,
    '/ip4/8.8.8.8/tcp/4001/ws',
    '/unix/tmp%2Fsocket',
    'http://8.8.8.8/',
    '',
  ])
    assert.equal(dialled([bad], true), [], bad)
  for (const good of ['/ip4/8.8.8.8/tcp/4001', `/ip4/8.8.8.8/tcp/4001/p2p/${self}`, '/ip6/2a00:1450::1/tcp/4001'])
    assert.ok(dialled([good])[0]!.endsWith(`/tcp/4001/p2p/${self}`), good)
  assert.is(String(targetsOf([], consumer.publicKey, false)), self)
  // A consumer that cannot listen, such as a page, is reached over the connection that it made.
  assert.is(String(targetsOf([`/p2p/${self}`], consumer.publicKey, false)), self)
})

/** A desk with one open offer, and the way to send it a bid as a peer. */
async function openDesk(staked: (address: string) => boolean = () => true) {
  let handler: StreamHandler = async () => {}
  let published: Uint8Array = new Uint8Array()
  let asked = 0
  const desk = await createOfferDesk({
    identity: consumer,
    networkId: NETWORK,
    network: {
      addresses: () => ['/ip4/127.0.0.1/tcp/1'],
      publish: async (_, bytes) => {
        published = bytes
        return { recipients: 1 }
      },
    },
    streams: {
      handle: async (_, given) => {
        handler = given
      },
    },
    staked: async (address) => {
      asked++
      return staked(address)
    },
    now: Date.now,
    log,
  })
  const gathering = desk.gather({ model, priceCeiling: PRICE, jobs: 1n, windowMs: 1_000 })
  await new Promise((resolve) => setTimeout(resolve, 5))
  const offer = open('offer', NETWORK, published)
  if (typeof offer === 'string') throw new Error(offer)
  return {
    gathering,
    asked: () => asked,
    async bid(
      bidder = identityFromKey(bytes32()),
      change: { price?: bigint; offer?: Uint8Array } = {},
    ): Promise<string> {
      const sealed = seal('bid', NETWORK, bidder.privateKey, {
        offer: change.offer ?? offer.id,
        price: bigintToBytes(change.price ?? PRICE, 16),
        expectedLatencyMs: Math.floor(Math.random() * 1_000),
        warm: true,
        expiryMs: BigInt(Date.now() + 60_000),
        executionProvider: 'cpu',
      })
      const [mine, theirs] = streamPair()
      await mine.write(sealed.bytes)
      await handler(theirs, bidder.peerId)
      return decode(BidReplySchema, await mine.read(1_000))!.code
    },
  }
}

test('bids of staked providers are gathered, one of each', async () => {
  const desk = await openDesk()
  const twice = identityFromKey(bytes32())
  assert.is(await desk.bid(twice), '')
  assert.is(await desk.bid(twice), 'BID_REPEATED')
  assert.is(await desk.bid(), '')
  assert.is(await desk.bid(identityFromKey(bytes32()), { price: PRICE + 1n }), 'PRICE_ABOVE_CEILING')
  assert.is(await desk.bid(identityFromKey(bytes32()), { offer: bytes32() }), 'BID_OFFER')
  const { bids } = await desk.gathering
  assert.is(bids.length, 2)
  assert.is(await desk.bid(), 'BID_OFFER')
})

test('a stranger without stake costs one question to the chain, however often it bids', async () => {
  const desk = await openDesk(() => false)
  const stranger = identityFromKey(bytes32())
  assert.is(await desk.bid(stranger), 'PROVIDER_NOT_STAKED')
  for (let i = 0; i < 5; i++) assert.is(await desk.bid(stranger), 'BID_REPEATED')
  assert.is(desk.asked(), 1)
  assert.equal((await desk.gathering).bids, [])
})

test('an offer that cannot be published fails with the reason', async () => {
  const desk = await createOfferDesk({
    identity: consumer,
    networkId: NETWORK,
    network: {
      addresses: () => ['/ip4/127.0.0.1/tcp/1'],
      publish: async () => {
        throw new SinterError('GOSSIP_NO_PEERS', 'nobody')
      },
    },
    streams: { handle: async () => {} },
    staked: async () => true,
    now: Date.now,
    log,
  })
  const code = await desk.gather({ model, priceCeiling: PRICE, jobs: 1n }).then(() => 'NONE', errorCode)
  assert.is(code, 'GOSSIP_NO_PEERS')
})

test('who was not there for one offer is asked by the next, as long as the window lasts', async () => {
  const published: Uint8Array[] = []
  let handler: StreamHandler = async () => {}
  let there = false
  const bidder = identityFromKey(bytes32())
  const desk = await createOfferDesk({
    identity: consumer,
    networkId: NETWORK,
    network: {
      addresses: () => ['/ip4/127.0.0.1/tcp/1'],
      async publish(_, bytes) {
        if (!there) {
          there = true
          throw new SinterError('GOSSIP_NO_PEERS', 'nobody')
        }
        published.push(bytes)
        // Busy when the first one comes.
        if (published.length > 1) {
          const offer = open('offer', NETWORK, bytes)
          if (typeof offer === 'string') throw new Error(offer)
          const sealed = seal('bid', NETWORK, bidder.privateKey, {
            offer: offer.id,
            price: bigintToBytes(PRICE, 16),
            expectedLatencyMs: 1,
            warm: true,
            expiryMs: BigInt(Date.now() + 60_000),
            executionProvider: 'cpu',
          })
          const [mine, theirs] = streamPair()
          await mine.write(sealed.bytes)
          await handler(theirs, bidder.peerId)
        }
        return { recipients: 1 }
      },
    },
    streams: {
      handle: async (_, given) => {
        handler = given
      },
    },
    staked: async () => true,
    now: Date.now,
    log,
    roundMs: 600,
  })
  const enough = (bids: unknown[]): boolean => bids.length > 0
  const began = Date.now()
  const { offer, bids } = await desk.gather({ model, priceCeiling: PRICE, jobs: 1n, windowMs: 20_000, enough })
  assert.is(published.length, 2)
  assert.is(bids.length, 1)
  assert.equal(offer.id, (open('offer', NETWORK, published[1]!) as { id: Uint8Array }).id)
  assert.ok(Date.now() - began < 10_000)
})

test.run()
