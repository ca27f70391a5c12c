/** Committees that vote on a real chain, their gossip handed over in this process. Nobody hands out an attestation: patience, not proofs, decides. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Chain } from '../../node/chain/chain.ts'
import { votesDomain } from '../../node/chain/eip712.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { createBallotBox } from '../../node/stages/ballot.ts'
import { createBatchBook } from '../../node/stages/book.ts'
import { createDriver, type DriverComponents } from '../../node/stages/driver.ts'
import { gossipValidators } from '../../node/stages/gossip.ts'
import { createPolls } from '../../node/stages/poll.ts'
import { createVoter, type VoteComponents } from '../../node/stages/vote.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { commitmentDigest, signTyped } from '../../protocol/eip712.ts'
import { open, seal } from '../../protocol/envelope.ts'
import { memoryStore } from './attestation-world.ts'
import { type Actor, anchored, type Hex, openWorld, toCommittee, word } from './chain-world.ts'
import { log } from './session-world.ts'

const NETWORK = new Uint8Array(32).fill(7)
const world = await openWorld(undefined, { commitWindow: 20, pokeGrace: 2, voteWindow: 60, abandonWindow: 60 })
const { chain } = world.provider

/** Every reveal that was published, with whether the chain had closed the poll by then. */
const reveals: { batch: Hex; closed: boolean }[] = []
type Hearer = (bytes: Uint8Array) => unknown
const hearers: Hearer[] = []

async function publish(from: Hearer, bytes: Uint8Array): Promise<{ recipients: number }> {
  const opened = open('vote', NETWORK, bytes)
  if (typeof opened === 'string') throw new Error(opened)
  const { batch, body } = opened.message
  if (body.case === 'reveal') {
    const [{ closedAt }, { timestamp }, deadline] = await Promise.all([
      chain.ballot(toHex(batch)),
      chain.head(),
      chain.deadline(toHex(batch)),
    ])
    const { voteWindow, commitWindow } = world.params
    reveals.push({
      batch: toHex(batch),
      closed: closedAt > 0 || timestamp > deadline - BigInt(voteWindow - commitWindow),
    })
  }
  for (const hear of hearers) if (hear !== from) await hear(bytes)
  return { recipients: hearers.length - 1 }
}

function createNode({ key, chain: own }: Actor) {
  const identity = identityFromKey(fromHex(key))
  const address = identity.address
  const [book, ballots] = [createBatchBook(), createBallotBox()]
  const polls = createPolls({ address, chain: own, ballots, confirmations: 0, log })
  const domain = votesDomain(world.network)
  const { topics } = gossipValidators({
    networkId: NETWORK,
    votes: domain,
    chain: own,
    book,
    ballots,
    onOffer: () => {},
    onEquivocation: (proof) => void polls.accuse(proof),
    now: Date.now,
  })
  const hear: Hearer = (bytes) => topics.votes(bytes, 'peer')
  hearers.push(hear)
  const gossip = { publish: (_: unknown, bytes: Uint8Array) => publish(hear, bytes) }
  const components = { identity, networkId: NETWORK, vouchers: domain, votes: domain, gossip, ballots, log }
  const voter = createVoter(
    { ...components, store: memoryStore(), tileDraws: 1, now: Date.now } as unknown as VoteComponents,
    { patienceMs: 0 },
  )
  const driver = createDriver({
    ...{ address, networkId: NETWORK, chain: own, book, ballots, voter, polls, gossip, log },
    batcher: { record: async () => null },
    attester: { sealed: async () => null },
    attestation: () => null,
    keepAttestation: () => {},
    fetchAttestation: async () => {},
  } as unknown as DriverComponents)
  const watcher = own.watchBatches(book.apply, { pollMs: 50 })
  return { address, driver, voter, hear, stop: () => watcher.stop() }
}

const nodes = world.nodes.map(createNode)
const provider = nodes[0]!

test.after(async () => {
  await Promise.all(nodes.map(({ stop }) => stop()))
  await Promise.all(nodes.map(({ driver }) => driver.settled()))
  await world.anvil.stop()
})

/** A batch whose committee is known. Up to there time is of no interest, so blocks come faster. */
async function judged(): Promise<{ batchId: Hex; members: Hex[] }> {
  const hurry = new AbortController()
  const hurried = (async () => {
    for (; !hurry.signal.aborted; await sleep(100)) await world.anvil.mine(1)
  })()
  try {
    const { batchId } = await anchored(world, [9n])
    await chain.awaitSlot((await chain.batch(batchId)).sampleSlot)
    await toCommittee(world, batchId)
    return { batchId, members: await chain.committee(batchId) }
  } finally {
    hurry.abort()
    await hurried
  }
}

/** Lets these nodes work until something is so. */
async function until(of: typeof nodes, what: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    for (const { driver } of of) driver.tick()
    if (await what()) return
    await sleep(50)
  }
  throw new Error('it did not come to that')
}

const statusOf = async (id: Hex): Promise<string> => (await chain.batch(id)).status
const recordedOf = async (id: Hex): Promise<Awaited<ReturnType<Chain['commitments']>>> =>
  chain.commitments(id, (await chain.batch(id)).attempt, 0)

test('the provider hands in all commitments at once, votes are opened after that, and settle; who signs two loses a seat', async () => {
  const { batchId, members } = await judged()
  const cheat = world.nodes.find(({ chain: own }) => own.address === members[0])!
  await until(nodes, async () => (await statusOf(batchId)) === 'slashPending')
  const recorded = await recordedOf(batchId)
  assert.equal(recorded.map(({ voter }) => voter).sort(), [...members].sort())
  assert.is(new Set(recorded.map(({ tx }) => tx)).size, 1)
  assert.ok(reveals.length >= world.params.quorum)
  assert.ok(reveals.every(({ closed }) => closed))
  assert.is((await chain.batch(batchId)).silent, true)

  const next = await judged()
  const own = next.members.includes(cheat.chain.address!)
    ? cheat
    : world.nodes.find(({ chain: c }) => c.address === next.members[0])!
  const stake = (await chain.node(own.chain.address!))!.stake
  const [batch, commitment] = [fromHex(next.batchId), fromHex(word(5n))]
  const attestation = fromHex((await chain.batch(next.batchId)).attestation)
  const signature = signTyped(
    commitmentDigest(votesDomain(world.network), { batch, attempt: 0, attestation, commitment }),
    fromHex(own.key),
  )
  const body = { case: 'commitment' as const, value: { attestation, commitment, signature } }
  const { bytes } = seal('vote', NETWORK, fromHex(own.key), { batch, attempt: 0, body })
  for (const { hear, address } of nodes) if (address !== own.chain.address) await hear(bytes)
  // Its own node knows nothing of that, and commits to what it finds.
  await until(nodes, async () => (await chain.node(own.chain.address!))!.stake < stake)
  assert.is((await chain.node(own.chain.address!))!.stake, stake - world.params.seatStake)
})

test('a provider that hands in nothing and a member that is silent keep nobody from voting', async () => {
  const { batchId, members } = await judged()
  const [silent, ...others] = members
  const working = nodes.filter(({ address }) => address !== provider.address && address !== silent)
  for (let i = 0; i < 20; i++) {
    for (const { driver } of working) driver.tick()
    await sleep(50)
  }
  assert.is((await chain.ballot(batchId)).members, 0)
  const closes = (await chain.deadline(batchId)) - BigInt(world.params.voteWindow - world.params.commitWindow)
  await world.anvil.skip(Number(closes - (await chain.head()).timestamp) - 4)
  await until(working, async () => (await recordedOf(batchId)).length === others.length)
  assert.not((await recordedOf(batchId)).some(({ voter }) => voter === silent))
  const before = reveals.length
  await world.anvil.skip(30)
  await until(working, async () => (await statusOf(batchId)) === 'slashPending')
  assert.ok(reveals.slice(before).every(({ closed }) => closed))
})

test.run()
