import { toHex } from '../../protocol/bytes.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Policy, Receipt } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Log } from '../net/log.ts'
import { unref } from '../timers.ts'
import type { LightClient } from './client.ts'
import type { ReceivedBid } from './offer.ts'
import { effectivePrice, rankBids, type Scores } from './score.ts'
import type { ConsumerSession } from './session.ts'
import { createSessionSizes } from './session-size.ts'
import { createSlot, type Slot } from './slot.ts'

export type PoolComponents = {
  client: Pick<LightClient, 'funds' | 'openSession' | 'openSessions' | 'release'>
  model: LoadedModel
  scores: Scores
  onReceipt?(receipt: Receipt): void
  now(): number
  log: Log
}

export type PoolInit = {
  /** Highest price per job, base units. */
  ceiling: bigint
  /** Providers with an open session at once: the second serves hedges and fail-over without a new offer. @default 2 */
  providers?: number
  /**
   * Jobs that a session's ceiling on chain pays for; up to 16 times as many where sessions are used up within a minute, and no more than an
   * eighth of the account's funds. When three quarters are used another is opened, earlier where jobs come fast. @default 256
   */
  sessionJobs?: number
  /** How long bids are gathered at most (ms). @default 2_000 */
  windowMs?: number
  /** Bids from providers we would take after which gathering ends early. @default 3 */
  bids?: number
  /** Base units that a millisecond of waiting is worth in the ranking. @default a ten-thousandth of the ceiling */
  latencyValue?: bigint
  /** How jobs that are drawn are attested. @default 'zk' */
  policy?: Policy
  /** Where providers had best be, such as `eu-west`. Bids from elsewhere count as 100 ms slower than they say. @default anywhere */
  region?: string
  /** Milliseconds after which an opening is given up. @default 30_000 */
  openMs?: number
  /** Only bids for which this holds are taken. @default all */
  accept?(bid: ReceivedBid): boolean
  /** The one provider whose bids are taken. @default all */
  only?: Address
  onBids?(bids: ReceivedBid[], chosen: ReceivedBid): void
}

/** Open sessions for one model, kept at `providers` while it is used. */
export type Pool = {
  readonly size: number
  slots(): Slot[]
  /**
   * The slot with the lowest effective price that is not in `avoid`, one that keeps somebody waiting last; opens one when there is none, and opens what is missing in the
   * background. Throws `NO_BIDS` and the other codes of `openSession`.
   */
  take(avoid?: ReadonlySet<Slot>): Promise<Slot>
  /**
   * Opens what is missing to `count` sessions, with providers of different owners and out of one offer, each for `jobs` jobs at least; all
   * or none. From then on the pool keeps so many. Throws `NO_BIDS` when there are not as many, and the other codes of `openSessions`.
   */
  reserve(count: number, jobs: number): Promise<void>
  close(): Promise<void>
}

/** Pause after an opening that failed before a spare is tried again (ms). */
const SPARE_PAUSE_MS = 5_000
/** Milliseconds that open jobs and receipts have to end when a session is closed. */
const CLOSE_MS = 5_000

export function createPool(components: PoolComponents, init: PoolInit): Pool {
  const { client, model, scores, log, now } = components
  const { ceiling, only, sessionJobs = 256, windowMs = 2_000, openMs = 30_000 } = init
  const { providers = 2, bids: wanted = 3 } = only === undefined ? init : { providers: 1, bids: 1 }
  const { latencyValue = ceiling / 10_000n, region = '', policy = 'zk', onBids } = init
  const accept = (bid: ReceivedBid): boolean =>
    (only === undefined || bid.provider === only) && (init.accept?.(bid) ?? true)
  let size = providers
  const closing = new AbortController()
  const { signal } = closing
  const slots = new Set<Slot>()
  const sizes = createSessionSizes(sessionJobs, now)
  let closed = false
  let everOpen = false
  /** Requests that wait for an opening. */
  let waiting = 0
  let failedAt = Number.NEGATIVE_INFINITY
  /** One at a time: each looks at the escrow's balance, and a provider gets one session. */
  let opening: Promise<unknown> | null = null

  function drop(slot: Slot): void {
    slots.delete(slot)
    sizes.gone(slot)
  }

  function onDead(slot: Slot, error: SinterError): void {
    drop(slot)
    const { provider } = slot.session.provider
    log.warn(
      { event: 'scheduler.dropped', provider, code: error.code, error: describeError(error) },
      'provider dropped',
    )
    void retire(slot)
  }

  /** Closes a session and asks for what is left of its ceiling. What it was given before is answered first, each job within its own time. */
  async function retire(slot: Slot): Promise<void> {
    try {
      let over = false
      const ends = slot.close().finally(() => {
        over = true
      })
      // Who hangs is not waited for: what lies in its session is asked back all the same.
      do await Promise.race([ends, new Promise((resolve) => unref(setTimeout(resolve, CLOSE_MS)))])
      while (!over && slot.load > 0 && !closed)
      await client.release(toHex(slot.session.session))
    } catch (error) {
      log.warn({ event: 'scheduler.unreleased', error: describeError(error) }, 'a session could not be released')
    }
  }

  function hold(opened: ConsumerSession, jobs: number): Slot {
    const { onReceipt = () => {} } = components
    const slot = createSlot({ scores, onDead, onReceipt, now }, opened, jobs)
    slots.add(slot)
    everOpen = true
    return slot
  }

  const lasting = (): Slot[] => [...slots].filter((slot) => slot.jobsLeft > 0 && !sizes.due(slot))
  const heldProviders = (): Address[] => lasting().map(({ session }) => session.provider.provider)

  /** The best of the bids that can be taken. Throws `NO_BIDS`. */
  function best(bids: ReceivedBid[], open: ReceivedBid[]): ReceivedBid {
    const [first] = rankBids(open, scores, latencyValue, region)
    if (first === undefined)
      throw new SinterError('NO_BIDS', `${bids.length} providers bid on the offer, and none that can be taken`)
    return first
  }

  async function openMany(count: number, jobs: number): Promise<void> {
    const exclude = heldProviders()
    const eligible = (bids: ReceivedBid[]): ReceivedBid[] =>
      bids.filter((bid) => !exclude.includes(bid.provider) && !scores.resting(bid.provider) && accept(bid))
    const each = BigInt(Math.max(jobs, 1))
    const sessions = await client.openSessions(
      {
        model,
        priceCeiling: ceiling,
        windowMs,
        region,
        policy,
        signal,
        exclude,
        enough: (bids) => eligible(bids).length >= Math.max(count, wanted),
        least: (bids) => eligible(bids).length >= count,
        choose: (bids) => best(bids, eligible(bids)),
        ...(onBids === undefined ? {} : { onBids }),
      },
      Array<bigint>(count).fill(each),
    )
    for (const session of sessions) hold(session, Number(each))
  }

  async function openOne(): Promise<Slot> {
    const began = now()
    const session = sizes.next(ceiling, client.funds).then(async (jobs) => {
      const held = new Set<Address>(heldProviders())
      const eligible = (bids: ReceivedBid[]): ReceivedBid[] =>
        bids.filter((bid) => !held.has(bid.provider) && !scores.resting(bid.provider) && accept(bid))
      const opened = await client.openSession({
        model,
        jobs: BigInt(jobs),
        priceCeiling: ceiling,
        windowMs,
        region,
        policy,
        signal,
        // Requests wait for a provider that replaces a failed one: the first good bid is worth more than a better one.
        enough: (bids) => eligible(bids).length >= (everOpen && waiting > 0 ? 1 : wanted),
        least: (bids) => eligible(bids).length > 0,
        choose: (bids) => best(bids, eligible(bids)),
        ...(onBids === undefined ? {} : { onBids }),
      })
      return { opened, jobs }
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new SinterError('OPEN_TIMEOUT', `no session within ${openMs} ms`)), openMs)
    })
    try {
      const { opened, jobs } = await Promise.race([session, late])
      const slot = hold(opened, jobs)
      sizes.opened(slot, jobs, now() - began)
      return slot
    } catch (error) {
      // One that comes after all is not left open.
      if (errorCode(error) === 'OPEN_TIMEOUT')
        session.then(({ opened }) => opened.close().then(() => client.release(toHex(opened.session)))).catch(() => {})
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  function open(): Promise<unknown> {
    opening ??= openOne()
      .catch((error: unknown) => {
        failedAt = now()
        throw error
      })
      .finally(() => {
        opening = null
      })
    return opening
  }

  /** Renews what is used up and opens what is missing, without making anybody wait. */
  function tend(): void {
    for (const slot of slots)
      if (slot.jobsLeft <= 0) {
        drop(slot)
        void retire(slot)
      }
    if (closed || opening !== null || lasting().length >= size || now() - failedAt < SPARE_PAUSE_MS) return
    open().catch((error: unknown) =>
      log.debug({ event: 'scheduler.no-spare', error: describeError(error) }, 'no spare provider'),
    )
  }

  const usable = (avoid: ReadonlySet<Slot>): Slot[] =>
    [...slots].filter((slot) => !slot.dead && slot.jobsLeft > 0 && !avoid.has(slot))

  /** As bids are ranked, with what the slot has waiting. */
  function cost(slot: Slot): number {
    const { provider, price } = slot.session.provider
    const expectedLatencyMs = slot.expectedMs()
    return effectivePrice(
      { provider, price, expectedLatencyMs },
      { of: scores.of, latencyMs: () => null },
      latencyValue,
    )
  }

  return {
    get size() {
      return size
    },
    async reserve(count, jobs) {
      // An opening that is under way may bring one of them.
      while (opening !== null) await opening.catch(() => {})
      if (closed) throw new SinterError('CLIENT_STOPPED', 'the client has been stopped')
      const missing = count - usable(new Set()).length
      if (missing > 0) {
        const many = openMany(missing, jobs).finally(() => {
          if (opening === many) opening = null
        })
        opening = many
        await many
      }
      size = Math.max(size, count)
    },
    slots: () => usable(new Set()),
    async take(avoid = new Set()) {
      for (let failures = 0; ; ) {
        if (closed) throw new SinterError('CLIENT_STOPPED', 'the client has been stopped')
        tend()
        const [first] = usable(avoid).sort((a, b) => Number(a.stalled()) - Number(b.stalled()) || cost(a) - cost(b))
        if (first !== undefined) return first
        // A request that is only slow does not ask the network again and again whether there is somebody else.
        if (now() - failedAt < SPARE_PAUSE_MS && [...avoid].some((slot) => !slot.dead))
          throw new SinterError('NO_BIDS', 'nobody else bid a moment ago')
        waiting++
        const ours = opening === null
        try {
          await open()
        } catch (error) {
          const code = errorCode(error)
          // Another's opening that failed says nothing about ours: it may have looked for somebody else than whom we would take. Money does
          // not come by itself.
          if (++failures > 1 || code === 'BALANCE_TOO_LOW' || (code === 'NO_BIDS' && ours)) throw error
        } finally {
          waiting--
        }
      }
    },
    async close() {
      closed = true
      // Nobody waits for bids any more.
      closing.abort()
      await opening?.catch(() => {})
      const open = [...slots]
      slots.clear()
      await Promise.all(open.map(retire))
    },
  }
}
