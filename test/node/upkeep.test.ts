/** The operator's money over a chain that keeps accounts: claims, warnings, and what a batch costs. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { gasOfBatch } from '../../node/chain/fuel.ts'
import { createQuoter, fixedFeed } from '../../node/chain/oracle.ts'
import type { RegisteredNode } from '../../node/chain/views.ts'
import type { Log } from '../../node/net/log.ts'
import { createUpkeep, type UpkeepInit } from '../../node/stages/upkeep.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'

const SNTR = 10n ** 18n
const OPERATOR: Address = `0x${'aa'.repeat(20)}`
const OWNER: Address = `0x${'bb'.repeat(20)}`

function world(init: Partial<UpkeepInit> = {}, prices = true) {
  const state = {
    wei: 10n ** 18n,
    gasPrice: 10n ** 9n,
    escrow: 0n,
    wallet: 0n,
    payout: OPERATOR,
    credit: 0n,
    minted: 0n,
    taken: false,
  }
  const said: { event: string; level?: string; [key: string]: unknown }[] = []
  const keep = (facts: unknown): void => void said.push(facts as (typeof said)[number])
  const log = { debug: keep, info: keep, warn: keep, error: keep } as unknown as Log
  const chain = {
    balanceOf: async () => state.escrow,
    claimable: async () => (state.credit === 0n ? null : { amount: state.credit, gas: 60_000n }),
    async claimMint() {
      if (state.taken) throw new SinterError('CHAIN_NothingToClaim', 'claimed')
      state.minted += state.credit
      state.credit = 0n
      return { tx: '0x00' as const, block: 1n, gasUsed: 1n }
    },
    etherOf: async () => state.wei,
    gasPrice: async () => state.gasPrice,
    node: async () => ({ payout: state.payout }) as RegisteredNode,
    async withdraw(amount: bigint) {
      state.escrow -= amount
      state.wallet += amount
      return { tx: '0x00' as const, block: 1n, gasUsed: 1n }
    },
  }
  // At 1 gwei a withdrawal costs 60,000 gas: 0.18 dollars, 0.18 tokens.
  const quoter = prices ? createQuoter({ ether: fixedFeed('3000'), token: fixedFeed('1'), now: Date.now }) : null
  const upkeep = createUpkeep({ address: OPERATOR, chain, quoter, log }, { keep: 10n * SNTR, claimFrom: SNTR, ...init })
  return { state, said, upkeep }
}

test('pay above what has to stay is withdrawn once it is worth its gas', async () => {
  const { state, said, upkeep } = world()
  for (const [escrow, wallet] of [
    [10n * SNTR, 0n],
    // 8.9 tokens: the gas would be more than 2% of them.
    [189n * (SNTR / 10n), 0n],
    [19n * SNTR, 9n * SNTR],
  ] as const) {
    state.escrow = escrow
    await upkeep.tick()
    assert.is(state.wallet, wallet)
  }
  assert.is(state.escrow, 10n * SNTR)
  assert.is(said.filter(({ event }) => event === 'pay.claimed').length, 1)
})

test('what belongs to another payout address, or to an operator who wants to keep it there, stays', async () => {
  for (const { state, upkeep } of [world(), world({ claimFrom: null })]) {
    state.escrow = 1_000n * SNTR
    state.payout = OWNER
    await upkeep.tick()
    assert.is(state.wallet, 0n)
  }
})

test('what is minted is claimed once it is worth its gas, also for another payout address, and not by an operator who wants none of it', async () => {
  const { state, said, upkeep } = world()
  state.payout = OWNER
  for (const [credit, minted] of [
    [0n, 0n],
    // At 0.18 tokens of gas.
    [89n * (SNTR / 10n), 0n],
    [9n * SNTR, 9n * SNTR],
  ] as const) {
    state.credit = credit
    await upkeep.tick()
    assert.is(state.minted, minted)
  }
  assert.is(said.filter(({ event }) => event === 'mint.claimed').length, 1)
  // Somebody else was faster: it has arrived all the same.
  Object.assign(state, { credit: 9n * SNTR, taken: true })
  await upkeep.tick()
  assert.is(said.filter(({ event }) => event === 'mint.claimed').length, 1)
  const never = world({ claimFrom: null })
  never.state.credit = 1_000n * SNTR
  await never.upkeep.tick()
  assert.is(never.state.minted, 0n)
})

test('without prices claims go by amount alone', async () => {
  const { state, upkeep } = world({}, false)
  state.escrow = 11n * SNTR
  await upkeep.tick()
  assert.is(state.wallet, SNTR)
  assert.is(await upkeep.batchCost(3), null)
})

test('ether that runs low is said once, and again when it is gone or there', async () => {
  const { state, said, upkeep } = world()
  const batch = gasOfBatch(1) * state.gasPrice
  for (const wei of [20n * batch, 19n * batch, 18n * batch, batch, 0n, 30n * batch]) {
    state.wei = wei
    await upkeep.tick()
  }
  assert.equal(
    said.map(({ event, level, batches }) => [event, level, batches]),
    [
      ['funds.low', 'low', 19],
      ['funds.low', 'empty', 1],
      ['funds.ok', 'ok', 30],
    ],
  )
  // A dearer gas price empties the same account.
  state.gasPrice *= 100n
  await upkeep.tick()
  assert.is(said.at(-1)!.level, 'empty')
})

test('a batch costs its gas in tokens', async () => {
  const { state, upkeep } = world()
  const cost = (await upkeep.batchCost(10))!
  assert.is(cost, gasOfBatch(10) * state.gasPrice * 3_000n)
})

test.run()
