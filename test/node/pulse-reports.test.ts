/** A reporter of a pulse over real streams, a real store and a chain in memory: whom it takes answers of, until when, and what of it outlives it. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Identity, identityFromKey } from '../../node/identity/identity.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import type { Network } from '../../node/net/libp2p.ts'
import { createStreams, QUOTAS, type Streams } from '../../node/net/streams.ts'
import {
  answerFrame,
  createReports,
  type PulseReply,
  type ReportComponents,
  type Reports,
  readReply,
  type SeenPulse,
} from '../../node/stages/pulse-reports.ts'
import { openStore, type Store } from '../../node/store/store.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { PulseAnswerSchema, PulseReplySchema } from '../../protocol/gen/sinter_pb.js'
import { hash } from '../../protocol/hash.ts'
import { MAX_PULSE_BYTES } from '../../protocol/limits.ts'
import { inReport, reportTree } from '../../protocol/pulse.ts'
import { openPeer } from './peer.ts'
import { log } from './session-world.ts'

const bytes = (name: string): Uint8Array => hash('test', new TextEncoder().encode(name))
/** A reporter, a node with stake, a node whose stake came too late, and a stranger. */
const people = [0, 1, 2, 3].map(() => identityFromKey(new Uint8Array(randomBytes(32)))) as [
  Identity,
  Identity,
  Identity,
  Identity,
]
const [reporter, node, late, stranger] = people
const folder = mkdtempSync(join(tmpdir(), 'sinter-reports-'))

const roots = new Map<bigint, Hex>()
let lookups = 0
let sent = 0
const chain: ReportComponents['chain'] = {
  params: { minStake: 1_000n, pulseWindow: 100, pulseClaimWindow: 600 },
  operators: async () => [stranger.address, late.address, node.address, reporter.address].slice(1),
  async stakeAt(operator) {
    lookups++
    return operator === late.address ? 999n : 1_000n
  },
  reportRoot: async (slot) => roots.get(slot) ?? null,
  async reportPulse(slot, root) {
    sent++
    if (roots.has(slot)) throw new SinterError('CHAIN_AlreadyReported', 'twice')
    roots.set(slot, root)
    return { tx: '0x00', block: 1n, gasUsed: 1n }
  },
}
/** Places in the registry. */
const PLACES = { late: 0, node: 1, reporter: 2 }

let store: Store
let reports: Reports
let made = 0
const networks: Network[] = []
const streams: Streams[] = []

const pulseAt = (slot: bigint, change: Partial<SeenPulse> = {}): SeenPulse => ({
  ...{ slot, openedAt: 1_000n, snapshot: 5n, drawSlot: slot + 9n, value: toHex(bytes('value')) },
  reporters: [reporter.address],
  ...change,
})
const open = (): Reports =>
  createReports({ address: reporter.address, chain, store, notes: { reported: async () => void made++ }, log })

test.before(async () => {
  store = await openStore(join(folder, 'store'))
  reports = open()
  for (const identity of people) {
    const network = await openPeer(identity)
    networks.push(network)
    streams.push(createStreams({ libp2p: network.libp2p, log }))
  }
  await streams[0]!.handle('pulse', (stream, peer) => reports.handler(stream, peer))
})
test.after(async () => {
  await Promise.all(streams.map((each) => each.stop()))
  await Promise.all(networks.map((each) => each.stop()))
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What the reporter says to somebody. */
async function ask(from: number, frame: Uint8Array): Promise<PulseReply> {
  const stream = await streams[from]!.open(networks[0]!.addresses(), 'pulse')
  try {
    await stream.write(frame)
    return readReply(await stream.read(5_000))
  } finally {
    await stream.close()
  }
}
const codeOf = async (from: number, frame: Uint8Array): Promise<string> =>
  ask(from, frame).then(({ code }) => code, errorCode)

test('a pulse that it is not drawn for, or has not seen, is unknown to a reporter', async () => {
  assert.is(await codeOf(1, answerFrame(1n, bytes('a'))), 'PULSE_UNKNOWN')
  await reports.tick(pulseAt(1n, { reporters: [node.address] }), 1_000n)
  assert.is(await codeOf(1, answerFrame(1n, bytes('a'))), 'PULSE_UNKNOWN')
  // Too late to begin with.
  await reports.tick(pulseAt(2n), 1_060n)
  assert.is(await codeOf(1, answerFrame(2n, bytes('a'))), 'PULSE_UNKNOWN')
})

test('answers are taken of nodes with stake alone, whose last one stands, and the path leads to what was brought', async () => {
  await reports.tick(pulseAt(3n), 1_059n)
  lookups = 0
  assert.is(await codeOf(3, answerFrame(3n, bytes('a'))), 'PULSE_NOT_STAKED')
  // Who is not in the registry costs no look at the chain.
  assert.is(lookups, 0)
  assert.is(await codeOf(2, answerFrame(3n, bytes('a'))), 'PULSE_NOT_STAKED')
  assert.equal(await ask(1, answerFrame(3n, bytes('before'))), { taken: true, code: '', path: [] })
  assert.equal(await ask(1, answerFrame(3n, bytes('node'))), { taken: true, code: '', path: [] })
  assert.is((await reports.answer(reporter.address, 3n, bytes('own'))).taken, true)
  await reports.tick(pulseAt(3n), 1_059n)
  assert.is(roots.get(3n), undefined)
  await reports.tick(pulseAt(3n), 1_060n)
  const tree = reportTree(
    new Map([
      [PLACES.node, bytes('node')],
      [PLACES.reporter, bytes('own')],
    ]),
  )
  assert.is(roots.get(3n), toHex(tree.root))
  assert.is(made, 1)
  const { taken, path } = await ask(1, answerFrame(3n, bytes('node')))
  assert.ok(taken && inReport(bytes('node'), PLACES.node, path, tree.root))
  // Another leaf, one that came too late, and one under which there is nothing.
  for (const leaf of ['before', 'other']) assert.is(await codeOf(1, answerFrame(3n, bytes(leaf))), 'PULSE_CLOSED')
  await reports.tick(pulseAt(3n), 1_070n)
  assert.equal([made, sent], [1, 1])
})

test('a report is not brought once its time is over, and an empty one never', async () => {
  await reports.tick(pulseAt(4n), 1_000n)
  await reports.tick(pulseAt(4n), 1_060n)
  assert.is(roots.has(4n), false)
  await reports.tick(pulseAt(5n), 1_000n)
  await ask(1, answerFrame(5n, bytes('node')))
  await reports.tick(null, 1_101n)
  assert.is(roots.has(5n), false)
})

test('a reporter that is killed has what it took, and hands out the same paths', async () => {
  await reports.tick(pulseAt(6n), 1_000n)
  await ask(1, answerFrame(6n, bytes('node')))
  reports = open()
  assert.is(await codeOf(1, answerFrame(6n, bytes('node'))), 'PULSE_UNKNOWN')
  await reports.tick(pulseAt(6n), 1_010n)
  await reports.answer(reporter.address, 6n, bytes('own'))
  await reports.tick(pulseAt(6n), 1_060n)
  const root = roots.get(6n)!
  const { path } = await ask(1, answerFrame(6n, bytes('node')))
  assert.ok(path.length === 20)
  // Killed after it had closed and before its transaction was mined: it brings the same, also where an endpoint lags behind.
  roots.delete(6n)
  reports = open()
  await reports.tick(pulseAt(6n), 1_059n)
  assert.is(roots.get(6n), root)
  assert.is(await codeOf(1, answerFrame(6n, bytes('late'))), 'PULSE_CLOSED')
  assert.equal((await ask(1, answerFrame(6n, bytes('node')))).path, path)
})

test('an answer that comes while the report is being closed is not taken', async () => {
  const alone = await openStore(join(folder, 'alone'))
  const notes = { reported: async () => {} }
  const begin = (): Reports => createReports({ address: reporter.address, chain, store: alone, notes, log })
  const before = begin()
  await before.tick(pulseAt(9n), 1_000n)
  await before.answer(reporter.address, 9n, bytes('own'))
  const closing = before.tick(null, 1_060n)
  assert.is((await before.answer(reporter.address, 9n, bytes('another'))).code, 'PULSE_CLOSED')
  await closing
  const root = roots.get(9n)
  roots.delete(9n)
  await begin().tick(null, 1_061n)
  assert.is(roots.get(9n), root)
  await alone.close()
})

test('a fork that gives the slot another value begins the report anew', async () => {
  await reports.tick(pulseAt(7n), 1_000n)
  await ask(1, answerFrame(7n, bytes('node')))
  await reports.tick(pulseAt(7n, { value: toHex(bytes('other')) }), 1_010n)
  await reports.answer(reporter.address, 7n, bytes('own'))
  await reports.tick(pulseAt(7n, { value: toHex(bytes('other')) }), 1_060n)
  assert.is(roots.get(7n), toHex(reportTree(new Map([[PLACES.reporter, bytes('own')]])).root))
})

test('what is not an answer, or is larger than one, ends the stream', async () => {
  await reports.tick(pulseAt(8n), 1_000n)
  for (const frame of [
    new Uint8Array(),
    answerFrame(8n, new Uint8Array(31)),
    answerFrame(8n, new Uint8Array(33)),
    Uint8Array.of(...answerFrame(8n, bytes('a')), 0x18, 1),
  ])
    assert.is(await codeOf(1, frame), 'STREAM_CLOSED')
  const { libp2p } = networks[1]!
  const larger = createStreams({
    libp2p,
    log,
    quotas: { ...QUOTAS, pulse: { ...QUOTAS.pulse, maxFrameBytes: 2 ** 20 } },
  })
  const stream = await larger.open(networks[0]!.addresses(), 'pulse')
  const frame = encode(PulseAnswerSchema, { slot: 8n, leaf: new Uint8Array(MAX_PULSE_BYTES) })
  await stream.write(frame).catch(() => {})
  assert.is(await stream.read(5_000).then(() => 'none', errorCode), 'STREAM_CLOSED')
  assert.is(await codeOf(1, answerFrame(8n, bytes('a'))), '')
})

test('whatever bytes come, a reporter answers or ends the stream, and takes no leaf that nobody sent', async () => {
  const said = async (frame: Uint8Array): Promise<PulseReply | string> => {
    let reply: PulseReply | null = null
    const stream = {
      read: async () => frame,
      async write(answer: Uint8Array) {
        reply = readReply(answer)
      },
    } as unknown as FrameStream
    return reports.handler(stream, node.peerId).then(() => reply!, errorCode)
  }
  const good = answerFrame(8n, bytes('a'))
  const changed = fc
    .tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }))
    .map(([at, by]) => good.map((byte, i) => (i === at ? byte ^ by : byte)))
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 80 }), changed), async (frame) => {
      const reply = await said(frame)
      if (typeof reply === 'string') assert.is(reply, 'FRAME_MALFORMED')
      // Of the pulses before there are reports too, some of them closed.
      else if (reply.taken) assert.equal(frame, answerFrame(BigInt(Math.min(frame[1]!, 8)), frame.subarray(4)))
      else assert.is(reply.code, frame[1]! < 8 && reply.code === 'PULSE_CLOSED' ? 'PULSE_CLOSED' : 'PULSE_UNKNOWN')
    }),
    { numRuns: 300, examples: [1, 2, 3, 4, 5, 6, 7].map((slot) => [answerFrame(BigInt(slot), bytes('a'))]) },
  )
  for (const length of [31, 33]) {
    const frame = encode(PulseReplySchema, { taken: true, path: [new Uint8Array(32), new Uint8Array(length)] })
    assert.throws(
      () => readReply(frame),
      (error: unknown) => errorCode(error) === 'FRAME_MALFORMED',
    )
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (frame) => {
      try {
        assert.ok(readReply(frame).path.every((each) => each.length === 32))
      } catch (error) {
        assert.is(errorCode(error), 'FRAME_MALFORMED')
      }
    }),
    { numRuns: 300 },
  )
})

test('a report is forgotten when no claim of its pulse can come any more', async () => {
  const left = async (): Promise<string[]> => {
    const keys: string[] = []
    for await (const [key] of store.table('pulses', { encode: (x: Uint8Array) => x, decode: (x) => x }).entries())
      keys.push(key)
    return keys
  }
  await reports.tick(null, 2_300n)
  assert.is((await ask(1, answerFrame(6n, bytes('node')))).taken, true)
  await reports.tick(null, 2_301n)
  assert.is(await codeOf(1, answerFrame(6n, bytes('node'))), 'PULSE_UNKNOWN')
  assert.equal(await left(), [])
})

test.run()
