import { describeError } from '../../protocol/errors.ts'
import type { Network } from '../net/libp2p.ts'
import { type ClientConfig, type LightClient, startClient } from './client.ts'
import { type Consumer, type ConsumerOptions, createConsumer } from './consumer.ts'
import { createMemory, type Memory } from './memory.ts'

export type JoinInit = ClientConfig & {
  /** Peers that must take offers before this returns. */
  peers: number
  /** What outlives the connection. @default nothing */
  openMemory?(): Promise<Memory>
}

/** Starts a light client and what consumers use of it. Throws the codes of both, and `PEERS_TOO_FEW` after 20 s. */
export async function join(
  init: JoinInit,
  options: ConsumerOptions,
): Promise<{ consumer: Consumer; network: Network }> {
  const { identity, log, peers } = init
  // First: whoever has this data folder already is the same peer.
  const memory = (await init.openMemory?.()) ?? createMemory(identity.address, Date.now)
  let client: LightClient | null = null
  try {
    client = await startClient(init)
    if (peers > 0) await client.network.waitForSubscribers('offers', peers, 20_000)
    const components = { client, address: identity.address, memory, now: Date.now, log }
    return { consumer: await createConsumer(components, options), network: client.network }
  } catch (error) {
    await client
      ?.stop()
      .catch((cause: unknown) =>
        log.warn({ event: 'client.unstopped', error: describeError(cause) }, 'client not stopped'),
      )
    await memory.close()
    throw error
  }
}
