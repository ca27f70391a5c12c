/** What the chain adapter decides from facts alone: fees, what becomes of a transaction, forks, endpoints, prices, batches, claims. */
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { notPast } from '../../node/chain/cursor.ts'
import { afterFailure, askingOrder, HEALTHY } from '../../node/chain/endpoints.ts'
import { firstFees, raisedFees } from '../../node/chain/fees.ts'
import { type FollowStep, followStep, type Sight } from '../../node/chain/follow.ts'
import { fuelLevel, gasOfBatch } from '../../node/chain/fuel.ts'
import { afterFork, type Mark, withMark } from '../../node/chain/marks.ts'
import { createQuoter, fixedFeed, formatUsd, priceOfRound } from '../../node/chain/oracle.ts'
import { BATCH_POLICY, worthAnchoring } from '../../node/stages/batch-policy.ts'
import { claimable } from '../../node/stages/claims.ts'
import { bothOrNone } from '../../node/stages/upkeep.ts'
import type { Hex } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'

const refusal = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    return errorCode(error)
  }
  return 'NONE'
}

const market = (base: bigint, tip = 1n) => ({
  baseFeePerGas: base,
  maxFeePerGas: (base * 12n) / 10n + tip,
  maxPriorityFeePerGas: tip,
})

test('a first attempt pays what the market asks, at most the ceiling, and is not made when that is below the base fee', () => {
  assert.equal(firstFees(market(100n), null), { maxFeePerGas: 121n, maxPriorityFeePerGas: 1n })
  assert.equal(firstFees(market(100n), 121n), { maxFeePerGas: 121n, maxPriorityFeePerGas: 1n })
  assert.equal(firstFees(market(100n), 100n), { maxFeePerGas: 100n, maxPriorityFeePerGas: 1n })
  assert.is(firstFees(market(100n), 99n), null)
})

test('a replacement raises both fees by more than a tenth and never passes the ceiling', () => {
  const fee = fc.bigInt({ min: 1n, max: 10n ** 15n })
  fc.assert(
    fc.property(fee, fee, fee, fee, (last, tip, base, ceiling) => {
      const before = { maxFeePerGas: last + tip, maxPriorityFeePerGas: tip }
      const after = raisedFees(before, market(base), ceiling)
      if (after === null) return (before.maxFeePerGas * 9n) / 8n >= ceiling
      assert.ok(after.maxFeePerGas <= ceiling)
      assert.ok(after.maxPriorityFeePerGas <= after.maxFeePerGas)
      return after.maxFeePerGas * 10n >= before.maxFeePerGas * 11n
    }),
  )
  const free = raisedFees({ maxFeePerGas: 8n, maxPriorityFeePerGas: 8n }, market(100n, 2n), null)
  assert.equal(free, { maxFeePerGas: 122n, maxPriorityFeePerGas: 9n })
})

const sight: Sight = {
  nonce: 5,
  count: 5,
  head: 100n,
  block: null,
  wasMined: false,
  volatile: false,
  cancelled: false,
  sinceSent: 100,
  sinceAttempt: 100,
  missing: 0,
}
const init = { confirmations: 3, resendMs: 1_000, stuckMs: 2_000, missingMs: 1_000 }
const ROWS: [what: string, sight: Partial<Sight>, expected: FollowStep][] = [
  ['in the pool', {}, 'wait'],
  ['in the pool for long', { sinceSent: 1_000, sinceAttempt: 1_999 }, 'resend'],
  ['stuck', { sinceSent: 0, sinceAttempt: 2_000 }, 'raise'],
  ['mined', { count: 6, block: 98n }, 'mined'],
  ['beyond a fork', { count: 6, block: 97n }, 'final'],
  ['undone', { wasMined: true }, 'resend'],
  ['undone, and of a block that is gone', { wasMined: true, volatile: true }, 'cancel'],
  ['undone and cancelled', { wasMined: true, volatile: true, cancelled: true }, 'resend'],
  ['its receipt is late', { count: 6, missing: 999 }, 'wait'],
  ['another took its nonce', { count: 6, missing: 1_000 }, 'lost'],
]
for (const [what, change, expected] of ROWS)
  test(`a transaction: ${what}`, () => assert.is(followStep({ ...sight, ...change }, init), expected))

const hashOf = (number: bigint, chain: string): Hex => `0x${chain}${number.toString(16)}`
const mark = (number: bigint, chain = 'a'): Mark => ({ number, hash: hashOf(number, chain) })

test('after a fork reading goes on behind the last block that is still there', () => {
  const marks = [mark(10n), mark(11n), mark(12n), mark(13n)]
  const now = (hashes: (Hex | null)[]) => afterFork(marks, hashes, 3n)
  const of = (...chains: (string | null)[]) =>
    chains.map((chain, i) => (chain === null ? null : hashOf(marks[i]!.number, chain)))
  assert.equal(now(of(null, null, null, 'a')), { next: null, marks })
  assert.equal(now(of(null, 'a', 'b', 'b')), { next: 12n, marks: marks.slice(0, 2) })
  assert.equal(now(of('b', 'b', 'b', 'b')), { next: 3n, marks: [] })
  // An endpoint that is behind knows nothing of the newest ones.
  assert.equal(now(of(null, 'a', null, null)), { next: null, marks })
  assert.equal(now(of(null, 'a', 'b', null)), { next: 12n, marks: marks.slice(0, 2) })
})

test('marks are dense near the tip, thin far from it, and few', () => {
  let marks: Mark[] = []
  for (let number = 0n; number < 20_000n; number++) marks = withMark(marks, mark(number), 8_192n)
  assert.ok(marks.length < 60, `${marks.length} marks`)
  const distances = marks.map(({ number }) => 19_999n - number)
  for (let d = 0n; d <= 32n; d++) assert.ok(distances.includes(d), `${d} back`)
  assert.ok(distances[0]! <= 8_192n && distances[0]! > 4_000n)
})

test('a cursor is held back to the oldest open batch', () => {
  const cursor = { next: 20n, marks: [mark(15n), mark(18n), mark(19n)] }
  assert.equal(notPast(cursor, 25n), cursor)
  assert.equal(notPast(cursor, 18n), { next: 18n, marks: [mark(15n)] })
})

test('endpoints that failed are asked last, longer each time, and foreign ones never', () => {
  const once = afterFailure(HEALTHY, 1_000)
  const twice = afterFailure(once, 1_000)
  assert.ok(twice.until > once.until)
  assert.ok(afterFailure({ ...twice, failures: 30 }, 1_000).until <= 61_000)
  assert.equal(askingOrder([HEALTHY, HEALTHY], 0), [0, 1])
  assert.equal(askingOrder([once, HEALTHY], 1_500), [1, 0])
  assert.equal(askingOrder([twice, once], 1_500), [1, 0])
  assert.equal(askingOrder([once, HEALTHY], once.until), [0, 1])
  assert.equal(askingOrder([{ ...HEALTHY, foreign: true }, once], 0), [1])
})

const round = { roundId: 7n, answer: 2_500n * 10n ** 8n, updatedAt: 1_000n, answeredInRound: 7n, decimals: 8 }

test('a feed’s price is taken as it is meant or not at all', () => {
  assert.is(priceOfRound(round, 1_100n, 100), 2_500n * 10n ** 18n)
  assert.is(priceOfRound({ ...round, decimals: 20 }, 1_100n, 100), 2_500n * 10n ** 6n)
  const bad = (change: Partial<typeof round>, now = 1_100n) =>
    refusal(() => priceOfRound({ ...round, ...change }, now, 100))
  assert.is(bad({}, 1_101n), 'ORACLE_STALE')
  assert.is(bad({}, 939n), 'ORACLE_STALE')
  assert.is(bad({}, 940n), 'NONE')
  assert.is(bad({ updatedAt: 0n }, 50n), 'ORACLE_STALE')
  assert.is(bad({ answeredInRound: 6n }), 'ORACLE_STALE')
  assert.is(bad({ answer: 0n }), 'ORACLE_ANSWER')
  assert.is(bad({ answer: -1n }), 'ORACLE_ANSWER')
  assert.is(bad({ answer: 1n, decimals: 19 }), 'ORACLE_ANSWER')
  assert.is(bad({ decimals: 37 }), 'ORACLE_ANSWER')
})

test('gas in tokens and dollars', async () => {
  let asked = 0
  const ether = { price: async () => BigInt(++asked) * 2_000n * 10n ** 18n }
  let now = 0
  const quoter = createQuoter({ ether, token: fixedFeed('0.5'), now: () => now }, { cacheMs: 1_000 })
  // A million gas at one gwei is 0.001 ether, two dollars, four tokens.
  assert.is(await quoter.usdOfGas(10n ** 6n, 10n ** 9n), 2n * 10n ** 18n)
  assert.is(await quoter.gasInTokens(10n ** 6n, 10n ** 9n), 4n * 10n ** 18n)
  assert.is(await quoter.usdOfTokens(3n * 10n ** 18n), 15n * 10n ** 17n)
  now = 1_000
  assert.is(await quoter.usdOfGas(10n ** 6n, 10n ** 9n), 4n * 10n ** 18n)
  for (const usd of ['0', '', '-1', 'abc', '1.0000000000000000001'])
    assert.is(
      refusal(() => fixedFeed(usd)),
      'OPTION',
      usd,
    )
  assert.is(formatUsd(1_234n * 10n ** 16n), '$12.34')
  assert.is(formatUsd(12n * 10n ** 12n), '$0.000012')
  assert.is(
    refusal(() => bothOrNone('1', undefined)),
    'OPTION',
  )
  assert.is(bothOrNone(undefined, undefined), null)
})

test('a batch goes when gas is at most a fiftieth of it, or when waiting has no point', () => {
  const backlog = { value: 5_000n, gasCost: 100n, ageMs: 0, full: false, ending: false }
  const goes = (change: Partial<Parameters<typeof worthAnchoring>[0]>) =>
    worthAnchoring({ ...backlog, ...change }, BATCH_POLICY)
  assert.ok(goes({}))
  assert.not(goes({ gasCost: 101n }))
  assert.ok(goes({ gasCost: null, value: 1n }))
  assert.ok(goes({ gasCost: 101n, full: true }))
  assert.not(goes({ gasCost: 101n, ageMs: BATCH_POLICY.patienceMs - 1 }))
  assert.ok(goes({ gasCost: 101n, ageMs: BATCH_POLICY.patienceMs }))
  assert.ok(goes({ gasCost: 4_999n, ending: true }))
  assert.not(goes({ gasCost: 5_000n, ending: true }))
})

test('pay is claimed above what has to stay, when it is enough and worth its gas', () => {
  const view = { balance: 150n, keep: 50n, least: 100n, gasCost: 2n }
  assert.is(claimable(view), 100n)
  assert.is(claimable({ ...view, balance: 149n }), 0n)
  assert.is(claimable({ ...view, gasCost: 3n }), 0n)
  assert.is(claimable({ ...view, gasCost: null }), 100n)
  assert.is(claimable({ ...view, balance: 40n, least: 0n }), 0n)
})

test('ether is low or gone by the batches it pays for', () => {
  const each = gasOfBatch(1) * 7n
  const level = (batches: bigint, feePerGas = 7n) => fuelLevel({ wei: each * batches, feePerGas }).level
  assert.is(level(20n), 'ok')
  assert.is(fuelLevel({ wei: each * 20n - 1n, feePerGas: 7n }).level, 'low')
  assert.is(level(2n), 'low')
  assert.is(fuelLevel({ wei: each * 2n - 1n, feePerGas: 7n }).level, 'empty')
  assert.is(level(1n, 0n), 'ok')
  assert.is(level(0n, 0n), 'empty')
})

test.run()
