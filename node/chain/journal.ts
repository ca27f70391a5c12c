import type { Address, Hex } from 'viem'
import { jsonCodec, type Store, storeKey } from '../store/store.ts'
import type { Fees } from './fees.ts'

/** One signed transaction. All attempts of an entry have its nonce, so the chain takes one of them at most. */
export type Attempt = Fees & { hash: Hex; raw: Hex }

/**
 * A transaction that was signed and is not yet beyond the reach of a reorganisation.
 * `to` null creates a contract; `value` wei. `doubtful`: some broadcast had no answer, so a pool may have it whatever others say.
 * `volatile`: what it says depends on blocks before it, so it must not come back after they were undone (see transact.ts).
 */
export type Entry = {
  nonce: number
  action: string
  to: Address | null
  data: Hex
  value: bigint
  gas: bigint
  volatile: boolean
  doubtful: boolean
  attempts: Attempt[]
}

/** Where one account's transactions are kept, written before any of them leaves. */
export type Journal = {
  /** In order of nonce. */
  entries(): Promise<Entry[]>
  put(entry: Entry): Promise<void>
  del(nonce: number): Promise<void>
}

/** For programs that may forget what they sent when they end: clients of one command, deployments. */
export function memoryJournal(): Journal {
  const held = new Map<number, Entry>()
  return {
    entries: async () => [...held.values()].sort((a, b) => a.nonce - b.nonce),
    put: async (entry) => void held.set(entry.nonce, entry),
    del: async (nonce) => void held.delete(nonce),
  }
}

/** On disk with fsync, so that a node that is killed between signing and sending finds what it signed. */
export function storedJournal(store: Store, chainId: number, account: Address): Journal {
  const table = store.table('transactions', jsonCodec<Entry>())
  const lane = storeKey(chainId, account.toLowerCase())
  return {
    async entries() {
      const all: Entry[] = []
      for await (const [, entry] of table.entries(`${lane}/`)) all.push(entry)
      return all
    },
    put: (entry) => table.put(`${lane}/${storeKey(entry.nonce)}`, entry),
    del: (nonce) => table.del(`${lane}/${storeKey(nonce)}`),
  }
}
