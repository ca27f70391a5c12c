import * as snarkjs from 'snarkjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { prepareBases } from '../../circuits/fixed-base.ts'
import { scalarBuffer } from '../../circuits/scalars.ts'
import { concat } from '../../protocol/bytes.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import { at } from '../economy/random.ts'

/** Sums over fixed bases, held against the curve library's own and against what they must come to. */

const curve = await snarkjs.curves.getCurveFromName('bn128', { singleThread: true })
const { G1 } = curve
const code = curve.tm.code!
const multiple = (k: bigint): Uint8Array =>
  G1.toAffine(G1.timesScalar(G1.oneAffine, ((k % FIELD_PRIME) + FIELD_PRIME) % FIELD_PRIME))

/** The library's sum of separate products, none of which goes through buckets. */
const slow = (points: Uint8Array[], scalars: bigint[]): Uint8Array =>
  points.map((point, i) => G1.timesScalar(point, scalars[i]!)).reduce((sum, each) => G1.add(sum, each))

test('random scalars over random points', async () => {
  let drawn = 0
  const next = (): number => at(7, drawn++, 0, 0)
  const big = (): bigint => {
    let value = 0n
    for (let i = 0; i < 9; i++) value = (value << 30n) | BigInt(Math.floor(next() * 2 ** 30))
    return value % FIELD_PRIME
  }
  const points = Array.from({ length: 40 }, () => multiple(big()))
  const sum = prepareBases(code, concat(...points))
  for (let round = 0; round < 5; round++) {
    const scalars = points.map(() => (next() < 0.2 ? BigInt(Math.floor(next() * 3)) : big()))
    assert.ok(G1.eq(sum(scalarBuffer(scalars)), await G1.multiExpAffine(concat(...points), scalarBuffer(scalars))))
    assert.ok(G1.eq(sum(scalarBuffer(scalars)), slow(points, scalars)))
  }
})

test('points that are equal, opposite or each other’s multiples, and scalars at every end', () => {
  // Bucket by bucket these meet themselves, their opposites and, through other windows, their multiples.
  const points = [1n, 1n, -1n, 1n, 2n ** 10n, -(2n ** 10n), 2n, 3n].map(multiple)
  const sum = prepareBases(code, concat(...points))
  const half = 2n ** 253n
  for (const scalars of [
    [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n],
    [5n, 5n, 5n, 5n, 5n, 5n, 5n, 5n],
    [5n, 0n, 5n, 0n, 0n, 0n, 0n, 0n],
    [511n, 512n, 513n, 1023n, 1024n, 1n, 2n, 3n],
    [2n ** 10n, 0n, 0n, 0n, 1n, 0n, 0n, 0n],
    [2n ** 10n, 0n, 0n, 0n, 0n, 1n, 0n, 0n],
    [half, half, half, half, half, half, half, half],
    points.map((_, i) => FIELD_PRIME - BigInt(i) - 1n),
    points.map(() => 2n ** 254n - 1n),
  ])
    assert.ok(G1.eq(sum(scalarBuffer(scalars)), slow(points, scalars)), String(scalars))
  assert.ok(G1.isZero(sum(scalarBuffer([5n, 0n, 5n, 0n, 0n, 0n, 0n, 0n]))))
})

test('one point by itself', () => {
  const sum = prepareBases(code, multiple(9n))
  for (const scalar of [0n, 1n, 512n, FIELD_PRIME - 1n])
    assert.ok(G1.eq(sum(scalarBuffer([scalar])), G1.timesScalar(multiple(9n), scalar)))
})

test.run()
