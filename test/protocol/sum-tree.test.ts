import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodePacked, keccak256 } from 'viem'
import { fromHex, type Hex, toHex, U128_MAX, u32 } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import { type SumLeaf, type SumNode, sumTree, verifySumPath } from '../../protocol/sum-tree.ts'

const leaf = (i: number, price: bigint): SumLeaf => ({ receiptHash: hash('receipt', u32(i)), price })
const leavesOf = (prices: bigint[]): SumLeaf[] => prices.map((price, i) => leaf(i, price))

/** The definition, over viem's packed encoding: as Solidity would write it. */
function naive(leaves: SumLeaf[], from: number, width: number): { hash: Hex; sum: bigint } {
  if (width === 1) {
    const here = leaves[from]
    if (here === undefined) return { hash: `0x${'00'.repeat(32)}`, sum: 0n }
    const packed = encodePacked(['uint8', 'bytes32', 'uint128'], [0, toHex(here.receiptHash), here.price])
    return { hash: keccak256(packed), sum: here.price }
  }
  const l = naive(leaves, from, width / 2)
  const r = naive(leaves, from + width / 2, width / 2)
  const types = ['uint8', 'bytes32', 'uint128', 'bytes32', 'uint128'] as const
  return { hash: keccak256(encodePacked(types, [1, l.hash, l.sum, r.hash, r.sum])), sum: l.sum + r.sum }
}

const prices = fc.array(fc.bigInt({ min: 1n, max: 10n ** 30n }), { minLength: 1, maxLength: 33 })
const width = (count: number): number => 2 ** Math.ceil(Math.log2(count))

const codeOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    return errorCode(error)
  }
  return 'NONE'
}

test('root and total are those of the definition', () => {
  fc.assert(
    fc.property(prices, (list) => {
      const leaves = leavesOf(list)
      const { root } = sumTree(leaves)
      const expected = naive(leaves, 0, width(list.length))
      assert.is(toHex(root.hash), expected.hash)
      assert.is(root.sum, expected.sum)
    }),
    { numRuns: 30 },
  )
})

test('the intervals of the leaves tile [0, total) in order, and find() finds them', () => {
  fc.assert(
    fc.property(prices, (list) => {
      const leaves = leavesOf(list)
      const tree = sumTree(leaves)
      let before = 0n
      leaves.forEach((each, index) => {
        assert.equal(verifySumPath(tree.root.hash, tree.root.sum, each, index, tree.path(index)), { start: before })
        assert.is(tree.find(before), index)
        assert.is(tree.find(before + each.price - 1n), index)
        before += each.price
      })
      assert.throws(() => tree.find(before))
      assert.throws(() => tree.find(-1n))
    }),
    { numRuns: 30 },
  )
})

test('the last sum that fits is accepted, the first that does not is refused', () => {
  assert.is(sumTree(leavesOf([U128_MAX])).root.sum, U128_MAX)
  assert.is(sumTree(leavesOf([U128_MAX - 1n, 1n])).root.sum, U128_MAX)
  assert.is(
    codeOf(() => sumTree(leavesOf([U128_MAX, 1n]))),
    'SUM_TREE_OVERFLOW',
  )
  assert.is(
    codeOf(() => sumTree(leavesOf([U128_MAX, U128_MAX, 2n]))),
    'SUM_TREE_OVERFLOW',
  )
  assert.is(
    codeOf(() => sumTree([])),
    'SUM_TREE_EMPTY',
  )
  assert.is(
    codeOf(() => sumTree(leavesOf([1n, 0n]))),
    'SUM_TREE_PRICE',
  )
  assert.is(
    codeOf(() => sumTree(leavesOf([-1n]))),
    'SUM_TREE_PRICE',
  )
})

test('a leaf opens at one position only', () => {
  fc.assert(
    fc.property(prices, fc.nat(), fc.nat(), (list, a, b) => {
      const leaves = leavesOf(list)
      const tree = sumTree(leaves)
      const { hash: root, sum } = tree.root
      const [at, other] = [a % list.length, b % list.length]
      const path = tree.path(at)
      for (let index = 0; index < width(list.length); index++)
        assert.is(verifySumPath(root, sum, leaves[at]!, index, path) !== null, index === at, `${index}`)
      if (other !== at) assert.is(verifySumPath(root, sum, leaves[other]!, at, path), null)
    }),
    { numRuns: 30 },
  )
})

test('a path that was changed anywhere opens nothing', () => {
  const leaves = leavesOf([5n, 7n, 11n, 13n, 17n])
  const tree = sumTree(leaves)
  const { hash: root, sum } = tree.root
  const path = tree.path(2)
  const opens = (over: Partial<{ leaf: SumLeaf; index: number; path: SumNode[]; total: bigint }>): boolean =>
    verifySumPath(root, over.total ?? sum, over.leaf ?? leaves[2]!, over.index ?? 2, over.path ?? path) !== null
  assert.ok(opens({}))
  const at = (level: number, change: Partial<SumNode>): SumNode[] =>
    path.map((node, i) => (i === level ? { ...node, ...change } : node))
  for (let level = 0; level < path.length; level++) {
    assert.not(opens({ path: at(level, { sum: path[level]!.sum + 1n }) }))
    assert.not(opens({ path: at(level, { sum: -1n }) }))
    assert.not(opens({ path: at(level, { sum: U128_MAX + 1n }) }))
    assert.not(opens({ path: at(level, { hash: hash('other') }) }))
    assert.not(opens({ path: at(level, { hash: new Uint8Array(31) }) }))
  }
  assert.not(opens({ path: path.slice(1) }))
  assert.not(opens({ path: [...path, { hash: new Uint8Array(32), sum: 0n }] }))
  assert.not(opens({ total: sum + 1n }))
  assert.not(opens({ leaf: { ...leaves[2]!, price: 12n } }))
  assert.not(opens({ leaf: { ...leaves[2]!, price: 0n } }))
  assert.not(opens({ leaf: { ...leaves[2]!, price: U128_MAX + 1n } }))
  assert.not(opens({ leaf: { ...leaves[2]!, receiptHash: hash('other') } }))
  for (const index of [-1, 1.5, 8, Number.NaN]) assert.not(opens({ index }))
  for (const index of [-1, 1.5, 5]) assert.throws(() => tree.path(index), /index/)
})

test('pads hold no money and cannot be opened', () => {
  const tree = sumTree(leavesOf([5n, 7n, 11n]))
  assert.equal(tree.path(2)[0], { hash: new Uint8Array(32), sum: 0n })
  const path = [{ hash: fromHex(naive(leavesOf([5n, 7n, 11n]), 2, 1).hash), sum: 11n }, tree.path(2)[1]!]
  assert.is(verifySumPath(tree.root.hash, tree.root.sum, { receiptHash: new Uint8Array(32), price: 0n }, 3, path), null)
})

test('sums that would wrap around 128 bits are not followed', () => {
  const one = leaf(0, 1n)
  const path: SumNode[] = [{ hash: hash('rest'), sum: U128_MAX }]
  assert.is(verifySumPath(hash('root'), 0n, one, 0, path), null)
  const deep = Array.from({ length: 41 }, (): SumNode => ({ hash: hash('x'), sum: 0n }))
  assert.is(verifySumPath(hash('root'), 1n, one, 0, deep), null)
})

test.run()
