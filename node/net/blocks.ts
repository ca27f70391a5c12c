import type { Libp2p } from '@libp2p/interface'
import { peerIdFromCID } from '@libp2p/peer-id'
import { LevelBlockstore } from 'blockstore-level'
import type { Router } from 'helia'
import type { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { concat, equalBytes } from '../../protocol/bytes.ts'

const DAG_PB = 0x70

/** The CIDs we deal in: version 1, raw or dag-pb, SHA-256. Inline (identity) and weak hashes are not content addresses. */
export function isContentCid(cid: CID): boolean {
  const { code, size } = cid.multihash
  return cid.version === 1 && (cid.code === raw.code || cid.code === DAG_PB) && code === sha256.code && size === 32
}

/**
 * Blocks in a LevelDB folder, each checked against its hash whenever it is read: what the disk got wrong is dropped and
 * counts as missing, so that it is fetched again and never served. Level alone would hand it out as it is.
 */
export class CheckedBlocks extends LevelBlockstore {
  readonly #onCorrupt: (cid: string) => void

  constructor(folder: string, onCorrupt: (cid: string) => void) {
    super(folder)
    this.#onCorrupt = onCorrupt
  }

  /** The block, or null when it is missing or was corrupt. */
  async #checked(cid: CID, options?: { signal?: AbortSignal }): Promise<Uint8Array | null> {
    if (!(await super.has(cid, options))) return null
    const parts: Uint8Array[] = []
    for await (const part of super.get(cid, options)) parts.push(part)
    const block = parts.length === 1 ? parts[0]! : concat(...parts)
    const { digest } = await sha256.digest(block)
    if (equalBytes(digest, cid.multihash.digest)) return block
    await super.delete(cid)
    this.#onCorrupt(cid.toString())
    return null
  }

  override async *get(cid: CID, options?: { signal?: AbortSignal }): AsyncGenerator<Uint8Array> {
    const block = await this.#checked(cid, options)
    if (block === null) throw Object.assign(new Error(`no intact block ${cid}`), { name: 'NotFoundError' })
    yield block
  }

  override async has(cid: CID, options?: { signal?: AbortSignal }): Promise<boolean> {
    return (await this.#checked(cid, options)) !== null
  }
}

/** Helia's view of our network: providers and peers through libp2p's own routing, nothing else. */
export function dhtRouter(libp2p: Libp2p): Router {
  const name = 'sinter-dht'
  return {
    name,
    async provide(cid, options) {
      await libp2p.contentRouting.provide(cid, options)
    },
    async cancelReprovide(cid, options) {
      await libp2p.contentRouting.cancelReprovide(cid, options)
    },
    async *findProviders(cid, options) {
      for await (const { id, multiaddrs } of libp2p.contentRouting.findProviders(cid, options))
        if (!id.equals(libp2p.peerId)) yield { id: id.toCID(), multiaddrs, router: name, fallback: false }
    },
    async findPeer(peer, options) {
      const { id, multiaddrs } = await libp2p.peerRouting.findPeer(peerIdFromCID(peer), options)
      return { id: id.toCID(), multiaddrs, router: name }
    },
  }
}
