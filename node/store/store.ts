import { Level } from 'level'
import { SinterError } from '../../protocol/errors.ts'

/**
 * What a node must remember, in one LevelDB folder. Each table is a key range of its own, and one `batch` over several
 * tables is atomic. Tables that hold what a node has signed or is about to sign are written with fsync, so that the
 * fact is on disk before the signature leaves (persist before sign).
 */
export type TableName =
  | 'sessions'
  | 'receipts'
  | 'values'
  | 'batches'
  | 'attestations'
  | 'votes'
  | 'benches'
  | 'pulses'
  | 'canaries'
  | 'transactions'
  | 'cursor'
  | 'scores'
  | 'history'
  | 'peers'
  | 'meta'

const SYNC: Record<TableName, boolean> = {
  sessions: true,
  receipts: true,
  values: true,
  batches: true,
  attestations: true,
  votes: true,
  benches: true,
  pulses: true,
  canaries: true,
  transactions: true,
  cursor: false,
  scores: false,
  history: false,
  peers: false,
  meta: true,
}

export type Codec<T> = { encode(value: T): Uint8Array; decode(bytes: Uint8Array): T }

export type Table<T> = {
  readonly name: TableName
  get(key: string): Promise<T | undefined>
  /** Durable when it resolves, if the table is a synced one (`sync` overrides). */
  put(key: string, value: T, options?: { sync?: boolean }): Promise<void>
  del(key: string, options?: { sync?: boolean }): Promise<void>
  /** Entries whose key starts with `prefix`, in key order, over a snapshot taken at the start. */
  entries(prefix?: string, options?: { reverse?: boolean; limit?: number }): AsyncIterable<[string, T]>
  /** An operation for `Store.batch`. */
  putOp(key: string, value: T): Operation
  delOp(key: string): Operation
}

export type Operation =
  | { type: 'put'; table: TableName; key: string; value: Uint8Array }
  | { type: 'del'; table: TableName; key: string }

export type Store = {
  table<T>(name: TableName, codec: Codec<T>): Table<T>
  /** All of the operations or none, with fsync when any of their tables is synced. */
  batch(operations: Operation[]): Promise<void>
  close(): Promise<void>
}

/** Raw bytes, for encoded messages. */
export const bytesCodec: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => new Uint8Array(bytes) }

/**
 * JSON that also carries bigint and Uint8Array: `{"$int":"…"}` and `{"$bytes":"base64"}`. An object of ours never has
 * a key that starts with `$`; one that does is refused at encoding.
 */
export function jsonCodec<T>(): Codec<T> {
  return {
    encode: (value) => new TextEncoder().encode(JSON.stringify(pack(value))),
    decode: (bytes) => unpack(JSON.parse(new TextDecoder().decode(bytes))) as T,
  }
}

function pack(value: unknown): unknown {
  if (typeof value === 'bigint') return { $int: value.toString() }
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(pack)
  if (value === null || typeof value !== 'object') return value
  const out: Record<string, unknown> = {}
  for (const [key, each] of Object.entries(value)) {
    if (key.startsWith('$'))
      throw new SinterError('STORE_VALUE', 'a stored object has a key that starts with $', { detail: { key } })
    out[key] = pack(each)
  }
  return out
}

function unpack(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpack)
  if (value === null || typeof value !== 'object') return value
  const { $int, $bytes } = value as { $int?: unknown; $bytes?: unknown }
  if (typeof $int === 'string') return BigInt($int)
  if (typeof $bytes === 'string') return new Uint8Array(Buffer.from($bytes, 'base64'))
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpack(each)]))
}

/** A key whose parts sort as they should: numbers as 20 digits. Strings must not hold `/`, which separates the parts. */
export function storeKey(...parts: (string | number | bigint)[]): string {
  return parts
    .map((part) => {
      if (typeof part !== 'string') {
        if (part < 0 || part > 10n ** 20n - 1n || (typeof part === 'number' && !Number.isSafeInteger(part)))
          throw new SinterError('STORE_KEY', 'a number in a key must be an integer in [0, 10^20)')
        return part.toString().padStart(20, '0')
      }
      if (part.includes('/')) throw new SinterError('STORE_KEY', 'a string in a key must not contain /')
      return part
    })
    .join('/')
}

/** Opens (or makes) the store in `folder`. Throws `STORE_LOCKED` when another process has it, `STORE_OPEN` otherwise. */
export async function openStore(folder: string): Promise<Store> {
  const db = new Level<string, Uint8Array>(folder, { keyEncoding: 'utf8', valueEncoding: 'view' })
  try {
    await db.open()
  } catch (cause) {
    const locked = ((cause as { cause?: { code?: string } }).cause?.code ?? '') === 'LEVEL_LOCKED'
    throw locked
      ? new SinterError('STORE_LOCKED', `the data folder is in use by another process: ${folder}`, { cause })
      : new SinterError('STORE_OPEN', `the data folder cannot be opened: ${folder}`, { cause })
  }
  const wrap = async <R>(what: string, work: () => Promise<R>): Promise<R> => {
    try {
      return await work()
    } catch (cause) {
      throw new SinterError('STORE_IO', `the store failed to ${what}`, { cause })
    }
  }

  // Made once each: the database keeps hold of every sublevel it ever hands out.
  const make = (name: TableName) =>
    db.sublevel<string, Uint8Array>(name, { keyEncoding: 'utf8', valueEncoding: 'view' })
  const tables: Record<TableName, ReturnType<typeof make>> = {
    sessions: make('sessions'),
    receipts: make('receipts'),
    values: make('values'),
    batches: make('batches'),
    attestations: make('attestations'),
    votes: make('votes'),
    benches: make('benches'),
    pulses: make('pulses'),
    canaries: make('canaries'),
    transactions: make('transactions'),
    cursor: make('cursor'),
    scores: make('scores'),
    history: make('history'),
    peers: make('peers'),
    meta: make('meta'),
  }

  function table<T>(name: TableName, codec: Codec<T>): Table<T> {
    const sub = tables[name]
    return {
      name,
      async get(key) {
        const bytes = await wrap(`read ${name}`, () => sub.get(key))
        return bytes === undefined ? undefined : codec.decode(bytes)
      },
      put: (key, value, options) => {
        const bytes = codec.encode(value)
        return wrap(`write ${name}`, () =>
          db.batch([{ type: 'put', sublevel: sub, key, value: bytes }], { sync: options?.sync ?? SYNC[name] }),
        )
      },
      del: (key, options) =>
        wrap(`delete from ${name}`, () =>
          db.batch([{ type: 'del', sublevel: sub, key }], { sync: options?.sync ?? SYNC[name] }),
        ),
      async *entries(prefix = '', { reverse = false, limit = -1 } = {}) {
        const range = prefix === '' ? {} : { gte: prefix, lt: `${prefix}\u{10ffff}` }
        for await (const [key, bytes] of sub.iterator({ ...range, reverse, limit })) yield [key, codec.decode(bytes)]
      },
      putOp: (key, value) => ({ type: 'put', table: name, key, value: codec.encode(value) }),
      delOp: (key) => ({ type: 'del', table: name, key }),
    }
  }

  return {
    table,
    batch: (operations) =>
      wrap('write a batch', () =>
        db.batch(
          operations.map((operation) =>
            operation.type === 'put'
              ? { type: 'put' as const, sublevel: tables[operation.table], key: operation.key, value: operation.value }
              : { type: 'del' as const, sublevel: tables[operation.table], key: operation.key },
          ),
          { sync: operations.some((operation) => SYNC[operation.table]) },
        ),
      ),
    close: () => wrap('close', () => db.close()),
  }
}
