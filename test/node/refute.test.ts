/** A forgery that the chain can see, and a committee that does not want to: what an honest voter's node does about it, on a real chain. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SIGNAL_COUNT } from '../../circuits/signals.ts'
import { votesDomain } from '../../node/chain/eip712.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { createBallotBox } from '../../node/stages/ballot.ts'
import { createBatchBook } from '../../node/stages/book.ts'
import { createDriver, type DriverComponents } from '../../node/stages/driver.ts'
import { createPolls } from '../../node/stages/poll.ts'
import { createVoter, type VoteComponents } from '../../node/stages/vote.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { signalsHash } from '../../protocol/claims.ts'
import { decode } from '../../protocol/codec.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { memoryStore } from './attestation-world.ts'
import { attested, cast, code, fastAnvil, type Hex, openWorld, word } from './chain-world.ts'

const NETWORK = new Uint8Array(32).fill(7)
const windows = { commitWindow: 40, voteWindow: 60, abandonWindow: 60, slashPending: 600, appealWindow: 500 }
const change = { ...windows, seatWindow: 600, unbondingDelay: 10_000, canaryWindow: 10_000 }
const world = await openWorld(undefined, change, () => fastAnvil(50))
const { chain } = world.provider
const nodes: (() => Promise<void>)[] = []
test.after(async () => {
  for (const stop of nodes) await stop()
  await world.anvil.stop()
})

/** A batch whose attestation shows a receipt that is none, before its committee. */
async function forged(): Promise<{ id: Hex; payload: Uint8Array; members: Hex[] }> {
  const { batchId: id, payload } = await attested(world, NETWORK, new Uint8Array(256))
  await chain.awaitSlot((await chain.batch(id)).committeeSlot)
  return { id, payload, members: await chain.committee(id) }
}

/** The node of a member, which has the attestation; what it logs, and what it has voted. */
function nodeOf(member: Hex, payload: Uint8Array) {
  const { key, chain: own } = world.nodes.find((each) => each.chain.address === member)!
  const identity = identityFromKey(fromHex(key))
  const { address } = identity
  const said: string[] = []
  const keep = (facts: unknown): void => void said.push((facts as { event: string }).event)
  const log = { debug: keep, info: keep, warn: keep, error: keep }
  const [book, ballots] = [createBatchBook(), createBallotBox()]
  const domain = votesDomain(world.network)
  const gossip = { publish: async () => ({ recipients: 1 }) }
  const common = { identity, address, networkId: NETWORK, chain: own, book, ballots, gossip, log }
  const voting = { ...common, vouchers: domain, votes: domain, store: memoryStore(), tileDraws: 1, now: Date.now }
  const driver = createDriver({
    ...common,
    polls: createPolls({ address, chain: own, ballots, confirmations: 0, log: log as never }),
    voter: createVoter(voting as unknown as VoteComponents),
    attester: { sealed: async () => null },
    attestation: () => ({ message: decode(AttestationSchema, payload) }),
  } as unknown as DriverComponents)
  const watcher = own.watchBatches(book.apply, { pollMs: 50 })
  const stop = async (): Promise<void> => {
    await watcher.stop()
    await driver.settled()
  }
  nodes.push(stop)
  return {
    said,
    ballots,
    stop,
    async until(what: () => Promise<boolean> | boolean): Promise<void> {
      for (let i = 0; i < 600; i++) {
        driver.tick()
        if (await what()) return
        await sleep(50)
      }
      throw new Error(`it did not come to that: ${said.join()}`)
    },
  }
}

const valid = { verdicts: '01010101', digest: word(5n) }
const stakeOf = async (of: Hex): Promise<bigint> => (await chain.node(of))!.stake

for (const fault of ['place', 'trace', 'proof'] as const)
  test(`a claim that does not hold is refuted on chain: ${fault}`, async () => {
    const signals = Array<bigint>(SIGNAL_COUNT.pointwise).fill(0n)
    const bytes = signalsHash('pointwise', signals)
    const { batchId, payload } = await attested(world, NETWORK, new Uint8Array(256), bytes)
    const claim = { place: 0, trace: 1, proof: 2 }[fault]
    const refutation = { fault, claim, kind: 'pointwise', signals } as const
    const voter = world.nodes[1]!.chain
    assert.is(await voter.refuted(batchId), false)
    await voter.refute(batchId, payload, NETWORK, refutation)
    assert.is(await voter.refuted(batchId), true)
    assert.is((await chain.batch(batchId)).status, 'slashPending')
    assert.is(await code(voter.refute(batchId, payload, NETWORK, refutation)), 'CHAIN_FaultProvenBefore')
  })

test('who pays a forgery that the chain can see loses the seat, and who found it keeps its own', async () => {
  const { id, payload, members } = await forged()
  const ours = nodeOf(members[2]!, payload)
  const stakes = await Promise.all(members.map(stakeOf))
  await ours.until(() => ours.said.includes('vote.commitment'))
  const { committed, votes } = await cast(world, id, [valid, valid])
  await chain.awaitTime(BigInt((await chain.ballot(id)).closedAt))
  await chain.settle(id, committed, votes, [])
  assert.is((await chain.batch(id)).status, 'paid')
  await ours.until(() => ours.said.includes('batch.finished'))
  await ours.stop()
  assert.ok(ours.said.includes('fault.proven'))
  const lost = await Promise.all(members.map(async (member, i) => stakes[i]! - (await stakeOf(member))))
  const { seatStake } = world.params
  assert.equal(lost, [seatStake, seatStake, 0n])
})

test('a forger is slashed although a quorum would pay it, where a voter is faster', async () => {
  const { id, payload, members } = await forged()
  const ours = nodeOf(members[2]!, payload)
  await ours.until(() => ours.said.includes('vote.commitment'))
  const { committed, votes } = await cast(world, id, [valid, valid])
  const { attempt, attestation } = await chain.batch(id)
  for (const [i, { verdicts, digest, salt }] of votes.entries()) {
    const about = { batch: fromHex(id), attempt, attestation: fromHex(attestation) }
    const vote = { ...about, verdicts: fromHex(verdicts), digest: fromHex(digest) }
    ours.ballots.record({ ...about, kind: 'reveal', voter: members[i]!, vote, salt: fromHex(salt) } as never)
  }
  await ours.until(() => ours.said.includes('fault.proven'))
  await ours.stop()
  assert.is(await code(chain.settle(id, committed, votes, [])), 'CHAIN_WrongStatus')
  const { status, verdicts } = await chain.batch(id)
  assert.equal([status, BigInt(verdicts)], ['slashPending', 0n])
})

test('a forger that keeps every quorum from coming does not get its lock back', async () => {
  const { id, payload, members } = await forged()
  const ours = nodeOf(members[0]!, payload)
  const hurry = setInterval(() => void world.anvil.request('evm_increaseTime', [2]).catch(() => {}), 100)
  await ours.until(async () => (await chain.batch(id)).status !== 'committed').finally(() => clearInterval(hurry))
  await ours.stop()
  assert.is((await chain.batch(id)).status, 'slashPending')
  assert.is((await chain.batch(id)).attempt, 1)
  assert.ok(ours.said.includes('fault.proven'))
})

test.run()
