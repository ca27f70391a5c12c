import type { Hex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Cursor } from '../chain/cursor.ts'
import { jsonCodec, openStore } from '../store/store.ts'
import { unref } from '../timers.ts'
import type { Memory } from './memory.ts'
import { createReceiptBook, type SessionRecord } from './receipts.ts'
import { createScores, type Experience } from './score.ts'

/** Providers that are remembered; those seen longest ago are forgotten first. */
const KEPT = 10_000

/** What is written lies on disk this long after it changed (ms). What a crash takes is learned again, or read again from the chain. */
const WRITE_MS = 100
/** The cursor alone is written no more often than this (ms): a chain has a new block every second or two. */
const CURSOR_MS = 60_000

/**
 * Opens what a consumer remembers of providers and of its receipts. Throws `STORE_LOCKED` when another process has the folder,
 * `STORE_OPEN`.
 */
export async function openMemory(folder: string, consumer: Address, now: () => number): Promise<Memory> {
  const store = await openStore(folder).catch((cause: unknown) => {
    if (errorCode(cause) !== 'STORE_LOCKED') throw cause
    const remedy = 'end it, or use another data folder and account'
    throw new SinterError('STORE_LOCKED', `another client runs with this data folder, as the same peer: ${remedy}`)
  })
  const table = store.table('scores', jsonCodec<Experience & { seenMs: number }>())
  const all: [Address, Experience & { seenMs: number }][] = []
  for await (const [provider, each] of table.entries()) all.push([provider as Address, each])
  all.sort(([, a], [, b]) => b.seenMs - a.seenMs)
  await store.batch(all.splice(KEPT).map(([provider]) => table.delOp(provider)))
  const history = store.table('history', jsonCodec<SessionRecord>())
  const place = store.table('cursor', jsonCodec<Cursor>())
  /** One store may have had several accounts' receipts: each sees its own. */
  const own = `${consumer}/`
  const known: [Hex, SessionRecord][] = []
  for await (const [key, record] of history.entries(own)) known.push([key.slice(own.length) as Hex, record])
  let cursor: Cursor | null = (await place.get(consumer)) ?? null
  let cursorAt = now()
  let cursorDue = false
  const changed = new Map<Address, Experience>()
  const sessions = new Map<Hex, SessionRecord | null>()
  let writing: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | null = null

  /** What has changed by now, in one write: a busy consumer changes a score and a session with every answer. */
  function write(): void {
    timer = null
    writing = writing.then(async () => {
      const operations = [
        ...[...changed].map(([provider, each]) => table.putOp(provider, { ...each, seenMs: now() })),
        ...[...sessions].map(([session, each]) =>
          each === null ? history.delOp(own + session) : history.putOp(own + session, each),
        ),
        // With the rows that its events changed, or not at all.
        ...(cursor !== null && (cursorDue || sessions.size > 0) ? [place.putOp(consumer, cursor)] : []),
      ]
      changed.clear()
      sessions.clear()
      cursorDue = false
      cursorAt = now()
      if (operations.length > 0) await store.batch(operations)
    })
    // A score that is lost is learned again.
    writing = writing.catch(() => {})
  }
  const soon = (): void => {
    timer ??= unref(setTimeout(write, WRITE_MS))
  }

  const scores = createScores(now, {
    known: new Map(all.map(([provider, { seenMs: _, ...each }]) => [provider, each])),
    onChange(provider, each) {
      changed.set(provider, { ...each })
      soon()
    },
  })
  const receipts = createReceiptBook(consumer, {
    now,
    known,
    onChange(session, record) {
      sessions.set(session, record)
      soon()
    },
  })
  return {
    scores,
    receipts,
    cursor: () => cursor,
    reached(next) {
      cursor = next
      if (now() - cursorAt < CURSOR_MS) return
      cursorDue = true
      soon()
    },
    async close() {
      if (timer !== null) clearTimeout(timer)
      cursorDue = true
      write()
      await writing
      await store.close()
    },
  }
}
