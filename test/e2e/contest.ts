/**
 * `npm run test:contest`: a real node serves real jobs and is condemned all the same, by a committee whose members collude. It reads the
 * verdict, has its own verifier look at its own attestation, appeals by itself, and is paid by the larger committee. Then it has what is
 * minted for the batch sent to its account, and says all of it in `sinter status`.
 */

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { privateKeyToAddress } from 'viem/accounts'
import { loadHeldOut } from '../../models/digits.ts'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import { signCommitment, signPayoutConsent } from '../../node/chain/eip712.ts'
import { openBatches } from '../../node/commands/batch-status.ts'
import type { LocalNode } from '../../node/devnet/localnet.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { voteCommitment } from '../../protocol/eip712.ts'
import { generatePrivateKey, word } from '../node/chain-world.ts'
import { openWorld, type World } from './world.ts'

const SNTR = 10n ** 18n
const { images } = loadHeldOut()
/** Members of all committees: the test has their keys, and no node of theirs is there. */
const keys = new Map<Hex, Hex>()
let world: World
let provider: LocalNode
let poker: Chain

async function enterMember(): Promise<void> {
  const { network, anvil } = world.net
  const key = generatePrivateKey()
  const address = privateKeyToAddress(key).toLowerCase() as Hex
  await world.net.drip(address)
  const chain = await openChain({ network, rpcUrl: anvil.rpcUrl, key })
  const payoutConsent = await signPayoutConsent(network, key, address)
  await chain.register({ payout: address, hardwareClass: 'cpu', stake: 2_000n * SNTR, payoutConsent })
  keys.set(address, key)
  chain.close()
}

/** The whole committee votes the same of every draw, and somebody settles with it as soon as that is not the provider's alone. */
async function voteAll(batchId: Hex, verdict: '01' | '05'): Promise<void> {
  const { params } = poker
  const { committeeSlot, attestation, attempt } = await poker.batch(batchId)
  await poker.awaitSlot(committeeSlot, { patienceMs: 20_000 })
  const members = await poker.committee(batchId)
  const verdicts = `0x${verdict.repeat(params.draws).padEnd(64, '0')}` as Hex
  const digest = word(5n)
  const [batch, salt] = [fromHex(batchId), word(7n)]
  const said = {
    batch,
    attempt,
    attestation: fromHex(attestation),
    verdicts: fromHex(verdicts),
    digest: fromHex(digest),
  }
  const cast = members.map((voter, seat) => {
    const commitment = voteCommitment(said, fromHex(salt), voter)
    const signature = signCommitment(world.net.network, keys.get(voter)!, { ...said, commitment })
    const vote = { place: BigInt(seat), verdicts, digest, salt }
    return { seat, commitment, signature, vote, committed: { voter, commitment: toHex(commitment) } }
  })
  await poker.commitVotes(batchId, attempt, cast)
  const committed = cast.map((each) => each.committed)
  const votes = cast.map(({ vote }) => vote)
  const { closedAt } = await poker.ballot(batchId)
  await poker.awaitTime(BigInt(closedAt + params.pokeGrace))
  await poker.settle(batchId, committed, votes, [])
}

test.before(async () => {
  // uvu says nothing about a hook that failed.
  await setUp().catch((error: unknown) => {
    console.error(error)
    throw error
  })
})

async function setUp(): Promise<void> {
  const params = { committeeSize: 3, quorum: 2, voteWindow: 120, slashPending: 240, appealWindow: 200 }
  world = await openWorld(
    async (net) => {
      provider = await net.startNode('provider', { args: ['--claim-from', '0.000001'] })
      return net.nodes
    },
    { params: { ...params, canaryWindow: 3_000 } },
  )
  for (let i = 0; i < 8; i++) await enterMember()
  const { network, anvil } = world.net
  poker = await openChain({ network, rpcUrl: anvil.rpcUrl, key: [...keys.values()][0]! })
}
test.after(async () => {
  poker?.close()
  await world?.stop()
})

async function buy(count: number): Promise<void> {
  const publisher = world.net.startCommand(
    'publisher',
    await world.net.newAccount('publisher'),
    ['model', 'publish', 'digits'],
    ['--json'],
  )
  const { facts } = await publisher.wait('published', 60_000)
  const model = await world.client.library.load(facts.manifest as string)
  await world.client.network.waitForSubscribers('offers', 1, 30_000)
  const terms = { jobs: BigInt(count), priceCeiling: 10n ** 17n, windowMs: 60_000 }
  const session = await world.client.openSession({ model, ...terms, enough: (bids) => bids.length > 0 })
  for (let i = 0; i < count; i++) await (await session.infer([images[i]!])).acknowledged
  await session.close()
}

test('a provider that a committee condemns wrongly appeals by itself, is paid, and has its mint sent', async () => {
  await buy(3)
  const { facts } = await provider.actor.wait('batch.anchored', 120_000)
  const batchId = facts.batch as Hex
  const { chain } = world.net
  await provider.actor.wait('attestation.published', 300_000)
  await voteAll(batchId, '05')
  assert.is((await chain.batch(batchId)).status, 'slashPending')
  const [pending] = await openBatches(chain, provider.address)
  assert.is(pending!.id, batchId)
  const bond = pending!.nextBond

  const appealed = await provider.actor.wait('verdict.appealed', 120_000)
  assert.is(appealed.facts.batch, batchId)
  assert.is(appealed.facts.bond, bond.toString())
  const [again] = await openBatches(chain, provider.address)
  assert.equal(again!.appeals, [{ appellant: provider.address, bond }])
  assert.is((await chain.lock(batchId)) > 0n, true, 'nothing is slashed')

  await voteAll(batchId, '01')
  await provider.actor.wait('batch.finished', 120_000)
  const { status, providerPart } = await chain.batch(batchId)
  assert.is(status, 'paid')
  assert.is(await chain.lock(batchId), 0n)
  // The bond is back, and the pay with it: what lies in the escrow may have been withdrawn since.
  const claimed = await provider.actor.wait('mint.claimed', 120_000)
  assert.is(await chain.minted(provider.address), BigInt(claimed.facts.amount as string))
  assert.ok(providerPart > 0n)

  const told = world.net.startCommand('status', provider.account, ['status'], ['--json'])
  const { facts: said } = await told.wait('status', 60_000)
  assert.match(said.mint as string, /^mint: nothing waits to be claimed, 0\.\d+ SNTR were minted to 0x/)
  assert.equal([said.batches, said.seats], [[], null])
})

test.run()
