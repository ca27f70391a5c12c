/** Several jobs of one session under way at once: order, window, failures in the middle, and peers that do not keep to it. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { createStatements } from '../../node/client/statements.ts'
import { type FrameInit, readFrame, writeFrame } from '../../node/jobs/frames.ts'
import { toWire } from '../../node/jobs/tensors.ts'
import type { Runtime } from '../../node/model/runtime.ts'
import { createNetwork, type Network, type NetworkInit } from '../../node/net/libp2p.ts'
import { createStreams } from '../../node/net/streams.ts'
import { jobHandler } from '../../node/stages/session.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { ignore } from '../../protocol/verdict.ts'
import { code, failureOf, hostile, receiptOf } from './session-peer.ts'
import {
  bytes32,
  consumer,
  createWorld,
  digitsRuntime,
  log,
  model,
  PRICE,
  provider,
  streamPair,
} from './session-world.ts'

const { images } = loadHeldOut()
const [input] = model.manifest.inputs
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await sleep(1)) assert.ok(Date.now() < end, 'it did not come to pass')
}
const requestOf = (seq: bigint): FrameInit => ({
  case: 'request',
  value: { seq, jobKey: bytes32(), inputs: [toWire(input!.name, input!.shape, images[0]!)] },
})

/** A runtime whose jobs, but the first `free` ones, wait for `release`, some of which fail; says how many were under way at most. */
function gated(fails: (nth: number) => boolean = () => false, free = 0) {
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const seen = { begun: 0, running: 0, most: 0 }
  const runtime: Runtime = {
    ...digitsRuntime,
    async serve(inputs) {
      const nth = ++seen.begun
      seen.most = Math.max(seen.most, ++seen.running)
      try {
        if (nth > free) await gate
        // The later ones are done first.
        await sleep(Math.max(0, 40 - 10 * nth))
        if (fails(nth)) throw new SinterError('EXEC_CRASHED', 'gone')
        return await digitsRuntime.serve(inputs)
      } finally {
        seen.running--
      }
    },
  }
  return { runtime, seen, release: () => release() }
}

/** What each image is answered with when nothing else is under way. */
async function alone(count: number): Promise<Float32Array[]> {
  const world = createWorld()
  const { consumer: session, served } = await world.consume()
  const outputs: Float32Array[] = []
  for (let i = 0; i < count; i++) outputs.push(Object.values((await session.infer([images[i]!])).outputs)[0]!)
  await session.close()
  await served
  return outputs
}

test('jobs run side by side, and each gets its own answer, number and voucher, in order', async () => {
  const expected = await alone(6)
  const { runtime, seen, release } = gated()
  const world = createWorld({}, runtime)
  const { consumer: session, served } = await world.consume()
  const asked = images.slice(0, 6).map((image) => session.infer([image]))
  while (seen.begun < 4) await sleep(1)
  release()
  const results = await Promise.all(asked)
  assert.equal(
    results.map(({ seq }) => seq),
    [1n, 2n, 3n, 4n, 5n, 6n],
  )
  results.forEach(({ outputs }, i) => {
    assert.equal(Object.values(outputs)[0], expected[i])
  })
  assert.is(seen.most, 4)
  await session.close()
  await served
  const record = await world.ledger.session(world.session)
  assert.equal([record!.acknowledged.seq, record!.acknowledged.cumulative, record!.unpaid], [6n, 6n * PRICE, 0])
})

test('a job that fails takes those behind it back in line: all others are answered once and paid once', async () => {
  const expected = await alone(6)
  const { runtime, release } = gated((nth) => nth === 2)
  const world = createWorld({}, runtime)
  const { consumer: session, served } = await world.consume()
  const asked = images.slice(0, 6).map((image) => session.infer([image]))
  release()
  const settled = await Promise.allSettled(asked)
  assert.equal(
    settled.map((each) => (each.status === 'fulfilled' ? each.value.seq : each.reason.code)),
    [1n, 'EXEC_CRASHED', 2n, 3n, 4n, 5n],
  )
  settled.forEach((each, i) => {
    if (each.status === 'fulfilled') assert.equal(Object.values(each.value.outputs)[0], expected[i])
  })
  await session.close()
  await served
  const record = await world.ledger.session(world.session)
  assert.equal([record!.acknowledged.seq, record!.acknowledged.cumulative], [5n, 5n * PRICE])
  const keys = new Set<string>()
  for (let seq = 1n; seq <= 5n; seq++) {
    const job = await world.ledger.job(world.session, seq)
    assert.is(job!.voucher!.length, 65)
    keys.add(Buffer.from(job!.jobKey).toString('hex'))
  }
  assert.is(keys.size, 5)
})

test('no more answers than the window, however many requests are sent at once, and no more than the ceiling pays for', async () => {
  for (const [window, ceiling, expected] of [
    [3, 100n, 'WINDOW_FULL'],
    [8, 2n, 'SESSION_CEILING'],
  ] as const) {
    const { runtime, seen, release } = gated()
    const world = createWorld({ window }, runtime)
    world.chain.ceiling = ceiling * PRICE
    const { stream, served } = world.connect()
    const peer = hostile(world, stream)
    await peer.assign()
    for (let seq = 1n; seq <= 7n; seq++) await peer.say(requestOf(seq))
    // The next ones are refused while the first are still computed.
    const least = BigInt(Math.min(window, Number(ceiling)))
    const refused = await peer.hear()
    assert.is(failureOf(refused), expected)
    assert.is(refused.case === 'failure' && refused.value.seq, least + 1n)
    release()
    for (let seq = 1n; seq <= least; seq++) {
      const frame = await peer.hear()
      assert.is(frame.case === 'result' && frame.value.seq, seq)
    }
    // What came after the refused one was dropped; sent again, its number is taken up again, and refused again.
    await peer.say(requestOf(least + 1n))
    assert.is(failureOf(await peer.hear()), expected)
    await stream.close()
    await served
    assert.is(seen.begun, Number(least))
    assert.is((await world.ledger.session(world.session))!.unpaid, Number(least))
  }
})

test('a consumer whose provider has a smaller window gets all of its answers', async () => {
  const world = createWorld({ window: 2 })
  const { consumer: session, served } = await world.consume()
  const results = await Promise.all(images.slice(0, 12).map((image) => session.infer([image])))
  assert.equal(
    results.map(({ seq }) => seq),
    results.map((_, i) => BigInt(i + 1)),
  )
  await session.close()
  await served
  assert.is((await world.ledger.session(world.session))!.acknowledged.seq, 12n)
})

test('a provider that answers out of turn, or fails what is not under way, is left with nothing signed', async () => {
  for (const reply of [
    { case: 'result', value: { seq: 2n, outputs: [], executionUs: 1 } },
    { case: 'failure', value: { seq: 9n, code: 'X', message: '' } },
  ] as FrameInit[]) {
    const world = createWorld()
    const [atConsumer, atProvider] = streamPair()
    world.connect = () => ({ stream: atConsumer, served: Promise.resolve() })
    const opening = world.consume()
    await readFrame(atProvider, 5_000)
    await writeFrame(atProvider, {
      case: 'accepted',
      value: { seq: 0n, cumulative: new Uint8Array(16), head: new Uint8Array(32) },
    })
    const { consumer: session } = await opening
    const asked = images.slice(0, 2).map((image) => code(session.infer([image])))
    for (let i = 0; i < 2; i++) assert.is((await readFrame(atProvider, 5_000)).case, 'request')
    await writeFrame(atProvider, reply)
    assert.equal(await Promise.all(asked), ['ANSWER_SEQUENCE', 'ANSWER_SEQUENCE'])
    assert.is(await code(readFrame(atProvider, 5_000)), 'STREAM_CLOSED')
    await session.close()
  }
})

const unheard = async () => ignore('NOT_SUBSCRIBED')
const join = (init: Pick<NetworkInit, 'identity' | 'mode' | 'listen' | 'bootstrap'>): Promise<Network> =>
  createNetwork({
    ...{ ...init, tag: 'pipeline', devnet: true, log },
    topics: { offers: unheard, attestations: unheard, votes: unheard },
  })

test('a consumer that vanishes with jobs under way owes the answers it had, and comes back to the last one it signed for', async () => {
  const { runtime, seen, release } = gated(() => false, 1)
  const world = createWorld({ window: 4 }, runtime)
  const near = await join({ identity: provider, mode: 'node', listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [] })
  const address = near.addresses()[0]!
  const serving = createStreams({ libp2p: near.libp2p, log })
  await serving.handle('job', jobHandler(world.components, { window: 4 }))
  const visitors: Network[] = []
  const visit = async () => {
    const far = await join({ identity: consumer, mode: 'light', listen: [], bootstrap: [address] })
    visitors.push(far)
    const stream = await createStreams({ libp2p: far.libp2p, log }).open([address], 'job')
    const peer = hostile(world, stream)
    return { far, peer, accepted: await peer.assign() }
  }
  try {
    const first = await visit()
    assert.is((await first.peer.request(1n)).case, 'result')
    const receipt = receiptOf(await first.peer.state(1n))
    await first.peer.vouch(receipt)
    for (let seq = 2n; seq <= 5n; seq++) await first.peer.say(requestOf(seq))
    while (seen.begun < 5) await sleep(5)
    await first.far.stop()
    while (serving.counts().job > 0) await sleep(5)
    release()
    while (seen.running > 0) await sleep(5)
    // Its stream is served until nothing of it runs any more.
    await sleep(50)
    const { peer, accepted } = await visit()
    assert.is(accepted.case, 'accepted')
    if (accepted.case !== 'accepted') return
    assert.equal([accepted.value.seq, bytesToBigint(accepted.value.cumulative)], [1n, PRICE])
    assert.equal(accepted.value.head, receipt.hash)
    // The one that was being written when the stream was found broken may have arrived.
    assert.is((await world.ledger.session(world.session))!.unpaid, 1)
    for (let seq = 2n; seq <= 5n; seq++) await peer.say(requestOf(seq))
    assert.is(failureOf(await peer.hear()), 'WINDOW_FULL')
    for (let seq = 2n; seq <= 4n; seq++) {
      const frame = await peer.hear()
      assert.is(frame.case === 'result' && frame.value.seq, seq)
    }
  } finally {
    for (const far of visitors) await far.stop()
    await serving.stop()
    await near.stop()
  }
})

test('statements wait for answers to come, but only so many of them', async () => {
  let answering = true
  let pressed = false
  const made: number[] = []
  const statements = createStatements({ answering: () => answering, pressed: () => pressed, quietMs: 5 })
  const add = (n: number): void =>
    statements.add(
      async () => void made.push(n),
      () => {},
    )
  for (let n = 1; n <= 3; n++) add(n)
  await sleep(20)
  assert.equal(made, [])
  add(4)
  await until(() => made.length === 4)
  assert.equal(made, [1, 2, 3, 4])
  add(5)
  await sleep(20)
  assert.equal(made.length, 4)
  answering = false
  statements.look()
  await until(() => made.length === 5)
  answering = true
  pressed = true
  add(6)
  await until(() => made.length === 6)
  pressed = false
  add(7)
  statements.hurry()
  await until(() => made.length === 7)
  assert.equal(made, [1, 2, 3, 4, 5, 6, 7])
})

test.run()
