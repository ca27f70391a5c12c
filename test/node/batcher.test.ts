/** The batcher over a chain that behaves like the contract, and one that misbehaves like an endpoint. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RangeInput } from '../../node/chain/steps.ts'
import type { Batch, Session } from '../../node/chain/views.ts'
import { createLedger, type JobRecord } from '../../node/jobs/ledger.ts'
import { type BatchInit, createBatcher } from '../../node/stages/batch.ts'
import type { Store } from '../../node/store/store.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import type { Address } from '../../protocol/signature.ts'
import { log, memoryStore } from './session-world.ts'

const ADDRESS: Address = `0x${'aa'.repeat(20)}`
const CONSUMER: Address = `0x${'cc'.repeat(20)}`
const PRICE = 10n
const sessionId = (name: string): Uint8Array => hash('session', new TextEncoder().encode(name))
const coded = (code: string): SinterError => new SinterError(code, code)

type Anchored = { id: Hex; ranges: RangeInput[]; status: Batch['status'] }

function createWorld(init: BatchInit = {}, store: Store = memoryStore()) {
  const sessions = new Map<Hex, Session>()
  const anchored: Anchored[] = []
  const calls = { session: 0, anchor: 0, fund: 0 }
  const state = {
    now: 1_000_000,
    free: 10n ** 6n,
    /** Ranges of which a batch can be attested. */
    fitting: 24,
    kept: [] as string[],
    /** Of a batch, in tokens; null where nothing has a price. */
    gasCost: (_ranges: number): bigint | null => null,
    /** Runs before the contract takes a batch; may throw. */
    before: (_ranges: RangeInput[]): void => {},
    /** Runs after it; may throw, as when the receipt never comes. */
    after: (): void => {},
  }
  const idOf = (root: Hex): Hex => toHex(hash('batch', new TextEncoder().encode(root)))

  function consume({ session, toSeq, cumulative }: RangeInput): void {
    const known = sessions.get(session)
    if (known === undefined) throw coded('CHAIN_UnknownSession')
    if (known.closed) throw coded('CHAIN_SessionIsClosed')
    if (toSeq <= known.cursor) throw coded('CHAIN_RangeNotContiguous')
    // The contract derives the fee; a tree over other receipts would be forged.
    assert.is(cumulative - known.anchored, (toSeq - known.cursor) * PRICE)
    Object.assign(known, { cursor: toSeq, anchored: cumulative })
  }

  const ledger = createLedger(store)
  const batcher = createBatcher(
    {
      address: ADDRESS,
      ledger,
      store,
      log,
      now: () => state.now,
      fund: async () => void calls.fund++,
      keep: (manifests) => void Object.assign(state, { kept: [...manifests] }),
      fits: async (sessions) => sessions.length <= state.fitting,
      gasCost: async (ranges) => state.gasCost(ranges),
      chain: {
        params: { lockBps: 30_000, minLock: 30n, maxRanges: 24, closeWindow: 600 },
        async session(id) {
          calls.session++
          const known = sessions.get(id)
          assert.ok(known, 'a session that the chain does not know')
          return { ...known! }
        },
        batch: async (id) => ({ status: anchored.find((each) => each.id === id)?.status ?? 'none' }) as Batch,
        batchId: async (_, root) => idOf(root),
        freeStake: async () => state.free,
        async anchorBatch(root, ranges) {
          calls.anchor++
          state.before(ranges)
          const id = idOf(root)
          if (anchored.some((each) => each.id === id)) throw coded('CHAIN_AlreadyAnchored')
          const saved = [...sessions].map(([key, value]) => [key, { ...value }] as const)
          try {
            ranges.forEach(consume)
          } catch (error) {
            for (const [key, value] of saved) sessions.set(key, value)
            throw error
          }
          anchored.push({ id, ranges, status: 'anchored' })
          state.after()
          return { tx: '0x', block: 1n, gasUsed: 1n, batchId: id }
        },
      },
    },
    { quietMs: 5_000, lookMs: 0, ...init },
  )

  async function addJobs(name: string, count: number): Promise<void> {
    const session = sessionId(name)
    const key = toHex(session)
    if (!sessions.has(key)) {
      sessions.set(key, {
        consumer: CONSUMER,
        signer: CONSUMER,
        provider: ADDRESS,
        ceiling: 10n ** 9n,
        anchored: 0n,
        cursor: 0n,
        expiry: BigInt(state.now / 1000 + 3_600),
        closesAt: 0n,
        closed: false,
      })
      await ledger.openSession({
        session,
        signer: CONSUMER,
        bid: session,
        manifest: 'm',
        price: PRICE,
        ceiling: 10n ** 9n,
        policy: 'zk',
        canonical: false,
      })
    }
    for (let i = 0; i < count; i++) {
      const record = (await ledger.session(session))!
      const seq = record.acknowledged.seq + 1n
      const job: JobRecord = {
        session,
        seq,
        manifest: 'm',
        receiptHash: hash('receipt', session, new Uint8Array([Number(seq)])),
        payload: new Uint8Array(),
        signature: new Uint8Array(),
        price: PRICE,
        cumulative: record.acknowledged.cumulative + PRICE,
        jobKey: new Uint8Array(32),
        inputStatement: new Uint8Array(),
        voucher: null,
      }
      await ledger.issue(job, { inputs: [], served: [] })
      await ledger.acknowledge(record, job, new Uint8Array(65).fill(1))
    }
  }
  /** Two looks with enough time in between for whatever waits to be due. */
  async function settle(): Promise<void> {
    await batcher.tick()
    state.now += 6_000
    await batcher.tick()
  }
  const onChain = (name: string): Session => sessions.get(toHex(sessionId(name)))!
  return { state, calls, anchored, ledger, batcher, store, addJobs, settle, onChain }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'NONE', errorCode)
}

test('receipts are anchored when no more have come for a while, and only once', async () => {
  const world = createWorld()
  await world.addJobs('a', 3)
  await world.batcher.tick()
  assert.is(world.anchored.length, 0)
  await world.settle()
  assert.is(world.anchored.length, 1)
  assert.is(world.anchored[0]!.ranges[0]!.toSeq, 3n)
  assert.is(world.calls.fund, 1)
  for (let i = 0; i < 3; i++) await world.settle()
  assert.is(world.anchored.length, 1)
})

test('a batch takes no more ranges than can be attested, and none waits for ever', async () => {
  const world = createWorld()
  world.state.fitting = 2
  for (const name of ['a', 'b', 'c', 'd', 'e']) await world.addJobs(name, 1)
  await world.settle()
  assert.is(world.anchored[0]!.ranges.length, 2)
  for (let i = 0; i < 3; i++) {
    for (const each of world.anchored) each.status = 'paid'
    await world.settle()
  }
  assert.equal(
    world.anchored.map(({ ranges }) => ranges.length),
    [2, 2, 1],
  )
  // Nothing fits: one range alone is anchored all the same.
  const tight = createWorld()
  tight.state.fitting = 0
  await tight.addJobs('a', 1)
  await tight.settle()
  assert.is(tight.anchored.length, 1)
})

test('a transaction whose receipt does not come is not forgotten: its batch is found again on the chain', async () => {
  for (const code of ['CHAIN_RECEIPT', 'CHAIN_RPC', 'CHAIN_CALL', 'CHAIN_GAS_FUNDS', 'UNEXPECTED']) {
    const world = createWorld()
    await world.addJobs('a', 2)
    world.state.after = () => {
      throw code === 'UNEXPECTED' ? new Error('socket') : coded(code)
    }
    assert.is(await codeOf(world.settle()), code)
    const { id } = world.anchored[0]!
    const record = await world.batcher.record(id)
    assert.is((await world.batcher.tree(record!)).jobs.length, 2, code)
    await world.settle()
    assert.is(world.anchored.length, 1)
  }
})

test('sent twice, once unseen: the refusal of the copy does not lose the batch', async () => {
  const world = createWorld()
  await world.addJobs('a', 2)
  let hidden = true
  world.state.before = () => {
    if (!hidden) throw coded('CHAIN_AlreadyAnchored')
    hidden = false
    // Broadcast, but neither mined nor answered.
    throw coded('CHAIN_RPC')
  }
  assert.is(await codeOf(world.settle()), 'CHAIN_RPC')
  assert.is(await codeOf(world.batcher.tick()), 'CHAIN_AlreadyAnchored')
  let count = 0
  for await (const _ of world.store.table('batches', { encode: () => new Uint8Array(), decode: () => null }).entries())
    count++
  assert.is(count, 1)
})

test('after a crash between disk and chain the same batch is sent by the next process', async () => {
  const store = memoryStore()
  const world = createWorld({}, store)
  await world.addJobs('a', 2)
  world.state.before = () => {
    throw coded('CHAIN_RPC')
  }
  assert.is(await codeOf(world.settle()), 'CHAIN_RPC')
  // More vouchers come meanwhile: they belong to the next batch.
  await world.addJobs('a', 1)
  world.state.before = () => {}
  await world.batcher.tick()
  assert.is(world.anchored[0]!.ranges[0]!.toSeq, 2n)
})

test('one session that the contract refuses does not keep the others from being paid', async () => {
  const world = createWorld()
  await world.addJobs('a', 2)
  await world.addJobs('b', 2)
  world.state.before = (ranges) => {
    if (ranges.some(({ session }) => session === toHex(sessionId('b')))) throw coded('CHAIN_BadVoucher')
  }
  for (let i = 0; i < 4; i++) {
    await world.settle()
    for (const each of world.anchored) each.status = 'paid'
  }
  assert.equal(
    world.anchored.map(({ ranges }) => ranges.map(({ session }) => session)),
    [[toHex(sessionId('a'))]],
  )
  assert.ok(world.calls.anchor <= 3, `${world.calls.anchor} attempts`)
})

test('a job missing from disk costs its session, not the batcher', async () => {
  const world = createWorld()
  await world.addJobs('a', 3)
  await world.addJobs('b', 1)
  await world.ledger.forget(sessionId('a'), 2n, 2n)
  await world.settle()
  assert.equal(
    world.anchored.map(({ ranges }) => ranges.map(({ session }) => session)),
    [[toHex(sessionId('b'))]],
  )
})

test('the next batch waits for the attestation of the one before, but not for its votes', async () => {
  const world = createWorld()
  await world.addJobs('a', 1)
  await world.settle()
  await world.addJobs('a', 1)
  for (const status of ['anchored', 'traced'] as const) {
    world.anchored[0]!.status = status
    await world.settle()
    assert.is(world.anchored.length, 1, status)
  }
  world.anchored[0]!.status = 'committed'
  await world.settle()
  assert.is(world.anchored.length, 2)
})

test('a session that ends is anchored at once, whatever else is going on; a closed one ends in the second half of its window', async () => {
  const ends = { closesAt: [301, 300, -5], expiry: [121, 120] }
  for (const [end, seconds] of Object.entries(ends))
    for (const [i, left] of seconds.entries()) {
      const world = createWorld()
      await world.addJobs('a', 1)
      await world.settle()
      await world.addJobs('b', 1)
      Object.assign(world.onChain('b'), { [end]: BigInt(world.state.now / 1000 + left) })
      await world.batcher.tick()
      assert.is(world.anchored.length, i === 0 ? 1 : 2, `${end} ${left}`)
    }
})

test('a batch holds no more than its lock allows, and no more jobs than the limit', async () => {
  const short = createWorld()
  await short.addJobs('a', 5)
  short.state.free = 100n
  await short.settle()
  assert.is(short.anchored[0]!.ranges[0]!.toSeq, 3n)
  const none = createWorld()
  await none.addJobs('a', 5)
  none.state.free = 29n
  await none.settle()
  assert.is(none.anchored.length, 0)
  none.state.free = 30n
  await none.batcher.tick()
  assert.is(none.anchored[0]!.ranges[0]!.toSeq, 1n)
  const many = createWorld({ maxJobs: 4 })
  await many.addJobs('a', 3)
  await many.addJobs('b', 3)
  await many.settle()
  assert.is(
    many.anchored[0]!.ranges.reduce((sum, { cumulative }) => sum + cumulative, 0n),
    4n * PRICE,
  )
})

test('a chain that lags behind about the cursor does not get the same receipts twice', async () => {
  const world = createWorld()
  await world.addJobs('a', 2)
  await world.settle()
  world.anchored[0]!.status = 'committed'
  await world.addJobs('a', 1)
  Object.assign(world.onChain('a'), { cursor: 0n, anchored: 0n })
  await world.settle()
  assert.is(world.anchored.length, 1)
  Object.assign(world.onChain('a'), { cursor: 2n, anchored: 2n * PRICE })
  await world.settle()
  assert.is(world.anchored.length, 2)
})

test('sessions with nothing to anchor are not asked of the chain again and again', async () => {
  const world = createWorld()
  for (let i = 0; i < 5; i++) await world.addJobs(`${i}`, 1)
  await world.settle()
  world.anchored[0]!.status = 'paid'
  await world.batcher.tick()
  const { session } = world.calls
  for (let i = 0; i < 10; i++) await world.batcher.tick()
  assert.is(world.calls.session, session)
})

test('what a finished batch held is forgotten, and nothing else', async () => {
  const world = createWorld()
  await world.addJobs('a', 2)
  await world.settle()
  await world.batcher.tick()
  assert.equal([world.anchored.length, world.state.kept], [1, ['m']])
  await world.addJobs('a', 1)
  const record = (await world.batcher.record(world.anchored[0]!.id))!
  await world.batcher.forget(record)
  assert.equal([await world.batcher.record(record.id), await world.ledger.job(sessionId('a'), 2n)], [null, null])
  assert.is((await world.ledger.job(sessionId('a'), 3n))!.seq, 3n)
  world.onChain('a').cursor = 3n
  await world.batcher.tick()
  assert.equal(world.state.kept, [])
})

test('a batch waits until gas is a fiftieth of it, and then goes with everything that came meanwhile', async () => {
  const { state, anchored, addJobs, settle, batcher } = createWorld()
  const asked: number[] = []
  state.gasCost = (ranges) => {
    asked.push(ranges)
    return 2n * BigInt(ranges)
  }
  await addJobs('one', 9)
  await settle()
  assert.is(anchored.length, 0)
  await addJobs('one', 1)
  await settle()
  assert.equal(
    anchored.map(({ ranges }) => ranges.map(({ toSeq }) => toSeq)),
    [[10n]],
  )
  assert.ok(asked.every((ranges) => ranges === 1))
  anchored[0]!.status = 'paid'
  // Not for ever, and not longer because a price cannot be had.
  await addJobs('one', 1)
  await settle()
  assert.is(anchored.length, 1)
  state.gasCost = () => {
    throw coded('ORACLE_STALE')
  }
  await batcher.tick()
  assert.is(anchored.length, 2)
  anchored[1]!.status = 'paid'
  state.gasCost = () => 10n ** 9n
  await addJobs('two', 1)
  await settle()
  state.now += 6 * 3_600_000
  await batcher.tick()
  assert.is(anchored.length, 3)
})

test.run()
