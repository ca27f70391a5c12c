import type { Address, Hex } from 'viem'
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

/** The journal of an account on a chain. */
export type JournalOf = (chainId: number, account: Address) => Journal

/** For programs that may forget what they sent when they end: clients of one command, deployments. */
export function memoryJournal(): Journal {
  const held = new Map<number, Entry>()
  return {
    entries: async () => [...held.values()].sort((a, b) => a.nonce - b.nonce),
    put: async (entry) => void held.set(entry.nonce, entry),
    del: async (nonce) => void held.delete(nonce),
  }
}
