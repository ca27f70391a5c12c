import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { CID } from 'multiformats/cid'
import { toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'

const DAG_PB = 0x70
/** Links of one node: what we make has 1024 at most; this bounds what a hostile one costs. */
const MAX_LINKS = 32_768

/** Name of a block on disk and in messages between our own parts: its SHA-256 in hex, whatever the codec of the CID. */
export const blockKey = (cid: CID): string => toHex(cid.multihash.digest).slice(2)

export const isNode = (cid: CID): boolean => cid.code === DAG_PB

/** Links of a dag-pb node in order (field 2, whose field 1 is the CID). Throws `CONTENT_MALFORMED`. */
export function linksOf(block: Uint8Array): CID[] {
  const links: CID[] = []
  try {
    const node = new BinaryReader(block)
    while (node.pos < node.len) {
      const [field, wire] = node.tag()
      if (field !== 2 || wire !== WireType.LengthDelimited) {
        node.skip(wire)
        continue
      }
      const link = new BinaryReader(node.bytes())
      while (link.pos < link.len) {
        const [part, kind] = link.tag()
        if (part === 1 && kind === WireType.LengthDelimited) links.push(CID.decode(link.bytes()))
        else link.skip(kind)
      }
      if (links.length > MAX_LINKS)
        throw new SinterError('CONTENT_MALFORMED', `a node has more than ${MAX_LINKS} links`)
    }
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    throw new SinterError('CONTENT_MALFORMED', 'a block is no dag-pb node', { cause })
  }
  return links
}

/**
 * Keys of all blocks under a CID, each once, or null when one of the nodes is missing. Reads nodes, never leaves: whether those are
 * there is not looked at. Throws `CONTENT_MALFORMED`, also beyond `maxBlocks`.
 */
export async function blocksUnder(
  root: CID,
  read: (key: string) => Promise<Uint8Array | null>,
  maxBlocks = 2 ** 20,
): Promise<string[] | null> {
  const keys = new Set<string>([blockKey(root)])
  const open = isNode(root) ? [root] : []
  for (let cid = open.pop(); cid !== undefined; cid = open.pop()) {
    const block = await read(blockKey(cid))
    if (block === null) return null
    for (const child of linksOf(block)) {
      const key = blockKey(child)
      if (keys.has(key)) continue
      keys.add(key)
      if (keys.size > maxBlocks) throw new SinterError('CONTENT_MALFORMED', `a file has more than ${maxBlocks} blocks`)
      if (isNode(child)) open.push(child)
    }
  }
  return [...keys]
}
