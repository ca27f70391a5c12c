/** A node's money on a real chain: what is minted arrives at the payout address, once, whoever is killed in between; and what is pending is said. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import type { Entry, JournalOf } from '../../node/chain/journal.ts'
import type { BatchEvent } from '../../node/chain/watch.ts'
import { describeBatch, describeSeats, openBatches } from '../../node/commands/batch-status.ts'
import { formatAmount } from '../../node/commands/options.ts'
import type { Log } from '../../node/net/log.ts'
import { createBenches } from '../../node/stages/bench.ts'
import { createUpkeep } from '../../node/stages/upkeep.ts'
import { openStore } from '../../node/store/store.ts'
import type { Address } from '../../protocol/signature.ts'
import { anchored, attested, code, committed, fastAnvil, openWorld, voteAll, type World, word } from './chain-world.ts'

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

const reader = (): Chain => world.reader
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

test('a voter has back the seats of a verdict on appeal too, which are not those of the first', async () => {
  const { chain } = world.provider
  const { batchId } = await attested(world, new Uint8Array(32), new Uint8Array(8))
  await voteAll(world, batchId, '05050505', word(5n))
  await chain.appeal(batchId)
  await voteAll(world, batchId, '01010101', word(5n))
  const settled: BatchEvent[] = []
  const watcher = chain.watchBatches((event) => {
    if (event.name === 'BatchSettled' && event.args.batchId === batchId) settled.push(event)
  })
  while (settled.length < 2) await new Promise((resolve) => setTimeout(resolve, 50))
  await watcher.stop()
  const [first, second] = await Promise.all(settled.map(async ({ tx }) => (await reader().benchesIn(tx))[0]!))
  assert.equal([first!.id, second!.id === batchId], [batchId, false])
  const both = first!.voters.find((voter) => second!.voters.includes(voter))!
  const voter = world.nodes.find(({ chain: own }) => own.address === both)!.chain
  const folder = mkdtempSync(join(tmpdir(), 'sinter-claims-'))
  const store = await openStore(folder)
  try {
    const benches = createBenches({ address: both, chain: voter, store, log })
    for (const event of settled) await benches.apply(event)
    const free = await voter.freeStake(both)
    await anvil.skip(Math.max(world.params.seatWindow, world.params.slashPending) + 60)
    await benches.tick()
    assert.is(await voter.freeStake(both), free + 2n * world.params.seatStake)
    assert.equal([(await voter.bench(first!.id)).held, (await voter.bench(second!.id)).held], [false, false])
  } finally {
    await store.close()
    rmSync(folder, { recursive: true })
  }
})

test.run()
