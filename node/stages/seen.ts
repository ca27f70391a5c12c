import { toHex } from '../../protocol/bytes.ts'

/** A bounded memory of ids or of facts by id: when it is full, the oldest goes. */
export type Bounded<T> = {
  has(id: Uint8Array): boolean
  get(id: Uint8Array): T | null
  set(id: Uint8Array, value: T): void
}

/** @param capacity entries kept. @default 4096 */
export function bounded<T>(capacity = 4096): Bounded<T> {
  const entries = new Map<string, T>()
  return {
    has: (id) => entries.has(toHex(id)),
    get: (id) => entries.get(toHex(id)) ?? null,
    set(id, value) {
      const key = toHex(id)
      entries.delete(key)
      entries.set(key, value)
      if (entries.size > capacity) entries.delete(entries.keys().next().value!)
    },
  }
}

/**
 * A look-up that is made once for all who ask while it is under way, and whose answer then stays good for `forMs`. A failure
 * is not kept.
 * @param capacity keys kept. @default 256
 */
export function remembered<K, V>(
  forMs: number,
  now: () => number,
  ask: (key: K) => Promise<V>,
  capacity = 256,
): (key: K) => Promise<V> {
  const answers = new Map<K, { answer: Promise<V>; since: number | null }>()
  return (key) => {
    const known = answers.get(key)
    if (known !== undefined && (known.since === null || now() - known.since < forMs)) return known.answer
    const entry: { answer: Promise<V>; since: number | null } = { answer: ask(key), since: null }
    answers.delete(key)
    answers.set(key, entry)
    if (answers.size > capacity) answers.delete(answers.keys().next().value!)
    entry.answer.then(
      () => {
        entry.since = now()
      },
      () => {
        if (answers.get(key) === entry) answers.delete(key)
      },
    )
    return entry.answer
  }
}
