import { concat } from '../../protocol/bytes.ts'
import { HASH_BYTES } from '../../protocol/hash.ts'
import { type MerkleTree, merkleDepth } from '../../protocol/merkle.ts'
import { sha256 } from '../../protocol/sha256.ts'

/**
 * A tree of protocol/merkle.ts in one array: the leaves, then every level from the leaf hashes up to the root. A job of a large
 * model has a million leaves, which as objects of their own would take half a gigabyte, and cross between processes one by one.
 */
export type PackedTree = MerkleTree & {
  /** Leaves and levels; what `openPacked` takes. */
  nodes: Uint8Array
  leaf(index: number): Uint8Array
}

const digest = (...parts: Uint8Array[]): Uint8Array => sha256(concat(...parts))

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/** Leaves and levels of the tree over `leaves`, 32 bytes each, one after the other. */
export function packTree(leaves: Uint8Array): Uint8Array {
  const count = leaves.length / HASH_BYTES
  const width = 2 ** merkleDepth(count)
  const nodes = new Uint8Array(leaves.length + HASH_BYTES * (2 * width - 1))
  nodes.set(leaves)
  const at = (base: number, i: number): Uint8Array => nodes.subarray(base + HASH_BYTES * i, base + HASH_BYTES * (i + 1))
  let level = leaves.length
  // What is left of the level is zero bytes, as protocol/merkle.ts pads it.
  for (let i = 0; i < count; i++) nodes.set(digest(LEAF, at(0, i)), level + HASH_BYTES * i)
  for (let size = width; size > 1; size /= 2) {
    const next = level + HASH_BYTES * size
    for (let i = 0; i < size / 2; i++)
      nodes.set(digest(NODE, at(level, 2 * i), at(level, 2 * i + 1)), next + HASH_BYTES * i)
    level = next
  }
  return nodes
}

/** A packed tree of `count` leaves, at least one. */
export function openPacked(count: number, nodes: Uint8Array): PackedTree {
  const depth = merkleDepth(count)
  const node = (from: number, i: number): Uint8Array => nodes.slice(from + HASH_BYTES * i, from + HASH_BYTES * (i + 1))
  const checked = (index: number): number => {
    if (!Number.isInteger(index) || index < 0 || index >= count) throw new RangeError('leaf index out of range')
    return index
  }
  return {
    count,
    nodes,
    root: nodes.slice(-HASH_BYTES),
    leaf: (index) => node(0, checked(index)),
    path(index) {
      checked(index)
      const path: Uint8Array[] = []
      let from = HASH_BYTES * count
      for (let d = 0; d < depth; d++) {
        path.push(node(from, (index >> d) ^ 1))
        from += HASH_BYTES * 2 ** (depth - d)
      }
      return path
    },
  }
}

/** The packed tree over separate leaves of 32 bytes. */
export const packedTree = (leaves: Uint8Array[]): PackedTree => openPacked(leaves.length, packTree(concat(...leaves)))
