import type { Address } from '../../protocol/signature.ts'
import { jsonCodec, openStore } from '../store/store.ts'
import { createScores, type Experience, type Scores } from './score.ts'

/** Scores that are still known after a restart. */
export type Memory = {
  scores: Scores
  /** Writes what is not written yet. */
  close(): Promise<void>
}

/** Providers that are remembered; those seen longest ago are forgotten first. */
const KEPT = 10_000

/** Opens what a consumer remembers of providers. Throws `STORE_LOCKED` when another process has the folder, `STORE_OPEN`. */
export async function openMemory(folder: string, now: () => number): Promise<Memory> {
  const store = await openStore(folder)
  const table = store.table('scores', jsonCodec<Experience & { seenMs: number }>())
  const all: [Address, Experience & { seenMs: number }][] = []
  for await (const [provider, each] of table.entries()) all.push([provider as Address, each])
  all.sort(([, a], [, b]) => b.seenMs - a.seenMs)
  await store.batch(all.splice(KEPT).map(([provider]) => table.delOp(provider)))
  const changed = new Map<Address, Experience>()
  let writing: Promise<void> = Promise.resolve()

  /** What has changed by now, in one write: a busy consumer changes a score with every answer. */
  function write(): void {
    writing = writing.then(async () => {
      const operations = [...changed].map(([provider, each]) => table.putOp(provider, { ...each, seenMs: now() }))
      changed.clear()
      if (operations.length > 0) await store.batch(operations)
    })
    // A score that is lost is learned again.
    writing = writing.catch(() => {})
  }

  const scores = createScores(now, {
    known: new Map(all.map(([provider, { seenMs: _, ...each }]) => [provider, each])),
    onChange(provider, each) {
      if (changed.size === 0) setImmediate(write)
      changed.set(provider, { ...each })
    },
  })
  return {
    scores,
    async close() {
      write()
      await writing
      await store.close()
    },
  }
}
