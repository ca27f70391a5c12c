/** The job protocol between a real consumer, or a hostile one that speaks frames by hand, and the provider's handler. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { loadHeldOut } from '../../models/digits.ts'
import { quantise } from '../../models/quantise.ts'
import { type FrameInit, readFrame } from '../../node/jobs/frames.ts'
import { dequantisedOutput, toWire } from '../../node/jobs/tensors.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import { POLICIES } from '../../protocol/rules/receipt.ts'
import { code, failureOf, hostile, receiptOf, withReceipt } from './session-peer.ts'
import { bytes32, createWorld, digitsRuntime, model, PRICE } from './session-world.ts'

const { images } = loadHeldOut()
const { manifest } = model
const [input] = manifest.inputs

test('three jobs end with three vouchers on disk, whose sum is the price of three', async () => {
  const world = createWorld()
  const { consumer: session, served } = await world.consume()
  for (let i = 0; i < 3; i++) {
    const { outputs, acknowledged } = await session.infer([images[i]!])
    assert.is(Object.values(outputs)[0]!.length, 10)
    assert.is((await acknowledged).seq, BigInt(i + 1))
  }
  await session.close()
  await served
  const record = await world.ledger.session(world.session)
  assert.is(record!.acknowledged.seq, 3n)
  assert.is(record!.acknowledged.cumulative, 3n * PRICE)
  assert.is(record!.unpaid, 0)
  for (let seq = 1n; seq <= 3n; seq++) assert.is((await world.ledger.job(world.session, seq))!.voucher!.length, 65)
})

test('receipts say the policy that the offer asked for, and no other is acknowledged', async () => {
  for (const policy of POLICIES) {
    const world = createWorld()
    world.bid.policy = policy
    const { consumer: session, served } = await world.consume()
    const receipt = await (await session.infer([images[0]!])).acknowledged
    assert.equal([receipt.policy, receipt.canonical], [policy, false])
    await session.close()
    await served
    assert.is((await world.ledger.session(world.session))!.policy, policy)
  }
  for (const change of [{ policy: 'open' }, { canonical: true }] as const) {
    const world = createWorld()
    // The provider remembers a bid other than the one it made.
    const { consumer: session, served } = await world.consume(change)
    assert.is(await code((await session.infer([images[0]!])).acknowledged), 'RECEIPT_POLICY')
    await session.close()
    await served
    assert.is((await world.ledger.session(world.session))!.acknowledged.seq, 0n)
  }
})

test('a canonical session answers with the canonical evaluation, bit for bit, and its receipts say so', async () => {
  const world = createWorld()
  world.bid.canonical = true
  const { consumer: session, served } = await world.consume()
  for (let i = 0; i < 3; i++) {
    const { outputs, acknowledged } = await session.infer([images[i]!])
    const quantised = quantise(images[i]!, manifest.tensors[input!.tensor]!.exponent)
    const [canonical] = traceOutputs(manifest, evaluate(manifest, model.weights, [quantised]))
    assert.equal(Object.values(outputs)[0], dequantisedOutput(manifest, 0, canonical!))
    assert.ok((await acknowledged).canonical)
  }
  await session.close()
  await served
})

test('jobs asked for at once are served one after the other', async () => {
  const world = createWorld()
  const { consumer: session, served } = await world.consume()
  const results = await Promise.all([0, 1, 2, 3].map((i) => session.infer([images[i]!])))
  assert.equal(
    results.map(({ seq }) => seq),
    [1n, 2n, 3n, 4n],
  )
  await session.close()
  await served
  assert.is((await world.ledger.session(world.session))!.acknowledged.seq, 4n)
})

test('no answer beyond the window without a voucher, and coming back opens no new window', async () => {
  const world = createWorld({ window: 3 })
  let answers = 0
  for (let visit = 0; visit < 3; visit++) {
    const { stream, served } = world.connect()
    const peer = hostile(world, stream)
    assert.is((await peer.assign()).case, 'accepted')
    for (let seq = 1n; seq <= 4n; seq++) {
      const frame = await peer.request(seq)
      if (frame.case === 'result') answers++
      else {
        assert.is(failureOf(frame), 'WINDOW_FULL')
        break
      }
      if (visit === 0 && seq === 2n) break
    }
    await stream.close()
    await served
  }
  assert.is(answers, 3)
  assert.is((await world.ledger.session(world.session))!.unpaid, 3)
})

test('an answer whose writing breaks off counts as given', async () => {
  const world = createWorld()
  let broken = () => {}
  world.components.runtime = async () => ({
    ...digitsRuntime,
    async serve(inputs) {
      const served = await digitsRuntime.serve(inputs)
      broken()
      return served
    },
  })
  const { stream, served } = world.connect()
  const peer = hostile(world, stream)
  await peer.assign()
  broken = () => void stream.close()
  await peer.say({
    case: 'request',
    value: { seq: 1n, jobKey: bytes32(), inputs: [toWire(input!.name, input!.shape, images[0]!)] },
  })
  await served
  assert.is((await world.ledger.session(world.session))!.unpaid, 1)
})

test('a voucher after coming back is for a new receipt of the same number', async () => {
  const world = createWorld()
  const first = await withReceipt(world)
  await first.stream.close()
  await first.served
  assert.is((await world.ledger.job(world.session, 1n))!.voucher, null)
  const second = await withReceipt(world)
  await second.peer.vouch(first.receipt)
  assert.is(failureOf(await second.peer.hear()), 'VOUCHER_RECEIPT')
  await second.served
})

test('a session goes on from its last acknowledged receipt', async () => {
  const world = createWorld()
  const first = await withReceipt(world)
  await first.peer.vouch(first.receipt)
  await first.stream.close()
  await first.served
  // Its bid has run out: that a session already stands on it is enough.
  world.clock.ahead = 120_000
  const { stream, served } = world.connect()
  const peer = hostile(world, stream)
  const accepted = await peer.assign()
  assert.is(accepted.case, 'accepted')
  if (accepted.case === 'accepted') {
    assert.is(accepted.value.seq, 1n)
    assert.is(bytesToBigint(accepted.value.cumulative), PRICE)
    assert.equal(accepted.value.head, first.receipt.hash)
  }
  assert.is((await peer.request(2n)).case, 'result')
  const receipt = receiptOf(await peer.state(2n))
  assert.equal(receipt.previous, first.receipt.hash)
  await stream.close()
  await served
})

test('a second stream of a session is refused, and changes nothing', async () => {
  const world = createWorld()
  const first = await withReceipt(world)
  const second = world.connect()
  assert.is(failureOf(await hostile(world, second.stream).assign()), 'SESSION_BUSY')
  await second.served
  await first.peer.vouch(first.receipt)
  assert.is((await first.peer.request(2n)).case, 'result')
  await first.stream.close()
  await first.served
  assert.is((await world.ledger.session(world.session))!.acknowledged.seq, 1n)
})

test('a stream that waits for its turn starts from what the one before it wrote last', async () => {
  const world = createWorld()
  const first = await withReceipt(world)
  // The second stream's look at the chain takes until the first one, its voucher written, is gone.
  let release = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const ask = world.components.chainSession
  world.components.chainSession = async (id) => {
    await gate
    return ask(id)
  }
  const second = world.connect()
  const opening = hostile(world, second.stream).assign()
  await first.peer.vouch(first.receipt)
  await first.stream.close()
  await first.served
  release()
  const accepted = await opening
  assert.is(accepted.case === 'accepted' && accepted.value.seq, 1n)
  assert.is.not((await world.ledger.job(world.session, 1n))!.voucher, null)
  await second.stream.close()
  await second.served
})

test('wrong sequence, frame and job key end the session with their code', async () => {
  for (const [frame, expected] of [
    [{ case: 'request', value: { seq: 2n, jobKey: bytes32(), inputs: [] } }, 'REQUEST_SEQUENCE'],
    [{ case: 'request', value: { seq: 1n, jobKey: new Uint8Array(31), inputs: [] } }, 'REQUEST_JOB_KEY'],
    [{ case: 'result', value: { seq: 1n, outputs: [], executionUs: 1 } }, 'FRAME_UNEXPECTED'],
    [{ case: 'voucher', value: { session: bytes32(), seq: 1n } }, 'VOUCHER_UNEXPECTED'],
  ] as [FrameInit, string][]) {
    const world = createWorld()
    const { stream, served } = world.connect()
    const peer = hostile(world, stream)
    await peer.assign()
    await peer.say(frame)
    assert.is(failureOf(await peer.hear()), expected)
    await served
  }
})

test('bytes that are no frame end the session', async () => {
  const world = createWorld()
  const { stream, served } = world.connect()
  await hostile(world, stream).assign()
  await stream.write(Uint8Array.of(255, 255, 255))
  assert.is(failureOf(await readFrame(stream, 5_000)), 'FRAME_MALFORMED')
  await served
})

test('an input statement that is not about what arrived gets no receipt', async () => {
  for (const [change, expected] of [
    [{ inputRoot: bytes32() }, 'INPUT_ROOT'],
    [{ key: bytes32() }, 'INPUT_SIGNER'],
  ] as const) {
    const world = createWorld()
    const { stream, served } = world.connect()
    const peer = hostile(world, stream)
    await peer.assign()
    await peer.request(1n)
    assert.is(failureOf(await peer.state(1n, change)), expected)
    await served
    assert.is(await world.ledger.job(world.session, 1n), null)
    assert.is((await world.ledger.session(world.session))!.unpaid, 1)
  }
})

test('a voucher for another session, another amount or by another key does not count', async () => {
  for (const [change, expected] of [
    [{ session: bytes32() }, 'VOUCHER_SESSION'],
    [{ cumulative: 1n }, 'VOUCHER_CUMULATIVE'],
    [{ key: bytes32() }, 'VOUCHER_SIGNATURE'],
  ] as const) {
    const world = createWorld()
    const { peer, receipt, served } = await withReceipt(world)
    await peer.vouch(receipt, change)
    assert.is(failureOf(await peer.hear()), expected)
    await served
    assert.is((await world.ledger.session(world.session))!.acknowledged.seq, 0n)
  }
})

test('NaN, wrong shapes and tensors too many cost one job and not the session', async () => {
  const world = createWorld()
  const { stream, served } = world.connect()
  const peer = hostile(world, stream)
  await peer.assign()
  const good = toWire(input!.name, input!.shape, images[0]!)
  for (const [inputs, expected] of [
    [[toWire(input!.name, input!.shape, new Float32Array(64).fill(Number.NaN))], 'INPUT_NAN'],
    [[toWire(input!.name, [2, 2], new Float32Array(4))], 'TENSOR_SHAPE'],
    [[{ ...good, data: good.data.subarray(4) }], 'TENSOR_SHAPE'],
    [[good, good], 'TENSOR_SET'],
    [[{ ...good, type: 'float64' }], 'TENSOR_TYPE'],
  ] as const)
    assert.is(failureOf(await peer.request(1n, [...inputs])), expected)
  assert.is((await peer.request(1n)).case, 'result')
  await stream.close()
  await served
})

test('the consumer refuses NaN by itself, and its session goes on', async () => {
  const world = createWorld()
  const { consumer: session, served } = await world.consume()
  assert.is(await code(session.infer([new Float32Array(64).fill(Number.NaN)])), 'INPUT_NAN')
  assert.is((await session.infer([images[0]!])).seq, 1n)
  await session.close()
  await served
})

test('a job that the model fails reaches the consumer with its code, and the next one is served', async () => {
  const world = createWorld()
  const { SinterError } = await import('../../protocol/errors.ts')
  let crash = true
  world.components.runtime = async () => ({
    ...digitsRuntime,
    async serve(inputs) {
      if (crash) throw new SinterError('EXEC_CRASHED', 'gone')
      return digitsRuntime.serve(inputs)
    },
  })
  const { consumer: session, served } = await world.consume()
  assert.is(await code(session.infer([images[0]!])), 'EXEC_CRASHED')
  crash = false
  assert.is((await session.infer([images[0]!])).seq, 1n)
  await session.close()
  await served
})

test('a session that its consumer is closing, or that is about to expire, serves no more', async () => {
  for (const change of [{ closing: true }, { expiry: Math.floor(Date.now() / 1000) + 30 }]) {
    const world = createWorld({ recheckMs: 0 })
    const { consumer: session, served } = await world.consume()
    await session.infer([images[0]!])
    Object.assign(world.chain, change)
    // The look at the chain goes on beside the jobs, so one more may slip through.
    await code(session.infer([images[1]!]))
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.is(await code(session.infer([images[2]!])), 'SESSION_CLOSING')
    await session.close()
    await served
  }
})

test('a session is not opened under another bid, nor when its receipts are lost', async () => {
  const world = createWorld()
  world.chain.spent = PRICE
  const lost = world.connect()
  assert.is(failureOf(await hostile(world, lost.stream).assign()), 'SESSION_LOST')
  await lost.served
  world.chain.spent = 0n
  const { session, bid } = world
  const { consumer: signer, manifest: cid } = bid
  const terms = { price: 1n, ceiling: 1n, policy: 'zk', canonical: false } as const
  await world.ledger.openSession({ session, signer, bid: bytes32(), manifest: cid, ...terms })
  const other = world.connect()
  assert.is(failureOf(await hostile(world, other.stream).assign()), 'SESSION_BID')
  await other.served
})

test('the ceiling ends the session’s jobs', async () => {
  const world = createWorld()
  world.chain.ceiling = 2n * PRICE
  const { consumer: session, served } = await world.consume()
  for (let i = 0; i < 2; i++) await (await session.infer([images[i]!])).acknowledged
  assert.is(await code(session.infer([images[2]!])), 'SESSION_CEILING')
  await session.close()
  await served
})

test('a provider that vanishes ends what waits, with a code', async () => {
  const world = createWorld()
  const { consumer: session, stream, served } = await world.consume()
  const { acknowledged } = await session.infer([images[0]!])
  await acknowledged
  world.components.runtime = () => new Promise(() => {})
  const waiting = code(session.infer([images[1]!]))
  const { SinterError } = await import('../../protocol/errors.ts')
  stream.abort(new SinterError('STREAM_CLOSED', 'gone'))
  assert.is(await waiting, 'STREAM_CLOSED')
  assert.is(await code(session.infer([images[2]!])), 'SESSION_ENDED')
  await session.close()
  void served
})

test('a silent provider costs the consumer its patience and no more', async () => {
  const world = createWorld()
  const { consumer: session } = await world.consume()
  world.components.runtime = () => new Promise(() => {})
  assert.is(await code(session.infer([images[0]!], { timeoutMs: 50 })), 'JOB_TIMEOUT')
  assert.is(await code(session.infer([images[0]!])), 'SESSION_ENDED')
  await session.close()
})

test.run()
