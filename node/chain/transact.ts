import type { Address, Hex, PublicClient, TransactionReceipt } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { SinterError } from '../../protocol/errors.ts'
import { sleep } from '../timers.ts'
import { chainError } from './errors.ts'
import { firstFees } from './fees.ts'
import type { FollowInit } from './follow.ts'
import { type Journal, memoryJournal } from './journal.ts'
import { createLane, type Lane, type LaneEvent, type Tracked } from './lane.ts'

/**
 * A call to send; without `to` it creates a contract. `action` names it in errors.
 * @param urgent a missed deadline costs more than gas: the higher ceiling holds. @default false
 * @param volatile its content depends on recent blocks, so it must not be mined again after those were undone. @default false
 */
export type Call = { to?: Address; data: Hex; value?: bigint; action: string; urgent?: boolean; volatile?: boolean }

/**
 * @param journal what was signed and is not final. @default in memory
 * @param maxFeePerGas most wei per gas; above it calls are refused with `CHAIN_GAS_CEILING`, to be tried again. @default no limit
 * @param urgentFactor urgent calls may cost so many times the ceiling. @default 10
 * @param maxGas most gas of one transaction. @default 16_000_000
 * @param receiptMs patience of one call. @default 120_000
 * @param report told what happens to transactions beside being mined. @default nothing
 */
export type TransactOptions = Partial<FollowInit> & {
  journal?: Journal
  maxFeePerGas?: bigint
  urgentFactor?: bigint
  maxGas?: bigint
  receiptMs?: number
  report?(event: LaneEvent): void
}

/** An account that can change the chain. */
export type Transactor = {
  address: Address
  /**
   * Sends a call and resolves with its receipt. Calls of one account are broadcast in the order they were made. A call that an
   * earlier process (or an earlier call that lost patience) has signed and that is still on its way is taken over, not signed twice.
   * Throws a `CHAIN_…` error (see errors.ts); `CHAIN_RECEIPT` when sent but not mined in time, `CHAIN_GAS_CEILING` and
   * `CHAIN_GAS_LIMIT` when it was not sent because it would cost too much.
   */
  send(call: Call): Promise<TransactionReceipt>
  /** Waits until what an earlier process left is mined, at most `ms`. Says how many transactions are still on their way. */
  resume(ms: number): Promise<number>
  /** Stops looking after transactions. What is not final stays in the journal. */
  close(): void
}

/** One per account in this process: two users of one key must not take the same nonce. */
type Shared = {
  lane: Lane
  loaded: Promise<void>
  tail: Promise<unknown>
  looking: boolean
  users: number
  inherited: Set<Tracked>
}
const shared = new Map<string, Shared>()

/** How long a finished transaction of an earlier process can still be claimed by the call that made it (ms). */
const CLAIM_MS = 60_000
const RESIGNS = 3

export function openTransactor(
  client: PublicClient,
  chainId: number,
  account: PrivateKeyAccount,
  options: TransactOptions = {},
): Transactor {
  const { journal = memoryJournal(), maxFeePerGas, urgentFactor = 10n, maxGas = 16_000_000n } = options
  const { confirmations = 0, resendMs = 10_000, stuckMs = 30_000, missingMs = 10_000, receiptMs = 120_000 } = options
  const report = options.report ?? (() => undefined)
  const ceilingOf = (urgent: boolean): bigint | null =>
    maxFeePerGas === undefined ? null : urgent ? maxFeePerGas * urgentFactor : maxFeePerGas
  const key = `${chainId}:${client.transport.url}:${account.address}`
  const mine = shared.get(key) ?? open()
  mine.users++
  let closed = false

  function open(): Shared {
    const init = { confirmations, resendMs, stuckMs, missingMs, ceiling: ceilingOf(true), report }
    const lane = createLane(client, chainId, account, journal, init)
    const made: Shared = {
      lane,
      tail: Promise.resolve(),
      looking: false,
      users: 0,
      inherited: new Set(),
      loaded: Promise.resolve(),
    }
    made.loaded = lane.load().then(() => {
      for (const each of lane.tracked.values()) made.inherited.add(each)
      keepLooking(made)
    })
    made.loaded.catch(() => undefined)
    shared.set(key, made)
    return made
  }

  /** Looks again and again while anything is tracked. Only somebody who waits keeps the process alive. */
  function keepLooking(one: Shared): void {
    if (one.looking) return
    one.looking = true
    const { tracked } = one.lane
    void (async () => {
      while (tracked.size > 0 && one.users > 0) {
        await one.lane
          .look()
          .catch((error: unknown) => report({ event: 'tx.delayed', action: 'look', nonce: -1, error }))
        if (tracked.size === 0) break
        const awaited = [...tracked.values()].some(({ waiters }) => waiters.size > 0)
        await sleep(client.pollingInterval, { ref: awaited })
      }
      one.looking = false
    })()
  }

  const sameCall = ({ entry }: Tracked, call: Call): boolean =>
    entry.to === (call.to ?? null) && entry.data === call.data && entry.value === (call.value ?? 0n)

  /** The same call, signed before, whose caller is gone. */
  function orphan(call: Call): Tracked | null {
    for (const each of mine.lane.tracked.values())
      if (each.waiters.size === 0 && each.receipt === null && !each.cancelled && sameCall(each, call)) {
        mine.inherited.delete(each)
        return each
      }
    for (const each of mine.inherited) {
      const stale = each.lost || each.cancelled || (each.minedAt > 0 && Date.now() - each.minedAt > CLAIM_MS)
      if (stale) mine.inherited.delete(each)
      else if (sameCall(each, call)) {
        mine.inherited.delete(each)
        return each
      }
    }
    return null
  }

  async function sign(call: Call): Promise<Tracked> {
    const { to, data, value = 0n, action, urgent = false, volatile = false } = call
    const target = { ...(to === undefined ? {} : { to }), data, value }
    const [estimate, market] = await Promise.all([
      client.estimateGas({ account: account.address, ...target }),
      mine.lane.market(),
    ])
    // The state may change between the estimate and the block: a third more.
    const gas = (estimate * 4n) / 3n
    if (estimate > maxGas)
      throw new SinterError('CHAIN_GAS_LIMIT', `${action} would take ${estimate} gas, the limit is ${maxGas}`)
    const fees = firstFees(market, ceilingOf(urgent))
    if (fees === null) {
      const detail = { baseFeePerGas: market.baseFeePerGas, ceiling: ceilingOf(urgent) }
      throw new SinterError('CHAIN_GAS_CEILING', `${action} waits: gas costs more than the ceiling`, { detail })
    }
    return mine.lane.add({ action, to: to ?? null, data, value, gas: gas > maxGas ? maxGas : gas, volatile }, fees)
  }

  async function start(call: Call): Promise<{ each: Tracked; done: Promise<void> }> {
    const each = orphan(call) ?? (await sign(call))
    const done = settled(each, call.action)
    done.catch(() => undefined)
    keepLooking(mine)
    return { each, done }
  }

  /** Resolves when there is a receipt, or the transaction is known to be lost. */
  function settled(each: Tracked, action: string): Promise<void> {
    if (each.receipt !== null || each.lost) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const end = (): void => {
        if (each.receipt === null && !each.lost) return
        clearTimeout(timer)
        each.waiters.delete(end)
        resolve()
      }
      const timer = setTimeout(() => {
        each.waiters.delete(end)
        const detail = { hash: each.entry.attempts.at(-1)?.hash }
        reject(new SinterError('CHAIN_RECEIPT', `${action}: sent but not mined in time`, { detail }))
      }, receiptMs)
      each.waiters.add(end)
    })
  }

  async function refusal(call: Call, receipt: TransactionReceipt): Promise<never> {
    // The estimate passed but the block did not: ask again at that block for the reason.
    const { to, data } = call
    await client
      .call({ account: account.address, ...(to === undefined ? {} : { to }), data, blockNumber: receipt.blockNumber })
      .catch((error: unknown) => {
        throw chainError(error, call.action)
      })
    throw new SinterError('CHAIN_REVERT', `${call.action} was refused`, { detail: { hash: receipt.transactionHash } })
  }

  return {
    address: account.address.toLowerCase() as Address,
    async send(call) {
      for (let i = 0; i < RESIGNS; i++) {
        const turn = mine.tail.then(() => mine.loaded).then(() => start(call))
        mine.tail = turn.catch(() => undefined)
        const { each, done } = await turn.catch((error: unknown) => {
          throw chainError(error, call.action)
        })
        await done
        const { receipt } = each
        if (receipt !== null) return receipt.status === 'success' ? receipt : refusal(call, receipt)
      }
      throw new SinterError('CHAIN_NONCE', `${call.action}: something else sends with this key`)
    },
    async resume(ms) {
      await mine.loaded
      const left = (): number => [...mine.inherited].filter(({ receipt, lost }) => receipt === null && !lost).length
      for (const end = Date.now() + ms; left() > 0 && Date.now() < end; ) await sleep(client.pollingInterval)
      return left()
    },
    close() {
      if (closed) return
      closed = true
      mine.users--
      if (mine.users === 0) shared.delete(key)
    },
  }
}
