/** Answers held against each other: what counts as a difference, and that the committee gets to see the disputed jobs. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { quantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import { createAuditor, mismatch, type Suspect } from '../../node/client/audit.ts'
import { createBudget } from '../../node/client/budget.ts'
import { auditedSession, type CheckedSession, replicatedSession } from '../../node/client/checked.ts'
import type { Pool } from '../../node/client/pool.ts'
import { createPurse } from '../../node/client/reserves.ts'
import { createScores } from '../../node/client/score.ts'
import { createSlot } from '../../node/client/slot.ts'
import { createSpotChecks } from '../../node/client/spot-check.ts'
import { quantisedOutputs, toWire } from '../../node/jobs/tensors.ts'
import type { Runtime, Served } from '../../node/model/runtime.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { anchored, openWorld as openChainWorld } from './chain-world.ts'
import { createWorld, digitsRuntime, log, model, PRICE, type World } from './session-world.ts'

const { images } = loadHeldOut()
const { manifest } = model
const [output] = manifest.outputs
const { quanta } = output!.tolerance
const step = 2 ** -tensorOf(manifest, output!.tensor).exponent
const values = (shift: number): Record<string, Float32Array> => ({
  [output!.name]: Float32Array.from({ length: 10 }, (_, i) => i + (i === 7 ? shift * step : 0)),
})

test('answers may each be off by the tolerance: twice of it apart is agreement, one quantum more is not', () => {
  assert.is(mismatch(manifest, values(0), values(2 * quanta), false), null)
  const found = mismatch(manifest, values(0), values(2 * quanta + 1), false)!
  assert.equal([found.output, found.at, found.allowed], [output!.name, 7, 2 * quanta])
  assert.is(found.second - found.first, 2 * quanta + 1)
})

test('canonical answers agree in every bit, or not at all', () => {
  assert.is(mismatch(manifest, values(3), values(3), true), null)
  assert.is(mismatch(manifest, values(0), values(1), true)!.allowed, 0)
})

/** Answers that are off by some quanta in one place; a provider like that accepts its own answers. */
function shifted(by: number): Runtime {
  const shift = ({ outputs, executionUs }: Served): Served => {
    const [wire] = outputs
    const floats = new Float32Array(wire!.data.slice().buffer)
    floats[3]! += by * step
    const wrong = [toWire(wire!.name, wire!.shape, floats)]
    return { outputs: wrong, quantised: quantisedOutputs(manifest, wrong), executionUs }
  }
  return {
    ...digitsRuntime,
    serve: async (inputs) => shift(await digitsRuntime.serve(inputs)),
    serveCanonical: async (inputs) => shift(await digitsRuntime.serveCanonical(inputs)),
    accepts: () => true,
  }
}

function openedBy() {
  const opened: Suspect[] = []
  return { opened, components: { auditor: { open: (each: Suspect) => void opened.push(each) }, log } }
}

async function sessionsWith(runtimes: Runtime[], canonical: boolean) {
  const worlds = runtimes.map((runtime): World => createWorld({}, runtime))
  for (const { bid } of worlds) bid.canonical = canonical
  const opened = await Promise.all(worlds.map((world) => world.consume()))
  const close = async (session: CheckedSession): Promise<void> => {
    await session.close()
    await Promise.all(opened.map(({ served }) => served))
  }
  return { worlds, sessions: opened.map(({ consumer }) => consumer), close }
}

test('a share of the jobs is audited, and both receipts of a dispute are opened', async () => {
  for (const off of [0, 3 * quanta]) {
    const { worlds, sessions, close } = await sessionsWith([digitsRuntime, shifted(off)], false)
    const { opened, components } = openedBy()
    let turn = 0
    const session = auditedSession(
      [sessions[0]!, sessions[1]!],
      { share: 0.5, random: () => (turn++ % 2 === 0 ? 0.49 : 0.5) },
      components,
    )
    for (let i = 0; i < 4; i++) await (await session.infer([images[i]!])).acknowledged
    await close(session)
    assert.is(session.compared(), 2)
    assert.is((await worlds[1]!.ledger.session(worlds[1]!.session))!.acknowledged.seq, 2n)
    assert.is(session.disputes().length, off === 0 ? 0 : 2)
    const expected = worlds.flatMap((world, i) =>
      (i === 0 ? [1n, 3n] : [1n, 2n]).map((seq) => `${toHex(world.session)}/${seq}`),
    )
    const seen = opened.map(({ session: id, seq }) => `${toHex(id)}/${seq}`)
    assert.equal(seen.sort(), off === 0 ? [] : expected.sort())
  }
})

test('a second provider that does not answer costs the first nothing', async () => {
  const dead: Runtime = {
    ...digitsRuntime,
    serve: async () => {
      throw new SinterError('EXEC_FAILED', 'no')
    },
  }
  const { sessions, close } = await sessionsWith([digitsRuntime, dead], false)
  const { opened, components } = openedBy()
  const session = auditedSession([sessions[0]!, sessions[1]!], { share: 1 }, components)
  assert.is((await (await session.infer([images[0]!])).acknowledged).seq, 1n)
  await close(session)
  assert.equal([session.compared(), opened.length], [0, 0])
})

test('the scheduler’s answers: a share is asked of a second provider, paid within the budget, and opened where they differ', async () => {
  for (const off of [0, 3 * quanta]) {
    const { worlds, sessions, close } = await sessionsWith([digitsRuntime, shifted(off)], false)
    const { opened, components } = openedBy()
    const parts = { scores: createScores(Date.now), onDead: () => {}, onReceipt: () => {}, now: Date.now }
    const slots = sessions.map((session) => createSlot(parts, session, 8))
    // Both worlds have the same provider's key: the pool says who is asked.
    const pool = { slots: () => [], take: async () => slots[1]! } as unknown as Pool
    const budget = createBudget(3n * PRICE)
    const draws = [0, 0.5, 0.49, 0.2]
    const checks = createSpotChecks(
      { budget, auditor: async () => components.auditor, random: () => draws.shift()!, log },
      0.5,
    )
    const ask = async (i: number) => {
      const answer = await slots[0]!.run([images[i]!], { timeoutMs: 10_000, cancelled: () => false })
      const { provider } = answer
      checks.consider(pool, model, [images[i]!], {
        ...answer,
        provider: { ...provider, provider: `0x${'11'.repeat(20)}` },
      })
      await checks.settled()
      await answer.acknowledged
    }
    for (let i = 0; i < 4; i++) await ask(i)
    // Three are drawn, and the budget pays for as many.
    assert.equal(checks.counts(), { compared: 3, disputed: off === 0 ? 0 : 3 })
    assert.is(budget.spent, 3n * PRICE)
    assert.is(opened.length, off === 0 ? 0 : 6)
    draws.push(0)
    await ask(4)
    assert.is(checks.counts().compared, 3, 'no money, no check')
    await close({ close: async () => void (await Promise.all(sessions.map((each) => each.close()))) } as CheckedSession)
    assert.is((await worlds[1]!.ledger.session(worlds[1]!.session))!.acknowledged.seq, 3n)
  }
})

test('replicas: the answer of most of them, bit for bit, and the odd one is opened', async () => {
  const { worlds, sessions, close } = await sessionsWith([shifted(1), digitsRuntime, digitsRuntime], true)
  const { opened, components } = openedBy()
  const session = replicatedSession(sessions, components)
  const image = quantise(images[0]!, tensorOf(manifest, manifest.inputs[0]!.tensor).exponent)
  const honest = await digitsRuntime.serveCanonical([image])
  const result = await session.infer([images[0]!])
  assert.equal(
    quantisedOutputs(manifest, [toWire(output!.name, output!.shape, result.outputs[output!.name]!)]),
    honest.quantised,
  )
  await result.acknowledged
  await close(session)
  assert.equal(
    opened.map((each) => toHex(each.session)),
    [toHex(worlds[0]!.session)],
  )
})

test('replicas: floats that mean the same integers are the same answer, and cost nobody an audit', async () => {
  const { sessions, close } = await sessionsWith([digitsRuntime, shifted(0.25)], true)
  const { opened, components } = openedBy()
  const session = replicatedSession(sessions, components)
  await (await session.infer([images[0]!])).acknowledged
  await close(session)
  assert.equal([session.compared(), session.disputes(), opened], [1, [], []])
})

/** Answers with a NaN in one place, under a receipt of the right integers. */
const nan: Runtime = {
  ...digitsRuntime,
  ...(Object.fromEntries(
    (['serve', 'serveCanonical'] as const).map((how) => [
      how,
      async (inputs: Int16Array[]): Promise<Served> => {
        const { outputs, quantised, executionUs } = await digitsRuntime[how](inputs)
        const floats = new Float32Array(outputs[0]!.data.slice().buffer)
        floats[3] = Number.NaN
        return { outputs: [toWire(outputs[0]!.name, outputs[0]!.shape, floats)], quantised, executionUs }
      },
    ]),
  ) as Pick<Runtime, 'serve' | 'serveCanonical'>),
}

test('replicas: an answer with NaN is none, and the others’ majority stands', async () => {
  const { sessions, close } = await sessionsWith([nan, digitsRuntime, digitsRuntime], true)
  const { opened, components } = openedBy()
  const session = replicatedSession(sessions, components)
  try {
    const { outputs } = await session.infer([images[0]!])
    assert.not.ok(outputs[output!.name]!.some(Number.isNaN))
  } finally {
    await close(session)
  }
  assert.equal([session.compared(), session.disputes(), opened], [1, [], []])
})

test('replicas: no majority of numbers is no answer, and none at all says why', async () => {
  for (const [runtimes, code] of [
    [[nan, nan, digitsRuntime], 'REPLICAS_DIFFER'],
    [[nan, nan], 'OUTPUT_NAN'],
  ] as const) {
    const { sessions, close } = await sessionsWith([...runtimes], true)
    const session = replicatedSession(sessions, openedBy().components)
    try {
      assert.is(await session.infer([images[0]!]).then(() => 'NONE', errorCode), code)
    } finally {
      await close(session)
    }
  }
})

test('audits: a second answer with NaN is not compared, and a first one is refused', async () => {
  for (const [runtimes, code] of [
    [[digitsRuntime, nan], 'NONE'],
    [[nan, digitsRuntime], 'OUTPUT_NAN'],
  ] as const) {
    const { sessions, close } = await sessionsWith([...runtimes], false)
    const { opened, components } = openedBy()
    const session = auditedSession([sessions[0]!, sessions[1]!], { share: 1 }, components)
    try {
      assert.is(await session.infer([images[0]!]).then(() => 'NONE', errorCode), code)
    } finally {
      await close(session)
    }
    assert.equal([session.compared(), opened.length], [0, 0])
  }
})

test('replicas: without a majority there is no answer, and all of them are opened', async () => {
  const { sessions, close } = await sessionsWith([digitsRuntime, shifted(1)], true)
  const { opened, components } = openedBy()
  const session = replicatedSession(sessions, components)
  assert.is(await session.infer([images[0]!]).then(() => 'NONE', errorCode), 'REPLICAS_DIFFER')
  await close(session)
  assert.is(opened.length, 2)
  assert.throws(
    () => replicatedSession(sessions.slice(1), components),
    (error: unknown) => errorCode(error) === 'REPLICAS',
  )
  const plain = await sessionsWith([digitsRuntime, digitsRuntime], false)
  assert.throws(
    () => replicatedSession(plain.sessions, components),
    (error: unknown) => errorCode(error) === 'REPLICAS',
  )
  for (const each of plain.sessions) await each.close()
})

test('on the chain: a suspect is named in the batch that anchors it, at the point that its receipt owns', async () => {
  const world = await openChainWorld(undefined, { auditWindow: 5 })
  try {
    const { consumer, provider } = world
    const auditor = await createAuditor({ chain: consumer.chain, purse: createPurse(consumer.chain), log })
    // Nothing lies in the escrow beside the session, as with a client that has opened one.
    await consumer.chain.withdraw(await consumer.chain.balanceOf(consumer.chain.address!))
    const session = fromHex(world.session)
    const unit = 10n ** 15n
    const suspect = { session, seq: 2n, cumulative: 8n * unit + 2n, price: 5n * unit + 1n }
    auditor.open(suspect)
    assert.is(auditor.waiting(), 1)
    const { batchId, tree } = await anchored(world, [3n, 5n, 7n])
    for (let i = 0; auditor.waiting() > 0 || (await consumer.chain.audits(batchId)).length === 0; i++) {
      assert.ok(i < 100, 'no audit was named')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const [audit] = await provider.chain.audits(batchId)
    assert.is(audit!.range, 0)
    assert.is(tree.find(audit!.point), 1)
    const { sampleSlot } = await provider.chain.batch(batchId)
    await provider.chain.awaitSlot(sampleSlot)
    const points = await provider.chain.samplePoints(batchId)
    assert.equal([points.length, points.at(-1)], [world.params.draws + 1, audit!.point])
    assert.is(await provider.chain.audit(batchId, 0, 0n).then(() => 'NONE', errorCode), 'CHAIN_NotConsumer')
    // One more of the same range is too late or too many: nothing breaks.
    auditor.open({ ...suspect, seq: 1n, cumulative: 3n * unit + 1n, price: 3n * unit + 1n })
    await auditor.stop()
    assert.is((await consumer.chain.audits(batchId)).length, 1)
  } finally {
    await world.anvil.stop()
  }
})

test.run()
