/** How sessions end: by whom, when, and what it says of the provider. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { createScores } from '../../node/client/score.ts'
import { createSlot } from '../../node/client/slot.ts'
import type { Runtime } from '../../node/model/runtime.ts'
import { code } from './session-peer.ts'
import { createWorld, digitsRuntime, provider } from './session-world.ts'

const { images } = loadHeldOut()
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const nothing = { timeoutMs: 5_000, cancelled: () => false }

test('a session without jobs is ended as idle, and its slot is gone before a job is given to it', async () => {
  const world = createWorld({ idleMs: 100 })
  const { consumer: session, served } = await world.consume()
  let now = 0
  const scores = createScores(() => now)
  const dropped: string[] = []
  const slot = createSlot(
    { scores, onDead: (_, error) => dropped.push(error.code), onReceipt: () => {}, now: () => now },
    session,
    8,
  )
  await slot.run([images[0]!], nothing)
  now += 60_000
  await served
  assert.is((await session.ended).code, 'SESSION_IDLE')
  await sleep(1)
  assert.equal([slot.dead, dropped], [true, ['SESSION_IDLE']])
  assert.is(scores.resting(provider.address), false)
  assert.is(await code(slot.run([images[0]!], nothing)), 'SESSION_ENDED')
  assert.is(scores.resting(provider.address), false)
  await slot.close()
})

test('a provider that calls a session idle right after it was used is left alone like one that failed', async () => {
  const world = createWorld({ idleMs: 50 })
  const { consumer: session, served } = await world.consume()
  const scores = createScores(() => 0)
  const slot = createSlot({ scores, onDead: () => {}, onReceipt: () => {}, now: () => 0 }, session, 8)
  await slot.run([images[0]!], nothing)
  await served
  await session.ended
  await sleep(1)
  assert.is(scores.resting(provider.address), true)
  await slot.close()
})

test('a session that ends with a receipt that does not match is worse than one that fails', async () => {
  const world = createWorld()
  const { consumer: session, served } = await world.consume({ policy: 'open' })
  let now = 0
  const scores = createScores(() => now)
  const dropped: string[] = []
  const onDead = (_: unknown, { code: reason }: { code: string }) => dropped.push(reason)
  const slot = createSlot({ scores, onDead, onReceipt: () => {}, now: () => now }, session, 8)
  await slot.run([images[0]!], nothing)
  assert.is((await session.ended).code, 'RECEIPT_POLICY')
  await sleep(1)
  now += 60_000
  assert.equal([dropped, scores.resting(provider.address)], [['RECEIPT_POLICY'], true])
  await slot.close()
  await served
})

test('a consumer that waits for a long job is not idle', async () => {
  const world = createWorld({ idleMs: 50 })
  const slow: Runtime = {
    ...digitsRuntime,
    async serve(inputs) {
      await sleep(300)
      return digitsRuntime.serve(inputs)
    },
  }
  world.components.runtime = async () => slow
  const { consumer: session, served } = await world.consume()
  await (await session.infer([images[0]!])).acknowledged
  await served
  assert.is((await session.ended).code, 'SESSION_IDLE')
  await session.close()
})

test('answers that wait for their voucher are waited for less long than jobs', async () => {
  const world = createWorld({ idleMs: 60_000, owingMs: 50 })
  const { consumer: session, served } = await world.consume()
  await (await session.infer([images[0]!])).acknowledged
  // The provider's patience with those who owe nothing is longer.
  await sleep(200)
  const peer = await world.ledger.session(world.session)
  assert.is(peer!.acknowledged.seq, 1n)
  assert.is(await Promise.race([session.ended.then(() => 'ended'), sleep(200).then(() => 'open')]), 'open')
  await session.close()
  await served
})

test.run()
