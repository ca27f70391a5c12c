/**
 * `npm run test:attacks`: a local network of real processes in which two providers play another cheat in each batch, after one honest one, and at the end
 * offer the chain receipts that no consumer acknowledged. The unit tests of test/adversary play the same cheats.
 */
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import type { LocalNode, Localnet } from '../../node/devnet/localnet.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { TrickName } from '../adversary/tricks.ts'
import { refusesForeignReceipts } from './refusals.ts'
import { openWorld, type World } from './world.ts'

type Expected = { trick: TrickName; status: 'paid' | 'slashed'; fault?: RegExp }
const slashed = (trick: TrickName, fault?: RegExp): Expected => ({
  trick,
  status: 'slashed',
  ...(fault === undefined ? {} : { fault }),
})

/** Batch for batch. Silence comes last: the clock of the chain is set forward for it. */
const PLAYED: Record<string, Expected[]> = {
  left: [
    { trick: 'honest', status: 'paid' },
    slashed('spliced-statements', /^(SEGMENT_COUNT|ACCUMULATOR|PROOF_PAIRING)/),
    slashed('stale-randomness', /^(TREE_|LEAF_|STATEMENT_COUNT|PROOF_PAIRING)/),
    slashed('re-salted', /^TRACE_PATH/),
    slashed('swapped-weights', /^PROOF_PAIRING/),
    slashed('silence'),
  ],
  right: [
    { trick: 'honest', status: 'paid' },
    slashed('cached-output', /^INPUT_ROOT/),
    slashed('wrong-input', /^INPUT_ROOT/),
    slashed('layer-skipped', /^PROOF_PAIRING/),
    slashed('four-bit-weights', /^PROOF_PAIRING/),
  ],
}
const STEP_MS = 300_000
const { images } = loadHeldOut()
const adversary = fileURLToPath(new URL('../adversary/node.ts', import.meta.url))

let world: World
let model: LoadedModel
const nodes = new Map<string, LocalNode>()

async function startNodes(net: Localnet): Promise<LocalNode[]> {
  nodes.set('honest-1', await net.startNode('honest-1'))
  const start = async (name: string): Promise<void> => {
    const plays = PLAYED[name]
    const env = { TRICKS: plays?.map(({ trick }) => trick).join() ?? '' }
    nodes.set(name, await net.startNode(name, plays === undefined ? {} : { program: adversary, env }))
  }
  await Promise.all(['honest-2', 'left', 'right'].map(start))
  return net.nodes
}

/** Buys one job of a provider, to the acknowledged receipt, in a session that could pay for another. */
async function buy(name: string, image: Float32Array): Promise<void> {
  const wanted = nodes.get(name)!.address
  const session = await world.client.openSession({
    model,
    jobs: 2n,
    priceCeiling: 10n ** 17n,
    windowMs: 60_000,
    enough: (bids) => bids.some(({ provider }) => provider === wanted),
    choose: (bids) => {
      const bid = bids.find(({ provider }) => provider === wanted)
      assert.ok(bid, `${name} did not bid`)
      return bid!
    },
  })
  await (await session.infer([image])).acknowledged
  await session.close()
}

const batchesOf = (name: string): `0x${string}`[] =>
  world.chainEvents.flatMap((event) =>
    event.name === 'BatchAnchored' && event.args.provider === nodes.get(name)!.address ? [event.args.batchId] : [],
  )

/** One batch after the other, each as soon as the one before it has been attested, until the last one is on the chain. */
async function playAll(name: string): Promise<void> {
  const { actor } = nodes.get(name)!
  const count = (event: string): number => actor.events.filter((each) => each.event === event).length
  const until = async (event: string, n: number): Promise<void> => {
    const deadline = Date.now() + STEP_MS
    while (count(event) < n) {
      if (Date.now() > deadline) throw new Error(`${name} did not come to ${event} number ${n}`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  for (const [i, { trick }] of PLAYED[name]!.entries()) {
    await buy(name, images[(name === 'left' ? 0 : 50) + i]!)
    await until('trace.anchored', i + 1)
    if (trick !== 'silence') await until('attestation.committed', i + 1)
  }
}

const finished = async (id: string): Promise<string> => {
  const seen = await world.waitEvent(
    'batch.finished',
    ({ actor, facts }) => actor === 'honest-1' && facts.batch === id,
    STEP_MS,
  )
  return seen.facts.status as string
}

test.before(async () => {
  // uvu says nothing about a hook that failed.
  await setUp().catch((error: unknown) => {
    console.error(error)
    throw error
  })
})

async function setUp(): Promise<void> {
  world = await openWorld(startNodes)
  const account = await world.net.newAccount('publisher')
  const publisher = world.net.startCommand('publisher', account, ['model', 'publish', 'digits'], ['--json'])
  const { facts } = await publisher.wait('published', 60_000)
  model = await world.client.library.load(facts.manifest as string)
  await world.client.network.waitForSubscribers('offers', 3, 30_000)
  await Promise.all(Object.keys(PLAYED).map(playAll))
  await world.caughtUp()
}

test.after(async () => {
  await world?.stop()
})

for (const [name, plays] of Object.entries(PLAYED))
  for (const [i, { trick, status, fault }] of plays.entries())
    if (trick !== 'silence')
      test(`${name}, batch ${i}, ${trick}: ${status}`, async () => {
        const id = batchesOf(name)[i]!
        assert.is(await finished(id), status)
        const faults = world.events
          .filter(({ event, facts }) => event === 'attestation.verified' && facts.batch === id)
          .flatMap(({ facts }) => facts.faults as string[])
        if (fault === undefined) assert.equal(faults, [])
        else assert.ok(faults.length > 0 && faults.every((each) => fault.test(each)), faults.join())
      })

test('left, at last, silence after the challenge: slashed when its window has passed, without a vote', async () => {
  const id = batchesOf('left').at(-1)!
  await world.net.anvil.mine(2, world.net.chain.params.attestWindow + 1)
  assert.is(await finished(id), 'slashed')
  await world.caughtUp()
  const of = world.chainEvents.filter(({ args }) => (args as { batchId?: string }).batchId === id)
  assert.ok(of.some((event) => event.name === 'BatchSlashed'))
  assert.not(of.some((event) => event.name === 'BatchSettled'))
})

test('receipts that no consumer acknowledged, and a range for the second time, are refused by the chain', () =>
  refusesForeignReceipts(world, nodes.get('right')!))

test.run()
