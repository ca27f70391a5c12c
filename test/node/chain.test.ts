import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openChain } from '../../node/chain/chain.ts'
import type { Cursor } from '../../node/chain/cursor.ts'
import { deployNetwork } from '../../node/chain/deploy.ts'
import { signCommitment, signVoucher } from '../../node/chain/eip712.ts'
import { devnetParams, paramsFromJson, paramsToJson } from '../../node/chain/params.ts'
import type { VoteInput } from '../../node/chain/steps.ts'
import type { BatchEvent } from '../../node/chain/watch.ts'
import { createBenches } from '../../node/stages/bench.ts'
import { openStore } from '../../node/store/store.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { samplePoints } from '../../protocol/draw.ts'
import {
  anchored,
  cast,
  code,
  committed,
  generatePrivateKey,
  type Hex,
  holdings,
  openWorld,
  toCommittee,
  type World,
  word,
} from './chain-world.ts'

let world: World

test.before(async () => {
  world = await openWorld()
})
test.after(async () => {
  await world?.anvil.stop()
})

test('a batch goes from anchor to collection and every unit is accounted for', async () => {
  const { provider } = world
  const before = await holdings(world)
  const { batchId, tree } = await anchored(world, [3n, 5n, 7n])
  const seen = await provider.chain.batch(batchId)
  assert.is(seen.status, 'anchored')
  assert.is(seen.total, tree.root.sum)
  assert.is(seen.provider, provider.chain.address)
  assert.is(await provider.chain.lock(batchId), await provider.chain.lockFor(seen.total))

  const value = await provider.chain.awaitSlot(seen.sampleSlot)
  const points = await provider.chain.samplePoints(batchId)
  assert.equal(points, samplePoints(fromHex(batchId), fromHex(value), seen.total, world.params.draws))

  const { committed: list, votes } = await committed(world, batchId, '01010101')
  await provider.chain.settle(batchId, list, votes, [])
  await world.nodes[1]!.chain.collect(batchId, 0)
  assert.is(await code(world.nodes[1]!.chain.collect(batchId, 0)), 'CHAIN_AlreadyCollected')
  assert.is((await provider.chain.batch(batchId)).status, 'paid')

  const after = await holdings(world)
  const fee = seen.total
  const { nuBps, betaBps, verificationFloor: floor } = world.params
  const nu = (fee * BigInt(nuBps)) / 10_000n
  const beta = (fee * BigInt(betaBps)) / 10_000n
  const voterBurn = (nu + floor) % BigInt(votes.length)
  assert.is(before.supply - after.supply, beta + voterBurn)
  assert.is(after.payouts - before.payouts, fee - beta - voterBurn + floor)
  assert.is(before.operator - after.operator, floor)
  assert.is(await provider.chain.pot(batchId), 0n)
  assert.is(after.all, after.supply)
  assert.is(before.all, before.supply)
  assert.is(after.claims + after.reserve, after.escrow)
  assert.is((await provider.chain.session(world.session)).cursor, 3n)
  assert.is(await provider.chain.lock(batchId), 0n)
})

test('a voter has its seat back once the window is over, and frees those of the others', async () => {
  const { provider } = world
  const { batchId } = await anchored(world, [2n, 2n])
  await provider.chain.awaitSlot((await provider.chain.batch(batchId)).sampleSlot)
  const { committed: list, votes } = await committed(world, batchId, '01010101')
  await provider.chain.settle(batchId, list, votes, [])
  const settled: BatchEvent[] = []
  const watcher = provider.chain.watchBatches((event) => {
    if (event.name === 'BatchSettled' && event.args.batchId === batchId) settled.push(event)
  })
  while (settled.length === 0) await sleep(50)
  await watcher.stop()
  const event = settled[0]!
  assert.is(event.name, 'BatchSettled')
  const voter = world.nodes.find(
    ({ chain }) => event.name === 'BatchSettled' && event.args.voters[0] === chain.address,
  )!
  const folder = mkdtempSync(join(tmpdir(), 'sinter-benches-'))
  const store = await openStore(folder)
  try {
    const { chain } = voter
    const log = pino({ enabled: false })
    const benches = createBenches({ address: chain.address!, chain, store, log })
    await benches.apply(event)
    const free = await chain.freeStake(chain.address!)
    await benches.tick()
    assert.is(await chain.freeStake(chain.address!), free)
    assert.is((await chain.bench(batchId)).held, true)
    await world.anvil.skip(world.params.seatWindow + 1)
    await benches.tick()
    assert.is(await chain.freeStake(chain.address!), free + world.params.seatStake)
    assert.equal((await chain.bench(batchId)).held, false)
    // Nothing is left to do, also not for what an event brings again.
    await benches.apply(event)
    await benches.tick()
    await benches.tick()
  } finally {
    await store.close()
    rmSync(folder, { recursive: true })
  }
})

test('a forged verdict slashes the lock and refunds the consumer', async () => {
  const { provider } = world
  const before = await holdings(world)
  const { batchId } = await anchored(world, [4n, 6n])
  const batch = await provider.chain.batch(batchId)
  const lock = await provider.chain.lock(batchId)
  await provider.chain.awaitSlot(batch.sampleSlot)
  const { committed: list, votes } = await committed(world, batchId, '01050101')
  const stranger = world.nodes[2]!.chain
  assert.is(await code(stranger.settle(batchId, list, votes, [])), 'CHAIN_ProvidersGrace')
  await world.anvil.skip(world.params.pokeGrace + 1)
  await stranger.settle(batchId, list, votes, [])
  assert.is((await provider.chain.batch(batchId)).status, 'slashPending')
  assert.is(await code(stranger.collect(batchId, 0)), 'CHAIN_WrongStatus')
  assert.is(await code(stranger.finalize(batchId)), 'CHAIN_DeadlineNotReached')
  await world.anvil.skip(world.params.slashPending + 1)
  await stranger.finalize(batchId)
  await stranger.collect(batchId, 0)
  const after = await holdings(world)
  const reward = lock / 10n / BigInt(votes.length)
  const floorEach = world.params.verificationFloor / BigInt(votes.length)
  const node = (await provider.chain.node(provider.chain.address!))!
  assert.is(before.providerStake - node.stake, lock)
  assert.is(after.payouts - before.payouts, (reward + floorEach) * BigInt(votes.length))
  const [range] = await provider.chain.ranges(batchId)
  assert.is(range!.fee, batch.total)
  assert.is(await provider.chain.pot(batchId), 0n)
  assert.is(after.all, after.supply)
})

test('the refusals have names', async () => {
  const { provider, consumer, network, session } = world
  const { chain } = provider
  const state = await chain.session(session)
  const range = (toSeq: bigint, cumulative: bigint, key: Hex = consumer.key) => {
    const receipt = fromHex(word(99n))
    const signature = signVoucher(network, key, { session: fromHex(session), seq: toSeq, cumulative, receipt })
    return { session, toSeq, cumulative, receiptHash: toHex(receipt), signature: toHex(signature) }
  }
  const owed = state.anchored + 1n
  const refusals: [string, () => Promise<unknown>][] = [
    ['CHAIN_RangeNotContiguous', () => chain.anchorBatch(word(1n), [range(state.cursor, owed)])],
    ['CHAIN_FeeNotPositive', () => chain.anchorBatch(word(1n), [range(state.cursor + 1n, state.anchored)])],
    ['CHAIN_AboveCeiling', () => chain.anchorBatch(word(1n), [range(state.cursor + 1n, state.ceiling + 1n)])],
    ['CHAIN_BadVoucher', () => chain.anchorBatch(word(1n), [range(state.cursor + 1n, owed, provider.key)])],
    ['CHAIN_RangeCount', () => chain.anchorBatch(word(1n), [])],
    ['CHAIN_InsufficientBalance', () => consumer.chain.openSession(chain.address!, 10n ** 30n, 2n ** 40n)],
    ['CHAIN_AlreadyDripped', () => world.funder.drip(consumer.chain.address!)],
    ['CHAIN_AlreadyRegistered', () => world.registerAgain()],
    ['CHAIN_WrongStatus', () => chain.expire(word(5n))],
    ['CHAIN_READ_ONLY', () => world.reader.deposit(1n)],
  ]
  for (const [expected, action] of refusals) assert.is(await code(action()), expected)
  const poor = await openChain({ network, rpcUrl: world.anvil.rpcUrl, key: generatePrivateKey() })
  assert.is(await code(poor.drip(poor.address!)), 'CHAIN_GAS_FUNDS')
  const other = { ...network, chainId: network.chainId + 1 }
  assert.is(await code(openChain({ network: other, rpcUrl: world.anvil.rpcUrl })), 'CHAIN_ID')
  const empty = { ...network, contracts: { ...network.contracts, batches: poor.address! } }
  assert.is(await code(openChain({ network: empty, rpcUrl: world.anvil.rpcUrl })), 'CHAIN_NO_CONTRACTS')
})

test('transactions of one account sent at once all land', async () => {
  const { chain } = world.consumer
  const start = await chain.balanceOf(chain.address!)
  await Promise.all(Array.from({ length: 8 }, (_, i) => chain.deposit(BigInt(i + 1))))
  assert.is(await chain.balanceOf(chain.address!), start + 36n)
})

test('a restarted watcher continues where the first one stopped and misses nothing', async () => {
  const first: BatchEvent[] = []
  let cursor: Cursor = { next: 0n, marks: [] }
  const watcher = world.reader.watchBatches((event) => void first.push(event), {
    onCursor: (next) => {
      cursor = next
    },
  })
  while (first.length === 0 || cursor.next < (await world.reader.head()).block) await sleep(50)
  await watcher.stop()
  assert.ok(first.some(({ name }) => name === 'BatchSettled'))
  assert.ok(
    first.some((event) => event.name === 'RangeAnchored' && event.args.consumer === world.consumer.chain.address),
  )

  const { batchId } = await anchored(world, [2n])
  const second: BatchEvent[] = []
  let failures = 0
  const again = world.reader.watchBatches(
    (event) => {
      // A handler that fails once gets the event again.
      if (failures++ === 0) throw new Error('first try')
      second.push(event)
    },
    { from: cursor },
  )
  while (second.length < 2) await sleep(50)
  await again.stop()
  assert.equal(
    second.map(({ name }) => name),
    ['RangeAnchored', 'BatchAnchored'],
  )
  assert.ok(second.every(({ args }) => (args as { batchId: Hex }).batchId === batchId))
  assert.ok(failures > 2)
})

test('a slot older than the chain remembers is recorded with headers', async () => {
  const { reader, consumer } = world
  const { block } = await reader.head()
  const slot = block / BigInt(world.params.slotLength) + 1n
  await world.anvil.mine(520)
  const done = await consumer.chain.recordSlot(slot)
  assert.ok(done !== null)
  assert.ok((await reader.beaconValue(slot)) !== null)
  assert.is(await consumer.chain.recordSlot(slot), null)
})

test('votes that were not committed, too few or split do not settle; a second commitment costs a seat', async () => {
  const { provider, network } = world
  const { chain } = provider
  const { batchId } = await anchored(world, [9n])
  await chain.awaitSlot((await chain.batch(batchId)).sampleSlot)
  await toCommittee(world, batchId)
  const before = await chain.ballot(batchId)
  assert.is(before.members, 0)
  const digest = word(3n)
  const [valid, forged] = ['01010101', '05010101']
  const { committed: list, votes } = await cast(
    world,
    batchId,
    [valid, valid, forged].map((verdicts) => ({ verdicts, digest })),
  )
  const [one, two, three] = votes as [VoteInput, VoteInput, VoteInput]
  assert.ok((await chain.ballot(batchId)).closedAt > 0)
  const { attempt, anchorBlock, attestation } = await chain.batch(batchId)
  const recorded = await chain.commitments(batchId, attempt, anchorBlock)
  assert.equal(
    recorded.map(({ voter, commitment }) => ({ voter, commitment })),
    list,
  )
  const signatures = await chain.commitmentSignatures(recorded[0]!.tx)
  assert.equal(
    [...signatures!.keys()],
    list.map(({ commitment }) => commitment),
  )
  const settle = (given: VoteInput[], of = list) => code(chain.settle(batchId, of, given, []))
  assert.is(await settle([one]), 'CHAIN_NoQuorum')
  assert.is(await settle([one, one]), 'CHAIN_VotesOrder')
  assert.is(await settle([one, three]), 'CHAIN_VerdictsDiffer')
  assert.is(await settle([one, { ...two, salt: word(99n) }]), 'CHAIN_NotWhatWasCommitted')
  assert.is(await settle([one, two], list.slice(0, 2)), 'CHAIN_NotCommitted')
  await chain.settle(batchId, list, [one, two], [])
  assert.is(await settle([one, two]), 'CHAIN_WrongStatus')

  const voter = list[0]!.voter
  const signed = (name: bigint) => {
    const commitment = fromHex(word(name))
    const fields = { batch: fromHex(batchId), attempt, attestation: fromHex(attestation), commitment }
    return { commitment, signature: signCommitment(network, world.keyOf(voter), fields) }
  }
  const stake = (await chain.node(voter))!.stake
  await world.consumer.chain.proveEquivocation(batchId, attempt, attestation, signed(1n), signed(2n))
  assert.is((await chain.node(voter))!.stake, stake - world.params.seatStake)
  assert.is(
    await code(chain.proveEquivocation(batchId, attempt, attestation, signed(1n), signed(3n))),
    'CHAIN_BenchExists',
  )
})

test('parameters survive the network file, and bad ones are named', async () => {
  assert.equal(paramsFromJson(JSON.parse(JSON.stringify(paramsToJson(devnetParams)))), devnetParams)
  const { quorum: _, ...missing } = paramsToJson(devnetParams)
  const refused = (json: Parameters<typeof paramsFromJson>[0]) =>
    code(Promise.resolve().then(() => paramsFromJson(json)))
  assert.is(await refused(missing), 'NETWORK_PARAMS')
  assert.is(await refused({ ...paramsToJson(devnetParams), minStake: '-1' }), 'NETWORK_PARAMS')
  for (const classes of ['cpu', 'cpu:1', 'cpu:1:1,', 'CPU:1:1', 'cpu:1:-1', 7])
    assert.is(await refused({ ...paramsToJson(devnetParams), classes }), 'NETWORK_PARAMS', String(classes))
  const hasty = { ...devnetParams, unbondingDelay: 285 }
  const options = { rpcUrl: world.anvil.rpcUrl, key: world.anvil.key, name: 'hasty', tileDraws: 4 }
  assert.is(
    await code(deployNetwork({ ...options, params: hasty, circuits: world.network.circuits })),
    'NETWORK_PARAMS',
  )
  // With genesis, one day of emission more than fits under the cap.
  const greedy = { ...devnetParams, emission0: 450_001n * 10n ** 18n }
  assert.is(
    await code(deployNetwork({ ...options, params: greedy, circuits: world.network.circuits })),
    'NETWORK_PARAMS',
  )
})

test('a stopped chain leaves nothing behind and its clients say so', async () => {
  await world.anvil.stop()
  assert.throws(() => process.kill(world.anvil.pid, 0))
  assert.is(await code(world.reader.head()), 'CHAIN_RPC')
})

test.run()
