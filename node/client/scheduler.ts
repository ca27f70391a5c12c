import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { Budget } from './budget.ts'
import { FINAL } from './failures.ts'
import type { Pool } from './pool.ts'
import type { Scores } from './score.ts'
import type { Answer, RunOptions, Slot } from './slot.ts'

/** How one request is carried out over the sessions of a pool. See node/README.md. */
export type RequestOptions = {
  /** Milliseconds from when the model's files are here to the answer, whoever gives it. @default 30_000 */
  timeoutMs?: number
  /**
   * Milliseconds after which a request without an answer is sent to a second provider as well; whoever is first counts, and if both
   * answer both are paid. `false` for never. @default the slot's patience, for each request before it as well, 2_500 at most
   */
  hedgeMs?: number | false
  /** Providers that are tried. @default 4 */
  attempts?: number
  /** The caller does not want the answer any more. What is already sent is still answered, and paid. */
  signal?: AbortSignal
}

export type SchedulerComponents = { pool: Pool; budget: Budget; scores: Scores }

export type Scheduler = {
  /** Throws the code of the last provider that failed, `JOB_TIMEOUT`, `ABORTED`, `SPENDING_LIMIT`, `NO_BIDS`. */
  infer(values: Float32Array[], options?: RequestOptions): Promise<Answer>
}

/** Failures after which no further provider is asked. */
const LAST: ReadonlySet<string> = new Set([...FINAL, 'NO_BIDS', 'CANCELLED'])
/** Hedging begins by then, so that a hanging provider is replaced within 5 s. */
const MAX_HEDGE_MS = 2_500

/** One job on one slot, counted against the budget. */
export async function runCharged(
  budget: Budget,
  slot: Slot,
  values: Float32Array[],
  options: RunOptions,
): Promise<Answer> {
  const { price } = slot.session.provider
  budget.take(price)
  try {
    return await slot.run(values, options)
  } catch (error) {
    budget.giveBack(price)
    throw error
  }
}

export function createScheduler({ pool, budget }: SchedulerComponents): Scheduler {
  return {
    infer(values, { timeoutMs = 30_000, hedgeMs, attempts = 4, signal } = {}) {
      return new Promise<Answer>((resolve, reject) => {
        const until = performance.now() + timeoutMs
        const tried = new Set<Slot>()
        let done = false
        let running = 0
        let begun = 0
        /** What the last provider that was asked failed with: more to the point than that no other bids. */
        let asked: unknown = null
        let hedge: NodeJS.Timeout | undefined

        const settle = (finish: () => void): void => {
          if (done) return
          done = true
          clearTimeout(hedge)
          clearTimeout(limit)
          signal?.removeEventListener('abort', onAbort)
          finish()
        }
        const onAbort = (): void =>
          settle(() => reject(new SinterError('ABORTED', 'the caller aborted the request', { cause: signal?.reason })))
        const limit = setTimeout(
          () => settle(() => reject(new SinterError('JOB_TIMEOUT', `no answer within ${timeoutMs} ms`))),
          timeoutMs,
        )

        async function attempt(): Promise<void> {
          running++
          begun++
          let failure: unknown = null
          try {
            const slot = await pool.take(tried)
            // Two attempts that waited for the same opening are one.
            if (done || tried.has(slot)) return
            tried.add(slot)
            clearTimeout(hedge)
            if (hedgeMs !== false && begun < attempts)
              hedge = setTimeout(
                () => void attempt(),
                hedgeMs ?? Math.min(MAX_HEDGE_MS, slot.patienceMs() * (slot.load + 1)),
              )
            const left = Math.max(1, until - performance.now())
            const answer = await runCharged(budget, slot, values, { timeoutMs: left, cancelled: () => done })
            settle(() => resolve(answer))
          } catch (error) {
            failure = errorCode(error) === 'NO_BIDS' && asked !== null ? asked : error
            if (tried.size > 0) asked = failure
            if (errorCode(error) === 'NO_BIDS') begun = attempts
          } finally {
            running--
          }
          if (failure === null || done) return
          clearTimeout(hedge)
          if (!LAST.has(errorCode(failure)) && begun < attempts) return void attempt()
          // Somebody may still answer: a hedge that found nobody changes nothing.
          if (running === 0) settle(() => reject(failure))
        }

        if (signal?.aborted) return onAbort()
        signal?.addEventListener('abort', onAbort)
        void attempt()
      })
    },
  }
}
