import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Abi, createPublicClient, encodeFunctionData, http } from 'viem'
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
import { sendAs } from '../bench/gas-referee.ts'
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
  })
})
test.after(async () => {
  await world?.anvil.stop()
})

const client = () => createPublicClient({ transport: http(world.anvil.rpcUrl) })
const ask = (
  contract: 'capacity' | 'beacon' | 'registry' | 'emissions',
  functionName: string,
  args: unknown[] = [],
) => {
  const abi = { capacity: capacityAbi, beacon: beaconAbi, registry: registryAbi, emissions: emissionsAbi }[
    contract
  ] as Abi
  return client().readContract({ address: world.network.contracts[contract], abi, functionName, args })
}
const send = (key: Hex, functionName: string, args: unknown[]) => {
  const data = encodeFunctionData({ abi: capacityAbi as Abi, functionName, args })
  return sendAs(world.anvil, world.network, key, world.network.contracts.capacity, data)
}
const until = async (block: bigint): Promise<void> => {
  while ((await world.reader.head()).block < block) await sleep(200)
}

/** Opens the next slot's pulse. */
async function openPulse(): Promise<{ slot: bigint; drawSlot: bigint; value: Hex }> {
  const { block } = await world.reader.head()
  const slot = (await ask('beacon', 'slotAfter', [block])) as bigint
  await until(world.reader.slotHeight(slot) + 1n)
  await send(world.anvil.key, 'open', [slot])
  const { drawSlot } = (await ask('capacity', 'pulseOf', [slot])) as { drawSlot: bigint }
  return { slot, drawSlot, value: (await ask('beacon', 'value', [slot])) as Hex }
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
  // Stakes count from the pulse after they came.
  await openPulse()
  await sleep(9_000)
  const { slot, drawSlot, value } = await openPulse()
  const reporters = (await ask('capacity', 'reportersOf', [slot])) as Hex[]
  assert.is(reporters.length, 5)

  const operators = ((await ask('registry', 'operators', [0n, 100n])) as Hex[]).map((each) => each.toLowerCase())
  const answers = world.nodes.slice(0, 2).map((node, i) => {
    const lane = computeLane(seedOf(node, value), i === 0 ? undefined : (state) => state.map((entry) => entry ^ 1))
    return { node, lane, index: operators.indexOf(node.chain.address!.toLowerCase()) }
  })
  const tree = reportTree(
    new Map(answers.map(({ node, lane, index }) => [index, reportLeaf(node.chain.address!, [lane.tree.answer])])),
  )
  const reporter = reporters[0]!.toLowerCase() as Hex
  await send(world.keyOf(reporter), 'report', [slot, toHex(tree.root)])
  const drawn = await world.funder.awaitSlot(drawSlot)

  const claims = answers.map(({ node, lane, index }) => {
    const draw = { slot, value: fromHex(drawn), operator: node.chain.address!, lane: 0 }
    const entries = positions(draw, CLASS).map((at) => {
      const o = openEntry(at, CLASS.n, lane.tree, lane.kept[at.step - 1] ?? null, lane.kept[at.step]!)
      return {
        ...{ before: toHex(o.before), beforePath: o.beforePath.map(toHex) },
        ...{ operand: toHex(o.operand), operandPath: o.operandPath.map(toHex) },
        ...{ afterwards: toHex(o.after), afterPath: o.afterPath.map(toHex) },
        ...{ result: toHex(o.result), resultPath: o.resultPath.map(toHex) },
      }
    })
    const path = tree.path(index).map(toHex)
    return { slot, reporter, index, path, answers: [toHex(lane.tree.answer)], lane: 0, entries }
  })
  const [honest, forger] = answers
  await send(honest!.node.key, 'claim', [claims[0]])
  assert.is(await code(send(honest!.node.key, 'claim', [claims[0]])), 'CHAIN_AlreadyClaimed')
  assert.is(await code(send(forger!.node.key, 'claim', [claims[1]])), 'CHAIN_EntryNotShown')

  const name = (await ask('registry', 'classOf', [honest!.node.chain.address])) as Hex
  const { capacity } = (await ask('emissions', 'classState', [name])) as { capacity: bigint }
  assert.is(capacity, UNITS)

  await world.anvil.request('evm_increaseTime', [3_600])
  await world.anvil.mine(1)
  const claimable = await honest!.node.chain.claimable(honest!.node.chain.address!)
  // 16% of a floor of 0.0005 for each unit.
  assert.is(claimable?.amount, (UNITS * 5n * 10n ** 14n * 16n) / 100n)
  assert.is(await forger!.node.chain.claimable(forger!.node.chain.address!), null)
})

test.run()
