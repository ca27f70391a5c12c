import { concat, equalBytes } from './bytes.ts'
import { HASH_BYTES, sha256 } from './hash.ts'

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)
const EMPTY = new Uint8Array(HASH_BYTES)

const leafHash = (leaf: Uint8Array): Uint8Array => sha256(concat(LEAF, leaf))
const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(concat(NODE, left, right))

/** Number of sibling hashes in a path of a tree of `count` leaves. */
export function merkleDepth(count: number): number {
  let depth = 0
  while (2 ** depth < count) depth++
  return depth
}

/** All levels, leaves first, each padded to a power of two with 32 zero bytes (no preimage of a leaf or node hash is known). */
function levels(leaves: Uint8Array[]): Uint8Array[][] {
  const width = 2 ** merkleDepth(leaves.length)
  let level = leaves.map(leafHash)
  while (level.length < width) level.push(EMPTY)
  const out = [level]
  while (level.length > 1) {
    const next: Uint8Array[] = []
    for (let i = 0; i < level.length; i += 2) next.push(nodeHash(level[i]!, level[i + 1]!))
    level = next
    out.push(level)
  }
  return out
}

/** Root of the SHA-256 tree over 32-byte leaves. A tree without leaves has the zero root. */
export function merkleRoot(leaves: Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY
  return levels(leaves).at(-1)![0]!
}

/** Roots and paths of one tree, computed once. */
export type MerkleTree = { root: Uint8Array; count: number; path(index: number): Uint8Array[] }

export function merkleTree(leaves: Uint8Array[]): MerkleTree {
  const all = leaves.length === 0 ? [] : levels(leaves)
  return {
    root: all.length === 0 ? EMPTY : all.at(-1)![0]!,
    count: leaves.length,
    path(index) {
      if (!Number.isInteger(index) || index < 0 || index >= leaves.length)
        throw new RangeError('leaf index out of range')
      return all.slice(0, -1).map((level, depth) => level[(index >> depth) ^ 1]!)
    },
  }
}

/** Sibling hashes from leaf to root. */
export function merklePath(leaves: Uint8Array[], index: number): Uint8Array[] {
  return merkleTree(leaves).path(index)
}

/** Root of the tree in which `leaf` stands at `index` with this path. */
export function merkleFold(leaf: Uint8Array, index: number, path: Uint8Array[]): Uint8Array {
  return path.reduce(
    (node, sibling, depth) => ((index >> depth) & 1 ? nodeHash(sibling, node) : nodeHash(node, sibling)),
    leafHash(leaf),
  )
}

/** Whether `leaf` stands at `index` of the tree of exactly `count` leaves under `root`. */
export function merkleVerify(
  root: Uint8Array,
  leaf: Uint8Array,
  index: number,
  count: number,
  path: Uint8Array[],
): boolean {
  if (!Number.isInteger(index) || index < 0 || index >= count || path.length !== merkleDepth(count)) return false
  if (path.some((sibling) => sibling.length !== HASH_BYTES)) return false
  return equalBytes(merkleFold(leaf, index, path), root)
}
