import { concat, toHex } from '../../protocol/bytes.ts'
import { type Policy, SESSION_START, type SessionHead } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import { type Codec, jsonCodec, type Operation, type Store, storeKey, type Table } from '../store/store.ts'

/** A session at its provider. `acknowledged` is the last receipt the consumer has signed a voucher for. */
export type SessionRecord = {
  session: Uint8Array
  /** The session’s voucher key. */
  signer: Address
  bid: Uint8Array
  manifest: string
  price: bigint
  ceiling: bigint
  policy: Policy
  canonical: boolean
  acknowledged: SessionHead
  /** Answers for which no voucher came before their stream ended: given away for good. */
  unpaid: number
}

/** One served job, kept until its batch is done: with its values, enough to evaluate, open and prove it again after a restart. */
export type JobRecord = {
  session: Uint8Array
  seq: bigint
  manifest: string
  receiptHash: Uint8Array
  /** The sealed receipt. */
  payload: Uint8Array
  signature: Uint8Array
  price: bigint
  cumulative: bigint
  jobKey: Uint8Array
  /** The consumer's signed statement of its input. */
  inputStatement: Uint8Array
  /** Consumer's signature, once acknowledged. */
  voucher: Uint8Array | null
}

/** What went into a job and came out of it: quantised values, little-endian int16, in the order of the manifest's ends. */
export type JobValues = { inputs: Uint8Array[]; served: Uint8Array[] }

/** In the same memory: those of a large input are megabytes. */
export const int16Bytes = ({ buffer, byteOffset, byteLength }: Int16Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)
export const bytesInt16 = (bytes: Uint8Array): Int16Array => new Int16Array(Uint8Array.from(bytes).buffer)

/** What a provider must remember about sessions and the jobs in them. Every write is on disk before the promise resolves. */
export type Ledger = {
  session(id: Uint8Array): Promise<SessionRecord | null>
  sessions(): Promise<SessionRecord[]>
  openSession(record: Omit<SessionRecord, 'acknowledged' | 'unpaid'>): Promise<SessionRecord>
  job(session: Uint8Array, seq: bigint): Promise<JobRecord | null>
  /** Megabytes for some models, so they are apart from the record, and read for drawn jobs alone. */
  values(session: Uint8Array, seq: bigint): Promise<JobValues | null>
  /** Keeps a job whose receipt is about to be sent. */
  issue(job: JobRecord, values: JobValues): Promise<void>
  /**
   * Job and session head move together: a voucher is either on disk with both or not at all. The session is as it was last read: nobody
   * writes to it beside the one stream that serves it.
   */
  acknowledge(session: SessionRecord, job: JobRecord, voucher: Uint8Array): Promise<SessionHead>
  /** Counts answers that the consumer had and did not acknowledge. */
  addUnpaid(session: Uint8Array, count: number): Promise<void>
  /** Forgets receipts that were issued after the acknowledged one: nobody can be paid for them. */
  dropUnacknowledged(session: Uint8Array): Promise<number>
  /** Deletes the jobs of a finished range. */
  forget(session: Uint8Array, fromSeq: bigint, toSeq: bigint): Promise<void>
}

/** Both numbers of arrays, the length of each, then their bytes. */
const valuesCodec: Codec<JobValues> = {
  encode({ inputs, served }) {
    const arrays = [...inputs, ...served]
    const head = Uint32Array.of(inputs.length, served.length, ...arrays.map(({ length }) => length))
    return concat(new Uint8Array(head.buffer), ...arrays)
  },
  decode(bytes) {
    // In memory of its own, at the start: the store's is aligned to nothing.
    const own = Uint8Array.from(bytes)
    const [inputs = 0, served = 0] = new Uint32Array(own.buffer, 0, 2)
    let at = 4 * (2 + inputs + served)
    const arrays = Array.from(new Uint32Array(own.buffer, 8, inputs + served), (length) => {
      at += length
      return own.subarray(at - length, at)
    })
    return { inputs: arrays.slice(0, inputs), served: arrays.slice(inputs) }
  },
}

export function createLedger(store: Store): Ledger {
  const sessions: Table<SessionRecord> = store.table('sessions', jsonCodec<SessionRecord>())
  const jobs: Table<JobRecord> = store.table('receipts', jsonCodec<JobRecord>())
  const values: Table<JobValues> = store.table('values', valuesCodec)
  const sessionKey = (id: Uint8Array): string => toHex(id)
  const jobKey = (id: Uint8Array, seq: bigint): string => storeKey(toHex(id), seq)
  const gone = (key: string): Operation[] => [jobs.delOp(key), values.delOp(key)]

  return {
    session: async (id) => (await sessions.get(sessionKey(id))) ?? null,
    async sessions() {
      const all: SessionRecord[] = []
      for await (const [, record] of sessions.entries()) all.push(record)
      return all
    },
    async openSession(fields) {
      const record = { ...fields, acknowledged: SESSION_START, unpaid: 0 }
      await sessions.put(sessionKey(fields.session), record)
      return record
    },
    job: async (session, seq) => (await jobs.get(jobKey(session, seq))) ?? null,
    values: async (session, seq) => (await values.get(jobKey(session, seq))) ?? null,
    async issue(job, of) {
      const key = jobKey(job.session, job.seq)
      await store.batch([jobs.putOp(key, job), values.putOp(key, of)])
    },
    async acknowledge(record, job, voucher) {
      const acknowledged = { seq: job.seq, cumulative: job.cumulative, head: job.receiptHash }
      await store.batch([
        jobs.putOp(jobKey(job.session, job.seq), { ...job, voucher }),
        sessions.putOp(sessionKey(job.session), { ...record, acknowledged }),
      ])
      return acknowledged
    },
    async addUnpaid(session, count) {
      const record = (await sessions.get(sessionKey(session)))!
      await sessions.put(sessionKey(session), { ...record, unpaid: record.unpaid + count })
    },
    async dropUnacknowledged(session) {
      const record = await sessions.get(sessionKey(session))
      const stale: string[] = []
      for await (const [key, job] of jobs.entries(`${toHex(session)}/`))
        if (record === undefined || job.seq > record.acknowledged.seq) stale.push(key)
      await store.batch(stale.flatMap(gone))
      return stale.length
    },
    async forget(session, fromSeq, toSeq) {
      const done: string[] = []
      for (let seq = fromSeq; seq <= toSeq; seq++) done.push(jobKey(session, seq))
      await store.batch(done.flatMap(gone))
    },
  }
}
