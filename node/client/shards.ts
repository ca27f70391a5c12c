import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Budget } from './budget.ts'
import { FINAL } from './failures.ts'
import type { Pool } from './pool.ts'
import { runCharged } from './scheduler.ts'
import type { JobOptions } from './session.ts'
import type { Answer, Slot } from './slot.ts'

export type BatchOptions = {
  /** Milliseconds of work in a shard at the provider's measured speed. @default 500 */
  shardMs?: number
  /** Jobs in a shard at most. @default 64 */
  maxShard?: number
  /** Milliseconds one job may take. @default 30_000 */
  timeoutMs?: number
  /** Times that one item is tried before it counts as failed. @default 3 */
  attempts?: number
  /**
   * Providers of different owners that are reserved before the first job, out of one offer, all or none; each session pays for `jobs`
   * divided among them. @default those that the connection keeps, opened as they are needed
   */
  reserve?: { providers: number; jobs: number }
  /** The only provider that is asked: the one that the items are sealed for. @default all that bid */
  provider?: Address
  signal?: AbortSignal
}

/** One item's end. Items come in the order in which they are done; `index` counts from 0 in the order of the data set. */
export type BatchItem = { index: number } & ({ ok: true; answer: Answer } | { ok: false; error: SinterError })

/** One job's values, and where the provider has them from if they are not to be sent. */
export type BatchInput = Pick<JobOptions, 'sealed'> & { values: Float32Array[] }
type Item = BatchInput & { index: number; failures: number; done: boolean; running: number; since: number }

/** An item that takes this many times its provider's pace is given to an idle provider as well. */
const STRAGGLER_PACES = 4
const STRAGGLER_LEAST_MS = 500
/** Results that nobody has taken yet before providers pause. */
const MAX_BUFFERED = 256
const TICK_MS = 50
/** A shard that takes this many times what it was sized for is cut short. */
const OVERTIME = 2

/**
 * Runs a data set over the providers of a pool. Each takes a shard sized by its measured speed, then the next; a shard whose provider
 * fails goes back, and when nothing is left an idle provider takes what another is slow with. Every item ends exactly once; one
 * that is an error ends as that. An error that the data set itself throws ends the batch.
 * Throws `SPENDING_LIMIT`, `BALANCE_TOO_LOW`, `ABORTED`, and `NO_BIDS` or the provider's code when nobody is left.
 */
export async function* runBatch(
  components: { pool: Pool; budget: Budget; now(): number },
  dataset: Iterable<BatchInput | SinterError> | AsyncIterable<BatchInput | SinterError>,
  options: BatchOptions = {},
): AsyncGenerator<BatchItem> {
  const { pool, budget, now } = components
  const { shardMs = 500, maxShard = 64, timeoutMs = 30_000, attempts = 3, reserve, signal } = options
  if (reserve !== undefined) {
    const { providers, jobs } = reserve
    // A quarter more than their share: the faster ones do more of it.
    await pool.reserve(providers, Math.ceil((1.25 * jobs) / providers))
  }
  const source = (async function* () {
    yield* dataset
  })()
  const returned: Item[] = []
  const outstanding = new Set<Item>()
  const leased = new Set<Slot>()
  const results: BatchItem[] = []
  let exhausted = false
  let count = 0
  let over: unknown = null
  let stopped = false
  let wake: () => void = () => {}
  let pulling: Promise<unknown> = Promise.resolve()

  const ended = (): boolean => stopped || over !== null || (signal?.aborted ?? false)

  /** The next items, returned ones first. The source is asked by one runner at a time. */
  function pull(most: number): Promise<Item[]> {
    const mine = pulling.then(async () => {
      const shard = returned.splice(0, most)
      while (shard.length < most && !exhausted && !ended()) {
        const next = await source.next().catch((error: unknown) => {
          over ??= error
          return { done: true as const, value: undefined }
        })
        if (next.done) {
          exhausted = true
          break
        }
        const { value } = next
        const index = count++
        if (value instanceof SinterError) {
          results.push({ index, ok: false, error: value })
          wake()
        } else shard.push({ ...value, index, failures: 0, done: false, running: 0, since: now() })
      }
      for (const item of shard) outstanding.add(item)
      return shard
    })
    pulling = mine.catch(() => {})
    return mine
  }

  function finish(item: Item, result: BatchItem): void {
    if (item.done) return
    item.done = true
    outstanding.delete(item)
    results.push(result)
    wake()
  }

  async function work(item: Item, slot: Slot): Promise<void> {
    item.running++
    item.since = now()
    try {
      const { values, sealed } = item
      const cancelled = (): boolean => item.done || ended()
      const answer = await runCharged(budget, slot, values, { timeoutMs, cancelled, ...(sealed && { sealed }) })
      finish(item, { index: item.index, ok: true, answer })
    } catch (error) {
      const code = errorCode(error)
      if (code === 'CANCELLED') return
      if (FINAL.has(code)) throw error
      // A session that had ended before the item's turn says nothing about the item.
      if (code !== 'SESSION_ENDED') item.failures++
      if (item.failures < attempts) throw error
      const cause = error instanceof SinterError ? error : new SinterError(code, describeError(error))
      finish(item, { index: item.index, ok: false, error: cause })
    } finally {
      item.running--
    }
  }

  /** An item that another provider has had for too long, oldest first. */
  function straggler(slot: Slot): Item | undefined {
    const after = Math.max(STRAGGLER_LEAST_MS, STRAGGLER_PACES * slot.paceMs())
    return [...outstanding]
      .filter((item) => item.running === 1 && now() - item.since > after)
      .sort((a, b) => a.since - b.since)[0]
  }

  async function shardOf(slot: Slot): Promise<void> {
    // A bid's word is no measurement: the first shard is one job.
    const fitting = slot.measured() ? Math.round(shardMs / Math.max(1, slot.paceMs())) : 1
    const size = Math.min(maxShard, slot.jobsLeft, Math.max(1, fitting))
    const until = now() + OVERTIME * shardMs
    const shard = await pull(size)
    if (shard.length === 0) {
      const late = straggler(slot)
      if (late === undefined) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
      else await work(late, slot).catch((error: unknown) => putBack([late], error))
      return
    }
    for (const [i, item] of shard.entries()) {
      if (item.done) continue
      // It has become slower: the rest is for whoever is free first.
      if (i > 0 && now() > until) return putBack(shard.slice(i), null)
      try {
        await work(item, slot)
      } catch (error) {
        putBack(shard.slice(i), error)
        return
      }
      while (results.length >= MAX_BUFFERED && !ended()) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    }
  }

  /** What a provider did not do goes to the others, unless another is at it already. */
  function putBack(items: Item[], error: unknown): void {
    for (const item of items) if (!item.done && item.running === 0 && !returned.includes(item)) returned.push(item)
    if (FINAL.has(errorCode(error))) throw error
  }

  const left = (): boolean => !exhausted || returned.length > 0 || outstanding.size > 0

  async function runner(): Promise<void> {
    while (left() && !ended()) {
      let slot: Slot
      // Others who asked at the same time were told the same.
      do slot = await pool.take(leased)
      while (leased.has(slot))
      leased.add(slot)
      try {
        while (!slot.dead && slot.jobsLeft > 0 && left() && !ended()) await shardOf(slot)
      } finally {
        leased.delete(slot)
      }
    }
  }

  const onAbort = (): void => wake()
  signal?.addEventListener('abort', onAbort)
  let runners = pool.size
  for (let i = 0; i < pool.size; i++)
    runner()
      .catch((error: unknown) => {
        // One provider fewer is no end while others are at work.
        if (FINAL.has(errorCode(error)) || (runners === 1 && left())) over ??= error
      })
      .finally(() => {
        runners--
        wake()
      })
  try {
    for (;;) {
      const result = results.shift()
      if (result !== undefined) yield result
      else if (signal?.aborted) throw new SinterError('ABORTED', 'the caller aborted the batch')
      else if (over !== null) throw over
      else if (runners === 0) return
      else
        await new Promise<void>((resolve) => {
          wake = resolve
          if (results.length > 0 || runners === 0 || over !== null || signal?.aborted) resolve()
        })
    }
  } finally {
    stopped = true
    signal?.removeEventListener('abort', onAbort)
  }
}
