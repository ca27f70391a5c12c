import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex, u32 } from '../../protocol/bytes.ts'
import { hash } from '../../protocol/hash.ts'
import { merkleDepth, merkleFold, merklePath, merkleRoot, merkleTree, merkleVerify } from '../../protocol/merkle.ts'

const sha = (...parts: Uint8Array[]): Uint8Array => {
  const digest = createHash('sha256')
  for (const part of parts) digest.update(part)
  return Uint8Array.from(digest.digest())
}

/** The tree written down as its definition: split in the middle of the padded width. */
function naiveRoot(leaves: Uint8Array[], from: number, width: number): Uint8Array {
  if (width > 1) {
    const half = width / 2
    return sha(Uint8Array.of(1), naiveRoot(leaves, from, half), naiveRoot(leaves, from + half, half))
  }
  return from < leaves.length ? sha(Uint8Array.of(0), leaves[from]!) : new Uint8Array(32)
}

const leavesOf = (count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => hash('leaf', u32(i)))
const sized = fc.integer({ min: 1, max: 40 })

test('the root is the one of the definition, for every size', () => {
  for (let count = 1; count <= 33; count++) {
    const leaves = leavesOf(count)
    assert.equal(merkleRoot(leaves), naiveRoot(leaves, 0, 2 ** Math.ceil(Math.log2(count))), `${count} leaves`)
  }
  assert.equal(merkleRoot([]), new Uint8Array(32))
})

test('the depth is that of the next power of two', () => {
  const depths = [1, 2, 3, 4, 5, 8, 9, 1024, 1025].map(merkleDepth)
  assert.equal(depths, [0, 1, 2, 2, 3, 3, 4, 10, 11])
})

test('every leaf opens at its place, and nowhere else', () => {
  fc.assert(
    fc.property(sized, fc.nat(), fc.nat(), (count, a, b) => {
      const leaves = leavesOf(count)
      const { root, path } = merkleTree(leaves)
      const [at, other] = [a % count, b % count]
      assert.ok(merkleVerify(root, leaves[at]!, at, count, path(at)))
      assert.equal(merkleFold(leaves[at]!, at, path(at)), root)
      assert.equal(merklePath(leaves, at), path(at))
      if (other === at) return
      assert.not(merkleVerify(root, leaves[at]!, other, count, path(at)))
      assert.not(merkleVerify(root, leaves[at]!, other, count, path(other)))
      assert.not(merkleVerify(root, leaves[other]!, at, count, path(at)))
    }),
    { numRuns: 60 },
  )
})

test('a path of another length, width or content opens nothing', () => {
  const leaves = leavesOf(6)
  const { root, path } = merkleTree(leaves)
  const good = path(2)
  const refused: [string, Uint8Array[]][] = [
    ['shorter', good.slice(0, -1)],
    ['longer', [...good, new Uint8Array(32)]],
    ['empty', []],
    ['reversed', [...good].reverse()],
    ['a sibling of 31 bytes', [good[0]!.subarray(1), ...good.slice(1)]],
    ['a sibling of 33 bytes', [Uint8Array.of(...good[0]!, 0), ...good.slice(1)]],
  ]
  for (const [name, wrong] of refused) assert.not(merkleVerify(root, leaves[2]!, 2, 6, wrong), name)
  for (let level = 0; level < good.length; level++) {
    const changed = good.map((sibling, i) =>
      i === level ? sibling.map((byte, at) => (at === 0 ? byte ^ 1 : byte)) : sibling,
    )
    assert.not(merkleVerify(root, leaves[2]!, 2, 6, changed), `level ${level}`)
  }
})

test('an index outside the tree opens nothing, not even a pad', () => {
  const leaves = leavesOf(5)
  const { root, path } = merkleTree(leaves)
  for (const index of [-1, 5, 7, 8, 2 ** 32, 0.5, Number.NaN])
    assert.not(merkleVerify(root, leaves[4]!, index, 5, path(4)))
  // What stands in the padding is 32 zero bytes in place of a leaf's hash: no leaf hashes to it.
  assert.not(merkleVerify(root, new Uint8Array(32), 5, 6, [sha(Uint8Array.of(0), leaves[4]!), ...path(4).slice(1)]))
  for (const index of [-1, 5, 1.5]) assert.throws(() => path(index))
})

test('the count is part of what is verified: another depth fails', () => {
  const leaves = leavesOf(4)
  const { root, path } = merkleTree(leaves)
  assert.ok(merkleVerify(root, leaves[1]!, 1, 3, path(1)), 'the same depth')
  assert.not(merkleVerify(root, leaves[1]!, 1, 2, path(1)))
  assert.not(merkleVerify(root, leaves[1]!, 1, 5, path(1)))
})

test('an inner node does not pass for a leaf', () => {
  const leaves = leavesOf(4)
  const { root, path } = merkleTree(leaves)
  const inner = sha(Uint8Array.of(1), sha(Uint8Array.of(0), leaves[0]!), sha(Uint8Array.of(0), leaves[1]!))
  assert.not(merkleVerify(root, inner, 0, 2, path(0).slice(1)))
  assert.not(toHex(merkleRoot([inner, inner])) === toHex(root))
})

test.run()
