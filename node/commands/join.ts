import type { NetworkFile } from '../../protocol/network.ts'
import { type LightClient, startClient } from '../client/client.ts'
import type { Identity } from '../identity/identity.ts'
import { createLog, type JoinOptions, openIdentity, parseRpc, readNetworkFile } from './options.ts'

/** Joins the network of the options as a light client, with the key and data folder they name, once a peer is there. */
export async function joinNetwork(
  options: JoinOptions & { logLevel: string },
): Promise<{ network: NetworkFile; identity: Identity; client: LightClient }> {
  const network = readNetworkFile(options.network)
  const identity = await openIdentity(options)
  const { data: dataDir, listen, bootstrap, devnet } = options
  const log = createLog(options.logLevel, 'stderr')
  const rpcUrl = parseRpc(options.rpc)
  const client = await startClient({ network, rpcUrl, identity, dataDir, listen, bootstrap, devnet, log })
  try {
    await client.network.waitForPeers(1, 20_000)
  } catch (error) {
    await client.stop()
    throw error
  }
  return { network, identity, client }
}
