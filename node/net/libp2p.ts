import type { GossipSub } from '@chainsafe/libp2p-gossipsub'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { type Identify, identify } from '@libp2p/identify'
import type { ConnectionGater, Libp2p } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper, removePrivateAddressesMapper } from '@libp2p/kad-dht'
import { type Ping, ping } from '@libp2p/ping'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import { SinterError } from '../../protocol/errors.ts'
import { TOPICS, type Topic } from '../../protocol/limits.ts'
import type { Identity } from '../identity/identity.ts'
import { parseBootstrap, startDiscovery } from './discovery.ts'
import { attachGossip, type Gossip, gossipService, type TopicValidator } from './gossip.ts'
import { overJoinedWrites } from './joined-writes.ts'
import type { KnownPeers } from './known-peers.ts'
import type { Log } from './log.ts'
import { dialTarget } from './streams.ts'
import { transports } from './transports.ts'

export type NetworkInit = {
  identity: Identity
  /** Short name of the network (`networkTag`): part of topics and of the DHT's protocol. */
  tag: string
  /** Multiaddrs to listen on; `/ip4/127.0.0.1/tcp/0` picks a free port. A light client may listen on none. */
  listen: string[]
  /** Multiaddrs of known nodes; one is enough. Empty for the first node of a network. */
  bootstrap: string[]
  /** `light` runs the DHT as a client: it asks and is never asked. */
  mode: 'node' | 'light'
  /** Everything on one machine: relaxes the limits that would cut such a network apart, and never dials beyond loopback. */
  devnet: boolean
  /** Peers from before a restart. @default none are known */
  known?: KnownPeers
  /** One validator for every topic; they judge whatever this node passes on. */
  topics: Record<Topic, TopicValidator>
  /** Topics to take part in. @default all for a node, none for a light client */
  subscribe?: readonly Topic[]
  /** Connections that discovery keeps up. @default 48 for a node, 24 for a light client */
  targetPeers?: number
  /** Peers (by id) that this node neither dials nor lets in, such as excluded ones. Asked on every new connection. */
  deny?: (peerId: string) => boolean
  log: Log
}

type Services = { identify: Identify; ping: Ping; dht: KadDHT; pubsub: GossipSub }

export type Network = Gossip & {
  readonly libp2p: Libp2p<Services>
  readonly peerId: string
  /** Our own addresses, each ending in `/p2p/<our id>`. */
  addresses(): string[]
  /** Ids of connected peers. */
  peers(): string[]
  /** Addresses of a peer, from the DHT. Throws `PEER_UNKNOWN`. */
  findPeer(peerId: string, options?: { timeoutMs?: number }): Promise<string[]>
  /** Connects to a peer id (found through the DHT) or to addresses. Throws `PEER_UNREACHABLE`, `PEER_TARGET`. */
  dial(target: string | string[], options?: { timeoutMs?: number }): Promise<string>
  /** Announces in the DHT that we have the content, or belong to the class, and keeps the record fresh. Throws `DHT_PROVIDE`. */
  provide(cid: string, options?: { timeoutMs?: number }): Promise<void>
  /** Ids of peers that announced the CID: a hint, not a fact. Their addresses are remembered, so `dial(id)` works. */
  findProviders(cid: string, options?: { timeoutMs?: number; limit?: number }): Promise<string[]>
  /** Waits for connections. Throws `PEERS_TOO_FEW`. */
  waitForPeers(count: number, timeoutMs: number): Promise<void>
  /** Waits until so many connected peers take part in the topic. Throws `PEERS_TOO_FEW`. */
  waitForSubscribers(topic: Topic, count: number, timeoutMs: number): Promise<void>
  stop(): Promise<void>
}

const TARGET_PEERS: Record<NetworkInit['mode'], number> = { node: 48, light: 24 }

const isLoopback = (address: Multiaddr): boolean => {
  const host = address.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value
  return host !== undefined && (host.startsWith('127.') || host === '::1')
}

function gater(init: Pick<NetworkInit, 'devnet' | 'deny'>): ConnectionGater {
  const denied = (peer: { toString(): string }): boolean => init.deny?.(peer.toString()) ?? false
  return {
    // On a local network nothing may leave or enter the machine, whatever addresses peers tell each other or listen on.
    denyDialMultiaddr: (address) => init.devnet && !isLoopback(address),
    denyInboundConnection: ({ remoteAddr }) => init.devnet && !isLoopback(remoteAddr),
    denyDialPeer: denied,
    denyInboundEncryptedConnection: denied,
    denyOutboundEncryptedConnection: denied,
  }
}

async function startLibp2p(init: NetworkInit): Promise<Libp2p<Services>> {
  const { devnet, mode, tag } = init
  try {
    return await createLibp2p<Services>({
      privateKey: init.identity.libp2pKey,
      addresses: {
        listen: init.listen,
        ...(devnet ? { announceFilter: (addresses: Multiaddr[]) => addresses.filter(isLoopback) } : {}),
      },
      transports: await transports(init.listen),
      connectionEncrypters: [overJoinedWrites(noise())],
      streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: 4 * 1024 * 1024 } })],
      connectionGater: gater(init),
      connectionManager: {
        maxConnections: 300,
        // All nodes of a local network are one host to each other.
        inboundConnectionThreshold: devnet ? 1_000 : 5,
        maxIncomingPendingConnections: devnet ? 128 : 16,
      },
      // A peer that is busy proving may answer late; it is not gone for that.
      connectionMonitor: { pingInterval: 15_000, pingTimeout: { minTimeout: 20_000, maxTimeout: 60_000 } },
      services: {
        identify: identify(),
        ping: ping(),
        dht: kadDHT({
          protocol: `/sinter/${tag}/kad/1.0.0`,
          peerInfoMapper: devnet ? passthroughMapper : removePrivateAddressesMapper,
          // Left out, a node serves the DHT as soon as it learns that it is publicly reachable; loopback never is.
          ...(mode === 'light' ? { clientMode: true } : devnet ? { clientMode: false } : {}),
          initialQuerySelfInterval: devnet ? 200 : 1_000,
          querySelfInterval: devnet ? 30_000 : 300_000,
        }),
        pubsub: gossipService({ tag, devnet }),
      },
    })
  } catch (cause) {
    throw new SinterError('NETWORK_START', `the network could not be started on ${init.listen.join(', ')}`, { cause })
  }
}

/** Parses a CID. Throws `CONTENT_CID`. */
export function parseCid(cid: string): CID {
  try {
    return CID.parse(cid)
  } catch (cause) {
    throw new SinterError('CONTENT_CID', `not a CID: ${cid.slice(0, 100)}`, { cause })
  }
}

/** Starts libp2p with the protocols of a Sinter node and begins to look for peers. Throws `NETWORK_START`, `BOOTSTRAP_ADDRESS`. */
export async function createNetwork(init: NetworkInit): Promise<Network> {
  parseBootstrap(init.bootstrap)
  const { devnet, mode, log } = init
  const libp2p = await startLibp2p(init)
  const gossip = attachGossip(libp2p.services.pubsub, {
    tag: init.tag,
    devnet,
    validators: init.topics,
    subscribe: init.subscribe ?? (mode === 'node' ? TOPICS : []),
    log,
  })
  const discovery = startDiscovery({
    libp2p,
    dht: libp2p.services.dht,
    bootstrap: init.bootstrap,
    known: init.known,
    target: init.targetPeers ?? TARGET_PEERS[mode],
    intervalMs: devnet ? { eager: 500, settled: 5_000 } : { eager: 2_000, settled: 30_000 },
    log,
  })
  const peers = (): string[] => libp2p.getPeers().map((peer) => peer.toString())

  async function waitFor(what: string, count: number, timeoutMs: number, now: () => number): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (now() < count) {
      if (Date.now() > deadline)
        throw new SinterError(
          'PEERS_TOO_FEW',
          `${now()} of ${count} ${what} of this network after ${timeoutMs} ms: are the bootstrap addresses up, and the network file theirs?`,
        )
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  return {
    ...gossip,
    libp2p,
    peerId: libp2p.peerId.toString(),
    addresses: () => libp2p.getMultiaddrs().map((address) => address.toString()),
    peers,
    async findPeer(peerId, { timeoutMs = 10_000 } = {}) {
      const id = dialTarget(peerId)
      if (Array.isArray(id)) throw new SinterError('PEER_TARGET', 'findPeer takes a peer id')
      try {
        const found = await libp2p.peerRouting.findPeer(id, { signal: AbortSignal.timeout(timeoutMs) })
        return found.multiaddrs.map((address) => address.toString())
      } catch (cause) {
        throw new SinterError('PEER_UNKNOWN', `the DHT does not know ${peerId}`, { cause })
      }
    },
    async dial(target, { timeoutMs = 10_000 } = {}) {
      const to = dialTarget(target)
      try {
        const connection = await libp2p.dial(to, { signal: AbortSignal.timeout(timeoutMs) })
        return connection.remotePeer.toString()
      } catch (cause) {
        throw new SinterError('PEER_UNREACHABLE', `no connection to ${String(target)} within ${timeoutMs} ms`, {
          cause,
        })
      }
    },
    async provide(cid, { timeoutMs = 20_000 } = {}) {
      const key = parseCid(cid)
      try {
        await libp2p.contentRouting.provide(key, { signal: AbortSignal.timeout(timeoutMs) })
      } catch (cause) {
        throw new SinterError('DHT_PROVIDE', `the provider record of ${cid} could not be published`, { cause })
      }
    },
    async findProviders(cid, { timeoutMs = 10_000, limit = 20 } = {}) {
      const found = new Set<string>()
      try {
        const signal = AbortSignal.timeout(timeoutMs)
        for await (const provider of libp2p.contentRouting.findProviders(parseCid(cid), { signal })) {
          if (!provider.id.equals(libp2p.peerId)) found.add(provider.id.toString())
          if (found.size >= limit) break
        }
      } catch (error) {
        // Out of time: what was found is the answer.
        if (error instanceof SinterError) throw error
      }
      return [...found]
    },
    waitForPeers: (count, timeoutMs) => waitFor('peers', count, timeoutMs, () => peers().length),
    waitForSubscribers: (topic, count, timeoutMs) =>
      waitFor(`subscribers of ${topic}`, count, timeoutMs, () => gossip.subscribers(topic).length),
    async stop() {
      await discovery.stop()
      await libp2p.stop()
    },
  }
}
