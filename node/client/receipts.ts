import { type Hex, toHex } from '../../protocol/bytes.ts'
import type { Address } from '../../protocol/signature.ts'
import { BATCH_STATUSES, type BatchStatus } from '../chain/views.ts'
import type { BatchEvent } from '../chain/watch.ts'

/**
 * Where a job stands:
 * - `pending`: answered. Its receipt may be acknowledged, its batch anchored, sampled, proven: nothing is decided.
 * - `verified`: a quorum of the committee found the drawn jobs of its batch valid. Whether this very job was drawn is chance.
 * - `settled`: the money of its range has been paid out.
 * - `refused`: its receipt did not match the job, or its batch was slashed, left untraced or abandoned; what was paid comes back.
 */
export type ReceiptState = 'pending' | 'verified' | 'settled' | 'refused'

export type ReceiptStatus = {
  state: ReceiptState
  /** Whether both sides have signed for the job. */
  acknowledged: boolean
  /** Batch on chain that the receipt lies in, null before it is anchored, with the last status this client has seen of it. */
  batch: { id: Hex; status: BatchStatus } | null
}

/** Name of one job's receipt: `0x<session>-<seq>`. */
export const receiptId = (session: Uint8Array, seq: bigint): string => `${toHex(session)}-${seq}`

/** Parts of a receipt id, or null for anything else. */
export function parseReceiptId(id: string): { session: Hex; seq: bigint } | null {
  const match = /^(0x[0-9a-f]{64})-([1-9][0-9]{0,18})$/.exec(id)
  return match === null ? null : { session: match[1] as Hex, seq: BigInt(match[2]!) }
}

type Range = { batch: Hex; index: bigint; from: bigint; to: bigint; status: BatchStatus; collected: boolean }

/** What is known of the receipts of one session, which has one provider and one price. */
export type SessionRecord = {
  provider: Address
  /** Of each job, base units. */
  price: bigint
  /** Number of the last answered job. */
  issued: bigint
  /** Receipts are acknowledged in order: one number is enough. */
  acknowledged: bigint
  /** Receipts that were refused, and the codes for it. */
  refused: { seq: bigint; code: string }[]
  ranges: Range[]
  /** When something of it changed last, ms since the epoch. */
  changedMs: number
}

/** What the chain said about the receipts that one key signed, as told by its RPC endpoint. */
export type ReceiptBook = {
  apply(event: BatchEvent): void
  /** A job was answered. */
  issued(session: Hex, seq: bigint, terms: { provider: Address; price: bigint }): void
  acknowledged(session: Hex, seq: bigint): void
  refused(session: Hex, seq: bigint, code: string): void
  status(session: Hex, seq: bigint): ReceiptStatus
  /** Null for a job that this account is not known to have had answered. */
  find(session: Hex, seq: bigint): Pick<SessionRecord, 'provider' | 'price'> | null
  /** The code for which a receipt was refused. */
  refusal(session: Hex, seq: bigint): string | null
  /** Whether the chain may still say something new about one of the receipts. */
  unsettled(): boolean
}

export type ReceiptBookInit = {
  now(): number
  /** Sessions from before. @default none */
  known?: Iterable<[Hex, SessionRecord]>
  /** Told of every change; null when a session is forgotten. */
  onChange?(session: Hex, record: SessionRecord | null): void
}

/** Sessions that are known at most; of those, the one that changed longest ago goes first. */
export const KEPT_SESSIONS = 4_096
/** Nothing is known longer of a session that does not change (ms): every window of a batch is over by then. */
export const KEPT_MS = 90 * 86_400_000
/** Refused receipts of a session whose codes are kept. */
const KEPT_REFUSALS = 64

const FAILED: ReadonlySet<BatchStatus> = new Set(['untraced', 'slashed', 'abandoned'])
/** Stands for the provider of a session that another process of the account opened. */
const NOBODY: Address = `0x${'00'.repeat(20)}`
const isFinal = ({ status, collected }: Range): boolean => collected || FAILED.has(status)

/** Receipts by session: a consumer with a hundred thousand jobs has a few hundred rows. */
export function createReceiptBook(signer: Address, init: ReceiptBookInit): ReceiptBook {
  const { now, onChange = () => {} } = init
  /** The one that changed longest ago first. */
  const sessions = new Map<Hex, SessionRecord>()
  const byBatch = new Map<Hex, { session: Hex; range: Range }[]>()

  function index(session: Hex, range: Range): void {
    byBatch.set(range.batch, [...(byBatch.get(range.batch) ?? []), { session, range }])
  }

  function forget(session: Hex): void {
    for (const { batch } of sessions.get(session)?.ranges ?? []) {
      const left = byBatch.get(batch)?.filter((each) => each.session !== session) ?? []
      if (left.length === 0) byBatch.delete(batch)
      else byBatch.set(batch, left)
    }
    sessions.delete(session)
    onChange(session, null)
  }

  function change(session: Hex, record: SessionRecord): void {
    record.changedMs = now()
    sessions.delete(session)
    sessions.set(session, record)
    onChange(session, record)
    for (const [oldest, { changedMs }] of sessions) {
      if (sessions.size <= KEPT_SESSIONS && changedMs >= now() - KEPT_MS) break
      forget(oldest)
    }
  }

  for (const [session, record] of [...(init.known ?? [])].sort(([, a], [, b]) => a.changedMs - b.changedMs)) {
    sessions.set(session, record)
    for (const range of record.ranges) index(session, range)
  }
  for (const [session, { changedMs }] of sessions)
    if (sessions.size > KEPT_SESSIONS || changedMs < now() - KEPT_MS) forget(session)

  function note(batch: Hex, status: BatchStatus): void {
    for (const { session, range } of byBatch.get(batch) ?? []) {
      range.status = status
      change(session, sessions.get(session)!)
    }
  }

  return {
    apply(event) {
      switch (event.name) {
        case 'RangeAnchored': {
          const { batchId: batch, index: at, session, fromSeq: from, toSeq: to } = event.args
          if (event.args.signer !== signer) return
          // The same event may come twice.
          if (byBatch.get(batch)?.some(({ range }) => range.index === at)) return
          const range: Range = { batch, index: at, from, to, status: 'anchored', collected: false }
          // A session of this account that another of its processes opened.
          const record = sessions.get(session) ?? blank(NOBODY, 0n)
          record.ranges.push(range)
          index(session, range)
          return change(session, record)
        }
        case 'TraceAnchored':
          return note(event.args.batchId, 'traced')
        case 'AttestationCommitted':
          return note(event.args.batchId, 'committed')
        case 'BatchSettled':
          return note(event.args.batchId, BATCH_STATUSES[event.args.status]!)
        case 'RangeCollected': {
          const found = byBatch.get(event.args.batchId)?.find(({ range }) => range.index === event.args.index)
          if (found === undefined) return
          found.range.collected = true
          change(found.session, sessions.get(found.session)!)
        }
      }
    },
    issued(session, seq, { provider, price }) {
      const record = sessions.get(session) ?? blank(provider, price)
      Object.assign(record, { provider, price })
      if (seq > record.issued) record.issued = seq
      change(session, record)
    },
    acknowledged(session, seq) {
      const record = sessions.get(session)
      if (record === undefined || seq <= record.acknowledged) return
      record.acknowledged = seq
      change(session, record)
    },
    refused(session, seq, code) {
      const record = sessions.get(session)
      if (record === undefined) return
      record.refused = [...record.refused.slice(1 - KEPT_REFUSALS), { seq, code }]
      change(session, record)
    },
    find(session, seq) {
      const record = sessions.get(session)
      return record !== undefined && seq <= record.issued ? record : null
    },
    refusal: (session, seq) => sessions.get(session)?.refused.find((each) => each.seq === seq)?.code ?? null,
    unsettled: () =>
      [...sessions.values()].some(
        ({ issued, ranges }) => !ranges.every(isFinal) || !ranges.some(({ to }) => to >= issued),
      ),
    status(session, seq) {
      const record = sessions.get(session)
      const range = record?.ranges.find(({ from, to }) => from <= seq && seq <= to)
      const acknowledged = range !== undefined || seq <= (record?.acknowledged ?? 0n)
      if (range === undefined) {
        const bad = record?.refused.some((each) => each.seq === seq) ?? false
        return { state: bad ? 'refused' : 'pending', acknowledged, batch: null }
      }
      const { status } = range
      const batch = { id: range.batch, status }
      if (FAILED.has(status)) return { state: 'refused', acknowledged, batch }
      if (status !== 'paid') return { state: 'pending', acknowledged, batch }
      return { state: range.collected ? 'settled' : 'verified', acknowledged, batch }
    },
  }

  function blank(provider: Address, price: bigint): SessionRecord {
    return { provider, price, issued: 0n, acknowledged: 0n, refused: [], ranges: [], changedMs: now() }
  }
}
