import { jsonCodec, type Store, storeKey } from '../store/store.ts'
import type { Entry, JournalOf } from './journal.ts'

/** On disk with fsync, so that a node that is killed between signing and sending finds what it signed. */
export const storedJournal: (store: Store) => JournalOf = (store) => (chainId, account) => {
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
