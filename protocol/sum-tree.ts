import { concat, equalBytes, U128_MAX, u128 } from './bytes.ts'
import { SinterError } from './errors.ts'
import { HASH_BYTES, keccak256 } from './hash.ts'
import { merkleDepth } from './merkle.ts'

/** A node of the sum tree: hash and the sum of prices under it, in base units. */
export type SumNode = { hash: Uint8Array; sum: bigint }
export type SumLeaf = { receiptHash: Uint8Array; price: bigint }

/** Pads carry no money, so no point of the sample ever falls on one. */
const PAD: SumNode = { hash: new Uint8Array(HASH_BYTES), sum: 0n }

function leafNode({ receiptHash, price }: SumLeaf): SumNode {
  return { hash: keccak256(concat(Uint8Array.of(0), receiptHash, u128(price))), sum: price }
}

/** H(1 ‖ hL ‖ sL ‖ hR ‖ sR); a sum beyond 128 bits is refused, so no pair of children can hide a wrap-around. */
function join(left: SumNode, right: SumNode): SumNode | null {
  const sum = left.sum + right.sum
  if (sum > U128_MAX) return null
  return { hash: keccak256(concat(Uint8Array.of(1), left.hash, u128(left.sum), right.hash, u128(right.sum))), sum }
}

export type SumTree = {
  root: SumNode
  count: number
  /** Index of the leaf whose interval [before, before + price) contains `point`. */
  find(point: bigint): number
  path(index: number): SumNode[]
}

/** Merkle sum tree over receipts in the order of the batch. Throws `SUM_TREE_EMPTY`, `SUM_TREE_OVERFLOW`, `SUM_TREE_PRICE`. */
export function sumTree(leaves: SumLeaf[]): SumTree {
  if (leaves.length === 0) throw new SinterError('SUM_TREE_EMPTY', 'a batch has at least one receipt')
  if (leaves.some(({ price }) => price <= 0n)) throw new SinterError('SUM_TREE_PRICE', 'every receipt has a price')
  const width = 2 ** merkleDepth(leaves.length)
  let level = leaves.map(leafNode)
  while (level.length < width) level.push(PAD)
  const levels = [level]
  while (level.length > 1) {
    const next: SumNode[] = []
    for (let i = 0; i < level.length; i += 2) {
      const node = join(level[i]!, level[i + 1]!)
      if (node === null) throw new SinterError('SUM_TREE_OVERFLOW', 'the total exceeds 128 bits')
      next.push(node)
    }
    level = next
    levels.push(level)
  }
  const root = level[0]!
  return {
    root,
    count: leaves.length,
    find(point) {
      if (point < 0n || point >= root.sum) throw new RangeError('point outside [0, total)')
      let rest = point
      let index = 0
      for (let depth = levels.length - 2; depth >= 0; depth--) {
        const left = levels[depth]![2 * index]!
        if (rest < left.sum) index = 2 * index
        else {
          rest -= left.sum
          index = 2 * index + 1
        }
      }
      return index
    },
    path(index) {
      if (!Number.isInteger(index) || index < 0 || index >= leaves.length)
        throw new RangeError('leaf index out of range')
      return levels.slice(0, -1).map((nodes, depth) => nodes[(index >> depth) ^ 1]!)
    },
  }
}

/**
 * Start of the opened leaf's interval when the path is valid for `root` and `total`, or null.
 * Every sum on the way is recomputed, so the interval is exactly the one the root commits to.
 */
export function verifySumPath(
  root: Uint8Array,
  total: bigint,
  leaf: SumLeaf,
  index: number,
  path: SumNode[],
): { start: bigint } | null {
  if (!Number.isInteger(index) || index < 0 || index >= 2 ** path.length || path.length > 40) return null
  if (leaf.price <= 0n || leaf.price > U128_MAX || leaf.receiptHash.length !== HASH_BYTES) return null
  let node: SumNode | null = leafNode(leaf)
  let start = 0n
  for (let depth = 0; depth < path.length; depth++) {
    const sibling = path[depth]!
    if (sibling.hash.length !== HASH_BYTES || sibling.sum < 0n || sibling.sum > U128_MAX) return null
    const right: boolean = Math.floor(index / 2 ** depth) % 2 === 1
    if (right) start += sibling.sum
    node = right ? join(sibling, node) : join(node, sibling)
    if (node === null) return null
  }
  return node.sum === total && equalBytes(node.hash, root) ? { start } : null
}
