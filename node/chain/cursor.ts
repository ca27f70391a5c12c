import { jsonCodec, type Store } from '../store/store.ts'
import type { Mark } from './marks.ts'

/** How far a watcher has come: the first block whose events are not handled, and the blocks that prove it is on the same chain. */
export type Cursor = { next: bigint; marks: Mark[] }

/** A watcher's cursor on disk, by name. Losing the last few writes costs reading the same events again. */
export type CursorStore = { load(): Promise<Cursor | null>; save(cursor: Cursor): Promise<void> }

export function storedCursor(store: Store, name: string): CursorStore {
  const table = store.table('cursor', jsonCodec<Cursor>())
  return {
    load: async () => (await table.get(name)) ?? null,
    save: (cursor) => table.put(name, cursor),
  }
}

/** A cursor that is not past `block`: what happened from there on has to be read again at the next start. */
export function notPast({ next, marks }: Cursor, block: bigint): Cursor {
  return next <= block ? { next, marks } : { next: block, marks: marks.filter(({ number }) => number < block) }
}
