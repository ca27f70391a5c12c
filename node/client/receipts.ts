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

type Range = { batch: Hex; index: bigint; from: bigint; to: bigint; collected: boolean }

/** What the chain said about one consumer's receipts, as told by its RPC endpoint. */
export type ReceiptBook = {
  apply(event: BatchEvent): void
  acknowledged(session: Hex, seq: bigint): void
  refused(session: Hex, seq: bigint): void
  status(session: Hex, seq: bigint): ReceiptStatus
}

const FAILED: ReadonlySet<BatchStatus> = new Set(['untraced', 'slashed', 'abandoned'])

export function createReceiptBook(signer: Address): ReceiptBook {
  const ranges = new Map<Hex, Range[]>()
  const byBatch = new Map<Hex, Range[]>()
  const statuses = new Map<Hex, BatchStatus>()
  /** Receipts of a session are acknowledged in order: one number is enough. */
  const upTo = new Map<Hex, bigint>()
  const bad = new Set<string>()

  const push = (map: Map<Hex, Range[]>, key: Hex, range: Range): void => {
    map.set(key, [...(map.get(key) ?? []), range])
  }
  const note = (batch: Hex, status: BatchStatus): void => {
    if (byBatch.has(batch)) statuses.set(batch, status)
  }

  return {
    apply(event) {
      switch (event.name) {
        case 'RangeAnchored': {
          const { batchId: batch, index, session, fromSeq: from, toSeq: to } = event.args
          if (event.args.signer !== signer) return
          // The same event may come twice.
          if (byBatch.get(batch)?.some((each) => each.index === index)) return
          const range = { batch, index, from, to, collected: false }
          push(ranges, session, range)
          push(byBatch, batch, range)
          return note(batch, 'anchored')
        }
        case 'TraceAnchored':
          return note(event.args.batchId, 'traced')
        case 'AttestationCommitted':
          return note(event.args.batchId, 'committed')
        case 'BatchSettled':
          return note(event.args.batchId, BATCH_STATUSES[event.args.status]!)
        case 'RangeCollected': {
          const range = byBatch.get(event.args.batchId)?.find(({ index }) => index === event.args.index)
          if (range !== undefined) range.collected = true
        }
      }
    },
    acknowledged(session, seq) {
      if (seq > (upTo.get(session) ?? 0n)) upTo.set(session, seq)
    },
    refused: (session, seq) => void bad.add(`${session}-${seq}`),
    status(session, seq) {
      const range = ranges.get(session)?.find(({ from, to }) => from <= seq && seq <= to)
      const acknowledged = range !== undefined || seq <= (upTo.get(session) ?? 0n)
      if (range === undefined)
        return { state: bad.has(`${session}-${seq}`) ? 'refused' : 'pending', acknowledged, batch: null }
      const status = statuses.get(range.batch) ?? 'anchored'
      const batch = { id: range.batch, status }
      if (FAILED.has(status)) return { state: 'refused', acknowledged, batch }
      if (status !== 'paid') return { state: 'pending', acknowledged, batch }
      return { state: range.collected ? 'settled' : 'verified', acknowledged, batch }
    },
  }
}
