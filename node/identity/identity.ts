import { privateKeyFromRaw, publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { PeerId, Secp256k1PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id'
import { SinterError } from '../../protocol/errors.ts'
import { type Address, addressOf, publicKeyOf } from '../../protocol/signature.ts'

/**
 * One secp256k1 key, seen from both sides: the libp2p identity and the operator's EVM address.
 * `privateKey` (32 bytes) and `libp2pKey` are not enumerable, so that printing, logging or spreading an identity never
 * carries the key along.
 */
export type Identity = {
  readonly privateKey: Uint8Array
  readonly libp2pKey: Secp256k1PrivateKey
  /** 33 bytes, compressed. */
  readonly publicKey: Uint8Array
  readonly address: Address
  readonly peerId: PeerId
}

/** The identity of a private key. Throws `IDENTITY_KEY` when the 32 bytes are not a scalar of the curve. */
export function identityFromKey(privateKey: Uint8Array): Identity {
  let publicKey: Uint8Array
  try {
    publicKey = publicKeyOf(privateKey)
  } catch (cause) {
    throw new SinterError('IDENTITY_KEY', 'the private key is not 32 bytes in the range of secp256k1', { cause })
  }
  const libp2pKey = privateKeyFromRaw(privateKey)
  if (libp2pKey.type !== 'secp256k1') throw new SinterError('IDENTITY_KEY', 'the private key is not a secp256k1 key')
  const seen = { publicKey, address: addressOf(publicKey), peerId: peerIdFromPrivateKey(libp2pKey) }
  return Object.defineProperties(seen, {
    privateKey: { value: privateKey, enumerable: false },
    libp2pKey: { value: libp2pKey, enumerable: false },
  }) as Identity
}

/**
 * Compressed public key (33 bytes) inside a peer id: secp256k1 peer ids carry it whole.
 * Throws `PEER_KEY` for a malformed peer id or one of another key type.
 */
export function publicKeyOfPeer(peer: PeerId | string): Uint8Array {
  let id: PeerId
  try {
    id = typeof peer === 'string' ? peerIdFromString(peer) : peer
  } catch (cause) {
    throw new SinterError('PEER_KEY', 'not a peer id', { cause, detail: { peer: String(peer) } })
  }
  if (id.type !== 'secp256k1')
    throw new SinterError('PEER_KEY', 'the peer id is not of a secp256k1 key', { detail: { peer: id.toString() } })
  return id.publicKey.raw
}

/** EVM address of a peer: what the chain's registry knows it by. Throws `PEER_KEY`. */
export function addressOfPeer(peer: PeerId | string): Address {
  return addressOf(publicKeyOfPeer(peer))
}

/** Peer id of a public key as the chain's registry keeps it: X ‖ Y, 64 bytes. Throws `PEER_KEY`. */
export function peerIdOfKey(coordinates: Uint8Array): PeerId {
  const compressed = new Uint8Array(33)
  compressed[0] = (coordinates[63] ?? 0) % 2 === 0 ? 2 : 3
  compressed.set(coordinates.subarray(0, 32), 1)
  return peerOfKey(compressed)
}

/** Peer id of a compressed public key, 33 bytes. Throws `PEER_KEY`. */
export function peerOfKey(compressed: Uint8Array): PeerId {
  try {
    return peerIdFromPublicKey(publicKeyFromRaw(compressed))
  } catch (cause) {
    throw new SinterError('PEER_KEY', 'not a secp256k1 public key', { cause })
  }
}
