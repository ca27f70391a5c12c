import { type UnixFS, unixfs } from '@helia/unixfs'
import { peerIdFromString } from '@libp2p/peer-id'
import { CID } from 'multiformats/cid'
import { concat } from '../../protocol/bytes.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { within } from '../loop.ts'
import { type Bitswap, openBitswap } from './bitswap.ts'
import { dhtRouter, heliaBlocks, isContentCid } from './blocks.ts'
import { blocksHandler, fetchBlocks } from './bulk.ts'
import { blockKey, blocksUnder } from './dag.ts'
import { pause } from './discovery.ts'
import { type Network, parseCid } from './libp2p.ts'
import type { Log } from './log.ts'
import { type FileFlags, type Hold, openShelf, type Usage } from './shelf.ts'
import { createSourceScores, type SourceScores } from './sources.ts'
import type { Streams } from './streams.ts'

/**
 * Files by content (UnixFS CIDs) over block streams, or bitswap with peers that speak nothing else, on the node's own libp2p: no public bootstrap, no mDNS, no HTTP gateways.
 * Every block is checked against its hash when it arrives and when it is read from disk.
 */
export type Content = {
  /**
   * Stores a file and returns its CID: version 1, raw leaves of 1 MiB, balanced layout. Announce it with `provide`. With `keep` it is
   * never evicted, over restarts too. Throws `CONTENT_DISK_FULL`.
   */
  add(bytes: Uint8Array, options?: { keep?: boolean }): Promise<string>
  /**
   * A whole file, from disk or from peers that announced it (`from` names more peers to ask, such as the one that told us
   * of it). Throws `CONTENT_CID`, `CONTENT_TOO_LARGE` above `maxBytes`, `CONTENT_TYPE` for anything but a file,
   * `CONTENT_MALFORMED` when the blocks do not make up a file, `CONTENT_UNAVAILABLE` when it was not complete in time,
   * `CONTENT_ABORTED` by the signal, `CONTENT_DISK_FULL` when it has no room here.
   */
  get(cid: string, options: GetOptions): Promise<Uint8Array>
  /** Whether the whole file is on disk and intact. */
  has(cid: string): Promise<boolean>
  /** Announces in the DHT that we have it. Throws `CONTENT_UNAVAILABLE` when we do not, `DHT_PROVIDE`. */
  provide(cid: string): Promise<void>
  /** Keeps a file from eviction until the returned function is called. It need not be here yet. */
  pin(cid: string): () => void
  /** Gives a file back to eviction that was added with `keep`. */
  release(cid: string): Promise<void>
  usage(): Usage
  stop(): Promise<void>
}

export type GetOptions = {
  maxBytes: number
  /** @default 60000 */
  timeoutMs?: number
  signal?: AbortSignal
  /** Peers to ask before any others. */
  from?: string[]
  /** CID of what this file belongs to: those who announced that are asked for it. */
  within?: string
}

/** Peers asked for the same block at once: more would be faster only on bad links, and each sends the whole block. */
const SESSION_PEERS = 3
const RETRY_MS = 500
/**
 * A fetch that gets nothing for this long asks again: a bitswap peer ignores the next want for a block it once sent us. Doubled each
 * time, so that a slow link gets its block through in the end.
 */
const STALL_MS = 2_000
/** Without bitswap at hand, plain streams alone are tried for so long (ms): a record may only not be found yet. */
const STREAMS_FIRST_MS = 10_000

/** Errors of Helia and of the UnixFS decoder that say that the content itself is no file of ours. */
const WRONG_TYPE = new Set([
  'NotAFileError',
  'NoContentError',
  'NotUnixFSError',
  'NoResolverError',
  'UnknownCodecError',
])
const MALFORMED = new Set(['UnderReadError', 'OverReadError', 'ResolveError', 'SyntaxError', 'TypeError', 'RangeError'])

function fileCid(text: string): CID {
  const cid = parseCid(text)
  if (!isContentCid(cid))
    throw new SinterError('CONTENT_CID', `not a version 1 CID of a file with SHA-256: ${text.slice(0, 100)}`)
  return cid
}

async function read(
  fs: UnixFS,
  cid: CID,
  maxBytes: number,
  options: Parameters<UnixFS['cat']>[1],
  onData: () => void = () => {},
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of fs.cat(cid, options)) {
    onData()
    size += part.length
    if (size > maxBytes)
      throw new SinterError('CONTENT_TOO_LARGE', `the file is larger than the ${maxBytes} bytes allowed for it`)
    parts.push(part)
  }
  return concat(...parts)
}

/** The coded form of what a read failed with, or null when trying again may help. */
function fault(error: unknown): SinterError | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof SinterError) return cause
  const name = error instanceof Error ? error.name : ''
  if (WRONG_TYPE.has(name)) return new SinterError('CONTENT_TYPE', 'the CID does not name a file', { cause: error })
  if (MALFORMED.has(name))
    return new SinterError('CONTENT_MALFORMED', 'the blocks under this CID do not make up a file', { cause: error })
  return null
}

export type ContentInit = {
  network: Pick<Network, 'libp2p' | 'provide' | 'findProviders'>
  /** Serves and asks for blocks over plain streams; without them there is bitswap only. */
  streams?: Pick<Streams, 'open' | 'handle'>
  folder: string
  /** Bytes of blocks on disk, above which the least recently used files go. @default 20 GiB */
  quotaBytes?: number
  /** Milliseconds in which a source must complete a block. @default 10_000 */
  sourceStallMs?: number
  /** `when-needed` starts bitswap when nobody has a file over plain streams, or when a file is announced here. @default 'always' */
  bitswap?: 'always' | 'when-needed'
  scores?: SourceScores
  log: Log
}

type Fresh = Map<string, Uint8Array>

/** An announcement under way when the content stops gets this long (ms). */
const STOP_GRACE_MS = 1_000
/** For so long the holders of a set are taken to be the same (ms), and for so many sets. */
const HOLDERS_MS = 30_000
const MAX_SETS = 256
const QUOTA_BYTES = 20 * 2 ** 30

/** Opens the block store in `folder` and begins to serve its blocks. Stop it before the network. */
export async function createContent(init: ContentInit): Promise<Content> {
  const { network, streams, log, sourceStallMs = 10_000, scores = createSourceScores() } = init
  const { libp2p } = network
  const shelf = await openShelf({
    folder: init.folder,
    quota: init.quotaBytes ?? QUOTA_BYTES,
    onCorrupt: (block) => log.warn({ event: 'content.corrupt', block }, 'a block on disk was corrupt and is dropped'),
    onEvict({ cid, announced }) {
      log.info({ event: 'content.evicted', cid }, 'a file gave way to others')
      if (announced) void withdraw(cid)
    },
  })
  const { disk } = shelf
  const blockstore = heliaBlocks(disk)
  let swapping: Promise<Bitswap> | null = null
  const bitswap = (): Promise<Bitswap> => (swapping ??= openBitswap(network, blockstore, dhtRouter(libp2p)))
  if (init.bitswap !== 'when-needed') await bitswap()
  await streams?.handle('blocks', blocksHandler(shelf))
  const local = unixfs({ blockstore })

  const withdraw = (cid: string): Promise<void> =>
    libp2p.contentRouting.cancelReprovide(CID.parse(cid)).catch((error: unknown) => {
      log.debug({ event: 'content.unwithdrawn', cid, error: describeError(error) }, 'provider record not withdrawn')
    })

  /** Notes a file whose blocks are all here. */
  async function record(cid: CID, flags: Partial<FileFlags> = {}): Promise<void> {
    const keys = await blocksUnder(cid, disk.read)
    if (keys?.every(disk.has)) await shelf.record(cid.toString(), keys, flags)
  }

  /** From disk, or from the blocks in `fresh`, which are checked and on disk too. */
  async function fromDisk(cid: CID, maxBytes: number, fresh: Fresh = new Map()): Promise<Uint8Array | null> {
    if (!disk.has(blockKey(cid))) return null
    const here = fresh.size === 0 ? disk : { ...disk, read: async (key: string) => fresh.get(key) ?? disk.read(key) }
    try {
      return await read(unixfs({ blockstore: heliaBlocks(here) }), cid, maxBytes, {})
    } catch (error) {
      const known = fault(error)
      if (known !== null) throw known
      return null
    }
  }

  const holders = new Map<string, { at: number; peers: Promise<string[]> }>()
  /** Who announced a set of files: asked once for many of them. */
  function holdersOf(set: string): Promise<string[]> {
    const known = holders.get(set)
    if (known !== undefined && performance.now() - known.at < HOLDERS_MS) return known.peers
    holders.delete(set)
    const peers = network.findProviders(fileCid(set).toString(), { timeoutMs: 3_000, limit: 8 })
    holders.set(set, { at: performance.now(), peers })
    peers.then(
      (found) => found.length === 0 && holders.delete(set),
      () => holders.delete(set),
    )
    if (holders.size > MAX_SETS) holders.delete(holders.keys().next().value!)
    return peers
  }

  /** Peers to ask: those that we were told of, those that announced what the file is part of, then those that announced it. */
  async function* sources(cid: CID, options: GetOptions, signal: AbortSignal): AsyncGenerator<string> {
    yield* options.from ?? []
    if (options.within !== undefined) yield* await holdersOf(options.within)
    for await (const { id } of libp2p.contentRouting.findProviders(cid, { signal }))
      if (!id.equals(libp2p.peerId)) yield id.toString()
  }

  /** Over plain streams; whether all blocks are here. */
  async function overStreams(
    cid: CID,
    options: GetOptions,
    signal: AbortSignal,
    hold: Hold,
    fresh: Fresh,
  ): Promise<boolean> {
    if (streams === undefined) return false
    const ended = new AbortController()
    try {
      return await fetchBlocks({
        root: cid,
        sources: sources(cid, options, AbortSignal.any([signal, ended.signal])),
        streams,
        shelf,
        hold,
        fresh,
        maxBytes: options.maxBytes,
        signal,
        scores,
        stallMs: sourceStallMs,
      })
    } finally {
      ended.abort()
    }
  }

  /** Over bitswap, from peers that speak nothing else. Gives up when nothing came for `stallMs`. */
  async function overBitswap(cid: CID, options: GetOptions, signal: AbortSignal, stallMs: number): Promise<Uint8Array> {
    const { session: open } = await bitswap()
    const stalled = new AbortController()
    let timer = setTimeout(() => stalled.abort(), stallMs)
    // A browser's timers cannot be refreshed.
    const waitAgain = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => stalled.abort(), stallMs)
    }
    const attempt = { signal: AbortSignal.any([signal, stalled.signal]) }
    const providers = (options.from ?? []).map((peer) => peerIdFromString(peer).toCID())
    const session = open(cid, { ...attempt, providers, maxProviders: SESSION_PEERS })
    try {
      return await read(unixfs({ blockstore: session }), cid, options.maxBytes, attempt, waitAgain)
    } finally {
      clearTimeout(timer)
      session.close()
    }
  }

  async function fromPeers(cid: CID, options: GetOptions, hold: Hold): Promise<Uint8Array> {
    const { maxBytes, timeoutMs = 60_000 } = options
    const timeout = AbortSignal.timeout(timeoutMs)
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
    let last: unknown
    let stallMs = STALL_MS
    const patient = init.bitswap === 'when-needed' ? Date.now() + STREAMS_FIRST_MS : 0
    while (!signal.aborted) {
      try {
        const fresh: Fresh = new Map()
        if (await overStreams(cid, options, signal, hold, fresh)) {
          const bytes = await fromDisk(cid, maxBytes, fresh)
          if (bytes !== null) return bytes
          // A block that lay here was corrupt and is gone: it is asked for now.
          continue
        }
        if (!signal.aborted && Date.now() >= patient) return await overBitswap(cid, options, signal, stallMs)
      } catch (error) {
        const known = fault(error)
        if (known !== null) throw known
        last = error
        stallMs *= 2
      }
      // Nobody has it yet, or those who said so do not answer: look again until the time is up.
      await pause(RETRY_MS, signal)
    }
    if (options.signal?.aborted) throw new SinterError('CONTENT_ABORTED', 'fetching was given up', { cause: last })
    throw new SinterError('CONTENT_UNAVAILABLE', `no peer delivered ${cid} within ${timeoutMs} ms`, { cause: last })
  }

  const stopping = new AbortController()
  /** Records live as long as the process that published them: what we announced before a restart is announced anew. */
  const announcing = (async () => {
    for (const { cid, announced } of shelf.files())
      for (let pauseMs = 1_000; announced && !stopping.signal.aborted; pauseMs = Math.min(2 * pauseMs, 60_000)) {
        const failed = await network.provide(cid).then(
          () => false,
          () => true,
        )
        // Alone, it would reach nobody.
        if (!failed && libp2p.getPeers().length > 0) break
        await pause(pauseMs, stopping.signal)
      }
  })()

  return {
    async add(bytes, options = {}) {
      const hold = shelf.hold()
      try {
        const cid = await local.addBytes(bytes)
        await record(cid, options)
        return cid.toString()
      } catch (error) {
        throw fault(error) ?? error
      } finally {
        hold.release()
      }
    },
    async get(text, options) {
      const cid = fileCid(text)
      const name = cid.toString()
      const hold = shelf.hold()
      const unpin = shelf.pin(name)
      try {
        const bytes = (await fromDisk(cid, options.maxBytes)) ?? (await fromPeers(cid, options, hold))
        if (shelf.has(name)) shelf.touch(name)
        else await record(cid)
        return bytes
      } finally {
        unpin()
        hold.release()
      }
    },
    async has(text) {
      try {
        return (await fromDisk(fileCid(text), Number.POSITIVE_INFINITY)) !== null
      } catch (error) {
        if (errorCode(error) === 'CONTENT_CID') throw error
        return false
      }
    },
    async provide(text) {
      const cid = fileCid(text)
      if (!disk.has(blockKey(cid))) throw new SinterError('CONTENT_UNAVAILABLE', `we do not have ${text} ourselves`)
      await bitswap()
      await network.provide(text)
      await shelf.flag(cid.toString(), { announced: true })
    },
    pin: (text) => shelf.pin(fileCid(text).toString()),
    release: (text) => shelf.flag(fileCid(text).toString(), { keep: false }),
    usage: shelf.usage,
    async stop() {
      stopping.abort()
      const swap = await swapping?.catch(() => null)
      await Promise.all([swap?.stop(), within(announcing, STOP_GRACE_MS)])
    },
  }
}
