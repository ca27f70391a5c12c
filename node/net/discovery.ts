import type { Libp2p, PeerId } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { randomBytes } from '@noble/hashes/utils.js'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { utf8 } from '../../protocol/bytes.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import type { KnownPeers } from './known-peers.ts'
import type { Log } from './log.ts'

/**
 * From one known address to the whole network: dial the bootstrap addresses, and peers from before a restart, while nobody is connected, walk the DHT
 * (towards ourselves, then towards random keys) and connect to whoever turns up, until `target` peers are connected.
 * The DHT alone learns addresses without connecting; gossip needs connections.
 */
export type DiscoveryInit = {
  libp2p: Libp2p
  dht: KadDHT
  bootstrap: string[]
  known?: KnownPeers | undefined
  /** Connections to keep up. */
  target: number
  /** Pause between walks (milliseconds): the first while the network is being found, the second afterwards. */
  intervalMs: { eager: number; settled: number }
  log: Log
}

/** Addresses kept over restarts: enough that most of them may be gone. */
export const KEPT_PEERS = 64

const WALK_TIMEOUT_MS = 10_000
const DIAL_TIMEOUT_MS = 5_000
/** Dials at once, and dials of a walk: a peer that answers with many made-up addresses costs this much at most. */
const DIALS_AT_ONCE = 8
const DIALS_PER_WALK = 64

export type Discovery = { stop(): Promise<void> }

/** The multiaddrs of the bootstrap list. Throws `BOOTSTRAP_ADDRESS`. */
export function parseBootstrap(addresses: string[]): Multiaddr[] {
  return addresses.map((text) => {
    try {
      return multiaddr(text)
    } catch (cause) {
      throw new SinterError('BOOTSTRAP_ADDRESS', `not a multiaddr: ${text}`, { cause })
    }
  })
}

/** Those of them that are multiaddrs. */
function readable(addresses: string[]): Multiaddr[] {
  return addresses.flatMap((address) => {
    try {
      return parseBootstrap([address])
    } catch {
      return []
    }
  })
}

export function startDiscovery(init: DiscoveryInit): Discovery {
  const { libp2p, dht, log } = init
  const bootstrap = parseBootstrap(init.bootstrap)
  const stopping = new AbortController()
  const connected = (): number => libp2p.getPeers().length

  async function dialAddresses(addresses: Multiaddr[]): Promise<void> {
    for (const address of addresses) {
      if (stopping.signal.aborted) return
      try {
        await libp2p.dial(address, { signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]) })
      } catch (error) {
        log.debug({ address: address.toString(), error: describeError(error) }, 'address not reached')
      }
    }
  }

  /** Until somebody answers: bootstrap addresses, then a few of the peers from before. */
  async function enter(): Promise<void> {
    await dialAddresses(bootstrap)
    const known = connected() > 0 ? [] : readable((await init.known?.load()) ?? [])
    for (; known.length > 0 && connected() === 0; )
      await Promise.all([1, 2, 3, 4].map(() => dialAddresses(known.splice(0, 1))))
  }

  let kept = ''

  /** Those that we dialled come first: their addresses are known to work, and who dials us does not choose them. */
  async function keep(): Promise<void> {
    if (init.known === undefined || connected() === 0) return
    const [ours, theirs] = [new Map<string, string>(), new Map<string, string>()]
    for (const { direction, remoteAddr, remotePeer } of libp2p.getConnections())
      if (direction === 'outbound') ours.set(remotePeer.toString(), remoteAddr.toString())
    for (const peer of libp2p.getPeers()) {
      if (ours.has(peer.toString()) || ours.size + theirs.size >= KEPT_PEERS) continue
      const [address] = (await libp2p.peerStore.get(peer)).addresses
      if (address !== undefined) theirs.set(peer.toString(), address.multiaddr.encapsulate(`/p2p/${peer}`).toString())
    }
    const addresses = [...ours.values(), ...theirs.values()]
    const now = addresses.toSorted().join()
    if (now === kept) return
    await init.known.save(addresses)
    kept = now
  }

  /** Peers that a walk towards `key` turns up and that are not connected yet. */
  async function walk(key: Uint8Array): Promise<PeerId[]> {
    const found = new Map<string, PeerId>()
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(WALK_TIMEOUT_MS)])
    const mine = new Set(libp2p.getPeers().map((peer) => peer.toString())).add(libp2p.peerId.toString())
    try {
      for await (const event of dht.getClosestPeers(key, { signal })) {
        const peers = event.name === 'PEER_RESPONSE' ? event.closer : event.name === 'FINAL_PEER' ? [event.peer] : []
        for (const { id } of peers) if (!mine.has(id.toString())) found.set(id.toString(), id)
        if (found.size >= DIALS_PER_WALK) break
      }
    } catch (error) {
      if (!stopping.signal.aborted) log.debug({ error: describeError(error) }, 'a DHT walk ended early')
    }
    return [...found.values()]
  }

  async function dialAll(peers: PeerId[]): Promise<void> {
    const waiting = peers.slice(0, DIALS_PER_WALK)
    const worker = async (): Promise<void> => {
      for (;;) {
        const peer = waiting.pop()
        if (peer === undefined || stopping.signal.aborted || connected() >= init.target) return
        try {
          await libp2p.dial(peer, { signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]) })
        } catch (error) {
          log.debug({ peer: peer.toString(), error: describeError(error) }, 'discovered peer not reached')
        }
      }
    }
    await Promise.all(Array.from({ length: DIALS_AT_ONCE }, worker))
  }

  async function loop(): Promise<void> {
    let quiet = 0
    for (let round = 0; !stopping.signal.aborted; round++) {
      const before = connected()
      if (before === 0) await enter()
      if (connected() < init.target && connected() > 0) {
        const key = round % 2 === 0 ? libp2p.peerId.toMultihash().bytes : randomBytes(32)
        await dialAll(await walk(key))
      }
      await keep().catch((error) => log.debug({ error: describeError(error) }, 'the peers could not be kept'))
      quiet = connected() > before || connected() === 0 ? 0 : quiet + 1
      // Three walks without anybody new: the network is known for now.
      await pause(quiet < 3 ? init.intervalMs.eager : init.intervalMs.settled, stopping.signal)
    }
  }

  const running = loop().catch((error) => log.error({ error: describeError(error) }, 'peer discovery failed'))
  return {
    async stop() {
      stopping.abort()
      await running
    },
  }
}

/** Sleeps, or less when the signal fires. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}

/** The CID under which nodes of a hardware class (`cpu-x86`, `h100-80` …) announce themselves in the DHT of their network. */
export async function classCid(tag: string, hardwareClass: string): Promise<string> {
  const digest = await sha256.digest(utf8(`sinter/${tag}/class/${hardwareClass}`))
  return CID.createV1(raw.code, digest).toString()
}
