import type { Libp2p } from '@libp2p/interface'
import { peerIdFromCID } from '@libp2p/peer-id'
import type { HeliaInit, Router } from 'helia'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import { concat, fromHex } from '../../protocol/bytes.ts'
import { blockKey } from './dag.ts'
import type { Disk } from './disk.ts'

const DAG_PB = 0x70

type Blockstore = NonNullable<HeliaInit['blockstore']>
type BlockInput = Parameters<Blockstore['put']>[1]

/** The CIDs we deal in: version 1, raw or dag-pb, SHA-256. Inline (identity) and weak hashes are not content addresses. */
export function isContentCid(cid: CID): boolean {
  const { code, size } = cid.multihash
  return cid.version === 1 && (cid.code === raw.code || cid.code === DAG_PB) && code === sha256.code && size === 32
}

/** The blocks on disk as Helia and bitswap see them. Wrong bytes are never handed out: see `Disk`. */
export function heliaBlocks(disk: Disk): Blockstore {
  async function whole(bytes: BlockInput): Promise<Uint8Array> {
    if (bytes instanceof Uint8Array) return bytes
    const parts: Uint8Array[] = []
    for await (const part of bytes) parts.push(part)
    return concat(...parts)
  }
  const put = async (cid: CID, bytes: BlockInput): Promise<CID> => {
    await disk.write(blockKey(cid), await whole(bytes))
    return cid
  }
  const get = async function* (cid: CID): AsyncGenerator<Uint8Array> {
    const block = await disk.read(blockKey(cid))
    if (block === null) throw Object.assign(new Error(`no intact block ${cid}`), { name: 'NotFoundError' })
    yield block
  }
  return {
    put,
    get,
    has: (cid) => disk.has(blockKey(cid)),
    delete: (cid) => disk.remove(blockKey(cid)),
    async *putMany(source) {
      for await (const { cid, bytes } of source) yield await put(cid, bytes)
    },
    async *getMany(source) {
      for await (const cid of source) yield { cid, bytes: get(cid) }
    },
    async *deleteMany(source) {
      for await (const cid of source) {
        await disk.remove(blockKey(cid))
        yield cid
      }
    },
    async *getAll() {
      for (const key of disk.keys()) {
        const cid = CID.createV1(raw.code, Digest.create(sha256.code, fromHex(key)))
        yield { cid, bytes: get(cid) }
      }
    },
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
