import { toHex } from '../../protocol/bytes.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import { type SumTree, sumTree } from '../../protocol/sum-tree.ts'
import type { Chain } from '../chain/chain.ts'
import type { JobRecord, Ledger, SessionRecord } from '../jobs/ledger.ts'
import type { Log } from '../net/log.ts'
import { jsonCodec, type Store, type Table } from '../store/store.ts'

/** A batch at its provider: which receipts, in the order of the tree. Kept until the batch is finished. */
export type BatchRecord = {
  id: string
  ranges: { session: Uint8Array; fromSeq: bigint; toSeq: bigint }[]
}

export type BatchComponents = {
  address: Address
  chain: Pick<Chain, 'session' | 'batch' | 'batchId' | 'anchorBatch' | 'head'>
  ledger: Ledger
  store: Store
  now(): number
  log: Log
}

export type BatchInit = {
  /** Anchor when no new voucher came for this long (ms). @default 5_000 */
  quietMs?: number
  /** Anchor at the latest this long after the first voucher (ms). @default 60_000 */
  maxAgeMs?: number
  /** Anchor when so many jobs wait. @default 1_000 */
  maxJobs?: number
  /** Ranges the contract takes in one batch. @default 64 */
  maxRanges?: number
}

export type Batcher = {
  /** Anchors what is due. One batch is on its way at a time; a batch that was cut short is taken up again. */
  tick(): Promise<void>
  record(id: string): Promise<BatchRecord | null>
  /** Jobs of a batch in the order of its tree, and the tree. */
  tree(record: BatchRecord): Promise<{ jobs: JobRecord[]; tree: SumTree }>
  /** Forgets a finished batch and its jobs. */
  forget(record: BatchRecord): Promise<void>
}

/** What waits in one session: acknowledged and not yet anchored. */
type Waiting = { session: SessionRecord; fromSeq: bigint; toSeq: bigint }

export function createBatcher(components: BatchComponents, init: BatchInit = {}): Batcher {
  const { address, chain, ledger, store, log } = components
  const { quietMs = 5_000, maxAgeMs = 60_000, maxJobs = 1_000, maxRanges = 64 } = init
  const records: Table<BatchRecord> = store.table('batches', jsonCodec<BatchRecord>())
  /** When each session's backlog was first and last seen to grow. */
  const growth = new Map<string, { toSeq: bigint; first: number; last: number }>()
  const retired = new Set<string>()

  async function waiting(): Promise<Waiting[]> {
    const out: Waiting[] = []
    for (const session of await ledger.sessions()) {
      const key = toHex(session.session)
      if (retired.has(key) || session.acknowledged.seq === 0n) continue
      const { cursor, closed } = await chain.session(key)
      if (session.acknowledged.seq > cursor && !closed)
        out.push({ session, fromSeq: cursor + 1n, toSeq: session.acknowledged.seq })
      else {
        growth.delete(key)
        if (closed) retired.add(key)
      }
    }
    return out
  }

  function due({ session, fromSeq, toSeq }: Waiting): boolean {
    const key = toHex(session.session)
    const now = components.now()
    const before = growth.get(key)
    const seen =
      before === undefined
        ? { toSeq, first: now, last: now }
        : { toSeq, first: before.first, last: before.toSeq === toSeq ? before.last : now }
    growth.set(key, seen)
    return now - seen.last >= quietMs || now - seen.first >= maxAgeMs || toSeq - fromSeq + 1n >= BigInt(maxJobs)
  }

  async function jobsOf(record: BatchRecord): Promise<JobRecord[]> {
    const jobs: JobRecord[] = []
    for (const { session, fromSeq, toSeq } of record.ranges)
      for (let seq = fromSeq; seq <= toSeq; seq++) jobs.push((await ledger.job(session, seq))!)
    return jobs
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

  async function resume(): Promise<boolean> {
    for await (const [id, record] of records.entries()) {
      if ((await chain.batch(id as `0x${string}`)).status !== 'none') continue
      try {
        await anchor(record)
      } catch (error) {
        log.error(
          { event: 'batch.refused', batch: id, code: errorCode(error), error: describeError(error) },
          'anchor failed',
        )
        // Refused by the contract for good: the receipts stay, and the next tick makes another batch of what is still open.
        if (errorCode(error) !== 'CHAIN_RPC') await records.del(id)
      }
      return true
    }
    return false
  }

  return {
    async tick() {
      if (await resume()) return
      const backlog = await waiting()
      if (!backlog.map(due).includes(true)) return
      const ranges = backlog
        .slice(0, maxRanges)
        .map(({ session, fromSeq, toSeq }) => ({ session: session.session, fromSeq, toSeq }))
      const { root } = treeOf(await jobsOf({ id: '', ranges }))
      const id = await chain.batchId(address, toHex(root.hash))
      await records.put(id, { id, ranges })
      await anchor({ id, ranges })
    },
    record: async (id) => (await records.get(id)) ?? null,
    async tree(record) {
      const jobs = await jobsOf(record)
      return { jobs, tree: treeOf(jobs) }
    },
    async forget(record) {
      for (const { session, fromSeq, toSeq } of record.ranges) await ledger.forget(session, fromSeq, toSeq)
      await records.del(record.id)
    },
  }
}
