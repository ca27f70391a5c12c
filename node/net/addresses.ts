import { BlockList, isIP } from 'node:net'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { PeerId } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'

/** Networks that a stranger has no business sending us to: this machine, its neighbours, and what is no host at all. */
const INTERNAL_4 = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  INTERNAL_4.addSubnet(network, prefix, 'ipv4')
// Only 2000::/3 is given out; 64:ff9b::/96 and ::ffff:0:0/96, which carry IPv4 addresses, lie outside of it, 2002::/16 inside.
const INTERNAL_6 = new BlockList()
for (const [network, prefix] of [
  ['::', 3],
  ['2002::', 16],
  ['4000::', 2],
  ['8000::', 1],
] as const)
  INTERNAL_6.addSubnet(network, prefix, 'ipv6')

// Two lists: one of both kinds would compare an IPv4 address with the IPv6 networks too, as ::ffff:0:0/96.
const isInternal = (host: string): boolean =>
  isIP(host) === 6 ? INTERNAL_6.check(host, 'ipv6') : INTERNAL_4.check(host, 'ipv4')

/** `/ip4|ip6/…/tcp/…[/p2p/<peer>]` and nothing else, on a public host unless `internal`. */
function dialable(text: string, peer: string, internal: boolean): boolean {
  try {
    const [host, port, id, ...rest] = multiaddr(text).getComponents()
    if (host === undefined || (host.name !== 'ip4' && host.name !== 'ip6') || port?.name !== 'tcp') return false
    if (rest.length > 0 || (id !== undefined && (id.name !== 'p2p' || id.value !== peer))) return false
    const ip = host.value ?? ''
    return isIP(ip) !== 0 && (internal || !isInternal(ip))
  } catch {
    return false
  }
}

/**
 * Where to reach the peer that signed a message with addresses in it: those of them that can be its own, each bound to its
 * peer id, so that nobody else is talked to; the peer id alone (known or found in the DHT) when none is left. Names are left
 * out: what they resolve to is up to whoever owns them. A message that reaches every node must not make all of them knock at a
 * third party's door.
 * @param publicKey 33 bytes, compressed secp256k1
 * @param internal also addresses of this machine and of private networks, for local networks
 */
export function targetsOf(addresses: string[], publicKey: Uint8Array, internal: boolean): string[] | PeerId {
  const peerId = peerIdFromPublicKey(publicKeyFromRaw(publicKey))
  const peer = peerId.toString()
  const good = addresses.filter((text) => dialable(text, peer, internal))
  if (good.length === 0) return peerId
  return good.map((text) => (text.includes('/p2p/') ? text : `${text}/p2p/${peer}`))
}
