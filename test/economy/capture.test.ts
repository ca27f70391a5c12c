import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import { COMMITTEES, quorumOdds, row, seatOdds, seatsOf, sharing } from './capture.ts'

const close = (left: number, right: number, what: string): void =>
  assert.ok(Math.abs(left - right) <= 1e-9 * Math.max(left, right, 1e-12), `${what}: ${left}, ${right}`)

const choose = (n: number, k: number): number => {
  let ways = 1
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i
  return ways
}

test('equal stakes are drawn as from an urn', () => {
  const odds = seatOdds({ honest: [30, 5], captors: [10, 5] }, 7)
  for (const [i, p] of odds.entries()) close(p, (choose(10, i) * choose(30, 7 - i)) / choose(40, 7), `${i} of 7`)
})

test('two nodes by hand: the first seat by stake, the second is who is left', () => {
  assert.equal(
    seatOdds({ honest: [1, 3], captors: [1, 1] }, 1).map((p) => p * 4),
    [3, 1],
  )
  close(seatOdds({ honest: [2, 1], captors: [1, 2] }, 2)[1]!, 0.5 + 0.5 * (2 / 3), 'one of two')
})

test('few rich captors have less than their share, many poor ones among rich strangers more', () => {
  const committee = { seats: 13, quorum: 9, size: 13 }
  const few = quorumOdds({ honest: [100, 10], captors: [10, 50] }, committee).capture
  const many = quorumOdds({ honest: [100, 10], captors: [500, 1] }, committee).capture
  const urn = quorumOdds({ honest: [1e6, 2], captors: [1e6, 1] }, committee).capture
  assert.ok(few < urn && urn < many, `${few}, ${urn}, ${many}`)
})

test('an appeal asks more and larger committees, and each is harder to have', () => {
  assert.equal(
    [0, 1, 2].map((attempt) => seatsOf(13, attempt)),
    [13, 27, 55],
  )
  for (let i = 0; i + 1 < COMMITTEES.length; i++) {
    const [now, next] = [COMMITTEES[i]!, COMMITTEES[i + 1]!]
    if (now.size !== next.size) continue
    assert.ok(quorumOdds(sharing(0.33), next).capture < quorumOdds(sharing(0.33), now).capture)
  }
})

test('the table of settlement.md is this one', () => {
  const spec = readFileSync(assetPath('protocol/spec/settlement.md'), 'utf8')
  for (const committee of COMMITTEES) assert.ok(spec.includes(row(committee)), row(committee))
})

test.run()
