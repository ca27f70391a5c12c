import { join } from 'node:path'
import { errorCode } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { type LightClient, startClient } from '../client/client.ts'
import type { Memory } from '../client/memory.ts'
import { openMemory } from '../client/stored-memory.ts'
import type { Identity } from '../identity/identity.ts'
import type { Log } from '../net/log.ts'
import { createLog, type JoinOptions, openIdentity, parseRpc, readNetworkFile } from './options.ts'

export type Joined = { network: NetworkFile; identity: Identity; client: LightClient; memory: Memory; log: Log }

/**
 * Joins the network of the options as a light client, with the key and data folder they name, once a peer is there; `client.stop` ends all
 * of it. Throws `STORE_LOCKED` when another command has the folder: it would be the same peer.
 */
export async function joinNetwork(options: JoinOptions & { logLevel: string }): Promise<Joined> {
  const network = readNetworkFile(options.network)
  const identity = await openIdentity(options)
  const { data: dataDir, listen, bootstrap, devnet } = options
  const log = createLog(options.logLevel, 'stderr')
  const rpcUrl = parseRpc(options.rpc)
  const memory = await openMemory(join(dataDir, 'consumer'), identity.address, Date.now)
  let started: LightClient | null = null
  const stop = async (): Promise<void> => {
    await started?.stop()
    await memory.close()
  }
  try {
    started = await startClient({ network, rpcUrl, identity, dataDir, listen, bootstrap, devnet, log })
    await started.network.waitForPeers(1, 20_000)
  } catch (error) {
    await stop().catch((cause: unknown) =>
      log.warn({ event: 'client.unstopped', code: errorCode(cause) }, 'client not stopped'),
    )
    throw error
  }
  return { network, identity, client: { ...started, stop }, memory, log }
}
