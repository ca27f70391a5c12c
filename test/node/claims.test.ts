/** A node's money on a real chain: what is minted arrives at the payout address, once, whoever is killed in between; and what is pending is said. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import type { Entry, JournalOf } from '../../node/chain/journal.ts'
import { describeBatch, describeSeats, openBatches } from '../../node/commands/batch-status.ts'
import { formatAmount } from '../../node/commands/options.ts'
import type { Log } from '../../node/net/log.ts'
import { createUpkeep } from '../../node/stages/upkeep.ts'
import type { Address } from '../../protocol/signature.ts'
import { anchored, code, committed, fastAnvil, openWorld, type World } from './chain-world.ts'

let world: World
let anvil: Awaited<ReturnType<typeof fastAnvil>>
let payout: Address
const said: string[] = []
const keep = (facts: unknown): void => void said.push((facts as { event: string }).event)
const log = { debug: keep, info: keep, warn: keep, error: keep } as unknown as Log
const entries = new Map<number, Entry>()
/** A journal that outlives whoever opened it. */
const journal: JournalOf = () => ({
  entries: async () => [...entries.values()],
  put: async (entry) => void entries.set(entry.nonce, entry),
  del: async (nonce) => void entries.delete(nonce),
})

test.before(async () => {
  anvil = await fastAnvil(200)
  const windows = { traceWindow: 600, voteWindow: 600, slashPending: 600, appealWindow: 500 }
  const change = { ...windows, unbondingDelay: 10_000, canaryWindow: 10_000 }
  world = await openWorld(undefined, change, async () => anvil)
  payout = world.payouts[0]!.toLowerCase() as Address
})
test.after(() => world?.anvil.stop())

const upkeepOf = (chain: Chain, claimFrom: bigint | null) =>
  createUpkeep({ address: world.provider.chain.address!, chain, quoter: null, log }, { keep: 0n, claimFrom })
/** Settles a batch of the provider's. Base units that it is credited with. */
async function work(prices: bigint[]): Promise<bigint> {
  const { chain } = world.provider
  const { batchId } = await anchored(world, prices)
  await chain.awaitSlot((await chain.batch(batchId)).sampleSlot)
  await chain.settle(batchId, await committed(world, batchId, '01010101'), [])
  return (await chain.claimable(chain.address!))!.amount
}
/** As a node that starts: with the provider's key, and with what the last one has written. */
const start = (receiptMs = 60_000): Promise<Chain> =>
  openChain({
    network: world.network,
    rpcUrl: anvil.rpcUrl,
    key: world.provider.key,
    journal,
    pollMs: 50,
    resumeMs: 0,
    receiptMs,
  })

test('a node has what is minted for its work sent to its payout address, and nothing twice', async () => {
  const { chain } = world.provider
  const operator = chain.address!
  assert.is(await chain.claimable(operator), null)
  const credit = await work([300n, 500n])
  assert.ok(credit > 0n)
  await upkeepOf(chain, credit + 1n).tick()
  await upkeepOf(chain, null).tick()
  assert.is(await chain.tokensOf(payout), 0n)
  // Two at once, as two looks that overlap: one arrives, and the other finds that it has.
  const upkeep = upkeepOf(chain, credit)
  await Promise.all([upkeep.tick(), upkeepOf(world.nodes[1]!.chain, credit).tick()])
  await upkeep.tick()
  assert.is(await chain.tokensOf(payout), credit)
  assert.is(await chain.minted(operator), credit)
  assert.is(await code(chain.claimMint(operator)), 'CHAIN_NothingToClaim')
  assert.is(said.filter((event) => event === 'mint.claimed').length, 1)
})

test('a claim that was on its way when the node was killed is taken over by the next', async () => {
  const before = await world.reader.tokensOf(payout)
  const credit = await work([700n])
  // Users of one key in one process share what is on its way.
  world.provider.chain.close()
  const killed = await start(1_000)
  await anvil.pause(true)
  const sent = async () => Number(await anvil.request('eth_getTransactionCount', [killed.address, 'pending']))
  const count = await sent()
  assert.is(await code(upkeepOf(killed, 1n).tick()), 'CHAIN_RECEIPT')
  killed.close()
  assert.is(entries.size, 1)

  const next = await start()
  const tick = upkeepOf(next, 1n).tick()
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.is(await sent(), count + 1)
  await anvil.pause(false)
  await tick
  await upkeepOf(next, 1n).tick()
  assert.is(await next.tokensOf(payout), before + credit)
  assert.is(await sent(), count + 1)
  world.provider = { ...world.provider, chain: next }
})

test('a node reads what is pending against its batches: verdict, voters and seats, appeals and bonds, and until when', async () => {
  const { provider, reader, params } = world
  const { chain } = provider
  const operator = chain.address!
  const { batchId } = await anchored(world, [900n])
  const lines = async () =>
    (await openBatches(reader, operator)).map(describeBatch).find(([first]) => first!.startsWith(batchId))!
  assert.match((await lines())[0]!, /SNTR locked; anchored; its trace is to be anchored (by 2|once the beacon)/)
  await chain.awaitSlot((await chain.batch(batchId)).sampleSlot)
  const votes = await committed(world, batchId, '01050105')
  assert.match((await lines())[0]!, /; its committee votes by 2\d{3}-/)
  await chain.settle(batchId, votes, [])

  const { slashAt } = await chain.batch(batchId)
  const utc = (at: bigint): string => new Date(Number(at) * 1000).toISOString()
  const bond = await chain.appealBond(batchId)
  // One of these votes has no digest.
  const [first, silence, second, ...rest] = await lines()
  assert.match(first!, /condemned: 2 of 4 draws found forged by 2 voters, whose seats answer for it until 2/)
  assert.ok(first!.endsWith(`SNTR is slashed at ${utc(slashAt)}`), first)
  assert.match(silence!, /^a voter says that there was no attestation/)
  const until = utc(slashAt - BigInt(params.slashPending - params.appealWindow))
  assert.is(second, `an appeal, for a bond of ${formatAmount(bond)} SNTR, is taken until ${until}`)
  assert.equal(rest, [])
  const voter = (await chain.committee(batchId))[0]!
  assert.match(
    (await describeSeats(reader, voter))!,
    /^[1-9]\d* seats? answer for votes of this node, \d+ SNTR of its stake, the last until 2/,
  )
  assert.is(await describeSeats(reader, operator), null)

  await chain.appeal(batchId)
  const appealed = await lines()
  assert.match(appealed[0]!, /; committee 2, a larger one, votes (by 2|once the beacon)/)
  assert.equal(appealed.slice(1), [`1 appeal so far; bonds that lie there: ${formatAmount(bond)} SNTR of ${operator}`])
  assert.equal(await openBatches(reader, world.nodes[1]!.chain.address!), [])
})

test.run()
