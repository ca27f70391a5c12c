import { withBitswap } from '@helia/bitswap'
import { type UnixFS, unixfs } from '@helia/unixfs'
import { peerIdFromString } from '@libp2p/peer-id'
import { createHeliaLight } from 'helia'
import type { CID } from 'multiformats/cid'
import { concat } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { CheckedBlocks, dhtRouter, isContentCid } from './blocks.ts'
import { pause } from './discovery.ts'
import { type Network, parseCid } from './libp2p.ts'
import type { Log } from './log.ts'

/**
 * Files by content (UnixFS CIDs) over bitswap, on the node's own libp2p: no public bootstrap, no mDNS, no HTTP gateways.
 * Every block is checked against its hash when it arrives and when it is read from disk.
 */
export type Content = {
  /** Stores a file and returns its CID: version 1, raw leaves of 1 MiB, balanced layout. Announce it with `provide`. */
  add(bytes: Uint8Array): Promise<string>
  /**
   * A whole file, from disk or from peers that announced it (`from` names more peers to ask, such as the one that told us
   * of it). Throws `CONTENT_CID`, `CONTENT_TOO_LARGE` above `maxBytes`, `CONTENT_TYPE` for anything but a file,
   * `CONTENT_MALFORMED` when the blocks do not make up a file, `CONTENT_UNAVAILABLE` when it was not complete in time,
   * `CONTENT_ABORTED` by the signal.
   */
  get(cid: string, options: GetOptions): Promise<Uint8Array>
  /** Whether the whole file is on disk and intact. */
  has(cid: string): Promise<boolean>
  /** Announces in the DHT that we have it. Throws `CONTENT_UNAVAILABLE` when we do not, `DHT_PROVIDE`. */
  provide(cid: string): Promise<void>
  stop(): Promise<void>
}

export type GetOptions = {
  maxBytes: number
  /** @default 60000 */
  timeoutMs?: number
  signal?: AbortSignal
  from?: string[]
}

/** Peers asked for the same block at once: more would be faster only on bad links, and each sends the whole block. */
const SESSION_PEERS = 3
const RETRY_MS = 500
/**
 * A fetch that gets nothing for this long asks again: a bitswap peer ignores the next want for a block it once sent us. Doubled each
 * time, so that a slow link gets its block through in the end.
 */
const STALL_MS = 2_000

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
  if (error instanceof SinterError) return error
  const name = error instanceof Error ? error.name : ''
  if (WRONG_TYPE.has(name)) return new SinterError('CONTENT_TYPE', 'the CID does not name a file', { cause: error })
  if (MALFORMED.has(name))
    return new SinterError('CONTENT_MALFORMED', 'the blocks under this CID do not make up a file', { cause: error })
  return null
}

/** Opens the block store in `folder` and begins to serve its blocks. Stop it before the network. */
export async function createContent(init: {
  network: Pick<Network, 'libp2p' | 'provide'>
  folder: string
  log: Log
}): Promise<Content> {
  const { network, log } = init
  const blocks = new CheckedBlocks(init.folder, (cid) =>
    log.warn({ cid }, 'a block on disk was corrupt and is dropped'),
  )
  try {
    await blocks.open()
  } catch (cause) {
    throw new SinterError('STORE_OPEN', `the block store cannot be opened: ${init.folder}`, { cause })
  }
  const light = createHeliaLight({ blockstore: blocks, routers: [dhtRouter(network.libp2p)] })
  const helia = withBitswap(Object.assign(light, { libp2p: network.libp2p }), {
    maxInboundStreams: 64,
    maxOutboundStreams: 128,
    maxWantlistSize: 512,
    // A peer that lost a block may ask for it again soon.
    doNotResendBlockWindow: 1_000,
  })
  await helia.start()
  const local = unixfs(helia)

  async function fromDisk(cid: CID, maxBytes: number): Promise<Uint8Array | null> {
    try {
      return await read(local, cid, maxBytes, { offline: true })
    } catch (error) {
      const known = fault(error)
      if (known !== null) throw known
      return null
    }
  }

  async function fromPeers(cid: CID, options: GetOptions): Promise<Uint8Array> {
    const { maxBytes, timeoutMs = 60_000 } = options
    const timeout = AbortSignal.timeout(timeoutMs)
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
    const providers = (options.from ?? []).map((peer) => peerIdFromString(peer).toCID())
    let last: unknown
    let stallMs = STALL_MS
    while (!signal.aborted) {
      const stalled = new AbortController()
      let timer = setTimeout(() => stalled.abort(), stallMs)
      const waitAgain = (): void => {
        clearTimeout(timer)
        timer = setTimeout(() => stalled.abort(), stallMs)
      }
      const attempt = { signal: AbortSignal.any([signal, stalled.signal]) }
      const session = helia.blockstore.createSession(cid, { ...attempt, providers, maxProviders: SESSION_PEERS })
      try {
        return await read(unixfs({ blockstore: session }), cid, maxBytes, attempt, waitAgain)
      } catch (error) {
        const known = fault(error)
        if (known !== null) throw known
        last = error
      } finally {
        clearTimeout(timer)
        session.close()
      }
      if (stalled.signal.aborted) stallMs *= 2
      // Nobody has it yet, or those who said so do not answer: look again until the time is up.
      await pause(RETRY_MS, signal)
    }
    if (options.signal?.aborted) throw new SinterError('CONTENT_ABORTED', 'fetching was given up', { cause: last })
    throw new SinterError('CONTENT_UNAVAILABLE', `no peer delivered ${cid} within ${timeoutMs} ms`, { cause: last })
  }

  return {
    async add(bytes) {
      return (await local.addBytes(bytes)).toString()
    },
    async get(text, options) {
      const cid = fileCid(text)
      return (await fromDisk(cid, options.maxBytes)) ?? (await fromPeers(cid, options))
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
      if (!(await blocks.has(cid))) throw new SinterError('CONTENT_UNAVAILABLE', `we do not have ${text} ourselves`)
      await network.provide(text)
    },
    async stop() {
      await helia.stop()
      await blocks.close()
    },
  }
}
