import { jsonCodec, type Store } from '../store/store.ts'
import { KEPT_PEERS } from './discovery.ts'

/** Addresses of peers that this node has been connected to, over restarts: a node must not come back alone because its bootstrap address is gone. */
export type KnownPeers = {
  /** Multiaddrs with peer ids, as they were last kept; dialled when nobody is connected. */
  load(): Promise<string[]>
  save(addresses: string[]): Promise<void>
}

/** In the node's store, in one entry: a list that is a little old does no harm. */
export function storedPeers(store: Store): KnownPeers {
  const table = store.table('peers', jsonCodec<string[]>())
  return {
    load: async () => (await table.get('known')) ?? [],
    save: (addresses) => table.put('known', addresses.slice(0, KEPT_PEERS)),
  }
}
