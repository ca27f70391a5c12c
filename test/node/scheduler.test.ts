import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BATCH_STATUSES, type BatchStatus } from '../../node/chain/views.ts'
import type { BatchEvent } from '../../node/chain/watch.ts'
import { createBudget } from '../../node/client/budget.ts'
import type { Pool } from '../../node/client/pool.ts'
import { createReceiptBook, KEPT_MS, KEPT_SESSIONS, parseReceiptId, receiptId } from '../../node/client/receipts.ts'
import { createScheduler } from '../../node/client/scheduler.ts'
import { createScores, effectivePrice, rankBids } from '../../node/client/score.ts'
import type { Slot } from '../../node/client/slot.ts'
import { openMemory } from '../../node/client/stored-memory.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'

const provider = (n: number) => `0x${String(n).repeat(40)}` as const

test('ranking is the worked example of node/README.md', () => {
  const scores = createScores(() => 0)
  const value = 10n
  const bids = [
    { provider: provider(1), price: 10_000n, expectedLatencyMs: 20 },
    { provider: provider(2), price: 8_000n, expectedLatencyMs: 400 },
    { provider: provider(3), price: 9_000n, expectedLatencyMs: 20 },
  ]
  for (let i = 0; i < 7; i++) scores.answered(provider(3), 20)
  scores.failed(provider(3), 'failed')
  assert.is(effectivePrice(bids[0]!, scores, value), 10_200)
  assert.is(effectivePrice(bids[1]!, scores, value), 12_000)
  assert.is(effectivePrice(bids[2]!, scores, value), 13_800)
  assert.equal(
    rankBids(bids, scores, value).map((bid) => bid.provider),
    [provider(1), provider(2), provider(3)],
  )
  // What was measured counts, not what was promised.
  scores.answered(provider(2), 20)
  assert.is(rankBids(bids, scores, value)[0]!.provider, provider(2))
})

test('a region is a hint: bids from elsewhere count as slower, until they have been measured', () => {
  const scores = createScores(() => 0)
  const value = 10n
  const bids = [
    { provider: provider(1), price: 1_000n, expectedLatencyMs: 20, region: 'us-east' },
    { provider: provider(2), price: 1_500n, expectedLatencyMs: 20, region: 'eu-west' },
    { provider: provider(3), price: 2_500n, expectedLatencyMs: 20, region: 'eu-west' },
    { provider: provider(4), price: 900n, expectedLatencyMs: 120, region: '' },
  ]
  const order = (region?: string) => rankBids(bids, scores, value, region).map((bid) => Number(bid.provider[2]))
  assert.equal(order(), [1, 2, 4, 3])
  assert.equal(order('eu-west'), [2, 1, 3, 4])
  scores.answered(provider(1), 20)
  assert.equal(order('eu-west'), [1, 2, 3, 4])
})

test('scores are known after a restart, and the longest unseen are forgotten first', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-memory-'))
  let now = 1_000
  const first = await openMemory(folder, provider(9), () => now)
  for (let i = 0; i < 5; i++) first.scores.answered(provider(1), 40)
  first.scores.failed(provider(2), 'failed')
  const before = [first.scores.of(provider(2)), first.scores.latencyMs(provider(1))]
  // Another process that wants the same memory is told so.
  const locked = await openMemory(folder, provider(9), () => now).then(
    () => null,
    (error: SinterError) => error,
  )
  assert.is(errorCode(locked), 'STORE_LOCKED')
  assert.match(locked!.message, /another client runs with this data folder, as the same peer: end it/)
  await first.close()
  now += 29_000
  const second = await openMemory(folder, provider(9), () => now)
  assert.equal([second.scores.of(provider(2)), second.scores.latencyMs(provider(1))], before)
  assert.ok(second.scores.resting(provider(2)))
  now += 2_000
  assert.not.ok(second.scores.resting(provider(2)))
  assert.is(second.scores.latencyMs(provider(3)), null)
  await second.close()
  rmSync(folder, { recursive: true, force: true })
})

test('a provider that failed rests, longer each time, and longest after an answer that is none', () => {
  let now = 0
  const scores = createScores(() => now)
  scores.failed(provider(1), 'failed')
  now = 29_999
  assert.ok(scores.resting(provider(1)))
  now = 30_000
  assert.not.ok(scores.resting(provider(1)))
  scores.failed(provider(1), 'failed')
  now += 59_999
  assert.ok(scores.resting(provider(1)))
  now += 1
  assert.not.ok(scores.resting(provider(1)))
  scores.answered(provider(1), 5)
  scores.failed(provider(1), 'invalid')
  now += 599_999
  assert.ok(scores.resting(provider(1)))
  now += 1
  assert.not.ok(scores.resting(provider(1)))
})

test('old failures fade', () => {
  const scores = createScores(() => 0)
  scores.failed(provider(1), 'failed')
  const after = scores.of(provider(1))
  for (let i = 0; i < 200; i++) scores.answered(provider(1), 1)
  assert.ok(after < 0.21 && scores.of(provider(1)) > 0.98)
})

test('the budget lets the last fitting job through and no more', () => {
  const budget = createBudget(10n)
  budget.take(4n)
  budget.take(6n)
  assert.throws(
    () => budget.take(1n),
    (error: unknown) => error instanceof SinterError && error.code === 'SPENDING_LIMIT',
  )
  budget.giveBack(6n)
  budget.take(6n)
  assert.is(budget.spent, 10n)
})

const SESSION = `0x${'5e'.repeat(32)}` as const
const BATCH = `0x${'ba'.repeat(32)}` as const
const event = (name: string, args: object): BatchEvent =>
  ({ name, args: { batchId: BATCH, ...args }, block: 1n, logIndex: 0, tx: BATCH }) as BatchEvent
const range = { index: 2n, session: SESSION, consumer: provider(9), signer: provider(1), fromSeq: 3n, toSeq: 5n }
const settled = (status: BatchStatus) => event('BatchSettled', { status: BATCH_STATUSES.indexOf(status) })

test('a receipt goes from pending over verified to settled, each of the range and nothing else', () => {
  const book = createReceiptBook(provider(1), { now: () => 0 })
  assert.equal(book.status(SESSION, 3n), { state: 'pending', acknowledged: false, batch: null })
  assert.is(book.find(SESSION, 5n), null)
  book.issued(SESSION, 5n, { provider: provider(7), price: 4n })
  assert.equal([book.find(SESSION, 5n)?.price, book.find(SESSION, 6n)], [4n, null])
  book.acknowledged(SESSION, 5n)
  assert.equal(book.status(SESSION, 3n), { state: 'pending', acknowledged: true, batch: null })
  book.apply(event('RangeAnchored', range))
  assert.equal(book.status(SESSION, 3n).batch, { id: BATCH, status: 'anchored' })
  assert.is(book.status(SESSION, 2n).batch, null)
  assert.is(book.status(SESSION, 6n).batch, null)
  book.apply(event('TraceAnchored', {}))
  book.apply(event('AttestationCommitted', {}))
  assert.equal(book.status(SESSION, 5n), {
    state: 'pending',
    acknowledged: true,
    batch: { id: BATCH, status: 'committed' },
  })
  book.apply(settled('paid'))
  assert.is(book.status(SESSION, 5n).state, 'verified')
  book.apply(event('RangeCollected', { index: 1n }))
  assert.is(book.status(SESSION, 5n).state, 'verified')
  book.apply(event('RangeCollected', { index: 2n }))
  assert.is(book.status(SESSION, 5n).state, 'settled')
})

test('a receipt of a batch that fails is refused, and batches of others are not looked at', () => {
  for (const status of ['slashed', 'untraced', 'abandoned'] as const) {
    const book = createReceiptBook(provider(1), { now: () => 0 })
    book.apply(event('RangeAnchored', range))
    book.apply(settled(status))
    assert.is(book.status(SESSION, 4n).state, 'refused', status)
  }
  const other = createReceiptBook(provider(2), { now: () => 0 })
  other.apply(event('RangeAnchored', range))
  assert.is(other.status(SESSION, 4n).batch, null)
})

test('receipts are known after a restart, with how far the chain was read, to their own account only', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-memory-'))
  const terms = { provider: provider(7), price: 4n }
  const first = await openMemory(folder, provider(1), () => 0)
  first.reached({ next: 5n, marks: [] })
  first.receipts.issued(SESSION, 5n, terms)
  first.receipts.acknowledged(SESSION, 4n)
  first.receipts.refused(SESSION, 5n, 'SESSION_CEILING')
  first.receipts.apply(event('RangeAnchored', { ...range, toSeq: 4n }))
  await first.close()
  const second = await openMemory(folder, provider(1), () => 0)
  const { receipts } = second
  assert.equal(second.cursor(), { next: 5n, marks: [] })
  assert.equal([receipts.find(SESSION, 5n)?.provider, receipts.find(SESSION, 5n)?.price], [provider(7), 4n])
  assert.is(receipts.find(SESSION, 6n), null)
  assert.equal([receipts.status(SESSION, 5n).state, receipts.refusal(SESSION, 5n)], ['refused', 'SESSION_CEILING'])
  assert.equal(receipts.status(SESSION, 3n).batch, { id: BATCH, status: 'anchored' })
  receipts.apply(settled('paid'))
  receipts.apply(event('RangeCollected', { index: 2n }))
  await second.close()
  const third = await openMemory(folder, provider(1), () => 0)
  assert.is(third.receipts.status(SESSION, 3n).state, 'settled')
  await third.close()
  const stranger = await openMemory(folder, provider(2), () => 0)
  assert.equal([stranger.receipts.find(SESSION, 5n), stranger.cursor()], [null, null])
  await stranger.close()
  // Nothing is kept for ever.
  const late = await openMemory(folder, provider(1), () => KEPT_MS + 1)
  assert.is(late.receipts.find(SESSION, 5n), null)
  await late.close()
  rmSync(folder, { recursive: true, force: true })
})

test('the book has room for so many sessions, and says whether the chain may say more', () => {
  const book = createReceiptBook(provider(1), { now: () => 0 })
  const id = (n: number): `0x${string}` => `0x${n.toString(16).padStart(64, '0')}`
  const terms = { provider: provider(7), price: 4n }
  assert.not.ok(book.unsettled())
  for (let n = 0; n <= KEPT_SESSIONS; n++) book.issued(id(n), 1n, terms)
  assert.equal([book.find(id(0), 1n), book.find(id(1), 1n)?.price], [null, 4n])
  const one = createReceiptBook(provider(1), { now: () => 0 })
  one.issued(SESSION, 5n, terms)
  one.apply(event('RangeAnchored', range))
  one.apply(settled('paid'))
  assert.ok(one.unsettled())
  one.apply(event('RangeCollected', { index: 2n }))
  assert.not.ok(one.unsettled())
  one.issued(SESSION, 6n, terms)
  assert.ok(one.unsettled())
})

test('a job that every provider refuses fails with why, not with that no other provider bids', async () => {
  const slot = {
    session: { provider: { price: 1n } },
    load: 0,
    patienceMs: () => 1_000,
    run: () => Promise.reject(new SinterError('OUTPUT_OFF_TOLERANCE', 'refused')),
  } as unknown as Slot
  const pool = {
    take: async (avoid: ReadonlySet<Slot>) => {
      if (avoid.has(slot)) throw new SinterError('NO_BIDS', 'nobody else')
      return slot
    },
  } as unknown as Pool
  const scores = createScores(() => 0)
  const scheduler = createScheduler({ pool, budget: createBudget(null), scores })
  assert.is(await scheduler.infer([], { hedgeMs: false }).then(() => 'NONE', errorCode), 'OUTPUT_OFF_TOLERANCE')
})

test('receipt ids are read back, and nothing else is taken for one', () => {
  const id = receiptId(new Uint8Array(32).fill(0x5e), 7n)
  assert.equal(parseReceiptId(id), { session: SESSION, seq: 7n })
  for (const wrong of ['', SESSION, `${SESSION}-0`, `${SESSION}-07`, `${SESSION.slice(0, -1)}-1`, `${SESSION}-1x`])
    assert.is(parseReceiptId(wrong), null)
})

test.run()
