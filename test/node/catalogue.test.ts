/** What peers tell of the models they have: over real streams, and put together. */
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { pino } from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fileCid } from '../../models/cid.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import type { Network } from '../../node/net/libp2p.ts'
import { createStreams, type Streams } from '../../node/net/streams.ts'
import {
  askCatalogues,
  type CatalogueEntry,
  catalogueHandler,
  listingsOf,
  nodeCatalogue,
  readCatalogue,
} from '../../node/stages/catalogue.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { errorCode } from '../../protocol/errors.ts'
import { CatalogueSchema } from '../../protocol/gen/sinter_pb.js'
import { MAX_CATALOGUE_BYTES, MAX_CATALOGUE_MODELS, MAX_MODEL_NAME } from '../../protocol/limits.ts'
import { openPeer } from './peer.ts'

const log = pino({ level: 'silent' })
const identities = Array.from({ length: 5 }, () => identityFromKey(new Uint8Array(randomBytes(32))))
const cid = (name: string): Promise<string> => fileCid(utf8(name))
const A = await cid('a')
const B = await cid('b')
const entry = (manifest: string, name: string, warm = false, price: bigint | null = 5n): CatalogueEntry => ({
  manifest,
  name,
  warm,
  price,
})

/** A stream that keeps what is written. */
function recorder(): { stream: FrameStream; sent: Uint8Array[] } {
  const sent: Uint8Array[] = []
  return { sent, stream: { write: async (bytes: Uint8Array) => void sent.push(bytes) } as unknown as FrameStream }
}

test('what several peers tell is put together, each peer once for each model', () => {
  const listings = listingsOf([
    [entry(A, 'one', true, 7n), entry(A, 'one', true, 7n), entry(B, '', false, 9n)],
    [entry(A, 'two', false, 6n)],
    [entry(A, 'one', true, 8n), entry(B, 'other', false, null)],
  ])
  assert.equal(listings, [
    { manifest: A, name: 'one', providers: 3, warm: 2, price: 6n },
    { manifest: B, name: 'other', providers: 1, warm: 0, price: 9n },
  ])
})

test('a node tells of what it has loaded and of what was asked for', async () => {
  const { stream, sent } = recorder()
  const handler = nodeCatalogue({
    runtimes: { names: () => new Map([[A, 'loaded']]) },
    warmth: { asked: () => [B, A] },
    price: 3n,
  })
  await handler(stream, null as never)
  assert.equal(readCatalogue(sent[0]!), [entry(A, 'loaded', true, 3n), entry(B, '', false, 3n)])
})

test('no more models than one frame holds, whatever their names', async () => {
  const { stream, sent } = recorder()
  const many = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => entry(await cid(`${i}`), '模'.repeat(1_000), true, 2n ** 128n - 1n)),
  )
  await catalogueHandler(() => many)(stream, null as never)
  assert.ok(sent[0]!.length <= MAX_CATALOGUE_BYTES, `${sent[0]!.length}`)
  const read = readCatalogue(sent[0]!)
  assert.is(read.length, MAX_CATALOGUE_MODELS)
  assert.is(read[0]!.name.length, MAX_MODEL_NAME)
})

test('a catalogue that is none is refused, and a name is told without what could move a terminal’s cursor', () => {
  const bytes = (models: { manifest?: string; name?: string; price?: Uint8Array }[]): Uint8Array =>
    encode(CatalogueSchema, { models })
  const code = (of: Uint8Array): string => {
    try {
      readCatalogue(of)
    } catch (error) {
      return errorCode(error)
    }
    return 'none'
  }
  assert.is(code(bytes([{ manifest: A }])), 'none')
  assert.is(code(bytes([{ manifest: 'bafy' }])), 'FRAME_MALFORMED')
  assert.is(code(bytes([{ name: 'x' }])), 'FRAME_MALFORMED')
  assert.is(code(bytes([{ manifest: A, price: new Uint8Array(15).fill(1) }])), 'FRAME_MALFORMED')
  assert.is(code(bytes(Array.from({ length: MAX_CATALOGUE_MODELS + 1 }, () => ({ manifest: A })))), 'FRAME_MALFORMED')
  assert.is(code(Uint8Array.of(...bytes([{ manifest: A }]), 0)), 'FRAME_MALFORMED')
  const [told] = readCatalogue(bytes([{ manifest: A, name: '\u001b[2Jmödel\n\u202e1' }]))
  assert.is(told!.name, '[2Jmödel1')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
      assert.ok(['none', 'FRAME_MALFORMED'].includes(code(random)))
    }),
  )
})

test('over the network: who tells nothing, something else, or nothing in time, is left out', async () => {
  const networks: Network[] = []
  const streams: Streams[] = []
  const start = async (index: number): Promise<void> => {
    const network = await openPeer(identities[index]!)
    networks.push(network)
    streams.push(createStreams({ libp2p: network.libp2p, log }))
  }
  try {
    for (let i = 0; i < 5; i++) await start(i)
    const [client] = networks as [Network]
    await streams[1]!.handle(
      'models',
      catalogueHandler(() => [entry(A, 'one', true)]),
    )
    await streams[2]!.handle('models', (stream) => stream.write(utf8('no catalogue')))
    await streams[3]!.handle('models', () => new Promise((resolve) => setTimeout(resolve, 5_000)))
    for (const other of networks.slice(1)) await client.dial(other.addresses())
    const began = performance.now()
    const peers = networks.slice(1).map(({ peerId }) => peerId)
    const listings = await askCatalogues({ streams: streams[0]!, log }, () => peers, 800)
    assert.equal(listings, [{ manifest: A, name: 'one', providers: 1, warm: 1, price: 5n }])
    assert.ok(performance.now() - began < 4_000)
    // Who has just joined finds its peers one after the other.
    let looks = 0
    const growing = (): string[] => (looks++ < 3 ? [peers[3]!] : [peers[3]!, peers[0]!])
    assert.equal(await askCatalogues({ streams: streams[0]!, log }, growing, 4_000), listings)
    // And asks each of them once, and no longer than they come.
    assert.equal(await askCatalogues({ streams: streams[0]!, log }, () => [], 4_000), [])
    assert.ok(looks > 3)
  } finally {
    await Promise.all(streams.map((each) => each.stop()))
    await Promise.all(networks.map((each) => each.stop()))
  }
})

test.run()
