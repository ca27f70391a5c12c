import type { Address, Hex, PublicClient, TransactionReceipt } from 'viem'
import { keccak256 } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { SinterError } from '../../protocol/errors.ts'
import { chainError, describe, isTransport } from './errors.ts'
import { type Fees, firstFees, type Market, raisedFees } from './fees.ts'
import { type FollowInit, followStep } from './follow.ts'
import type { Entry, Journal } from './journal.ts'

/** What happens to a transaction beside being mined; for logs. */
export type LaneEvent = {
  event: 'tx.resumed' | 'tx.resent' | 'tx.raised' | 'tx.cancelled' | 'tx.lost' | 'tx.filled' | 'tx.delayed'
  action: string
  nonce: number
  error?: unknown
}

/** An entry and what this process knows of it. `inherited`: signed by an earlier process that is gone. */
export type Tracked = {
  entry: Entry
  receipt: TransactionReceipt | null
  wasMined: boolean
  cancelled: boolean
  lost: boolean
  inherited: boolean
  waiters: Set<() => void>
  sentAt: number
  attemptAt: number
  missingSince: number | null
  /** When the receipt was first seen. */
  minedAt: number
}

export type LaneInit = FollowInit & {
  /** Most wei per gas for a call, null for no limit. */
  ceiling: bigint | null
  report(event: LaneEvent): void
}

/** What an account has signed and the chain has not yet made final. One at a time asks it for a nonce. */
export type Lane = {
  tracked: Map<number, Tracked>
  /** Signs and writes down the next transaction, then sends it. */
  add(call: Pick<Entry, 'action' | 'to' | 'data' | 'value' | 'gas' | 'volatile'>, fees: Fees): Promise<Tracked>
  market(): Promise<Market>
  /** Looks once at everything that is tracked. */
  look(): Promise<void>
  load(): Promise<void>
}

const tracking = (entry: Entry, inherited: boolean): Tracked => ({
  entry,
  receipt: null,
  wasMined: false,
  cancelled: false,
  lost: false,
  inherited,
  waiters: new Set(),
  sentAt: 0,
  attemptAt: Date.now(),
  missingSince: null,
  minedAt: 0,
})

const wake = ({ waiters }: Tracked): void => {
  for (const waiter of [...waiters]) waiter()
}

/** Gaps longer than this are not ours: the journal is of another life of the chain. */
const MAX_GAP = 64

export function createLane(
  client: PublicClient,
  chainId: number,
  account: PrivateKeyAccount,
  journal: Journal,
  init: LaneInit,
): Lane {
  const tracked = new Map<number, Tracked>()
  /** Above every nonce used here: an endpoint that lags behind must not hand one out twice. */
  let floor = 0
  let gapSince: number | null = null
  const address = account.address as Address

  const report = (event: LaneEvent['event'], { entry }: Tracked, error?: unknown): void =>
    init.report({ event, action: entry.action, nonce: entry.nonce, ...(error === undefined ? {} : { error }) })

  async function sign(entry: Omit<Entry, 'attempts'>, fees: Fees, cancel = false): Promise<{ hash: Hex; raw: Hex }> {
    const target = cancel ? { to: address } : entry.to === null ? {} : { to: entry.to }
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId,
      nonce: entry.nonce,
      gas: cancel ? 21_000n : entry.gas,
      ...fees,
      ...target,
      data: cancel ? '0x' : entry.data,
      value: cancel ? 0n : entry.value,
    })
    return { raw, hash: keccak256(raw) }
  }

  /** Adds an attempt: on disk first, then out. */
  async function attempt(each: Tracked, fees: Fees, cancel = false): Promise<void> {
    const signed = await sign(each.entry, fees, cancel)
    const entry = { ...each.entry, attempts: [...each.entry.attempts, { ...signed, ...fees }] }
    await journal.put(entry)
    each.entry = entry
    each.attemptAt = Date.now()
    await broadcast(each)
  }

  /** Whether the transaction may be in a pool now. Throws what an endpoint says when it certainly is not. */
  async function broadcast(each: Tracked): Promise<void> {
    each.sentAt = Date.now()
    try {
      await client.sendRawTransaction({ serializedTransaction: each.entry.attempts.at(-1)!.raw })
    } catch (error) {
      if (isTransport(error)) {
        if (!each.entry.doubtful) {
          each.entry = { ...each.entry, doubtful: true }
          await journal.put(each.entry)
        }
        report('tx.delayed', each, error)
        return
      }
      // Known already, or the nonce is spent: by us, which a receipt will show, or by another, which its absence will.
      if (/nonce too low|nonce is too low|already known|already imported|replacement/i.test(describe(error))) return
      throw error
    }
  }

  async function drop(each: Tracked): Promise<void> {
    tracked.delete(each.entry.nonce)
    await journal.del(each.entry.nonce)
  }

  async function market(): Promise<Market> {
    const [block, fees] = await Promise.all([client.getBlock(), client.estimateFeesPerGas()])
    return { baseFeePerGas: block.baseFeePerGas ?? 0n, ...fees }
  }

  async function receiptOf({ entry }: Tracked): Promise<TransactionReceipt | null> {
    for (const { hash } of [...entry.attempts].reverse()) {
      const receipt = await client.getTransactionReceipt({ hash }).catch((error: unknown) => {
        if (isTransport(error)) throw error
        return null
      })
      if (receipt !== null) return receipt
    }
    return null
  }

  async function raise(each: Tracked, cancel: boolean): Promise<void> {
    const fees = raisedFees(each.entry.attempts.at(-1)!, await market(), init.ceiling)
    // At the ceiling it waits for a cheaper block.
    if (fees === null) return broadcast(each)
    await attempt(each, fees, cancel)
    report(cancel ? 'tx.cancelled' : 'tx.raised', each)
  }

  async function follow(each: Tracked, count: number, head: bigint): Promise<void> {
    const now = Date.now()
    const { nonce, volatile } = each.entry
    const receipt = nonce < count ? await receiptOf(each) : null
    each.missingSince = nonce < count && receipt === null ? (each.missingSince ?? now) : null
    const step = followStep(
      {
        nonce,
        count,
        head,
        block: receipt?.blockNumber ?? null,
        wasMined: each.wasMined,
        volatile,
        cancelled: each.cancelled,
        sinceSent: now - each.sentAt,
        sinceAttempt: now - each.attemptAt,
        missing: each.missingSince === null ? 0 : now - each.missingSince,
      },
      init,
    )
    each.receipt = receipt
    if (step === 'mined' || step === 'final') {
      if (!each.wasMined) each.minedAt = now
      each.wasMined = true
      if (step === 'final') await drop(each)
      wake(each)
    } else if (step === 'lost') {
      each.lost = true
      await drop(each)
      report('tx.lost', each)
      wake(each)
    } else if (step === 'resend') {
      if (each.sentAt > 0) report('tx.resent', each)
      each.wasMined = false
      await broadcast(each)
    } else if (step === 'raise') {
      await raise(each, each.cancelled)
    } else if (step === 'cancel') {
      each.cancelled = true
      await raise(each, true)
    }
  }

  /** Nonces below ours that nothing will use (the chain has lost what had them): nothing is sent with each. */
  async function fill(count: number): Promise<void> {
    const first = [...tracked.keys()].reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
    if (!(first > count) || first === Number.POSITIVE_INFINITY) {
      gapSince = null
      return
    }
    gapSince ??= Date.now()
    if (Date.now() - gapSince < init.missingMs) return
    if (first - count > MAX_GAP)
      throw new SinterError('CHAIN_JOURNAL', `transactions from ${first} on are kept, the chain expects ${count}`)
    const fees = firstFees(await market(), init.ceiling)
    if (fees === null) return
    for (let nonce = count; nonce < first; nonce++) {
      const call = { action: 'fill', to: address, data: '0x' as Hex, value: 0n, gas: 21_000n, volatile: false }
      const each = tracking({ ...call, nonce, doubtful: false, attempts: [] }, false)
      tracked.set(nonce, each)
      await attempt(each, fees)
      report('tx.filled', each)
    }
  }

  return {
    tracked,
    market,
    async load() {
      for (const entry of await journal.entries()) {
        const each = tracking(entry, true)
        tracked.set(entry.nonce, each)
        report('tx.resumed', each)
      }
    },
    async add(call, fees) {
      const pending = await client.getTransactionCount({ address, blockTag: 'pending' })
      const nonce = Math.max(pending, floor, ...[...tracked.keys()].map((used) => used + 1))
      const each = tracking({ ...call, nonce, doubtful: false, attempts: [] }, false)
      tracked.set(nonce, each)
      try {
        await attempt(each, fees)
      } catch (error) {
        // Certainly nowhere, so its nonce is free again.
        if (!each.entry.doubtful) await drop(each)
        throw chainError(error, call.action)
      }
      floor = nonce + 1
      return each
    },
    async look() {
      const [count, head] = await Promise.all([
        client.getTransactionCount({ address, blockTag: 'latest' }),
        client.getBlockNumber(),
      ])
      await fill(count)
      for (const each of [...tracked.values()].sort((a, b) => a.entry.nonce - b.entry.nonce))
        await follow(each, count, head).catch((error: unknown) => report('tx.delayed', each, error))
    },
  }
}
