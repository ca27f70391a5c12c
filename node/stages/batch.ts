import { type Hex, toHex } from '../../protocol/bytes.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import { type SumTree, sumTree } from '../../protocol/sum-tree.ts'
import type { Chain } from '../chain/chain.ts'
import type { JobRecord, Ledger, SessionRecord } from '../jobs/ledger.ts'
import type { Log } from '../net/log.ts'
import { jsonCodec, type Store, type Table } from '../store/store.ts'
import { BATCH_POLICY, type BatchPolicy, worthAnchoring } from './batch-policy.ts'
import type { CanaryMaker } from './canary.ts'

/** A batch at its provider: which receipts, in the order of the tree. Kept until the batch is finished. */
export type BatchRecord = {
  id: string
  ranges: { session: Uint8Array; fromSeq: bigint; toSeq: bigint }[]
  /** The contract will never take it. Kept all the same: should it be on chain after all, its traces are still owed. */
  refused?: boolean
}

export type BatchComponents = {
  address: Address
  chain: Pick<Chain, 'session' | 'batch' | 'batchId' | 'anchorBatch' | 'freeStake'> & {
    params: Pick<Chain['params'], 'lockBps' | 'minLock' | 'maxRanges' | 'closeWindow'>
  }
  ledger: Ledger
  store: Store
  /** Whether a batch with a range of each of these sessions can be attested and verified in time. @default any can */
  fits?(sessions: SessionRecord[]): Promise<boolean>
  /** Told at each look which models jobs that may still be drawn are of. @default nothing */
  keep?(manifests: ReadonlySet<string>): void
  /** Sees to it that the escrow holds the verification floor of one more batch. @default nothing */
  fund?(): Promise<void>
  /** Gas of a whole batch with so many ranges, in base units of the token; null where nothing has a price. @default null */
  gasCost?(ranges: number): Promise<bigint | null>
  /** Jobs that the operator has bought from itself, to make canaries of. @default none */
  canaries?: Pick<CanaryMaker, 'bury' | 'isBait'> | null
  now(): number
  log: Log
}

export type BatchInit = {
  /** Anchor when no new voucher came for this long (ms). @default 5_000 */
  quietMs?: number
  /** Anchor at the latest this long after the first voucher (ms). @default 600_000 */
  maxAgeMs?: number
  /** Anchor when so many jobs wait; a batch holds no more. @default 1_000 */
  maxJobs?: number
  /** Most ranges in one batch, and at most what the contract takes. */
  maxRanges?: number
  /** Batches whose attestation is still owed; further receipts wait, for proofs that queue up would miss their windows. @default 1 */
  maxUnproven?: number
  /** A session that expires within this time is anchored at once, as is one that its consumer closes when half of the time for it is over (ms). @default 120_000 */
  endingMs?: number
  /** A session with a backlog is asked of the chain this often (ms). @default 2_000 */
  lookMs?: number
  /** How much of a batch its gas may take, and how long receipts wait for that. @default 2%, 6 h */
  policy?: BatchPolicy
}

export type Batcher = {
  /** Anchors what is due. One batch is on its way at a time; a batch that was cut short is taken up again. */
  tick(): Promise<void>
  record(id: string): Promise<BatchRecord | null>
  /** Jobs of a batch in the order of its tree, and the tree. Throws `BATCH_INCOMPLETE`. */
  tree(record: BatchRecord): Promise<{ jobs: JobRecord[]; tree: SumTree }>
  /** Forgets a finished batch and its jobs. */
  forget(record: BatchRecord): Promise<void>
}

/** What waits in one session: acknowledged and not yet anchored. */
type Waiting = { session: SessionRecord; fromSeq: bigint; toSeq: bigint; ending: boolean }
/** A session as the chain last had it. */
type Look = { cursor: bigint; expiry: bigint; closesAt: bigint; closed: boolean; at: number }

/** Refusals that no waiting and no money will change. */
const FOR_GOOD = new Set([
  'CHAIN_RangeNotContiguous',
  'CHAIN_SessionIsClosed',
  'CHAIN_UnknownSession',
  'CHAIN_NotProviderOfSession',
  'CHAIN_BadVoucher',
  'CHAIN_FeeNotPositive',
])

export function createBatcher(components: BatchComponents, init: BatchInit = {}): Batcher {
  const { address, chain, ledger, store, log } = components
  const { quietMs = 5_000, maxAgeMs = 600_000, maxJobs = 1_000, maxUnproven = 1 } = init
  const { endingMs = 120_000, lookMs = 2_000, policy = BATCH_POLICY } = init
  const maxRanges = Math.min(init.maxRanges ?? Infinity, chain.params.maxRanges)
  const records: Table<BatchRecord> = store.table('batches', jsonCodec<BatchRecord>())
  /** When each session's backlog was first and last seen to grow. */
  const growth = new Map<string, { toSeq: bigint; first: number; last: number }>()
  const looks = new Map<string, Look>()
  /** Sessions of a refused batch: each goes alone once, so that a bad one cannot hold up the others. */
  const suspects = new Set<string>()
  /** Sessions from which nothing more can be had. */
  const retired = new Set<string>()
  /** Free stake at which we last said that it is too little. */
  let shortAt: bigint | null = null

  async function look(key: `0x${string}`): Promise<Look> {
    const known = looks.get(key)
    if (known !== undefined && components.now() - known.at < lookMs) return known
    const { cursor, expiry, closesAt, closed } = await chain.session(key)
    const fresh = { cursor, expiry, closesAt, closed, at: components.now() }
    looks.set(key, fresh)
    return fresh
  }

  /** `taken` is what our batches have of each session, whatever a chain that lags behind says of its cursor. */
  async function waiting(taken: Map<string, bigint>): Promise<Waiting[]> {
    const out: Waiting[] = []
    for (const session of await ledger.sessions()) {
      const key = toHex(session.session)
      const { seq } = session.acknowledged
      // Only we move the cursor, and only forwards: what it has reached once need not be asked again.
      if (retired.has(key) || seq <= (looks.get(key)?.cursor ?? 0n)) continue
      const { cursor, closed, ...ends } = await look(key)
      if (closed) {
        growth.delete(key)
        retire(key, seq > cursor ? `closed with ${seq - cursor} acknowledged jobs not anchored` : null)
      } else if (seq > cursor && cursor >= (taken.get(key) ?? 0n)) {
        out.push({ session, fromSeq: cursor + 1n, toSeq: seq, ending: isEnding(ends) })
      }
    }
    return out
  }

  /**
   * What expires can be anchored for a close window more. What its consumer closes can not, so of that window half is kept; until then it waits
   * for others, as the gas and the proofs of a batch are the same for one session and for many.
   */
  function isEnding({ expiry, closesAt }: Pick<Look, 'expiry' | 'closesAt'>): boolean {
    const now = components.now()
    const keptMs = Math.max(endingMs, 500 * chain.params.closeWindow)
    return Number(expiry) * 1000 - now <= endingMs || (closesAt !== 0n && Number(closesAt) * 1000 - now <= keptMs)
  }

  function retire(key: string, loss: string | null): void {
    retired.add(key)
    suspects.delete(key)
    if (loss !== null)
      log.warn({ event: 'session.retired', session: key }, `no more of this session is anchored: ${loss}`)
  }

  function due({ session, fromSeq, toSeq, ending }: Waiting): boolean {
    const key = toHex(session.session)
    const now = components.now()
    const before = growth.get(key)
    const seen =
      before === undefined
        ? { toSeq, first: now, last: now }
        : { toSeq, first: before.first, last: before.toSeq === toSeq ? before.last : now }
    growth.set(key, seen)
    const old = now - seen.last >= quietMs || now - seen.first >= maxAgeMs
    return ending || old || toSeq - fromSeq + 1n >= BigInt(maxJobs)
  }

  async function jobsOf(record: Pick<BatchRecord, 'ranges'>): Promise<JobRecord[]> {
    const jobs: JobRecord[] = []
    for (const { session, fromSeq, toSeq } of record.ranges)
      for (let seq = fromSeq; seq <= toSeq; seq++) {
        const job = await ledger.job(session, seq)
        if (job === null || job.voucher === null)
          throw new SinterError('BATCH_INCOMPLETE', `job ${seq} of session ${toHex(session)} is not acknowledged here`)
        jobs.push(job)
      }
    return jobs
  }

  async function isBait({ ranges }: BatchRecord): Promise<boolean> {
    if (!components.canaries) return false
    const sessions = await Promise.all(ranges.map(({ session }) => ledger.session(session)))
    return sessions.every((session) => session !== null && components.canaries!.isBait(session))
  }

  const treeOf = (jobs: JobRecord[]): SumTree => sumTree(jobs.map(({ receiptHash, price }) => ({ receiptHash, price })))

  /** Sends a batch that is on disk. The contract refuses a second copy, so sending again after a crash is safe. */
  async function anchor(record: BatchRecord): Promise<void> {
    const jobs = await jobsOf(record)
    const ranges = record.ranges.map(({ session, toSeq }) => {
      const last = jobs.find((job) => job.seq === toSeq && toHex(job.session) === toHex(session))!
      return {
        session: toHex(session),
        toSeq,
        cumulative: last.cumulative,
        receiptHash: toHex(last.receiptHash),
        signature: toHex(last.voucher!),
      }
    })
    const { root } = treeOf(jobs)
    await components.fund?.()
    if (await isBait(record)) {
      const sessions = ranges.map(({ session }) => session)
      await components.canaries!.bury(record.id as Hex, sessions, root.sum)
    }
    const { gasUsed } = await chain.anchorBatch(toHex(root.hash), ranges)
    log.info(
      {
        event: 'batch.anchored',
        batch: record.id,
        jobs: jobs.length,
        total: root.sum.toString(),
        gas: Number(gasUsed),
      },
      'batch anchored',
    )
  }

  async function send(record: BatchRecord): Promise<void> {
    const keys = record.ranges.map(({ session }) => toHex(session))
    try {
      await anchor(record)
      for (const key of keys) suspects.delete(key)
    } catch (error) {
      const code = errorCode(error)
      // Anything else may be a transaction that is still on its way, so the record must stay: its traces would be owed.
      if (!FOR_GOOD.has(code)) throw error
      log.error({ event: 'batch.refused', batch: record.id, code, error: describeError(error) }, 'batch refused')
      await records.put(record.id, { ...record, refused: true })
      for (const key of keys) suspects.add(key)
      if (keys.length === 1) retire(keys[0]!, code)
    } finally {
      for (const key of keys) {
        looks.delete(key)
        growth.delete(key)
      }
    }
  }

  /** Sends again what did not arrive. Says whether it did, how many batches still owe an attestation, and what they hold. */
  async function resume(): Promise<{ sent: boolean; unproven: number; taken: Map<string, bigint> }> {
    let unproven = 0
    const taken = new Map<string, bigint>()
    for await (const [id, record] of records.entries()) {
      if (record.refused === true) continue
      const { status } = await chain.batch(id as `0x${string}`)
      if (status === 'none') {
        await send(record)
        return { sent: true, unproven, taken }
      }
      for (const { session, toSeq } of record.ranges)
        if (toSeq > (taken.get(toHex(session)) ?? 0n)) taken.set(toHex(session), toSeq)
      if (status === 'anchored' || status === 'traced') unproven++
    }
    return { sent: false, unproven, taken }
  }

  /** Whether the backlog pays for the gas of a batch. A price that cannot be had delays nothing. */
  async function worthIt(backlog: Waiting[]): Promise<boolean> {
    const counts = backlog.map(({ fromSeq, toSeq }) => toSeq - fromSeq + 1n)
    const gasCost = (await components.gasCost?.(Math.min(backlog.length, maxRanges)).catch(() => null)) ?? null
    const oldest = backlog.map(({ session }) => growth.get(toHex(session.session))?.first ?? components.now())
    return worthAnchoring(
      {
        value: backlog.reduce((sum, { session }, i) => sum + counts[i]! * session.price, 0n),
        gasCost,
        ageMs: components.now() - Math.min(...oldest),
        full: counts.reduce((sum, each) => sum + each, 0n) >= BigInt(maxJobs),
        ending: backlog.some(({ ending }) => ending),
      },
      policy,
    )
  }

  /** Bait and the jobs of strangers are never in one batch; strangers come first. */
  function alike(backlog: Waiting[]): Waiting[] {
    const [bait, strangers]: Waiting[][] = [[], []]
    for (const each of backlog) (components.canaries?.isBait(each.session) ? bait! : strangers!).push(each)
    // All are looked at, so that each has its time.
    const ready = strangers!.map(due).includes(true)
    return bait!.map(due).includes(true) && !ready ? bait! : strangers!
  }

  /** As much of these sessions as one batch holds: jobs, ranges, and the stake that can still be locked for it. */
  async function select(backlog: Waiting[]): Promise<BatchRecord['ranges']> {
    const { lockBps, minLock } = chain.params
    const taken: SessionRecord[] = []
    const free = await chain.freeStake(address)
    let money = free < minLock ? 0n : (free * 10_000n) / BigInt(Math.max(1, lockBps))
    let room = BigInt(maxJobs)
    const ranges: BatchRecord['ranges'] = []
    for (const { session, fromSeq, toSeq } of backlog) {
      const { price } = session
      const most = [toSeq - fromSeq + 1n, room, money / price].reduce((a, b) => (a < b ? a : b))
      if (most <= 0n || ranges.length === maxRanges) continue
      const range = { session: session.session, fromSeq, toSeq: fromSeq + most - 1n }
      try {
        await jobsOf({ ranges: [range] })
      } catch (error) {
        if (errorCode(error) !== 'BATCH_INCOMPLETE') throw error
        retire(toHex(session.session), describeError(error))
        continue
      }
      // One alone always fits, or it would never have been bid for.
      if (taken.length > 0 && !((await components.fits?.([...taken, session])) ?? true)) continue
      taken.push(session)
      ranges.push(range)
      room -= most
      money -= most * price
    }
    if (ranges.length === 0 && free !== shortAt)
      log.warn({ event: 'batch.short', free: free.toString() }, 'too little free stake to lock for a batch')
    shortAt = ranges.length === 0 ? free : null
    return ranges
  }

  return {
    async tick() {
      const { sent, unproven, taken } = await resume()
      if (sent) return
      const pending = await waiting(taken)
      if (components.keep !== undefined) {
        const anchored = (await ledger.sessions()).filter(({ session }) => taken.has(toHex(session)))
        const waits = pending.map(({ session }) => session)
        components.keep(new Set([...anchored, ...waits].map(({ manifest }) => manifest)))
      }
      const backlog = alike(pending)
      const ready = backlog.map(due)
      const ending = backlog.filter((each) => each.ending)
      if (!ready.includes(true) || (unproven >= maxUnproven && ending.length === 0)) return
      const suspect = backlog.find(({ session }) => suspects.has(toHex(session.session)))
      const chosen = suspect !== undefined ? [suspect] : [...ending, ...backlog.filter((each) => !each.ending)]
      if (!(await worthIt(chosen))) return
      const ranges = await select(chosen)
      if (ranges.length === 0) return
      const { root } = treeOf(await jobsOf({ ranges }))
      const id = await chain.batchId(address, toHex(root.hash))
      const record = { id, ranges }
      await records.put(id, record)
      await send(record)
    },
    record: async (id) => (await records.get(id)) ?? null,
    async tree(record) {
      const jobs = await jobsOf(record)
      return { jobs, tree: treeOf(jobs) }
    },
    async forget(record) {
      for (const { session, fromSeq, toSeq } of record.ranges) await ledger.forget(session, fromSeq, toSeq)
      await records.del(record.id)
      const done = new Set(record.ranges.map(({ session }) => toHex(session)))
      for await (const [id, { refused, ranges }] of records.entries())
        if (refused === true && ranges.every(({ session }) => done.has(toHex(session)))) await records.del(id)
    },
  }
}
