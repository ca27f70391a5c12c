import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { AnchoredBatch } from '../../node/stages/book.ts'
import { toleranceOpenings } from '../../node/stages/settle.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { verifySumPath } from '../../protocol/sum-tree.ts'
import { type DrawVerdict, packVerdicts } from '../../protocol/vote.ts'
import { idealProofs } from './attestation-ideal.ts'
import { type Attested, attest, copyOf, makeWorld, NETWORK, PROVIDER } from './attestation-world.ts'

const { pool } = await idealProofs()
const world = makeWorld()
const prove = async () => ({})
const honest = await attest(world, pool, { prove })
const anchored: AnchoredBatch = {
  id: toHex(world.batch),
  provider: PROVIDER.address,
  root: toHex(world.tree.root.hash),
  total: world.tree.root.sum,
  block: 1n,
  ranges: world.ranges,
}

const openings = ({ message, facts }: Pick<Attested, 'message' | 'facts'>, verdicts: DrawVerdict[]) =>
  toleranceOpenings(anchored, message, facts.points, packVerdicts(verdicts), NETWORK)

test('one opening for each receipt whose draw is off tolerance, as the contract reads it', () => {
  const both = openings(honest, ['tolerance', 'tolerance'])
  assert.equal(
    both.map(({ range }) => range),
    [0, 1],
  )
  for (const { index, price, receiptHash, path } of both) {
    const opened = verifySumPath(
      world.tree.root.hash,
      world.tree.root.sum,
      { receiptHash: fromHex(receiptHash), price },
      Number(index),
      path.map(({ hash, sum }) => ({ hash: fromHex(hash), sum })),
    )
    assert.ok(opened !== null)
    assert.ok(world.points.some((point) => point >= opened.start && point < opened.start + price))
  }
})

test('draws with other verdicts open nothing', () => {
  for (const verdict of ['valid', 'forged'] as const) assert.equal(openings(honest, [verdict, verdict]), [])
  world.points.forEach((point, draw) => {
    const verdicts: DrawVerdict[] = draw === 0 ? ['tolerance', 'valid'] : ['valid', 'tolerance']
    assert.equal(
      openings(honest, verdicts).map(({ index }) => Number(index)),
      [world.tree.find(point)],
    )
  })
})

test('two draws of one receipt give one opening, if either is off tolerance', async () => {
  const points = [world.points[0]!, world.points[0]!]
  const one = await attest(world, pool, { points, prove })
  assert.is(openings(one, ['tolerance', 'tolerance']).length, 1)
  assert.is(openings(one, ['valid', 'tolerance']).length, 1)
})

test('jobs without a receipt, or of a session that is not in the batch, open nothing and break nothing', () => {
  const message = copyOf(honest.message)
  delete (message.jobs[0] as { receipt?: unknown }).receipt
  message.jobs[1]!.receipt!.payload = new Uint8Array([1])
  assert.equal(openings({ ...honest, message }, ['tolerance', 'tolerance']), [])
  const elsewhere = { ...anchored, ranges: [] }
  const verdicts = packVerdicts(['tolerance', 'tolerance'])
  assert.equal(toleranceOpenings(elsewhere, honest.message, world.points, verdicts, NETWORK), [])
})

test.run()
