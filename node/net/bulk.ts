import type { CID } from 'multiformats/cid'
import { BLOCK_LIMITS, decodeBlocksQuery } from '../../protocol/blocks.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { BlocksQuerySchema } from '../../protocol/gen/sinter_pb.js'
import { isContentCid } from './blocks.ts'
import { blockKey, isNode, linksOf } from './dag.ts'
import { keyOf } from './disk.ts'
import type { FrameStream } from './frame-stream.ts'
import type { Hold, Shelf } from './shelf.ts'
import type { SourceScores } from './sources.ts'
import type { StreamHandler, Streams } from './streams.ts'

/** Bytes of blocks read for peers and not sent yet, all streams together. */
const SEND_BUDGET_BYTES = 64 * 2 ** 20
/** Blocks of one query. */
const BATCH = 4
/** Blocks asked on one stream and not here yet: enough to keep the line busy while answers are checked and written. */
const WINDOW = 4 * BATCH
/**
 * Streams to one source. A stream begins with a window of 256 KiB, twice as much after each round trip until it has 4 MiB, so on a long line
 * several together carry more, and sooner.
 */
const STREAMS = 3
/** What a source must deliver in the time it has for one block to get a further stream: each of several takes longer over a block. */
const WIDE_BYTES = 10 * 2 ** 20
/** Blocks that arrived and are being written. */
const WRITES = 16
/** A block that one source has had for this long is asked of an idle one as well. */
const STEAL_MS = 1_000
/** Sources at work on one file at once, and streams to all of them. */
const MAX_SOURCES = 6
const MAX_STREAMS = 8

/** Answers queries in order: a frame with the block for each hash, or an empty frame for one that is not here. */
export function blocksHandler(shelf: Pick<Shelf, 'disk' | 'touchBlock'>): StreamHandler {
  const { disk } = shelf
  let held = 0
  const waiting: (() => void)[] = []
  async function reserve(bytes: number): Promise<void> {
    while (held > 0 && held + bytes > SEND_BUDGET_BYTES) await new Promise<void>((resolve) => waiting.push(resolve))
    held += bytes
  }
  function free(bytes: number): void {
    held -= bytes
    for (const resolve of waiting.splice(0)) resolve()
  }
  async function load(key: string): Promise<{ block: Uint8Array | null; bytes: number }> {
    const bytes = disk.size(key)
    if (bytes > BLOCK_LIMITS.bytes) return { block: null, bytes: 0 }
    await reserve(bytes)
    return { block: await disk.read(key), bytes }
  }
  async function answer(stream: FrameStream, hashes: Uint8Array[]): Promise<void> {
    const keys = hashes.map((hash) => toHex(hash).slice(2))
    let next = load(keys[0]!)
    let at = 0
    try {
      while (at < keys.length) {
        const { block, bytes } = await next
        at++
        // The disk reads the next one while this one is sent.
        if (at < keys.length) next = load(keys[at]!)
        try {
          await stream.write(block ?? new Uint8Array())
          if (block !== null) shelf.touchBlock(keys[at - 1]!)
        } finally {
          free(bytes)
        }
      }
    } catch (error) {
      if (at < keys.length) void next.then(({ bytes }) => free(bytes))
      throw error
    }
  }
  return async (stream) => {
    for (;;) {
      let frame: Uint8Array
      try {
        frame = await stream.read(60_000)
      } catch (error) {
        if (errorCode(error) === 'STREAM_CLOSED') return
        throw error
      }
      const hashes = decodeBlocksQuery(frame)
      if (hashes === null) throw new SinterError('FRAME_MALFORMED', 'not a query for blocks')
      await answer(stream, hashes)
    }
  }
}

type Want = {
  cid: CID
  key: string
  done: boolean
  /** Sources that were asked and have not answered. */
  takers: Set<string>
  since: number
  /** Sources that said they do not have it. */
  lacking: Set<string>
}

export type BulkInit = {
  root: CID
  /** Ids of peers that may have it, as they become known. */
  sources: AsyncIterable<string>
  streams: Pick<Streams, 'open'>
  shelf: Pick<Shelf, 'disk'>
  hold: Hold
  /** Blocks that arrived, by key: whoever reads the file now need not read and check them again. */
  fresh: Map<string, Uint8Array>
  /** The file's limit: blocks of more than this, and what nodes may add, are not taken. */
  maxBytes: number
  signal: AbortSignal
  scores: SourceScores
  /** A source that completes no block for this long is dropped (ms). */
  stallMs: number
}

/**
 * Fetches the blocks under a CID that are not on disk, from several sources at once, and returns whether all are here. Each source
 * gets a run of blocks, then the next; what a slow one holds is asked of an idle one too; one that lies or stalls is dropped.
 * Throws `CONTENT_DISK_FULL`, `CONTENT_DISK`, `CONTENT_TOO_LARGE`, `CONTENT_MALFORMED`; not for the faults of sources.
 */
export async function fetchBlocks(init: BulkInit): Promise<boolean> {
  const { root, streams, hold, scores, maxBytes, signal, stallMs } = init
  const { disk } = init.shelf
  const seen = new Set<string>()
  /** Nodes before leaves, since they say what else there is. */
  const pending: Want[] = []
  const asked = new Set<Want>()
  const open = new Map<FrameStream, string>()
  const writes = new Set<Promise<void>>()
  /** Streams to each source, those that are being opened included. */
  const active = new Map<string, number>()
  /** When each source was first asked for a block, and what it has given since. */
  const met = new Map<string, { since: number; bytes: number }>()
  let listing = 0
  let bytes = 0
  let failure: SinterError | null = null
  const wake: (() => void)[] = []
  let ending = false

  const changed = (): void => {
    for (const resolve of wake.splice(0)) resolve()
  }
  const change = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  const fail = (error: unknown): void => {
    failure ??=
      error instanceof SinterError ? error : new SinterError('CONTENT_DISK', 'a fetch failed', { cause: error })
    for (const stream of open.keys()) stream.abort(failure)
    changed()
  }
  const complete = (): boolean => pending.length === 0 && asked.size === 0 && listing === 0 && writes.size === 0
  const over = (): boolean => ending || failure !== null || signal.aborted || complete()

  const count = (size: number): void => {
    bytes += size
    // Nodes take some 60 bytes a link; leaves of other makers may be small.
    if (bytes > maxBytes * 1.25 + 2 ** 20)
      throw new SinterError('CONTENT_TOO_LARGE', `the file is larger than the ${maxBytes} bytes allowed for it`)
  }

  /** Takes up what lies under a node. */
  async function expand(block: Uint8Array): Promise<void> {
    for (const child of linksOf(block)) await want(child)
  }
  async function want(cid: CID): Promise<void> {
    if (!isContentCid(cid)) throw new SinterError('CONTENT_MALFORMED', 'a node links to what is no block of a file')
    const key = blockKey(cid)
    if (seen.has(key)) return
    seen.add(key)
    hold.add(key)
    if (disk.has(key)) {
      // A leaf that the disk got wrong is found when the file is read, and is then missing.
      const block = isNode(cid) ? await disk.read(key) : null
      if (!isNode(cid)) return count(disk.size(key))
      if (block !== null) {
        count(block.length)
        return expand(block)
      }
    }
    const made: Want = { cid, key, done: false, takers: new Set(), since: 0, lacking: new Set() }
    if (isNode(cid)) pending.unshift(made)
    else pending.push(made)
  }

  function take(peer: string): Want[] {
    const taken: Want[] = []
    for (let i = 0; i < pending.length && taken.length < BATCH; ) {
      if (pending[i]!.lacking.has(peer)) i++
      else taken.push(...pending.splice(i, 1))
    }
    if (taken.length === 0) {
      const before = performance.now() - STEAL_MS
      for (const each of [...asked].reverse())
        if (taken.length < BATCH && each.takers.size === 1 && each.since < before)
          if (!each.takers.has(peer) && !each.lacking.has(peer)) taken.push(each)
    }
    if (taken.length > 0 && !met.has(peer)) met.set(peer, { since: performance.now(), bytes: 0 })
    for (const each of taken) {
      asked.add(each)
      each.takers.add(peer)
      each.since = performance.now()
    }
    return taken
  }

  /** Gives up one source's claim; a want that nobody else is at goes back. */
  function release(each: Want, peer: string): void {
    each.takers.delete(peer)
    if (each.done || each.takers.size > 0 || !asked.has(each)) return
    asked.delete(each)
    pending.unshift(each)
    changed()
  }

  function keep(each: Want, block: Uint8Array): void {
    if (each.done) return
    each.done = true
    count(block.length)
    init.fresh.set(each.key, block)
    const written = disk
      .write(each.key, block)
      .catch(fail)
      .finally(() => {
        writes.delete(written)
        changed()
      })
    writes.add(written)
    asked.delete(each)
    if (!isNode(each.cid)) return
    listing++
    void expand(block)
      .catch(fail)
      .finally(() => {
        listing--
        changed()
      })
  }

  async function drain(peer: string, stream: FrameStream): Promise<void> {
    const mine: Want[] = []
    try {
      while (!over()) {
        while (mine.length < WINDOW - BATCH + 1) {
          const batch = take(peer)
          if (batch.length === 0) break
          mine.push(...batch)
          await stream.write(encode(BlocksQuerySchema, { hashes: batch.map(({ key }) => fromHex(key)) }))
        }
        if (mine.length === 0) {
          // What is left it does not have. While others are at work they may find more, or fail and leave theirs to it.
          if (asked.size === 0 && listing === 0 && writes.size === 0) return
          await change(100)
          continue
        }
        const block = await stream.read(stallMs)
        const each = mine[0]!
        if (block.length > 0 && keyOf(block) !== each.key)
          throw new SinterError('BLOCK_WRONG', 'the peer sent a block that is not the one asked for')
        mine.shift()
        if (block.length === 0) {
          each.lacking.add(peer)
          release(each, peer)
          continue
        }
        scores.delivered(peer, block.length)
        const source = met.get(peer)!
        source.bytes += block.length
        const quick = source.bytes / (performance.now() - source.since) > WIDE_BYTES / stallMs
        try {
          keep(each, block)
        } catch (error) {
          fail(error)
        }
        if (quick && pending.length > 0) widen(peer)
        while (writes.size >= WRITES && failure === null) await Promise.race(writes)
      }
    } finally {
      for (const each of mine) release(each, peer)
    }
  }

  const streamsOpen = (): number => [...active.values()].reduce((sum, count) => sum + count, 0)

  function begin(peer: string): void {
    active.set(peer, (active.get(peer) ?? 0) + 1)
    void work(peer).finally(() => {
      const left = active.get(peer)! - 1
      if (left === 0) active.delete(peer)
      else active.set(peer, left)
      changed()
    })
  }
  /** One more stream to a source that delivers. */
  function widen(peer: string): void {
    if (!over() && active.get(peer)! < STREAMS && streamsOpen() < MAX_STREAMS) begin(peer)
  }

  async function work(peer: string): Promise<void> {
    let stream: FrameStream | null = null
    try {
      stream = await streams.open(peer, 'blocks', { timeoutMs: Math.min(10_000, 2 * stallMs) })
      open.set(stream, peer)
      if (!over()) await drain(peer, stream)
      await stream.close()
    } catch (error) {
      const given = failure !== null || ending || signal.aborted || !scores.usable(peer)
      if (!given) scores.failed(peer, errorCode(error))
      stream?.abort(error instanceof SinterError ? error : new SinterError('STREAM_CLOSED', 'the fetch ended'))
      // It lies or hangs: what it was asked on other streams goes to others too.
      if (!scores.usable(peer))
        for (const [other, of] of open)
          if (of === peer) other.abort(new SinterError('STREAM_CLOSED', 'the source is dropped'))
    } finally {
      if (stream !== null) open.delete(stream)
    }
  }

  const onAbort = (): void => {
    for (const stream of open.keys()) stream.abort(new SinterError('STREAM_CLOSED', 'the fetch was given up'))
    changed()
  }
  signal.addEventListener('abort', onAbort)
  try {
    await want(root)
    if (complete()) return true
    const tried = new Set<string>()
    let known = false
    void (async () => {
      for await (const peer of init.sources) {
        if (over()) break
        if (tried.has(peer) || !scores.usable(peer)) continue
        tried.add(peer)
        while (active.size >= MAX_SOURCES && !over()) await change(100)
        begin(peer)
      }
    })()
      .catch(() => {})
      .finally(() => {
        known = true
        changed()
      })
    while (!over() && !(known && active.size === 0)) await change(250)
    const whole = complete()
    ending = true
    // One that gave nothing for so long, where another gave all, would keep the next fetch waiting as well.
    for (const peer of new Set(open.values())) {
      const { since, bytes: given } = met.get(peer) ?? { since: Number.POSITIVE_INFINITY, bytes: 0 }
      if (whole && given === 0 && performance.now() - since > STEAL_MS) scores.failed(peer, 'STREAM_TIMEOUT')
    }
    // A source that is slow with what another delivered is not waited for.
    for (const stream of open.keys()) stream.abort(new SinterError('STREAM_CLOSED', 'the fetch ended'))
    changed()
    await Promise.all(writes)
    if (failure !== null) throw failure
    return whole
  } finally {
    ending = true
    signal.removeEventListener('abort', onAbort)
  }
}
