import type { PeerId, Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import { SinterError } from '../../protocol/errors.ts'
import { unref } from '../timers.ts'
import { encodePrefix, frameDecoder } from './frames.ts'

/** A libp2p stream that carries whole frames. One reader and any number of writers at a time. */
export type FrameStream = {
  readonly remotePeer: PeerId
  /**
   * The next frame, at most `maxFrameBytes` long. Throws `STREAM_TIMEOUT` when none came in time (the stream stays usable),
   * `STREAM_CLOSED` after the last frame of a peer that closed, or the code the stream was aborted with.
   */
  read(timeoutMs: number): Promise<Uint8Array>
  /** Resolves when the frame is handed to the transport. Throws `STREAM_FRAME_TOO_LARGE`, `STREAM_CLOSED`, `STREAM_TIMEOUT`. */
  write(bytes: Uint8Array): Promise<void>
  /** Sends what is left, closes our side, and the whole stream some seconds later if the peer does not close its own. */
  close(): Promise<void>
  /** Ends both sides at once; readers and writers see `error`. */
  abort(error: SinterError): void
  readonly closed: boolean
}

export type FrameLimits = {
  maxFrameBytes: number
  /** Nothing sent or received for this long aborts the stream. */
  idleTimeoutMs: number
  /** A frame that has begun must be complete within this time, both ways: peers that drip bytes are cut off. */
  frameTimeoutMs: number
  /** Frames a peer may send per second on the long run, and at once. */
  framesPerSecond: number
  burst: number
}

/** Bytes held for all streams together. */
export type ByteBudget = { used: number; readonly limit: number }

const CLOSE_TIMEOUT_MS = 5_000
/** Frames up to this size are sent in one piece with their prefix. */
const JOIN_BYTES = 64 * 1024

const closedError = (cause?: unknown): SinterError =>
  new SinterError('STREAM_CLOSED', 'the stream is closed', { cause })

/**
 * Takes over a freshly opened stream. Attaches its listeners before returning, as libp2p streams need.
 * `onEnd` is called once, when the stream is over in both directions.
 */
export function frameStream(init: {
  stream: Stream
  remotePeer: PeerId
  limits: FrameLimits
  budget: ByteBudget
  now?: () => number
  onEnd?: (error: SinterError | null) => void
}): FrameStream {
  const { stream, limits, budget, remotePeer } = init
  const now = init.now ?? Date.now
  const decoder = frameDecoder(limits.maxFrameBytes)
  const queue: Uint8Array[] = []
  let queued = 0
  let charged = 0
  let failure: SinterError | null = null
  let remoteDone = false
  let over = false
  let waiting: { resolve: () => void } | null = null
  let lastActivity = now()
  let frameSince = 0
  let tokens = limits.burst
  let tokensAt = now()

  const settle = (): void => {
    waiting?.resolve()
    waiting = null
  }
  /** Keeps the shared count of held bytes equal to what this stream holds. */
  const charge = (): void => {
    const held = over ? 0 : queued + decoder.held()
    budget.used += held - charged
    charged = held
  }
  const abort = (error: SinterError): void => {
    failure ??= error
    if (!over) stream.abort(error)
    settle()
  }

  const watch = setInterval(
    () => {
      const at = now()
      if (at - lastActivity > limits.idleTimeoutMs)
        abort(new SinterError('STREAM_TIMEOUT', `nothing was sent for ${limits.idleTimeoutMs} ms`))
      else if (frameSince > 0 && stream.readStatus !== 'paused' && at - frameSince > limits.frameTimeoutMs)
        abort(new SinterError('STREAM_TIMEOUT', `a frame was not complete after ${limits.frameTimeoutMs} ms`))
    },
    Math.max(50, Math.min(5_000, limits.idleTimeoutMs / 4, limits.frameTimeoutMs / 4)),
  )
  unref(watch)

  const onMessage = (event: StreamMessageEvent): void => {
    lastActivity = now()
    if (failure !== null) return
    try {
      const frames: Uint8Array[] = []
      // Piece by piece: a list of buffers as a whole would be a copy of all of them.
      for (const piece of event.data instanceof Uint8Array ? [event.data] : event.data)
        frames.push(...decoder.push(piece))
      if (frames.length > 0) frameSince = 0
      if (decoder.held() > 0 && frameSince === 0) frameSince = lastActivity
      tokens =
        Math.min(limits.burst, tokens + ((lastActivity - tokensAt) / 1000) * limits.framesPerSecond) - frames.length
      tokensAt = lastActivity
      if (tokens < 0)
        throw new SinterError('STREAM_QUOTA', `more than ${limits.framesPerSecond} frames a second from this peer`)
      for (const frame of frames) {
        queue.push(frame)
        queued += frame.length
      }
      charge()
      if (budget.used > budget.limit)
        throw new SinterError('STREAM_BUDGET', 'the streams of this node hold too many bytes')
    } catch (error) {
      abort(error as SinterError)
      return
    }
    if (queue.length === 0) return
    settle()
    // Nobody is reading fast enough: stop granting window, so that the sender waits and not our memory.
    if (queued > limits.maxFrameBytes && stream.readStatus === 'readable') stream.pause()
  }
  const onRemoteDone = (): void => {
    remoteDone = true
    settle()
  }
  const onClose = (event: StreamCloseEvent): void => {
    if (over) return
    over = true
    clearInterval(watch)
    if (event.error !== undefined) failure ??= closedError(event.error)
    charge()
    settle()
    init.onEnd?.(failure)
  }
  stream.addEventListener('message', onMessage)
  stream.addEventListener('remoteCloseWrite', onRemoteDone)
  stream.addEventListener('close', onClose)
  // The peer may have answered and hung up in one packet, before anybody could listen: those events will not come again.
  if (stream.remoteWriteStatus === 'closed') remoteDone = true
  if (stream.status === 'reset' || stream.status === 'aborted' || stream.status === 'closed') {
    over = true
    if (stream.status !== 'closed') failure = closedError()
    clearInterval(watch)
    queueMicrotask(() => init.onEnd?.(failure))
  }

  /** Waits until the transport takes more. `stream.onDrain()` keeps its first promise for ever, so we listen ourselves. */
  const drained = (): Promise<void> =>
    new Promise((resolve, fail) => {
      const done = (error?: SinterError): void => {
        clearTimeout(timer)
        stream.removeEventListener('drain', onDrain)
        stream.removeEventListener('close', onEnd)
        if (error === undefined) resolve()
        else fail(error)
      }
      const onDrain = (): void => done()
      const onEnd = (): void => done(failure ?? closedError())
      const timer = setTimeout(() => {
        const error = new SinterError('STREAM_TIMEOUT', `the peer took no data for ${limits.frameTimeoutMs} ms`)
        abort(error)
        done(error)
      }, limits.frameTimeoutMs)
      stream.addEventListener('drain', onDrain)
      stream.addEventListener('close', onEnd)
    })

  return {
    remotePeer,
    async read(timeoutMs) {
      const deadline = now() + timeoutMs
      for (;;) {
        if (failure !== null && failure.code !== 'STREAM_CLOSED') throw failure
        const frame = queue.shift()
        if (frame !== undefined) {
          queued -= frame.length
          charge()
          if (queued <= limits.maxFrameBytes / 2 && stream.readStatus === 'paused') stream.resume()
          return frame
        }
        if (failure !== null) throw failure
        if ((remoteDone || over) && stream.readBufferLength === 0) throw closedError()
        if (waiting !== null) throw new SinterError('STREAM_BUSY', 'somebody is already reading this stream')
        const left = deadline - now()
        if (left <= 0) throw new SinterError('STREAM_TIMEOUT', `no frame within ${timeoutMs} ms`)
        await new Promise<void>((resolve) => {
          const entry = { resolve }
          const timer = setTimeout(() => {
            if (waiting === entry) waiting = null
            resolve()
          }, left)
          entry.resolve = () => {
            clearTimeout(timer)
            resolve()
          }
          waiting = entry
        })
      }
    },
    async write(bytes) {
      if (bytes.length > limits.maxFrameBytes)
        throw new SinterError('STREAM_FRAME_TOO_LARGE', `a frame is at most ${limits.maxFrameBytes} bytes here`, {
          detail: { bytes: bytes.length },
        })
      while (stream.writableNeedsDrain && !over) await drained()
      if (failure !== null) throw failure
      if (over || stream.writeStatus !== 'writable') throw closedError()
      lastActivity = now()
      const prefix = encodePrefix(bytes.length)
      try {
        if (bytes.length > JOIN_BYTES) {
          stream.send(prefix)
          stream.send(bytes)
        } else {
          const joined = new Uint8Array(prefix.length + bytes.length)
          joined.set(prefix)
          joined.set(bytes, prefix.length)
          stream.send(joined)
        }
      } catch (cause) {
        throw failure ?? closedError(cause)
      }
      while (stream.writableNeedsDrain && !over) {
        await drained()
        lastActivity = now()
      }
      if (failure !== null) throw failure
    },
    async close() {
      if (over) return
      try {
        await stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
      } catch (cause) {
        abort(closedError(cause))
        return
      }
      unref(setTimeout(() => abort(closedError()), CLOSE_TIMEOUT_MS))
    },
    abort,
    get closed() {
      return over || failure !== null
    },
  }
}
