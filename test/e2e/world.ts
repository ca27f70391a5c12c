import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { devnetParams, type NetworkParams } from '../../node/chain/params.ts'
import type { BatchEvent, Watcher } from '../../node/chain/watch.ts'
import { type LightClient, startClient } from '../../node/client/client.ts'
import type { ActorEvent } from '../../node/devnet/actor.ts'
import {
  type Account,
  type LocalNode,
  type Localnet,
  type LocalnetInit,
  startLocalnet,
} from '../../node/devnet/localnet.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { unlockKeystore } from '../../node/identity/keystore.ts'
import { createNetwork, type Network } from '../../node/net/libp2p.ts'
import { TOPICS } from '../../protocol/limits.ts'
import { networkTag } from '../../protocol/network.ts'
import { accept } from '../../protocol/verdict.ts'

const log = pino({ level: 'silent' })

/** A local network with everything that its processes and its chain said. */
export type World = {
  net: Localnet
  events: ActorEvent[]
  chainEvents: BatchEvent[]
  /** Every byte that was gossiped, as a stranger on the network sees it. */
  gossiped: Uint8Array[]
  client: LightClient
  account: Account
  /** Resolves when `chainEvents` has everything up to the present head. */
  caughtUp(): Promise<void>
  waitEvent(name: string, test: (event: ActorEvent) => boolean, timeoutMs: number): Promise<ActorEvent>
  stop(): Promise<void>
}

async function openClient(net: Localnet, account: Account): Promise<LightClient> {
  const password = readFileSync(join(net.folder, 'password'), 'utf8').trim()
  return startClient({
    network: net.network,
    rpcUrl: net.anvil.rpcUrl,
    identity: await unlockKeystore(join(account.folder, 'key.json'), password),
    dataDir: account.folder,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [net.nodes[0]!.multiaddr],
    devnet: true,
    log,
  })
}

/** A peer without stake that takes part in every topic and writes all of it down. */
function openSpy(net: Localnet, gossiped: Uint8Array[]): Promise<Network> {
  const listen = async (bytes: Uint8Array) => {
    gossiped.push(bytes)
    return accept
  }
  return createNetwork({
    identity: identityFromKey(new Uint8Array(randomBytes(32))),
    tag: networkTag(net.network),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [net.nodes[0]!.multiaddr],
    mode: 'node',
    devnet: true,
    topics: { offers: listen, attestations: listen, votes: listen },
    subscribe: TOPICS,
    log,
  })
}

export async function openWorld(
  nodes: (net: Localnet) => Promise<LocalNode[]>,
  { params, ...init }: Pick<LocalnetInit, 'rpcFor'> & { params?: Partial<NetworkParams> } = {},
): Promise<World> {
  const events: ActorEvent[] = []
  const gossiped: Uint8Array[] = []
  const chainEvents: BatchEvent[] = []
  const listeners = new Set<(event: ActorEvent) => void>()
  const net = await startLocalnet({
    folder: mkdtempSync(join(tmpdir(), 'sinter-e2e-')),
    // Few draws and long windows: a shared machine proves slowly, and what is tested is the outcome.
    params: {
      ...devnetParams,
      draws: 2,
      traceWindow: 180,
      attestWindow: 300,
      voteWindow: 120,
      commitWindow: 80,
      unbondingDelay: 3_600,
      // Pulses have a test of their own.
      pulseRarity: 1_000_000,
      ...params,
    },
    tileDraws: 2,
    ...init,
    onEvent(event) {
      events.push(event)
      for (const listener of [...listeners]) listener(event)
    },
  })
  let watcher: Watcher | null = null
  let spy: Network | null = null
  try {
    await nodes(net)
    watcher = net.chain.watchBatches((event) => void chainEvents.push(event))
    spy = await openSpy(net, gossiped)
    const account = await net.newAccount('client')
    const client = await openClient(net, account)
    return {
      net,
      events,
      chainEvents,
      gossiped,
      client,
      account,
      async caughtUp() {
        const { block } = await net.chain.head()
        while (watcher!.cursor() <= block) await new Promise((resolve) => setTimeout(resolve, 50))
      },
      waitEvent(name, test, timeoutMs) {
        const matches = (event: ActorEvent): boolean => event.event === name && test(event)
        const known = events.find(matches)
        if (known) return Promise.resolve(known)
        return new Promise((resolve, reject) => {
          const listener = (event: ActorEvent): void => {
            if (!matches(event)) return
            clearTimeout(timer)
            listeners.delete(listener)
            resolve(event)
          }
          const timer = setTimeout(() => {
            listeners.delete(listener)
            reject(new Error(`no ${name} within ${timeoutMs / 1000} s`))
          }, timeoutMs)
          listeners.add(listener)
        })
      },
      async stop() {
        await client.stop()
        await spy?.stop()
        await watcher?.stop()
        await net.stop()
        rmSync(net.folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await spy?.stop()
    await watcher?.stop()
    await net.stop()
    throw error
  }
}
