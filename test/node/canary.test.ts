/** A provider that makes a canary of jobs it has bought from itself, on a real chain: found by voters who look, and not by others. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { commitJob } from '../../node/attestation/commit.ts'
import { signVoucher } from '../../node/chain/eip712.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { createLedger, int16Bytes } from '../../node/jobs/ledger.ts'
import { createAttester } from '../../node/stages/attest.ts'
import { createBallotBox } from '../../node/stages/ballot.ts'
import { createBatcher } from '../../node/stages/batch.ts'
import { createBatchBook } from '../../node/stages/book.ts'
import { createCanaryMaker } from '../../node/stages/canary.ts'
import { createDriver } from '../../node/stages/driver.ts'
import { createPolls } from '../../node/stages/poll.ts'
import { bigintToBytes, fromHex, toHex } from '../../protocol/bytes.ts'
import { seal } from '../../protocol/envelope.ts'
import { addressOf, publicKeyOf } from '../../protocol/signature.ts'
import { committer, DIGITS, image, nearly } from './attestation-world.ts'
import { fastAnvil, type Hex, openWorld, voteAll, word } from './chain-world.ts'
import { log, memoryStore } from './session-world.ts'

const NETWORK = new Uint8Array(32).fill(7)
const windows = { traceWindow: 600, voteWindow: 600, slashPending: 600, appealWindow: 500, seatWindow: 600 }
const change = { ...windows, unbondingDelay: 10_000, canaryWindow: 10_000, canaryPeriod: 1 }
const world = await openWorld(undefined, change, () => fastAnvil(50))
const { key, chain } = world.provider
const identity = identityFromKey(fromHex(key))
const { address } = identity
const store = memoryStore()
const ledger = createLedger(store)
const PRICE = 10n ** 16n

const consumerKey = fromHex(world.consumer.key)
const canaries = createCanaryMaker({ address, chain, consumerKey, store, log })
const library = { load: async () => DIGITS, onnx: async () => new Uint8Array() }
const common = { networkId: NETWORK, chain, store, log }
const batcher = createBatcher({ ...common, canaries, address, ledger, now: Date.now }, { quietMs: 0 })
const attester = createAttester({
  ...{ ...common, canaries, identity, library, committer, batcher, ledger, commit: commitJob, tileDraws: 2 },
  prove: async () => ({ trees: [], leaves: [], statements: [] }) as never,
  pool: null as never,
})
const [book, ballots] = [createBatchBook(), createBallotBox()]
const driver = createDriver({
  ...{ ...common, address, book, ballots, batcher, attester, canaries },
  polls: createPolls({ address, chain, ballots, confirmations: 0, log }),
  voter: {
    attend: async () => {},
    check: async () => ({ verdicts: [], findings: [] }),
    hasCondemned: async () => false,
  },
  gossip: { publish: async () => ({ recipients: 1 }) },
  attestation: () => null,
  keepAttestation: () => {},
  fetchAttestation: async () => {},
})
const watcher = chain.watchBatches(book.apply, { pollMs: 50 })
test.after(async () => {
  await watcher.stop()
  await driver.settled()
  await world.anvil.stop()
})

/** A job of the consumer's, or of a stranger's, acknowledged. */
async function serve(id = world.session, voucherKey = world.consumer.key): Promise<void> {
  const session = fromHex(id)
  const record =
    (await ledger.session(session)) ??
    (await ledger.openSession({
      ...{
        session,
        signer: addressOf(publicKeyOf(fromHex(voucherKey))),
        bid: word32(),
        manifest: DIGITS.cid.toString(),
      },
      ...{ price: PRICE, ceiling: 60n * 10n ** 18n, policy: 'zk', canonical: false },
    }))
  const seq = record.acknowledged.seq + 1n
  const cumulative = record.acknowledged.cumulative + PRICE
  const inputs = [image(Number(seq))]
  const { id: receipt, envelope } = seal('receipt', NETWORK, identity.privateKey, {
    ...{ session, seq, manifest: DIGITS.cid.bytes, inputRoot: word32(), outputRoot: word32(), shapes: [], units: 1n },
    ...{ price: bigintToBytes(PRICE, 16), cumulative: bigintToBytes(cumulative, 16), previous: word32() },
  })
  const job = {
    ...{ session, seq, manifest: record.manifest, receiptHash: receipt, price: PRICE, cumulative, jobKey: word32() },
    ...{ payload: envelope.payload, signature: envelope.signature, inputStatement: new Uint8Array(), voucher: null },
  }
  const served = nearly(DIGITS, inputs).map(int16Bytes)
  await ledger.issue(job, { inputs: inputs.map(int16Bytes), served })
  const voucher = signVoucher(world.network, voucherKey, { session, seq, cumulative, receipt })
  await ledger.acknowledge(record, job, voucher)
}
const word32 = (): Uint8Array => new Uint8Array(randomBytes(32))

/** Lets the provider's node work until so many of its batches have this status, the oldest first. */
async function until(status: string, count = 1): Promise<Hex[]> {
  for (let i = 0; i < 400; i++) {
    await batcher.tick()
    driver.tick()
    const ids = book.open().map(({ id }) => id)
    const all = await Promise.all(ids.map(async (id) => (await chain.batch(id)).status))
    const found = ids.filter((_, at) => all[at] === status)
    if (found.length === count) {
      await driver.settled()
      return found
    }
    await sleep(50)
  }
  throw new Error(`no ${count} batches came to be ${status}`)
}
/** Until the node has said what it was. */
async function revealed(): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (BigInt((await chain.canaryOf(address)).seal) === 0n) return
    driver.tick()
    await sleep(50)
  }
  throw new Error('nothing was revealed')
}
const stakeOf = async (of: Hex): Promise<bigint> => (await chain.node(of))!.stake

/** A canary, up to its committee. */
async function planted(): Promise<{ id: Hex; members: Hex[]; stakes: bigint[] }> {
  await serve()
  await serve()
  const id = (await until('committed'))[0]!
  const buried = await chain.canaryOf(address)
  assert.is(buried.bond, 2n * PRICE)
  await chain.awaitSlot((await chain.batch(id)).committeeSlot)
  const members = await chain.committee(id)
  return { id, members, stakes: await Promise.all(members.map(stakeOf)) }
}

test('a canary that is found costs its maker the floor, and nobody a seat', async () => {
  const [tokens, stake] = [await chain.tokensOf(address), await stakeOf(address)]
  const { id, members, stakes } = await planted()
  await voteAll(world, id, '05050505', word(5n))
  assert.is((await chain.batch(id)).status, 'slashPending')
  await revealed()
  assert.is((await chain.batch(id)).status, 'abandoned')
  assert.equal([await chain.tokensOf(address), await stakeOf(address)], [tokens, stake])
  assert.is(await chain.lock(id), 0n)
  assert.equal(await Promise.all(members.map(stakeOf)), stakes)
})

test('voters who pay a canary lose their seats, half of them to its maker', async () => {
  const { id, members, stakes } = await planted()
  await voteAll(world, id, '01010101', word(5n))
  const before = await chain.balanceOf(address)
  await revealed()
  const { seatStake } = world.params
  assert.equal(
    await Promise.all(members.map(stakeOf)),
    stakes.map((each) => each - seatStake),
  )
  const reward = (BigInt(members.length) * seatStake) / 2n
  assert.ok((await chain.balanceOf(address)) - before >= reward)
})

test('bait is never in one batch with the jobs of strangers, which become no canary', async () => {
  const key = toHex(word32())
  const { timestamp } = await chain.head()
  const signer = addressOf(publicKeyOf(fromHex(key)))
  const { session } = await world.consumer.chain.openSession(address, 10n ** 18n, timestamp + 86_400n, signer)
  await serve()
  await serve(session, key)
  const [strangers, bait] = (await until('committed', 2)) as [Hex, Hex]
  const sessionsOf = async (id: Hex) => (await batcher.record(id))!.ranges.map((range) => toHex(range.session))
  assert.equal([await sessionsOf(strangers), await sessionsOf(bait)], [[session], [world.session]])
  assert.is(await canaries.trapOf(strangers), null)
  assert.not.equal(await canaries.trapOf(bait), null)
})

test('bait is like any other job while no canary can be buried, or where a wallet has paid for it', async () => {
  const id = `0x${'11'.repeat(32)}` as Hex
  const poor = { ...chain, tokensOf: async () => 0n }
  const other = createCanaryMaker({ address, chain: poor, consumerKey, store: memoryStore(), log })
  await other.bury(id, [world.session], 1n)
  assert.is(await other.trapOf(id), null)
  const wallet = createCanaryMaker({ address, chain, consumerKey: word32(), store: memoryStore(), log })
  await wallet.bury(id, [world.session], 1n)
  assert.is(await wallet.trapOf(id), null)
  assert.is(canaries.isBait({ signer: address }), false)
})

test('a canary whose batch was never judged does not stand in the way of the next', async () => {
  const [lost, next] = ['33', '44'].map((byte) => `0x${byte.repeat(32)}` as Hex)
  const { bond } = await chain.canaryOf(address)
  if (bond > 0n) await world.anvil.request('evm_increaseTime', [10_001])
  await world.anvil.mine(1)
  const maker = createCanaryMaker({ address, chain, consumerKey, store: memoryStore(), log })
  await maker.bury(lost!, [world.session], 1n)
  assert.not.equal(await maker.trapOf(lost!), null)
  await maker.bury(next!, [world.session], 1n)
  assert.is(await maker.trapOf(next!), null)
  await world.anvil.request('evm_increaseTime', [10_001])
  await world.anvil.mine(1)
  await maker.bury(next!, [world.session], 1n)
  assert.not.equal(await maker.trapOf(next!), null)
})

test.run()
