import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Abi, createPublicClient, http } from 'viem'
import type { LaneClaim, Pulse } from '../../node/chain/capacity.ts'
import type { Chain } from '../../node/chain/chain.ts'
import { capacityClasses } from '../../node/chain/economy.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { beaconAbi, capacityAbi, emissionsAbi, registryAbi } from '../../protocol/contracts/abi.ts'
import {
  type KeptState,
  laneSeed,
  laneTree,
  nextState,
  openEntry,
  positions,
  pulseMatrix,
  reportLeaf,
  reportTree,
  stateTree,
  stepSeed,
  stepVectors,
} from '../../protocol/pulse.ts'
import { type Actor, code, openWorld, type World } from './chain-world.ts'

/** Lanes that are really computed, on a chain, from the opening of a pulse to what is minted. */

const STAKE_PER_LANE = 1_000n * 10n ** 18n
const CLASS = { n: 256, steps: 4, entries: 4 }
const UNITS = 25n

let world: World

test.before(async () => {
  world = await openWorld(undefined, {
    // Every slot is a pulse, every lane is drawn.
    pulseRarity: 1,
    pulseWindow: 8,
    pulseDrawMargin: 5,
    capacityClasses: `cpu:256:4:4:${UNITS}:1:${STAKE_PER_LANE}`,
    epochLength: 3_600,
    // A pool that is too small for what is measured: a tenth of it, half of what the floor would pay.
    emission0: 10n ** 16n,
  })
})
test.after(async () => {
  await world?.anvil.stop()
})

const ask = (
  contract: 'capacity' | 'beacon' | 'registry' | 'emissions',
  functionName: string,
  args: unknown[] = [],
) => {
  const abi = { capacity: capacityAbi, beacon: beaconAbi, registry: registryAbi, emissions: emissionsAbi }[
    contract
  ] as Abi
  const client = createPublicClient({ transport: http(world.anvil.rpcUrl) })
  return client.readContract({ address: world.network.contracts[contract], abi, functionName, args })
}
const until = async (block: bigint): Promise<void> => {
  while ((await world.reader.head()).block < block) await sleep(200)
}

/** Opens the next slot's pulse, whose value is known before. */
async function openPulse(): Promise<{ pulse: Pulse; value: Hex }> {
  const { funder, reader } = world
  const { block } = await reader.head()
  const slot = (await ask('beacon', 'slotAfter', [block])) as bigint
  assert.is(await reader.slotValue(slot), null)
  await until(reader.slotHeight(slot) + 1n)
  assert.is(await reader.beaconValue(slot), null)
  assert.ok(reader.slotAt(await reader.head()) >= slot)
  const value = await reader.slotValue(slot)
  await funder.openPulse(slot)
  const pulse = (await reader.lastPulse())!
  assert.is(pulse.slot, slot)
  assert.is(await reader.beaconValue(slot), value)
  return { pulse, value: value! }
}

/** A node's one lane. `made` may replace what a step has computed. */
function computeLane(seed: Uint8Array, made: (state: Uint8Array) => Uint8Array = (state) => state) {
  const { n, steps } = CLASS
  const matrix = pulseMatrix(n)
  const kept: KeptState[] = []
  for (let step = 0; step < steps; step++) {
    const before = kept.at(-1)
    const vectors = stepVectors(stepSeed(seed, step, before?.tree.root ?? new Uint8Array(32)), n)
    const state = made(nextState(matrix, vectors, before?.state ?? new Uint8Array(n * n), n))
    kept.push({ state, tree: stateTree(state, n) })
  }
  return { kept, tree: laneTree(kept.map(({ tree }) => tree.root)) }
}

const seedOf = (node: Actor, value: Hex): Uint8Array =>
  laneSeed({
    chainId: world.network.chainId,
    capacity: world.network.contracts.capacity,
    value: fromHex(value),
    operator: node.chain.address!,
    lane: 0,
  })

test('the network file’s classes are those of the chain', async () => {
  assert.equal(capacityClasses(world.params), [
    { name: 'cpu', ...CLASS, units: UNITS, share: 1, stakePerLane: STAKE_PER_LANE },
  ])
})

test('lanes that were computed are paid, and one that was not is found', async () => {
  const { reader } = world
  assert.is(await reader.lastPulse(), null)
  // Stakes count from the pulse after they came.
  const first = await openPulse()
  assert.equal(await reader.reporters(first.pulse.slot), [])
  await sleep(9_000)
  const { pulse, value } = await openPulse()
  const { slot, drawSlot } = pulse
  const reporters = await reader.reporters(slot)
  assert.is(reporters.length, 5)
  assert.is(await reader.operatorCount(), 5)

  const operators = await reader.operators()
  const answers = world.nodes.slice(0, 2).map((node, i) => {
    const lane = computeLane(seedOf(node, value), i === 0 ? undefined : (state) => state.map((entry) => entry ^ 1))
    return { node, lane, index: operators.indexOf(node.chain.address!) }
  })
  const tree = reportTree(
    new Map(answers.map(({ node, lane, index }) => [index, reportLeaf(node.chain.address!, [lane.tree.answer])])),
  )
  const reporter = reporters[0]!
  assert.is(await reader.reportRoot(slot, reporter), null)
  await world.nodes.find(({ chain }) => chain.address === reporter)!.chain.reportPulse(slot, toHex(tree.root))
  assert.is(await reader.reportRoot(slot, reporter), toHex(tree.root))
  const drawn = await world.funder.awaitSlot(drawSlot)

  const claims = answers.map(({ node, lane, index }) => {
    const draw = { slot, value: fromHex(drawn), operator: node.chain.address!, lane: 0 }
    const entries = positions(draw, CLASS).map((at) =>
      openEntry(at, CLASS.n, lane.tree, lane.kept[at.step - 1] ?? null, lane.kept[at.step]!),
    )
    return { slot, reporter, index, path: tree.path(index), answers: [lane.tree.answer], lane: 0, entries }
  }) as [LaneClaim, LaneClaim]
  const [honest, forger] = answers.map(({ node }) => node.chain) as [Chain, Chain]
  const operator = honest.address!
  assert.is(await reader.laneClaimed(slot, operator, 0), false)
  await honest.claimLane(claims[0])
  assert.is(await reader.laneClaimed(slot, operator, 0), true)
  assert.is(await code(honest.claimLane(claims[0])), 'CHAIN_AlreadyClaimed')
  assert.is(await code(forger.claimLane(claims[1])), 'CHAIN_EntryNotShown')

  const name = (await ask('registry', 'classOf', [operator])) as Hex
  const { capacity } = (await ask('emissions', 'classState', [name])) as { capacity: bigint }
  assert.is(capacity, UNITS)
  // 16% of a floor of 0.0005 for each unit, as far as is known before an epoch has ended.
  assert.is(await reader.capacityPay('cpu', UNITS), (UNITS * 5n * 10n ** 14n * 16n) / 100n)
  const pay = 10n ** 15n
  assert.is(await reader.capacityPay('other', UNITS), 0n)

  await world.anvil.request('evm_increaseTime', [4 * 3_600])
  await world.anvil.mine(1)
  const claimable = await honest.claimable(operator)
  assert.is(claimable?.amount, pay)
  assert.is(await forger.claimable(forger.address!), null)
  assert.is(await reader.epochsBehind(), 4n)
  await honest.rollEpochs(1n)
  // The epoch that has ended paid just that.
  assert.is(await reader.capacityPay('cpu', 2n * UNITS), 2n * pay)
  await honest.rollEpochs(2n)
  // One in which nothing was measured says nothing.
  assert.is(await reader.capacityPay('cpu', UNITS), 2n * pay)
  assert.is(await reader.epochsBehind(), 1n)
  assert.equal(await reader.capacityHistory(operator), { lanes: 1, units: UNITS, credited: 0n })
  await honest.claimMint(operator)
  assert.equal(await reader.capacityHistory(operator), { lanes: 1, units: UNITS, credited: pay })
})

test.run()
