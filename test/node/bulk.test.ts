import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fileCid } from '../../models/cid.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { linksOf } from '../../node/net/dag.ts'
import { keyOf } from '../../node/net/disk.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import { encodePrefix } from '../../node/net/frames.ts'
import { QUOTAS, type StreamHandler } from '../../node/net/streams.ts'
import { BLOCK_LIMITS, decodeBlocksQuery } from '../../protocol/blocks.ts'
import { encode } from '../../protocol/codec.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { BlocksQuerySchema } from '../../protocol/gen/sinter_pb.js'
import type { Offered } from '../bench/bulk-peer.ts'
import { code, contentWorld, type Peer } from './content-world.ts'

const world = await contentWorld()
const MIB = 2 ** 20

/** What the sources do with each block they send; the real thing unless a test says otherwise. */
type Manner = (stream: FrameStream, block: Uint8Array) => Promise<void>
const honest: Manner = (stream, block) => stream.write(block)
const manners: Manner[] = [honest, honest]
const sent = [0, 0]
const mannered =
  (index: number) =>
  (real: StreamHandler): StreamHandler =>
  (stream, peer) =>
    real(
      {
        ...stream,
        get closed() {
          return stream.closed
        },
        async write(block) {
          await manners[index]!(stream, block)
          sent[index]!++
        },
      },
      peer,
    )

let sources: Peer[] = []
let fetcher: Peer

test.before(async () => {
  const first = await world.start([], { serve: mannered(0) })
  const bootstrap = first.network.addresses()
  sources = [first, await world.start(bootstrap, { serve: mannered(1) })]
  fetcher = await world.start(bootstrap, { content: { sourceStallMs: 1_500 } })
  await fetcher.network.waitForPeers(2, 10_000)
})
test.before.each(() => {
  manners.fill(honest)
  sent.fill(0)
})
test.after(world.stop)

/** A file that both sources have, or those named. */
async function shared(mib: number, at = sources): Promise<{ bytes: Uint8Array; cid: string }> {
  const bytes = new Uint8Array(randomBytes(mib * MIB))
  for (const { content } of at) await content.add(bytes)
  return { bytes, cid: await fileCid(bytes) }
}
const ask = (cid: string, more: object = {}) =>
  fetcher.content.get(cid, {
    maxBytes: 64 * MIB,
    timeoutMs: 30_000,
    from: sources.map(({ network }) => network.peerId),
    ...more,
  })
const slow =
  (ms: number): Manner =>
  async (stream, block) => {
    await new Promise((resolve) => setTimeout(resolve, ms))
    await stream.write(block)
  }
const peerId = (index: number): string => sources[index]!.network.peerId

test('two sources share a file, and each block is asked of one', async () => {
  const { bytes, cid } = await shared(40)
  manners.fill(slow(10))
  assert.is(Buffer.compare(await ask(cid), bytes), 0)
  assert.ok(sent[0]! > 5 && sent[1]! > 5, `blocks sent: ${sent}`)
  // The root and 40 leaves; a few at the end may have been asked of both.
  assert.ok(sent[0]! + sent[1]! < 60, `blocks sent: ${sent}`)
})

test('a fetch that was cut off goes on with what is missing', async () => {
  const { bytes, cid } = await shared(24, [sources[0]!])
  manners[0] = slow(50)
  const given = new AbortController()
  const cut = ask(cid, { signal: given.signal })
  while (sent[0]! < 10) await new Promise((resolve) => setTimeout(resolve, 10))
  given.abort()
  assert.is(await code(cut), 'CONTENT_ABORTED')
  await fetcher.reopen({ sourceStallMs: 1_500 })
  await new Promise((resolve) => setTimeout(resolve, 300))
  sent.fill(0)
  manners.fill(honest)
  assert.is(Buffer.compare(await ask(cid), bytes), 0)
  assert.ok(sent[0]! <= 16, `${sent[0]} of 25 blocks sent again`)
})

test('a source that dies midway is replaced by the other', async () => {
  const { bytes, cid } = await shared(24)
  let dying = 0
  manners[0] = async (stream, block) => {
    if (++dying === 6) throw new SinterError('STREAM_CLOSED', 'killed')
    await slow(20)(stream, block)
  }
  manners[1] = slow(20)
  assert.is(Buffer.compare(await ask(cid), bytes), 0)
  assert.is(sent[0], 5)
})

test('a source that sends garbage is dropped at its first block, and left alone from then on', async () => {
  const { bytes, cid } = await shared(12)
  const garbage = new Uint8Array(randomBytes(MIB))
  manners[0] = (stream) => stream.write(garbage)
  manners[1] = slow(20)
  const before = fetcher.scores.of(peerId(0)).bytes
  assert.is(Buffer.compare(await ask(cid), bytes), 0)
  assert.is(fetcher.scores.of(peerId(0)).bytes, before, 'garbage counted as delivered')
  assert.not.ok(fetcher.scores.usable(peerId(0)))
  const part = join(fetcher.folder, keyOf(garbage).slice(0, 2))
  assert.not.ok((await readdir(part).catch(() => [] as string[])).includes(keyOf(garbage)))
  sent.fill(0)
  const next = await shared(4)
  assert.is(Buffer.compare(await ask(next.cid), next.bytes), 0)
  assert.is(sent[0], 0, 'the liar was asked again')
  await fetcher.reopen({ sourceStallMs: 1_500 })
})

test('a source that answers nothing holds nobody up', async () => {
  const third = await world.start(sources[1]!.network.addresses(), { serve: () => () => new Promise(() => {}) })
  const { bytes, cid } = await shared(12, [sources[1]!, third])
  const from = performance.now()
  const got = await ask(cid, { from: [third.network.peerId, peerId(1)] })
  assert.is(Buffer.compare(got, bytes), 0)
  assert.ok(performance.now() - from < 12_000)
})

test('a source that trickles bytes is dropped for another', async () => {
  const loris = await world.start(sources[1]!.network.addresses(), { bitswapOnly: true })
  let trickled = 0
  const drips: NodeJS.Timeout[] = []
  await loris.network.libp2p.handle('/sinter/blocks/1', (stream) => {
    stream.addEventListener('message', () => {
      if (trickled++ === 0) stream.send(encodePrefix(MIB))
    })
    // Never idle, and never done: a block would take it half a day.
    drips.push(setInterval(() => trickled > 0 && stream.status === 'open' && stream.send(new Uint8Array(1)), 40))
  })
  const { bytes, cid } = await shared(24, [sources[1]!])
  await fetcher.network.dial(loris.network.addresses())
  manners[1] = slow(40)
  const from = performance.now()
  const got = await ask(cid, { from: [loris.network.peerId, peerId(1)] })
  for (const drip of drips) clearInterval(drip)
  assert.is(Buffer.compare(got, bytes), 0)
  assert.ok(trickled > 0, 'it was asked')
  assert.not.ok(fetcher.scores.usable(loris.network.peerId), 'it is not asked again soon')
  assert.ok(performance.now() - from < 10_000, `${performance.now() - from} ms`)
})

test('a source that completes a block just in time holds up no block that another has', async () => {
  const { bytes, cid } = await shared(12)
  manners[0] = slow(1_200)
  const from = performance.now()
  assert.is(Buffer.compare(await ask(cid), bytes), 0)
  // It had most of the file to itself at first: alone it would need a quarter of a minute.
  assert.ok(performance.now() - from < 7_000, `${performance.now() - from} ms`)
  assert.ok(sent[1]! > 6, `${sent[1]} blocks from the other`)
})

test('a source whose process is killed midway is replaced by another', async () => {
  const args = [join(import.meta.dirname, '../bench/bulk-peer.ts'), 'serve', '24', '1', 'killed']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const { addresses, peer, cids } = JSON.parse(line) as Offered
    const cid = cids[0]!.bulk
    await fetcher.network.dial(addresses)
    await sources[1]!.network.dial(addresses)
    await sources[1]!.content.get(cid, { maxBytes: 64 * MIB, timeoutMs: 20_000, from: [peer] })
    manners[1] = slow(60)
    const before = fetcher.content.usage().usedBytes
    const fetched = ask(cid, { from: [peer, peerId(1)] })
    const arrived = (): number => fetcher.content.usage().usedBytes - before
    while (arrived() < 3 * MIB) await new Promise((resolve) => setTimeout(resolve, 2))
    child.kill('SIGKILL')
    const had = arrived()
    assert.is((await fetched).length, 24 * MIB)
    assert.ok(had < 24 * MIB && sent[1]! > 0, `${had} bytes were here when it died`)
  } finally {
    child.kill('SIGKILL')
  }
})

test('every block that is asked for must fit its hash: when all sources lie there is no file', async () => {
  const liar = await world.start(sources[1]!.network.addresses(), {
    serve: () => async (stream) => {
      for (;;) {
        await stream.read(5_000)
        await stream.write(new Uint8Array(randomBytes(100)))
      }
    },
  })
  const cid = await fileCid(new Uint8Array(randomBytes(2 * MIB)))
  assert.is(await code(ask(cid, { timeoutMs: 2_500, from: [liar.network.peerId] })), 'CONTENT_UNAVAILABLE')
})

test('a quota makes room from other files while a file arrives, never from the file itself', async () => {
  const small = await world.start(sources[1]!.network.addresses(), { content: { quotaBytes: 10 * MIB } })
  const options = { maxBytes: 64 * MIB, timeoutMs: 20_000, from: [peerId(0), peerId(1)] }
  const old = await shared(6)
  await small.content.get(old.cid, options)
  const next = await shared(8)
  assert.is(Buffer.compare(await small.content.get(next.cid, options), next.bytes), 0)
  assert.not.ok(await small.content.has(old.cid))
  assert.ok(await small.content.has(next.cid))
  const large = await shared(12)
  assert.is(await code(small.content.get(large.cid, options)), 'CONTENT_DISK_FULL')
  // The node lives on: what the large one left behind gives way.
  assert.is(Buffer.compare(await small.content.get(old.cid, options), old.bytes), 0)
  assert.ok(small.content.usage().usedBytes <= 10 * MIB)
})

test('what was announced before a restart is announced anew to a network that never heard of it', async () => {
  const identity = identityFromKey(new Uint8Array(randomBytes(32)))
  const witness = await world.start([])
  const before = await world.start(witness.network.addresses(), { identity })
  await before.network.waitForPeers(1, 10_000)
  const cid = await before.content.add(new Uint8Array(randomBytes(1_000)))
  await before.content.provide(cid)
  await before.content.stop()
  await before.streams.stop()
  await before.network.stop()
  const stranger = await world.start([])
  const after = await world.start(stranger.network.addresses(), { identity, folder: before.folder })
  await after.network.waitForPeers(1, 10_000)
  let found: string[] = []
  for (let i = 0; i < 100 && found.length === 0; i++) {
    found = await stranger.network.findProviders(cid, { timeoutMs: 1_000 })
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.equal(found, [after.network.peerId])
})

test('queries that are none end the stream, and one peer has so many streams', async () => {
  for (const query of [new Uint8Array(), encode(BlocksQuerySchema, { hashes: [new Uint8Array(31)] })]) {
    const stream = await fetcher.streams.open(peerId(1), 'blocks')
    await stream.write(query)
    assert.is(await stream.read(3_000).then(() => 'answered', errorCode), 'STREAM_CLOSED')
  }
  const most = Array.from({ length: QUOTAS.blocks.maxStreamsPerPeer })
  const all = await Promise.all(most.map(() => fetcher.streams.open(peerId(1), 'blocks')))
  const absent = encode(BlocksQuerySchema, { hashes: [new Uint8Array(32)] })
  for (const stream of all) {
    await stream.write(absent)
    assert.is((await stream.read(3_000)).length, 0, 'a block that is not here is an empty frame')
  }
  const further = await fetcher.streams.open(peerId(1), 'blocks')
  assert.is(
    await further
      .write(absent)
      .then(() => further.read(3_000))
      .then(() => 'answered', errorCode),
    'STREAM_CLOSED',
  )
  for (const stream of all) await stream.close()
})

test('a query has one encoding and bounds; no bytes break its decoder or that of nodes', () => {
  const hashes = (count: number) => Array.from({ length: count }, () => new Uint8Array(randomBytes(32)))
  const most = encode(BlocksQuerySchema, { hashes: hashes(BLOCK_LIMITS.hashes) })
  assert.is(most.length, BLOCK_LIMITS.query)
  assert.is(decodeBlocksQuery(most)?.length, BLOCK_LIMITS.hashes)
  assert.is(decodeBlocksQuery(encode(BlocksQuerySchema, { hashes: hashes(BLOCK_LIMITS.hashes + 1) })), null)
  assert.is(decodeBlocksQuery(new Uint8Array()), null)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, at, flip) => {
      assert.is(decodeBlocksQuery(bytes), null)
      const changed = most.slice()
      changed[at % changed.length]! ^= flip
      const read = decodeBlocksQuery(changed)
      // A flipped byte inside a hash is another hash; anywhere else it is no query.
      assert.is(read !== null, (at % changed.length) % 34 > 1)
      try {
        linksOf(bytes)
      } catch (error) {
        assert.is(errorCode(error), 'CONTENT_MALFORMED')
      }
    }),
    { numRuns: 500 },
  )
})

test('the links of a node are those of the file', async () => {
  const { bytes, cid } = await shared(3, [sources[0]!])
  const name = Buffer.from((await import('multiformats/cid')).CID.parse(cid).multihash.digest).toString('hex')
  const links = linksOf(new Uint8Array(await readFile(join(sources[0]!.folder, name.slice(0, 2), name))))
  const leaves = [0, 1, 2].map((i) => fileCid(bytes.subarray(i * MIB, (i + 1) * MIB)))
  assert.equal(links.map(String), await Promise.all(leaves))
})

test.run()
