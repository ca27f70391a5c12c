import { randomBytes } from 'node:crypto'
import type { Stream } from '@libp2p/interface'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { addressOfPeer, identityFromKey } from '../../node/identity/identity.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import { encodePrefix, frameDecoder } from '../../node/net/frames.ts'
import type { Network } from '../../node/net/libp2p.ts'
import {
  createStreams,
  type Method,
  QUOTAS,
  type Quota,
  type StreamHandler,
  type Streams,
} from '../../node/net/streams.ts'
import { errorCode } from '../../protocol/errors.ts'
import { openPeer } from './peer.ts'

const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })
const identities = [0, 1].map(() => identityFromKey(new Uint8Array(randomBytes(32))))

/** Small limits, so that the tests can reach them. */
const QUOTA: Quota = {
  protocol: '/sinter/job/1',
  maxFrameBytes: 100_000,
  maxStreamsPerPeer: 3,
  maxStreams: 100,
  idleTimeoutMs: 600,
  frameTimeoutMs: 400,
  framesPerSecond: 1,
  burst: 200,
}
const quotas: Record<Method, Quota> = {
  job: QUOTA,
  attestation: QUOTA,
  pulse: QUOTA,
  blocks: QUOTA,
  models: QUOTA,
  bid: {
    ...QUOTA,
    protocol: '/sinter/bid/1',
    maxFrameBytes: 8 * 1024 * 1024,
    burst: 100_000,
    idleTimeoutMs: 5_000,
    frameTimeoutMs: 5_000,
  },
}

let server: Network
let client: Network
let serving: Streams
let calling: Streams
let onJob: StreamHandler = async () => {}
let onBid: StreamHandler = async () => {}

const echo: StreamHandler = async (stream) => {
  for (;;) await stream.write(await stream.read(5_000))
}

test.before(async () => {
  const start = (index: number): Promise<Network> => openPeer(identities[index]!)
  server = await start(0)
  client = await start(1)
  serving = createStreams({ libp2p: server.libp2p, log, quotas, budgetBytes: 16_000_000 })
  calling = createStreams({
    libp2p: client.libp2p,
    log,
    quotas: {
      job: { ...QUOTA, maxFrameBytes: 200_000, idleTimeoutMs: 60_000 },
      attestation: QUOTA,
      pulse: QUOTA,
      blocks: QUOTA,
      models: QUOTA,
      bid: { ...quotas.bid, idleTimeoutMs: 60_000 },
    },
  })
  await serving.handle('job', (stream, peer) => onJob(stream, peer))
  await serving.handle('bid', (stream, peer) => onBid(stream, peer))
  await client.dial(server.addresses())
})
test.after(async () => {
  await Promise.all([serving.stop(), calling.stop()])
  await Promise.all([server.stop(), client.stop()])
})

const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', errorCode)

/** A stream of the job protocol without our framing, as other software would open it. */
const rawStream = async (): Promise<{ stream: Stream; ended: Promise<void> }> => {
  const stream = await client.libp2p.dialProtocol(server.libp2p.peerId, QUOTA.protocol)
  stream.addEventListener('message', () => {})
  return { stream, ended: new Promise((resolve) => stream.addEventListener('close', () => resolve())) }
}

/** Serves the next job stream, giving back the code its first read ends with. */
const nextRead = (timeoutMs = 5_000): Promise<string> =>
  new Promise((resolve) => {
    onJob = async (stream) => {
      resolve(await code(stream.read(timeoutMs)))
    }
  })

test('frames survive any split of the bytes', () => {
  const frames = [0, 1, 127, 128, 300, 16_384, 99_999].map((size) => new Uint8Array(randomBytes(size)))
  const bytes = Buffer.concat(frames.flatMap((frame) => [encodePrefix(frame.length), frame]))
  for (const step of [1, 2, 3, 1000, bytes.length]) {
    const decoder = frameDecoder(100_000)
    const got: Uint8Array[] = []
    for (let at = 0; at < bytes.length; at += step) got.push(...decoder.push(bytes.subarray(at, at + step)))
    assert.is(got.length, frames.length)
    for (const [i, frame] of frames.entries()) assert.is(Buffer.compare(got[i]!, frame), 0)
    assert.is(decoder.held(), 0)
  }
})

test('prefixes: the largest allowed passes, one more, too long and not shortest are refused before the payload', () => {
  const failure = (bytes: number[] | Uint8Array): string => {
    try {
      frameDecoder(300).push(Uint8Array.from(bytes))
    } catch (error) {
      return errorCode(error)
    }
    return 'none'
  }
  assert.is(failure(encodePrefix(300)), 'none')
  assert.is(failure(encodePrefix(301)), 'STREAM_FRAME_TOO_LARGE')
  assert.is(failure(encodePrefix(2 ** 32)), 'STREAM_FRAME_TOO_LARGE')
  assert.is(failure([0x81, 0x00]), 'STREAM_FRAME_MALFORMED')
  assert.is(failure([0xff, 0xff, 0xff, 0xff, 0xff]), 'STREAM_FRAME_MALFORMED')
})

test('the production quotas are those of the specification', () => {
  assert.is(QUOTAS.bid.protocol, '/sinter/bid/1')
  assert.is(QUOTAS.job.protocol, '/sinter/job/1')
  assert.is(QUOTAS.pulse.protocol, '/sinter/pulse/1')
  assert.is(QUOTAS.bid.maxFrameBytes, 8 * 1024)
  assert.is(QUOTAS.pulse.maxFrameBytes, 1024)
  assert.is(QUOTAS.job.maxFrameBytes, 16 * 1024 * 1024)
})

test('requests and answers go over one stream, and the peer is known by key and address', async () => {
  onBid = async (stream, peer) => {
    assert.is(peer.toString(), client.peerId)
    assert.is(addressOfPeer(peer), identities[1]!.address)
    await echo(stream, peer)
  }
  const stream = await calling.open(server.peerId, 'bid')
  assert.is(stream.remotePeer.toString(), server.peerId)
  for (const size of [0, 1, 1000, 70_000, 3_000_000]) {
    const frame = new Uint8Array(randomBytes(size))
    await stream.write(frame)
    assert.is(Buffer.compare(await stream.read(5_000), frame), 0)
  }
  const times: number[] = []
  const small = new Uint8Array(1024)
  for (let i = 0; i < 200; i++) {
    const at = performance.now()
    await stream.write(small)
    await stream.read(1_000)
    times.push(performance.now() - at)
  }
  times.sort((a, b) => a - b)
  console.log(`  round trip of 1 KiB, both ends in this process: ${times[100]!.toFixed(2)} ms (median)`)
  await stream.close()
})

test('a stream opens by address as well, and without a peer or protocol it is a coded error', async () => {
  onJob = echo
  const stream = await calling.open(server.addresses(), 'job')
  await stream.write(new Uint8Array([1]))
  assert.equal(await stream.read(1_000), new Uint8Array([1]))
  await stream.close()
  const nobody = identityFromKey(new Uint8Array(randomBytes(32))).peerId.toString()
  assert.is(await code(calling.open(nobody, 'job', { timeoutMs: 1_000 })), 'PEER_UNREACHABLE')
  assert.is(await code(calling.open('garbage', 'job')), 'PEER_TARGET')
  assert.is(await code(serving.open(client.peerId, 'job')), 'PEER_PROTOCOL')
})

test('frames sent before the peer closed can still be read, then the stream is STREAM_CLOSED', async () => {
  onJob = async (stream) => {
    for (let i = 0; i < 3; i++) await stream.write(new Uint8Array([i]))
  }
  const stream = await calling.open(server.peerId, 'job')
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (let i = 0; i < 3; i++) assert.equal(await stream.read(1_000), new Uint8Array([i]))
  assert.is(await code(stream.read(1_000)), 'STREAM_CLOSED')
  await stream.close()
  assert.is(await code(stream.write(new Uint8Array(1))), 'STREAM_CLOSED')
})

test('a read that times out leaves the stream usable', async () => {
  onJob = async (stream) => {
    await stream.read(5_000)
    await stream.write(new Uint8Array([7]))
  }
  const stream = await calling.open(server.peerId, 'job')
  assert.is(await code(stream.read(50)), 'STREAM_TIMEOUT')
  await stream.write(new Uint8Array([1]))
  assert.equal(await stream.read(1_000), new Uint8Array([7]))
  await stream.close()
})

test('a frame above our own limit is refused on sending', async () => {
  onJob = echo
  const stream = await calling.open(server.peerId, 'job')
  assert.is(await code(stream.write(new Uint8Array(200_001))), 'STREAM_FRAME_TOO_LARGE')
  await stream.close()
})

test('a peer that announces a frame above the limit is cut off at once', async () => {
  const seen = nextRead()
  const stream = await calling.open(server.peerId, 'job')
  await stream.write(new Uint8Array(100_001)).catch(() => {})
  assert.is(await seen, 'STREAM_FRAME_TOO_LARGE')
  assert.is(await code(stream.read(2_000)), 'STREAM_CLOSED')
})

test('a peer that drips a frame, and one that says nothing, are cut off in time', async () => {
  let seen = nextRead()
  const dripping = await rawStream()
  dripping.stream.send(encodePrefix(1000))
  const drip = setInterval(() => {
    if (dripping.stream.status === 'open') dripping.stream.send(new Uint8Array(1))
  }, 100)
  drip.unref()
  let from = Date.now()
  assert.is(await seen, 'STREAM_TIMEOUT')
  assert.ok(Date.now() - from < 1_500)
  await dripping.ended
  clearInterval(drip)
  seen = nextRead()
  from = Date.now()
  const silent = await rawStream()
  assert.is(await seen, 'STREAM_TIMEOUT')
  assert.ok(Date.now() - from < 2_000)
  await silent.ended
})

test('more frames than the rate allows end the stream', async () => {
  let last = 'none'
  let frames = 0
  const done = new Promise<void>((resolve) => {
    onJob = async (stream) => {
      try {
        for (;;) {
          await stream.read(2_000)
          frames++
        }
      } catch (error) {
        last = errorCode(error)
        resolve()
      }
    }
  })
  const stream = await calling.open(server.peerId, 'job')
  const sending = (async () => {
    for (let i = 0; i < 400; i++) await stream.write(new Uint8Array(10))
  })().catch(() => {})
  await done
  await sending
  assert.is(last, 'STREAM_QUOTA')
  assert.ok(frames <= QUOTA.burst + 2)
})

test('a peer holds at most so many streams, and gets them back when they end', async () => {
  onJob = echo
  const open: FrameStream[] = []
  for (let i = 0; i < QUOTA.maxStreamsPerPeer; i++) {
    const stream = await calling.open(server.peerId, 'job')
    await stream.write(new Uint8Array([1]))
    await stream.read(1_000)
    open.push(stream)
  }
  assert.is(serving.counts().job, QUOTA.maxStreamsPerPeer)
  const extra = await calling.open(server.peerId, 'job')
  await extra.write(new Uint8Array([1])).catch(() => {})
  assert.is(await code(extra.read(1_000)), 'STREAM_CLOSED')
  for (const stream of open) await stream.close()
  const deadline = Date.now() + 3_000
  while (serving.counts().job > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.is(serving.counts().job, 0)
  const again = await calling.open(server.peerId, 'job')
  await again.write(new Uint8Array([1]))
  await again.read(1_000)
  await again.close()
})

test('a reader that does not read makes the sender wait, and loses nothing', async () => {
  let start = (): void => {}
  const go = new Promise<void>((resolve) => {
    start = resolve
  })
  let received = 0
  const done = new Promise<void>((resolve) => {
    onBid = async (stream) => {
      await go
      for (let i = 0; i < 60; i++) {
        const frame = await stream.read(5_000)
        assert.is(frame[0], i)
        received += frame.length
      }
      await stream.write(new Uint8Array([1]))
      resolve()
    }
  })
  // Beyond the window, the frames in the reader's queue and this: the rest waits at the sender.
  const stream = await calling.open(server.peerId, 'bid')
  let sent = 0
  const sending = (async () => {
    for (let i = 0; i < 60; i++) {
      const frame = new Uint8Array(400_000)
      frame[0] = i
      await stream.write(frame)
      sent++
    }
  })().catch((error: unknown) => errorCode(error))
  await new Promise((resolve) => setTimeout(resolve, 700))
  assert.ok(sent < 60, 'the sender waits')
  start()
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error('the frames never arrived')), 10_000).unref())
  await Promise.race([Promise.all([sending, done]), late])
  assert.is(received, 60 * 400_000)
  assert.equal(await stream.read(2_000), new Uint8Array([1]))
  await stream.close()
})

test('all streams together hold no more than the budget', async () => {
  const ends: string[] = []
  onBid = async (stream) => {
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    ends.push(await code(stream.read(100)))
    if (ends.at(-1) === 'none') ends.push(await code(stream.read(500)))
  }
  const streams = await Promise.all([0, 1, 2].map(() => calling.open(server.peerId, 'bid')))
  // Three frames of 7 MB, unread, against a budget of 16 MB.
  await Promise.all(streams.map((stream) => stream.write(new Uint8Array(7_000_000)).catch(() => {})))
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  assert.ok(ends.includes('STREAM_BUDGET'), ends.join())
  for (const stream of streams) await stream.close()
})

test('a handler that throws ends its stream and nothing else', async () => {
  onJob = async () => {
    throw new Error('a fault in a stage')
  }
  const stream = await calling.open(server.peerId, 'job')
  assert.is(await code(stream.read(2_000)), 'STREAM_CLOSED')
  onJob = echo
  const next = await calling.open(server.peerId, 'job')
  await next.write(new Uint8Array([3]))
  assert.equal(await next.read(1_000), new Uint8Array([3]))
  await next.close()
})

test.run()
