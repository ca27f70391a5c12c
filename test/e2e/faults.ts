/**
 * `npm run faults`: real nodes on a chain that fails under a batch, step by step. After the anchor no endpoint answers any node for
 * FAULT_DOWN_S seconds (30); after the trace three blocks are undone; then gas costs a thousand times as much for a while; then the
 * provider is killed when what it signed is at its endpoint, twice: before it is passed on, and after. The batch is paid all the same,
 * once. Ends with code 1 if not.
 */
import { strict as assert } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadHeldOut } from '../../models/digits.ts'
import type { BatchEvent } from '../../node/chain/watch.ts'
import type { LocalNode } from '../../node/devnet/localnet.ts'
import { type FaultyEndpoint, startProxy } from '../node/chain-proxy.ts'
import { openWorld } from './world.ts'

const DOWN_MS = 1000 * Number(process.env.FAULT_DOWN_S ?? 30)
const JOBS = 3
const started = Date.now()
const say = (line: string): void => console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}`)

const endpoints = new Map<string, FaultyEndpoint>()
const nodes: LocalNode[] = []
const world = await openWorld(
  async (net) => {
    // A fork of three blocks is what these nodes are told to expect.
    const args = ['--confirmations', '5']
    // The first node is the others' bootstrap address, so it is not the one that is killed.
    const first = await net.startNode('verifier-1', { args })
    nodes.push(await net.startNode('provider', { args }), first)
    await Promise.all([2, 3, 4].map(async (i) => nodes.push(await net.startNode(`verifier-${i}`, { args }))))
    return nodes
  },
  {
    async rpcFor(name, url) {
      const endpoint = await startProxy(url)
      endpoints.set(name, endpoint)
      return endpoint.url
    },
  },
)
const { net, client } = world
const provider = nodes[0]!
const seen = (name: BatchEvent['name']) => world.chainEvents.filter((event) => event.name === name)
async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 300_000): Promise<void> {
  for (const end = Date.now() + ms; !(await condition()); await sleep(100))
    if (Date.now() > end) throw new Error(`${what}: not in ${ms / 1000} s`)
  say(what)
}

/** Kills the provider at its next transaction and starts it again. */
async function killAtSend(actor: LocalNode['actor'], name: string, passage: 'refuse' | 'swallow', again: string) {
  let killed = false
  endpoints.get(name)!.rule = (method) => {
    if (method !== 'eth_sendRawTransaction') return 'pass'
    actor.kill('SIGKILL')
    killed = true
    return passage
  }
  await until(`${name} is killed when its transaction is ${passage === 'refuse' ? 'signed' : 'sent'}`, () => killed)
  await actor.ended
  const { actor: next } = await net.startNode(again, { account: provider.account, args: ['--confirmations', '5'] })
  say(`${again} is up`)
  return next
}

try {
  const publisher = net.startCommand(
    'publisher',
    await net.newAccount('publisher'),
    ['model', 'publish', 'digits'],
    ['--json'],
  )
  const { facts } = await publisher.wait('published', 60_000)
  const model = await client.library.load(facts.manifest as string)
  await client.network.waitForSubscribers('offers', 3, 30_000)
  const before = { supply: await net.chain.tokenSupply(), pay: await net.chain.balanceOf(provider.address) }
  const session = await client.openSession({
    model,
    jobs: BigInt(JOBS),
    priceCeiling: 10n ** 17n,
    windowMs: 60_000,
    enough: (bids) => bids.some((bid) => bid.provider === provider.address),
    choose: (bids) => bids.find((bid) => bid.provider === provider.address)!,
  })
  for (let i = 0; i < JOBS; i++) await (await session.infer([loadHeldOut().images[i]!])).acknowledged
  await session.close()
  say(`${JOBS} jobs acknowledged`)

  await until('anchored', () => seen('BatchAnchored').length > 0)
  const [event] = seen('BatchAnchored')
  const id = (event!.args as { batchId: `0x${string}` }).batchId
  for (const endpoint of endpoints.values()) endpoint.rule = () => 'refuse'
  say(`no endpoint answers for ${DOWN_MS / 1000} s`)
  await sleep(DOWN_MS)
  for (const endpoint of endpoints.values()) endpoint.rule = () => 'pass'
  await until('trace anchored', () => seen('TraceAnchored').length > 0)
  await net.anvil.request('anvil_reorg', [3, []])
  say('three blocks undone')
  await until('traced on the new chain', async () => (await net.chain.batch(id)).status === 'traced')
  await net.anvil.request('anvil_setNextBlockBaseFeePerGas', [`0x${(10n ** 12n).toString(16)}`])
  say('gas costs 1000 gwei')
  let actor = await killAtSend(provider.actor, 'provider', 'refuse', 'provider-2')
  actor = await killAtSend(actor, 'provider-2', 'swallow', 'provider-3')
  await until('paid', async () => (await net.chain.batch(id)).status === 'paid')
  await until('collected', async () => (await net.chain.ranges(id)).every(({ collected }) => collected))
  await net.anvil.mine(8)
  await sleep(2_000)

  const batch = await net.chain.batch(id)
  const batches = await Promise.all(nodes.map(async ({ address }) => (await net.chain.node(address))!))
  assert.equal(batch.total, session.provider.price * BigInt(JOBS), 'every job is in the batch')
  assert.equal(await net.chain.pot(id), 0n, 'nothing is left over')
  assert.equal(await net.chain.lock(id), 0n, 'the lock is free')
  assert.ok(
    batches.every(({ stake }) => stake === 1_000n * 10n ** 18n),
    'nobody lost stake',
  )
  const [opened] = await net.chain.sessionsOf(world.account.address)
  assert.equal(opened!.session.anchored, batch.total, 'the session owes what the batch has')
  const burned = before.supply - (await net.chain.tokenSupply())
  const floor = BigInt(net.network.params.verificationFloor as string)
  const pay = (await net.chain.balanceOf(provider.address)) - before.pay
  // The floor of the batch was prepaid out of the same balance and may have been filled up since.
  assert.ok([batch.providerPart - floor, batch.providerPart].includes(pay), `paid ${pay}, due ${batch.providerPart}`)
  assert.ok(burned >= batch.burnPart && burned < batch.burnPart + 10n, 'what burns burned once')
  say(`paid ${batch.providerPart} once, ${burned} burned; nobody lost anything`)
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await world.stop()
  await Promise.all([...endpoints.values()].map((endpoint) => endpoint.stop()))
}
process.exit()
