import { readFileSync } from 'node:fs'
import { buildPoseidon } from 'circomlibjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createCommitter, ZERO_CHAIN, ZERO_LEAF } from '../../circuits/commit.ts'
import { openPoseidon as openInBrowser } from '../../circuits/poseidon.browser.ts'
import { compilePoseidon, openPoseidon } from '../../circuits/poseidon.ts'
import { scalarBuffer } from '../../circuits/scalars.ts'
import { assetPath } from '../../protocol/assets.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import { calculator, codeOf, element, limbs, relationHolds, relationInput } from './fixtures.ts'

const committer = await createCommitter()

test('Poseidon is circomlib’s, and the constants are its values at zero', () => {
  // Published test vector of circomlibjs for two inputs.
  assert.is(committer.chain(1n, 2n), 7853200120776062878684798364095072458815029376092732009249414926327459813530n)
  assert.is(committer.leaf(new Uint16Array(64), 0n), ZERO_LEAF)
  assert.is(committer.chain(0n, 0n), ZERO_CHAIN)
})

test('the Poseidon module in the repository is the one that circomlibjs builds', async () => {
  const { F } = await buildPoseidon()
  assert.ok(Buffer.from(F.tm.code).equals(readFileSync(assetPath('circuits/artifacts/poseidon.wasm'))))
})

test('a browser’s Poseidon is the same function, for every number of inputs', async () => {
  const native = openPoseidon(await compilePoseidon())
  const inBrowser = openInBrowser()
  for (let count = 1; count <= 16; count++)
    for (const pick of [
      (i: number) => (i % 2 === 0 ? FIELD_PRIME - 1n : 0n),
      (i: number) => element(`${count}/${i}`),
    ]) {
      const bytes = scalarBuffer(Array.from({ length: count }, (_, i) => pick(i)))
      native.inputs.set(bytes)
      inBrowser.inputs.set(bytes)
      assert.equal(inBrowser.hash(count), native.hash(count), `${count} inputs`)
    }
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
    const bytes = committer.leafBytes(leaf, salts[i]!)
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
