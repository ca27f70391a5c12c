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
