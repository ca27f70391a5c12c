import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CID } from 'multiformats/cid'
import { identity as identityHash } from 'multiformats/hashes/identity'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fileCid } from '../../models/cid.ts'
import { code, contentWorld, type Peer } from './content-world.ts'

let publisher: Peer
let fetcher: Peer
let other: Peer

const world = await contentWorld()

test.before(async () => {
  publisher = await world.start([])
  const bootstrap = publisher.network.addresses()
  fetcher = await world.start(bootstrap)
  other = await world.start(bootstrap)
  await Promise.all([publisher, fetcher, other].map(({ network }) => network.waitForPeers(2, 10_000)))
})
test.after(world.stop)

const publish = async (bytes: Uint8Array): Promise<string> => {
  const cid = await publisher.content.add(bytes)
  await publisher.content.provide(cid)
  return cid
}

test('a file of one block and one of many go from peer to peer, found through the DHT', async () => {
  for (const size of [0, 1000, 1_048_576, 1_048_577, 5_000_000]) {
    const bytes = new Uint8Array(randomBytes(size))
    const cid = await publish(bytes)
    assert.is(cid, await fileCid(bytes), 'the CID that models compute is the one content is stored under')
    assert.not.ok(await fetcher.content.has(cid))
    const got = await fetcher.content.get(cid, { maxBytes: Math.max(1, size), timeoutMs: 20_000 })
    assert.is(Buffer.compare(got, bytes), 0)
    assert.ok(await fetcher.content.has(cid))
  }
})

test('a file of 64 MiB arrives', async () => {
  const bytes = new Uint8Array(randomBytes(64 * 1024 * 1024))
  const cid = await publish(bytes)
  const from = performance.now()
  const got = await fetcher.content.get(cid, { maxBytes: bytes.length, timeoutMs: 150_000 })
  const seconds = (performance.now() - from) / 1000
  console.log(`  64 MiB over block streams, both ends in this process: ${(64 / seconds).toFixed(0)} MiB/s`)
  assert.is(Buffer.compare(got, bytes), 0)
})

test('a light client fetches, and a peer that fetched can pass on when the publisher is asked no more', async () => {
  const light = await world.start(publisher.network.addresses(), { mode: 'light' })
  await light.network.waitForPeers(3, 10_000)
  const bytes = new Uint8Array(randomBytes(300_000))
  const cid = await fetcher.content.add(bytes)
  await fetcher.content.provide(cid)
  assert.is(Buffer.compare(await light.content.get(cid, { maxBytes: 300_000, timeoutMs: 10_000 }), bytes), 0)
})

test('a peer named as the source is asked though nobody announced the file', async () => {
  const bytes = new Uint8Array(randomBytes(10_000))
  const cid = await other.content.add(bytes)
  const got = await fetcher.content.get(cid, {
    maxBytes: 10_000,
    timeoutMs: 10_000,
    from: [other.network.peerId],
  })
  assert.is(Buffer.compare(got, bytes), 0)
})

test('a peer that speaks bitswap only gives and gets', async () => {
  const old = await world.start(publisher.network.addresses(), { bitswapOnly: true })
  await old.network.waitForPeers(2, 10_000)
  const [theirs, ours] = [randomBytes(2_500_000), randomBytes(2_500_000)].map((bytes) => new Uint8Array(bytes))
  const from = await old.content.add(theirs!)
  const options = { maxBytes: 2_500_000, timeoutMs: 30_000, from: [old.network.peerId] }
  assert.is(Buffer.compare(await fetcher.content.get(from, options), theirs!), 0)
  const to = await publish(ours!)
  assert.is(Buffer.compare(await old.content.get(to, { ...options, from: [] }), ours!), 0)
})

test('what nobody has is CONTENT_UNAVAILABLE in time, and giving up is CONTENT_ABORTED', async () => {
  const cid = await fileCid(new Uint8Array(randomBytes(100)))
  const from = Date.now()
  assert.is(await code(fetcher.content.get(cid, { maxBytes: 100, timeoutMs: 1_500 })), 'CONTENT_UNAVAILABLE')
  assert.ok(Date.now() - from < 4_000)
  const signal = AbortSignal.timeout(300)
  assert.is(await code(fetcher.content.get(cid, { maxBytes: 100, timeoutMs: 9_000, signal })), 'CONTENT_ABORTED')
  assert.is(await code(fetcher.content.provide(cid)), 'CONTENT_UNAVAILABLE')
})

test('a file that comes to exist while somebody waits for it arrives', async () => {
  const bytes = new Uint8Array(randomBytes(5_000))
  const waiting = fetcher.content.get(await fileCid(bytes), { maxBytes: 5_000, timeoutMs: 15_000 })
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  await publish(bytes)
  assert.is(Buffer.compare(await waiting, bytes), 0)
})

test('a file above the limit is refused, at the first byte too many, from peers and from disk', async () => {
  const cid = await publish(new Uint8Array(randomBytes(3_000_000)))
  assert.is(await code(fetcher.content.get(cid, { maxBytes: 2_999_999 })), 'CONTENT_TOO_LARGE')
  assert.is((await fetcher.content.get(cid, { maxBytes: 3_000_000 })).length, 3_000_000)
  assert.is(await code(fetcher.content.get(cid, { maxBytes: 2_999_999 })), 'CONTENT_TOO_LARGE')
})

test('CIDs that are not content addresses of ours are refused', async () => {
  const inline = CID.createV1(0x55, identityHash.digest(new Uint8Array([1, 2, 3]))).toString()
  const v0 = 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG'
  const dagCbor = CID.createV1(0x71, CID.parse(await fileCid(new Uint8Array(1))).multihash).toString()
  for (const cid of ['', 'rubbish', inline, v0, dagCbor])
    assert.is(await code(fetcher.content.get(cid, { maxBytes: 10 })), 'CONTENT_CID')
})

test('a folder is not a file, and bytes that only claim to be a dag are refused', async () => {
  // A block published as raw, asked for as dag-pb: same hash, wrong codec.
  const raw = CID.parse(await publish(new Uint8Array(randomBytes(500))))
  const asDag = CID.createV1(0x70, raw.multihash).toString()
  await publisher.network.provide(asDag)
  const got = await code(fetcher.content.get(asDag, { maxBytes: 1_000, timeoutMs: 4_000 }))
  assert.ok(['CONTENT_TYPE', 'CONTENT_MALFORMED'].includes(got), got)
  // The empty UnixFS directory, a well-known block.
  const directory = await publish(Uint8Array.from([0x0a, 0x02, 0x08, 0x01]))
  const asDirectory = CID.createV1(0x70, CID.parse(directory).multihash).toString()
  assert.is(asDirectory, 'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354')
  await publisher.network.provide(asDirectory)
  assert.is(await code(fetcher.content.get(asDirectory, { maxBytes: 1_000, timeoutMs: 4_000 })), 'CONTENT_TYPE')
})

test('a block corrupted on disk is not served and not believed, and is fetched again', async () => {
  const bytes = new Uint8Array(randomBytes(50_000))
  const cid = await publish(bytes)
  await fetcher.content.get(cid, { maxBytes: 50_000 })
  await corrupt(fetcher.folder, cid)
  await fetcher.reopen()
  assert.not.ok(await fetcher.content.has(cid))
  assert.is(Buffer.compare(await fetcher.content.get(cid, { maxBytes: 50_000, timeoutMs: 25_000 }), bytes), 0)

  // The same at the only peer that has it: the asker gets nothing rather than wrong bytes.
  const lonely = new Uint8Array(randomBytes(40_000))
  const lonelyCid = await other.content.add(lonely)
  await corrupt(other.folder, lonelyCid)
  await other.reopen()
  const asked = fetcher.content.get(lonelyCid, {
    maxBytes: 50_000,
    timeoutMs: 2_500,
    from: [other.network.peerId],
  })
  assert.is(await code(asked), 'CONTENT_UNAVAILABLE')
})

/** Changes one byte of a stored block, as a failing disk would. */
async function corrupt(folder: string, cid: string): Promise<void> {
  const name = Buffer.from(CID.parse(cid).multihash.digest).toString('hex')
  const path = join(folder, name.slice(0, 2), name)
  const bytes = await readFile(path)
  bytes[7] = bytes[7]! ^ 1
  await writeFile(path, bytes)
}

test.run()
