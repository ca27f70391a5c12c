import { readFileSync } from 'node:fs'
import { buildPoseidon } from 'circomlibjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { committerOf, createCommitter, ZERO_CHAIN, ZERO_LEAF } from '../../circuits/commit.ts'
import { poseidonConstants } from '../../circuits/poseidon/build.ts'
import { buildPoseidonModule } from '../../circuits/poseidon/module.ts'
import { compilePoseidon as compilePortable, openPoseidon as openInBrowser } from '../../circuits/poseidon.browser.ts'
import { compilePoseidon, openPoseidon } from '../../circuits/poseidon.ts'
import { scalarBuffer } from '../../circuits/scalars.ts'
import { assetPath } from '../../protocol/assets.ts'
import { bigintToBytes, bytesToBigint } from '../../protocol/bytes.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import { calculator, codeOf, element, limbs, relationHolds, relationInput } from './fixtures.ts'

const committer = await createCommitter()

test('Poseidon is circomlib’s, and the constants are its values at zero', () => {
  // Published test vector of circomlibjs for two inputs.
  assert.is(committer.chain(1n, 2n), 7853200120776062878684798364095072458815029376092732009249414926327459813530n)
  assert.is(committer.leaf(new Uint16Array(64), 0n), ZERO_LEAF)
  assert.is(committer.chain(0n, 0n), ZERO_CHAIN)
})

test('the Poseidon module in the repository is the one that circomlibjs’s constants make', async () => {
  const built = buildPoseidonModule(await poseidonConstants())
  assert.ok(Buffer.from(built).equals(readFileSync(assetPath('circuits/artifacts/poseidon.wasm'))))
})

/** Powers of two and their neighbours, where limbs and halves change and roundings are ties, and the ends of the field. */
const EDGES = [
  ...Array.from({ length: 254 }, (_, bit) => [
    (1n << BigInt(bit)) - 1n,
    1n << BigInt(bit),
    (1n << BigInt(bit)) + 1n,
  ]).flat(),
  ...[1n, 2n, 3n].map((by) => FIELD_PRIME - by),
].filter((value) => value < FIELD_PRIME)

test('Poseidon is the same function in every lane, in a browser, and in circomlibjs', async () => {
  const native = openPoseidon(await compilePoseidon())
  assert.ok(native.lanes.length > 1, 'this machine has no fused arithmetic: nothing was tested')
  const portable = openInBrowser()
  const circomlib = await buildPoseidon()
  let next = 0
  for (const count of [2, 6, 16])
    for (let round = 0; round < 60; round++) {
      const inputs = native.lanes.map((_, lane) =>
        Array.from({ length: count }, (_, i) =>
          round % 2 === 0 ? EDGES[next++ % EDGES.length]! : element(`${count}/${round}/${lane}/${i}`),
        ),
      )
      for (const [lane, each] of inputs.entries()) native.lanes[lane]!.set(scalarBuffer(each))
      const hashes = native.hash(count)
      for (const [lane, each] of inputs.entries()) {
        const expected = scalarBuffer([circomlib.F.toObject(circomlib(each))])
        assert.equal(hashes.slice(32 * lane, 32 * (lane + 1)), expected, `lane ${lane} of ${each}`)
        if (round >= 4) continue
        portable.lanes[0]!.set(scalarBuffer(each))
        assert.equal(portable.hash(count), expected, `in a browser, ${each}`)
      }
    }
  assert.ok(next > EDGES.length)
})

test('many leaves are the same leaves, whatever their number, with the zero leaf among them', () => {
  for (const count of [1, 3, 4, 5, 9]) {
    const opening = (i: number) =>
      i % 4 === 2 ? null : { limbs: limbs((j) => (i * 7_919 + j * 31) & 0xffff), salt: element(`salt ${i}`) }
    const many = committer.leavesBytes(count, opening)
    assert.is(many.length, 32 * count)
    for (let i = 0; i < count; i++) {
      const of = opening(i) ?? { limbs: new Uint16Array(64), salt: 0n }
      assert.equal(
        many.slice(32 * i, 32 * (i + 1)),
        bigintToBytes(committer.leaf(of.limbs, of.salt), 32),
        `leaf ${i} of ${count}`,
      )
    }
  }
})

test('a machine without fused arithmetic does with what a page has', async () => {
  const fallback = committerOf(await compilePortable())
  const leaf = limbs((j) => 3 * j)
  assert.is(fallback.leaf(leaf, 9n), committer.leaf(leaf, 9n))
  const both = (): { limbs: Uint16Array; salt: bigint } => ({ limbs: leaf, salt: 9n })
  assert.equal(fallback.leavesBytes(2, both), committer.leavesBytes(2, both))
})

test('a leaf depends on every limb and on the salt', () => {
  const seen = new Set<bigint>([
    committer.leaf(
      limbs(() => 1),
      5n,
    ),
    committer.leaf(
      limbs(() => 1),
      6n,
    ),
  ])
  for (let at = 0; at < 64; at++)
    seen.add(
      committer.leaf(
        limbs((j) => (j === at ? 65535 : 1)),
        5n,
      ),
    )
  assert.is(seen.size, 66)
})

test('the circuit computes the same commitments, for extreme limbs and salts too', async () => {
  const witness = await calculator('relation')
  const extremes = [
    { limbs: limbs(() => 65535), salt: FIELD_PRIME - 1n },
    { limbs: limbs(() => 0), salt: 0n },
    { limbs: limbs((j) => j), salt: element('salt') },
    { limbs: limbs((j) => (j % 15 === 14 ? 65535 : 0)), salt: 1n },
  ]
  const u = Array.from({ length: 256 }, (_, i) => (i % 3 === 0 ? FIELD_PRIME - 1n : element(`${i}`)))
  assert.ok(relationHolds(committer, witness, relationInput({ leaves: extremes, u, accIn: FIELD_PRIME - 1n })))
})

test('the bytes of a leaf are its commitment, big-endian', () => {
  const leaves = [limbs((j) => j), limbs((j) => 65535 - j), limbs(() => 7)]
  const salts = [1n, 2n, element('3')]
  leaves.forEach((leaf, i) => {
    const bytes = committer.leavesBytes(1, () => ({ limbs: leaf, salt: salts[i]! }))
    assert.is(bytes.length, 32)
    assert.is(bytesToBigint(bytes), committer.leaf(leaf, salts[i]!))
  })
})

test('refuses what is not a leaf', async () => {
  assert.is(await codeOf(() => committer.leaf(new Uint16Array(63), 0n)), 'LEAF_LENGTH')
  assert.is(await codeOf(() => committer.leaf(new Uint16Array(65), 0n)), 'LEAF_LENGTH')
  assert.is(await codeOf(() => committer.leaf(new Uint16Array(64), FIELD_PRIME)), 'SALT_RANGE')
  assert.is(await codeOf(() => committer.leaf(new Uint16Array(64), FIELD_PRIME - 1n)), null)
  assert.is(await codeOf(() => committer.leaf(new Uint16Array(64), -1n)), 'SALT_RANGE')
  assert.is(await codeOf(() => committer.chain(FIELD_PRIME, 0n)), 'CHAIN_RANGE')
  assert.is(await codeOf(() => committer.chain(0n, FIELD_PRIME)), 'CHAIN_RANGE')
})

test.run()
