/** A network whose slots are drand rounds, on a real chain, with rounds of a local source behind drand's HTTP API. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { drandOf } from '../../node/chain/beacon.ts'
import { checkDeployment } from '../../node/chain/check.ts'
import { httpRounds } from '../../node/chain/rounds.ts'
import { readDrand } from '../../node/commands/chain.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { EVMNET, localRounds } from '../../protocol/drand.ts'
import { samplePoints } from '../../protocol/draw.ts'
import { anchored, code, committed, openWorld, type World } from './chain-world.ts'

const source = localRounds(2n ** 200n + 7n)
/** Slots of the devnet are two rounds: two seconds. */
const drand = { ...source, genesis: Math.floor(Date.now() / 1000) - 1_000, period: 1 }
const asked: string[] = []
/** Relays by the first part of the path: one is behind, one lies, one has every round that is due. */
const server = createServer((request, response) => {
  const [, relay, , round] = request.url!.split('/')
  asked.push(relay!)
  const due = (Date.now() / 1000 - drand.genesis) / drand.period + 1
  if (relay === 'behind' || Number(round) > due) return void response.writeHead(404).end('{}')
  const of = relay === 'liar' ? BigInt(round!) + 1n : BigInt(round!)
  const signature = toHex(source.sign(of)).slice(2)
  response.end(relay === 'garbage' ? 'no' : JSON.stringify({ round: Number(round), signature }))
})
let world: World
let relay: (name: string) => string

test.before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  relay = (name) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${name}`
  const rounds = httpRounds(['behind', 'liar', 'garbage', 'honest'].map(relay), source)
  world = await openWorld({ network: drand, rounds })
})
test.after(async () => {
  await world?.anvil.stop()
  server.closeAllConnections()
  server.close()
})

test('a batch goes from anchor to payment by rounds that nobody could know', async () => {
  const { provider, network, params, anvil } = world
  assert.equal(drandOf(network), { publicKey: source.publicKey, genesis: drand.genesis, period: 1 })
  assert.ok((await checkDeployment(network, anvil.rpcUrl)) > 30)
  const { batchId } = await anchored(world, [3n, 5n])
  const { total, sampleSlot } = await provider.chain.batch(batchId)
  // It is named before it is due.
  const { timestamp } = await provider.chain.head()
  assert.ok(provider.chain.slotHeight(sampleSlot) >= timestamp + BigInt(params.minDelay) - 1n)
  assert.is(provider.chain.beaconPosition({ block: 1n, timestamp }), timestamp)
  const value = await provider.chain.awaitSlot(sampleSlot)
  const points = samplePoints(fromHex(batchId), fromHex(value), total, params.draws)
  assert.equal(await provider.chain.samplePoints(batchId), points)
  const { committed: list, votes } = await committed(world, batchId, '01010101')
  await provider.chain.settle(batchId, list, votes, [])
  await provider.chain.collect(batchId, 0)
  assert.is((await provider.chain.batch(batchId)).status, 'paid')
  assert.is(await provider.chain.pot(batchId), 0n)
  assert.ok(['behind', 'liar', 'garbage', 'honest'].every((name) => asked.includes(name)))
  assert.is(await provider.chain.recordSlot(sampleSlot), null)
})

test('a slot’s value is known from its round before anybody has recorded it', async () => {
  const { provider, reader } = world
  const { chain } = provider
  const { timestamp, block } = await chain.head()
  const slot = chain.slotAt({ block, timestamp })
  assert.ok(chain.slotHeight(slot) <= timestamp && timestamp < chain.slotHeight(slot + 1n))
  assert.is(chain.slotAt({ block, timestamp: chain.slotHeight(slot) - 1n }), slot - 1n)
  const value = await chain.slotValue(slot)
  // Whoever has no relay waits for somebody who has.
  assert.is(await reader.slotValue(slot), null)
  await chain.recordSlot(slot)
  assert.is(await reader.slotValue(slot), value)
})

test('without a relay that has the round nothing is sent', async () => {
  const { provider, consumer } = world
  const far = 2n ** 40n
  assert.is(await code(provider.chain.recordSlot(far)), 'DRAND_UNAVAILABLE')
  assert.is(await code(httpRounds([], source).signature(1n)), 'DRAND_UNAVAILABLE')
  assert.is(await code(httpRounds([relay('liar')], source).signature(5n)), 'DRAND_UNAVAILABLE')
  assert.equal(await httpRounds([relay('honest')], source).signature(5n), source.sign(5n))
  assert.is(await code(world.funder.recordSlot(far)), 'DRAND_UNAVAILABLE')
  assert.ok(consumer.chain.drand)
})

test('a network file names a drand network wholly or not at all', async () => {
  const { params } = world.network
  const refused = (change: Record<string, string | number>) =>
    code(Promise.resolve().then(() => drandOf({ params: { ...params, ...change } })))
  for (const change of [{ drandKey: '0x12' }, { drandPeriod: 0 }, { drandGenesis: -1 }, { drandPeriod: '1' }])
    assert.is(await refused(change), 'NETWORK_PARAMS')
  const { drandKey: _, ...partial } = params
  assert.is(await code(Promise.resolve().then(() => drandOf({ params: partial }))), 'NETWORK_PARAMS')
  const other = { ...world.network, params: { ...params, drandPeriod: 2 } }
  assert.is(await code(checkDeployment(other, world.anvil.rpcUrl)), 'NETWORK_MISMATCH')
  assert.equal(readDrand('evmnet'), EVMNET)
  assert.is(readDrand(undefined), null)
})

test.run()
