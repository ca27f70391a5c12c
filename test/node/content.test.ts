import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import { CID } from 'multiformats/cid'
import { identity as identityHash } from 'multiformats/hashes/identity'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fileCid } from '../../models/cid.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { type Content, createContent } from '../../node/net/content.ts'
import { createNetwork, type Network } from '../../node/net/libp2p.ts'
import { errorCode } from '../../protocol/errors.ts'
import { accept } from '../../protocol/verdict.ts'

const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })
const judge = async () => accept

type Peer = { network: Network; content: Content; folder: string }
let root = ''
const peers: Peer[] = []

const startNetwork = (bootstrap: string[], mode: 'node' | 'light' = 'node'): Promise<Network> =>
  createNetwork({
    identity: identityFromKey(new Uint8Array(randomBytes(32))),
    tag: 'test-00000000',
    listen: mode === 'node' ? ['/ip4/127.0.0.1/tcp/0'] : [],
    bootstrap,
    mode,
    devnet: true,
    topics: { offers: judge, attestations: judge, votes: judge },
    log,
  })

const start = async (bootstrap: string[], mode: 'node' | 'light' = 'node'): Promise<Peer> => {
  const folder = join(root, String(peers.length))
  const network = await startNetwork(bootstrap, mode)
  const peer = { network, folder, content: await createContent({ network, folder, log }) }
  peers.push(peer)
  return peer
}

let publisher: Peer
let fetcher: Peer
let other: Peer

test.before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sinter-content-'))
  publisher = await start([])
  const bootstrap = publisher.network.addresses()
  fetcher = await start(bootstrap)
  other = await start(bootstrap)
  await Promise.all(peers.map(({ network }) => network.waitForPeers(2, 10_000)))
})
test.after(async () => {
  for (const { content, network } of peers) {
    await content.stop()
    await network.stop()
  }
  await rm(root, { recursive: true, force: true })
})

const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', errorCode)
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
  console.log(`  64 MiB over bitswap, both ends in this process: ${(64 / seconds).toFixed(0)} MiB/s`)
  assert.is(Buffer.compare(got, bytes), 0)
})

test('a light client fetches, and a peer that fetched can pass on when the publisher is asked no more', async () => {
  const light = await start(publisher.network.addresses(), 'light')
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
  await fetcher.content.stop()
  await corrupt(fetcher.folder, cid)
  fetcher.content = await createContent({ ...fetcher, log })
  assert.not.ok(await fetcher.content.has(cid))
  assert.is(Buffer.compare(await fetcher.content.get(cid, { maxBytes: 50_000, timeoutMs: 25_000 }), bytes), 0)

  // The same at the only peer that has it: the asker gets nothing rather than wrong bytes.
  const lonely = new Uint8Array(randomBytes(40_000))
  const lonelyCid = await other.content.add(lonely)
  await other.content.stop()
  await corrupt(other.folder, lonelyCid)
  other.content = await createContent({ ...other, log })
  const asked = fetcher.content.get(lonelyCid, {
    maxBytes: 50_000,
    timeoutMs: 2_500,
    from: [other.network.peerId],
  })
  assert.is(await code(asked), 'CONTENT_UNAVAILABLE')
})

/** Changes one byte of a stored block, as a failing disk would. */
async function corrupt(folder: string, cid: string): Promise<void> {
  const db = new Level<string, Uint8Array>(folder, { keyEncoding: 'utf8', valueEncoding: 'view' })
  const wanted = Buffer.from(CID.parse(cid).multihash.bytes)
  let done = false
  for await (const [key, value] of db.iterator()) {
    const { base32upper } = await import('multiformats/bases/base32')
    if (!wanted.equals(Buffer.from(base32upper.decode(key.slice(1))))) continue
    const bytes = new Uint8Array(value)
    bytes[7] = bytes[7]! ^ 1
    await db.put(key, bytes)
    done = true
  }
  await db.close()
  assert.ok(done, 'the block was there to corrupt')
}

test.run()
