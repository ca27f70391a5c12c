import type { Connection, Libp2p, PeerId, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { BLOCK_LIMITS } from '../../protocol/blocks.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import {
  MAX_ATTESTATION_BYTES,
  MAX_BID_BYTES,
  MAX_CATALOGUE_BYTES,
  MAX_JOB_FRAME_BYTES,
  MAX_PULSE_BYTES,
} from '../../protocol/limits.ts'
import { type ByteBudget, type FrameLimits, type FrameStream, frameStream } from './frame-stream.ts'
import type { Log } from './log.ts'

/** The stream protocols of a node. */
export type Method = 'bid' | 'job' | 'attestation' | 'pulse' | 'blocks' | 'models'

export type Quota = FrameLimits & {
  protocol: string
  /** Streams one peer may hold open towards us, over all its connections. */
  maxStreamsPerPeer: number
  /** Streams all peers together may hold open towards us. */
  maxStreams: number
}

/** A method without a quota does not compile. */
export const QUOTAS: Record<Method, Quota> = {
  bid: {
    protocol: '/sinter/bid/1',
    maxFrameBytes: MAX_BID_BYTES,
    maxStreamsPerPeer: 4,
    maxStreams: 512,
    idleTimeoutMs: 15_000,
    frameTimeoutMs: 5_000,
    framesPerSecond: 4,
    burst: 8,
  },
  job: {
    protocol: '/sinter/job/1',
    maxFrameBytes: MAX_JOB_FRAME_BYTES,
    maxStreamsPerPeer: 8,
    maxStreams: 512,
    idleTimeoutMs: 10 * 60_000,
    frameTimeoutMs: 30_000,
    framesPerSecond: 2_000,
    burst: 4_000,
  },
  attestation: {
    protocol: '/sinter/attestation/1',
    // The envelope around the largest attestation.
    maxFrameBytes: MAX_ATTESTATION_BYTES + 1024,
    maxStreamsPerPeer: 2,
    maxStreams: 64,
    idleTimeoutMs: 30_000,
    frameTimeoutMs: 30_000,
    framesPerSecond: 1,
    burst: 4,
  },
  pulse: {
    protocol: '/sinter/pulse/1',
    maxFrameBytes: MAX_PULSE_BYTES,
    maxStreamsPerPeer: 2,
    // All nodes have the same minute for their answers.
    maxStreams: 1024,
    idleTimeoutMs: 15_000,
    frameTimeoutMs: 5_000,
    framesPerSecond: 1,
    burst: 4,
  },
  blocks: {
    protocol: '/sinter/blocks/1',
    maxFrameBytes: BLOCK_LIMITS.bytes,
    maxStreamsPerPeer: 12,
    maxStreams: 128,
    idleTimeoutMs: 60_000,
    frameTimeoutMs: 30_000,
    framesPerSecond: 4_000,
    burst: 8_000,
  },
  models: {
    protocol: '/sinter/models/1',
    maxFrameBytes: MAX_CATALOGUE_BYTES,
    maxStreamsPerPeer: 2,
    maxStreams: 64,
    idleTimeoutMs: 10_000,
    frameTimeoutMs: 5_000,
    framesPerSecond: 1,
    burst: 2,
  },
}

/** Bytes that strangers can make a node hold in half-read streams, all methods together. */
const BUDGET_BYTES = 256 * 1024 * 1024

export type StreamHandler = (stream: FrameStream, peer: PeerId) => Promise<void>

export type Streams = {
  /**
   * Serves a method. The handler owns the stream until its promise settles; the stream is then closed, or aborted if it
   * threw. Its errors are logged and go no further.
   */
  handle(method: Method, handler: StreamHandler): Promise<void>
  /**
   * Opens a stream to a peer, by id (looked up in the DHT when its addresses are unknown) or by addresses.
   * Throws `PEER_UNREACHABLE`, or `PEER_PROTOCOL` when the peer does not serve the method.
   */
  open(target: PeerId | string | string[], method: Method, options?: { timeoutMs?: number }): Promise<FrameStream>
  /** Inbound streams that are open, per method. */
  counts(): Record<Method, number>
  /** Stops serving and ends all streams. */
  stop(): Promise<void>
}

/** A dial target: peer ids as such, otherwise multiaddrs. Throws `PEER_TARGET`. */
export function dialTarget(target: PeerId | string | string[]): PeerId | Multiaddr[] {
  try {
    if (Array.isArray(target)) return target.map((each) => multiaddr(each))
    if (typeof target !== 'string') return target
    return target.startsWith('/') ? [multiaddr(target)] : peerIdFromString(target)
  } catch (cause) {
    throw new SinterError('PEER_TARGET', 'not a peer id or multiaddr', { cause, detail: { target: String(target) } })
  }
}

export function createStreams(init: {
  libp2p: Pick<Libp2p, 'handle' | 'unhandle' | 'dial'>
  log: Log
  quotas?: Record<Method, Quota>
  budgetBytes?: number
}): Streams {
  const { libp2p, log } = init
  const quotas = init.quotas ?? QUOTAS
  const budget: ByteBudget = { used: 0, limit: init.budgetBytes ?? BUDGET_BYTES }
  const each = <T>(make: () => T): Record<Method, T> =>
    Object.fromEntries(Object.keys(QUOTAS).map((method) => [method, make()])) as Record<Method, T>
  const perPeer = each(() => new Map<string, number>())
  const open = each(() => 0)
  const served = new Set<Method>()
  const live = new Set<FrameStream>()

  /** Counts an inbound stream of a peer in, and returns the way to count it out; null when it is one too many. */
  function admit(method: Method, peer: string): (() => void) | null {
    const mine = perPeer[method].get(peer) ?? 0
    if (mine >= quotas[method].maxStreamsPerPeer || open[method] >= quotas[method].maxStreams) return null
    perPeer[method].set(peer, mine + 1)
    open[method]++
    return () => {
      open[method]--
      const left = (perPeer[method].get(peer) ?? 1) - 1
      if (left === 0) perPeer[method].delete(peer)
      else perPeer[method].set(peer, left)
    }
  }

  function wrap(stream: Stream, remotePeer: PeerId, method: Method, onEnd: () => void): FrameStream {
    const framed: FrameStream = frameStream({
      stream,
      remotePeer,
      limits: quotas[method],
      budget,
      onEnd: (error) => {
        live.delete(framed)
        onEnd()
        if (error !== null && error.code !== 'STREAM_CLOSED')
          log.warn({ method, peer: remotePeer.toString(), code: error.code }, `stream aborted: ${error.message}`)
      },
    })
    live.add(framed)
    return framed
  }

  async function serve(framed: FrameStream, method: Method, handler: StreamHandler): Promise<void> {
    try {
      await handler(framed, framed.remotePeer)
      await framed.close()
    } catch (error) {
      const code = error instanceof SinterError ? error.code : 'UNEXPECTED'
      const facts = { method, peer: framed.remotePeer.toString(), code, error: describeError(error) }
      if (code === 'UNEXPECTED') log.error(facts, 'a stream handler failed')
      else log.debug(facts, 'a stream ended with an error')
      framed.abort(error instanceof SinterError ? error : new SinterError('STREAM_HANDLER', 'the handler failed'))
    }
  }

  return {
    async handle(method, handler) {
      const { protocol, maxStreamsPerPeer } = quotas[method]
      served.add(method)
      await libp2p.handle(
        protocol,
        (stream, connection) => {
          const peer = connection.remotePeer
          const leave = admit(method, peer.toString())
          if (leave === null) {
            log.warn({ method, peer: peer.toString(), code: 'STREAM_QUOTA' }, 'stream refused: too many are open')
            stream.abort(new SinterError('STREAM_QUOTA', 'too many streams'))
            return
          }
          void serve(wrap(stream, peer, method, leave), method, handler)
        },
        // Ours is the count that decides, over all connections of a peer; libp2p's is per connection and only a backstop.
        { maxInboundStreams: 2 * maxStreamsPerPeer, maxOutboundStreams: 256 },
      )
    },
    async open(target, method, options = {}) {
      const to = dialTarget(target)
      const timeoutMs = options.timeoutMs ?? 10_000
      const signal = AbortSignal.timeout(timeoutMs)
      let connection: Connection
      try {
        connection = await libp2p.dial(to, { signal })
      } catch (cause) {
        throw new SinterError('PEER_UNREACHABLE', `no connection to the peer within ${timeoutMs} ms`, { cause })
      }
      try {
        const stream = await connection.newStream(quotas[method].protocol, { signal, maxOutboundStreams: 256 })
        return wrap(stream, connection.remotePeer, method, () => {})
      } catch (cause) {
        if (cause instanceof Error && cause.name === 'UnsupportedProtocolError')
          throw new SinterError('PEER_PROTOCOL', `the peer does not speak ${quotas[method].protocol}`, { cause })
        throw new SinterError('PEER_UNREACHABLE', `no stream to the peer within ${timeoutMs} ms`, { cause })
      }
    },
    counts: () => ({ ...open }),
    async stop() {
      await libp2p.unhandle([...served].map((method) => quotas[method].protocol))
      for (const framed of live) framed.abort(new SinterError('STREAM_CLOSED', 'this node is stopping'))
    },
  }
}
