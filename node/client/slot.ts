import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import type { Scores } from './score.ts'
import type { ConsumerSession, InferResult, JobOptions } from './session.ts'

const PATIENCE = { paces: 4, leastMs: 250, mostMs: 2_000 }

/** Failures after which the session goes on: the job was refused, and the provider is where it was. */
const JOB_CODES = new Set(['WINDOW_FULL', 'OUTPUT_OFF_TOLERANCE'])
/** The same of an input by content, which the provider could not have or not open. */
const SEALED_CODES = /^(CONTENT|SEALED)_|^INPUT_(SEALED|DIGEST)$/

/** Failures of a provider that answers, and not what it has to. */
const INVALID_CODES = /^RECEIPT_|^OUTPUT_NAN$/

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

/** A provider that ends a session as unused when it has been so for less (ms) does not want it. */
const UNUSED_MS = 10_000

const finite = (values: Float32Array): boolean => values.every(Number.isFinite)

export function createSlot(components: SlotComponents, session: ConsumerSession, jobs: number): Slot {
  const { scores, now } = components
  const { provider, price, expectedLatencyMs } = session.provider
  /** When each request that runs was sent (ms). */
  const begun = new Set<{ at: number }>()
  /** When the last of them was answered (ms). */
  let answeredAt = 0
  /** When it was last of use (ms). */
  let usedAt = now()
  const running = new Set<Promise<Answer>>()
  let left = jobs
  let load = 0
  let dead = false
  /** It finishes what it was given. */
  let closing = false

  function die(error: SinterError, kind: 'failed' | 'invalid' | null): void {
    if (dead) return
    dead = true
    if (kind !== null) scores.failed(provider, kind)
    // Who closes it knows already.
    if (!closing) components.onDead(slot, error)
  }

  const unused = (): boolean => begun.size === 0 && now() - usedAt >= UNUSED_MS

  /** What the end of a session says of its provider. To end one that nobody uses is no failure; a receipt that does not match is worse than one. */
  function blame(code: string): 'failed' | 'invalid' | null {
    if (INVALID_CODES.test(code)) return 'invalid'
    return code === 'SESSION_IDLE' && unused() ? null : 'failed'
  }
  // At once, so that no job is given to a session that is over.
  void session.ended.then((error) => die(error, blame(error.code)))

  function follow(acknowledged: Promise<Receipt>): void {
    void acknowledged.then(
      (receipt) => components.onReceipt(receipt),
      // A receipt that does not match the job: an honest provider makes none.
      (error: unknown) => {
        const code = errorCode(error)
        die(new SinterError(code, 'the receipt was refused', { cause: error }), blame(code))
      },
    )
  }

  /** Since when the provider has worked on nothing but this request and those before it (ms). */
  const alone = (at: number): number => Math.max(at, answeredAt)

  async function execute(values: Float32Array[], { timeoutMs, cancelled, sealed }: RunOptions): Promise<Answer> {
    const started = { at: 0 }
    const before = (): void => {
      if (cancelled()) throw new SinterError('CANCELLED', 'the job was not needed any more')
      if (dead) throw new SinterError('SESSION_ENDED', 'the session has ended')
      started.at = now()
      usedAt = started.at
      begun.add(started)
    }
    try {
      const result = await session.infer(values, { timeoutMs, before, ...(sealed && { sealed }) })
      const paceMs = now() - alone(started.at)
      answeredAt = now()
      usedAt = answeredAt
      follow(result.acknowledged)
      if (!Object.values(result.outputs).every(finite))
        throw new SinterError('ANSWER_MALFORMED', `${provider} answered with values that are no numbers`)
      scores.answered(provider, paceMs)
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
      // One that was never sent says nothing about the provider.
      if (code === 'CANCELLED' || (code === 'JOB_TIMEOUT' && !begun.has(started))) left++
      else if (!JOB_CODES.has(code) && !SEALED_CODES.test(code)) die(error, malformed ? 'invalid' : 'failed')
      throw error
    } finally {
      begun.delete(started)
    }
  }

  /** How long the one that is to be answered next has been worked on (ms). */
  const oldest = (): number => Math.max(0, ...[...begun].map(({ at }) => now() - alone(at)))

  const slot: Slot = {
    session,
    get dead() {
      return dead || closing
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
      const mine = execute(values, options).finally(() => {
        load--
        running.delete(mine)
      })
      running.add(mine)
      return mine
    },
    async close() {
      closing = true
      // A provider that hangs is not waited for.
      if (!dead) await Promise.allSettled(running)
      dead = true
      await session.close()
    },
  }
  return slot
}
