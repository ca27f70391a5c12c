/**
 * `npm run test:canary`: a real provider is told of a consumer of its own. What that consumer buys over the network becomes a canary: the
 * provider buries it, proves it and anchors a trap; three honest nodes find it forged by a path; the provider says what it was, has its bond and its lock
 * back, and nobody has lost anything.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Account, LocalNode } from '../../node/devnet/localnet.ts'
import type { Hex } from '../../protocol/bytes.ts'
import { openWorld, type World } from './world.ts'

let world: World
let provider: LocalNode
let voters: LocalNode[]
let bait: Account

test.before(async () => {
  // uvu says nothing about a hook that failed.
  await setUp().catch((error: unknown) => {
    console.error(error)
    throw error
  })
})

async function setUp(): Promise<void> {
  const params = { committeeSize: 3, quorum: 2, slashPending: 120, appealWindow: 60, canaryWindow: 3_000 }
  world = await openWorld(
    async (net) => {
      bait = await net.newAccount('bait')
      provider = await net.startNode('provider', { args: ['--canary-account', bait.folder] })
      voters = await Promise.all([1, 2, 3].map((i) => net.startNode(`voter-${i}`)))
      return net.nodes
    },
    { params },
  )
}
test.after(() => world?.stop())

test('jobs that a provider buys from itself become a canary, which voters who look find', async () => {
  const { net } = world
  const publisher = net.startCommand(
    'publisher',
    await net.newAccount('publisher'),
    ['model', 'publish', 'digits'],
    ['--json'],
  )
  const { facts } = await publisher.wait('published', 60_000)
  const [tokens, node] = [await net.chain.tokensOf(provider.address), await net.chain.node(provider.address)]
  const offer = [
    '--model',
    facts.manifest as string,
    '--count',
    '3',
    '--provider',
    provider.address,
    '--window',
    '30000',
    '--json',
  ]
  net.startCommand('bait', bait, ['infer'], offer)
  const buried = await provider.actor.wait('canary.buried', 180_000)
  const batch = buried.facts.batch as Hex
  const { bond } = await net.chain.canaryOf(provider.address)
  assert.is(buried.facts.bond, bond.toString())
  const looked = await world.waitEvent('attestation.verified', ({ facts: said }) => said.batch === batch, 300_000)
  assert.match(String((looked.facts.faults as string[])[0]), /^TRACE_PATH/)
  const revealed = await provider.actor.wait('canary.revealed', 300_000)
  assert.equal([revealed.facts.batch, revealed.facts.found], [batch, 'slashPending'])
  assert.is((await net.chain.batch(batch)).status, 'abandoned')
  assert.is(await net.chain.lock(batch), 0n)
  assert.is((await net.chain.node(provider.address))!.stake, node!.stake)
  assert.is(await net.chain.tokensOf(provider.address), tokens)
  for (const voter of voters) assert.is((await net.chain.node(voter.address))!.stake, node!.stake)
})

test.run()
