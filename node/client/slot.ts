import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import type { Scores } from './score.ts'
import type { ConsumerSession, InferResult, JobOptions } from './session.ts'

/** Answers of a session that may lack their receipt before the next request waits: below the window of 8 that providers allow. */
const MAX_UNACKNOWLEDGED = 6

const PATIENCE = { paces: 4, leastMs: 250, mostMs: 2_000 }

/** Failures after which the session goes on: the job was refused, and the provider is where it was. */
const JOB_CODES = new Set(['WINDOW_FULL', 'OUTPUT_OFF_TOLERANCE'])
/** The same of an input by content, which the provider could not have or not open. */
const SEALED_CODES = /^(CONTENT|SEALED)_|^INPUT_(SEALED|DIGEST)$/

/** What an answer brought, with who gave it and what it costs once its receipt is acknowledged (base units). */
export type Answer = InferResult & { provider: ConsumerSession['provider']; session: Uint8Array; price: bigint }

export type RunOptions = Pick<JobOptions, 'sealed'> & { timeoutMs: number; cancelled(): boolean }

/** One open session as the scheduler uses it. */
export type Slot = {
  readonly session: ConsumerSession
  readonly dead: boolean
  /** Requests that were given to it and are not answered. */
  readonly load: number
  /** Requests it can still take before its ceiling is used up. */
  readonly jobsLeft: number
  /** When a request given to it now may be answered, from now (ms): a provider that keeps one waiting looks slower every moment. */
  expectedMs(): number
  /** Milliseconds that one request took lately, or that the bid promised. */
  paceMs(): number
  /** Whether a request has waited for so long that it is worth asking somebody else. */
  stalled(): boolean
  /** Milliseconds after which that is so: four times its pace, from 250 to 2,000. */
  patienceMs(): number
  /** Whether the pace was measured here. */
  measured(): boolean
  /**
   * Runs one job in turn. `cancelled` is asked before it is sent. Throws the session's codes, `ANSWER_MALFORMED` for an answer that
   * is none, `CANCELLED`.
   */
  run(values: Float32Array[], options: RunOptions): Promise<Answer>
  /** Takes no more jobs, waits for those it has and their receipts, and closes. */
  close(): Promise<void>
}

export type SlotComponents = {
  scores: Scores
  /** Told once when the session is of no more use. */
  onDead(slot: Slot, error: SinterError): void
  /** Told of every receipt that was judged and acknowledged. */
  onReceipt(receipt: Receipt): void
  now(): number
}

const finite = (values: Float32Array): boolean => values.every(Number.isFinite)

export function createSlot(components: SlotComponents, session: ConsumerSession, jobs: number): Slot {
  const { scores, now } = components
  const { provider, price, expectedLatencyMs } = session.provider
  const unacknowledged = new Set<Promise<unknown>>()
  /** When each running request began (ms). */
  const begun = new Set<{ at: number }>()
  let left = jobs
  let load = 0
  let dead = false
  let turn: Promise<unknown> = Promise.resolve()

  function die(error: SinterError, kind: 'failed' | 'invalid' | null): void {
    if (dead) return
    dead = true
    if (kind !== null) scores.failed(provider, kind)
    components.onDead(slot, error)
  }

  function follow(acknowledged: Promise<Receipt>): void {
    const done = acknowledged.then(
      (receipt) => components.onReceipt(receipt),
      // A receipt that does not match the job: an honest provider makes none.
      (error: unknown) => {
        const code = errorCode(error)
        const kind = /^RECEIPT_|^OUTPUT_NAN$/.test(code) ? 'invalid' : 'failed'
        die(new SinterError(code, 'the receipt was refused', { cause: error }), kind)
      },
    )
    unacknowledged.add(done)
    void done.then(() => unacknowledged.delete(done))
  }

  async function execute(values: Float32Array[], { timeoutMs, sealed }: RunOptions): Promise<Answer> {
    const started = { at: now() }
    begun.add(started)
    try {
      const result = await session.infer(values, { timeoutMs, ...(sealed && { sealed }) })
      follow(result.acknowledged)
      if (!Object.values(result.outputs).every(finite))
        throw new SinterError('ANSWER_MALFORMED', `${provider} answered with values that are no numbers`)
      scores.answered(provider, result.latencyMs)
      return { ...result, provider: session.provider, session: session.session, price }
    } catch (cause) {
      const code = errorCode(cause)
      // What was sent has been checked before, so a tensor that is wrong is the provider's.
      const malformed = code === 'ANSWER_MALFORMED' || code.startsWith('TENSOR_')
      const error = malformed
        ? new SinterError('ANSWER_MALFORMED', `${provider} gave an answer that is none`, { cause })
        : cause instanceof SinterError
          ? cause
          : new SinterError('UNEXPECTED', describeError(cause), { cause })
      if (!JOB_CODES.has(code) && !SEALED_CODES.test(code)) die(error, malformed ? 'invalid' : 'failed')
      throw error
    } finally {
      begun.delete(started)
    }
  }

  /** How long the longest running request has run (ms). */
  const oldest = (): number => Math.max(0, ...[...begun].map(({ at }) => now() - at))

  const slot: Slot = {
    session,
    get dead() {
      return dead
    },
    get load() {
      return load
    },
    get jobsLeft() {
      return left
    },
    paceMs: () => scores.latencyMs(provider) ?? expectedLatencyMs,
    measured: () => scores.latencyMs(provider) !== null,
    patienceMs: () => Math.min(PATIENCE.mostMs, Math.max(PATIENCE.leastMs, PATIENCE.paces * slot.paceMs())),
    stalled: () => oldest() > slot.patienceMs(),
    expectedMs: () => Math.max(slot.paceMs(), oldest()) * (load + 1),
    run(values, options) {
      load++
      left--
      const mine = turn.then(async () => {
        while (unacknowledged.size >= MAX_UNACKNOWLEDGED && !dead) await Promise.race(unacknowledged)
        if (options.cancelled()) throw new SinterError('CANCELLED', 'the job was not needed any more')
        if (dead) throw new SinterError('SESSION_ENDED', 'the session has ended')
        return execute(values, options)
      })
      turn = mine.catch((error: unknown) => {
        if (errorCode(error) === 'CANCELLED') left++
      })
      return mine.finally(() => load--)
    },
    async close() {
      const wasDead = dead
      dead = true
      // A provider that hangs is not waited for.
      if (!wasDead) await turn
      await session.close()
    },
  }
  return slot
}
