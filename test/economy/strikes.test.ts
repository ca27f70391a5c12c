import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { devnetParams } from '../../node/chain/params.ts'
import { at } from './random.ts'

/** What the parameters of the sequential test promise (settlement.md §5.6). */
const P0 = 0.005
const NAT = 1e6
const gain = devnetParams.strikeGain / NAT
const loss = devnetParams.strikeLoss / NAT
const threshold = devnetParams.strikeThreshold / NAT

/** Draws until the exclusion of a provider that is off with odds `rate`, all of its consumers of the same weight; null beyond `most`. */
function drawsUntilOut(rate: number, weight: number, limit: number, most: number, next: () => number): number | null {
  let score = 0
  for (let draws = 1; draws <= most; draws++) {
    score = Math.max(0, score + weight * (next() < rate ? gain : -loss))
    if (score >= limit) return draws
  }
  return null
}

test('the score of an honest provider is a supermartingale under exp, whatever the weights', () => {
  for (const weight of [0, 0.1, 1 / 3, 2 / 3, 1]) {
    const mean = P0 * Math.exp(weight * gain) + (1 - P0) * Math.exp(-weight * loss)
    assert.ok(mean <= 1, `${weight}: ${mean}`)
  }
  assert.ok(Math.abs(P0 * Math.exp(gain) + (1 - P0) * Math.exp(-loss) - 1) < 1e-4)
  assert.ok(Math.exp(threshold) >= 999_999)
})

test('an honest provider is excluded as seldom as stated, and one that is off too often soon', () => {
  let place = 0
  const next = (): number => at(1, place++, 0, 0)
  // With a threshold of ln 1000 the bound of one exclusion in a thousand draws can be seen.
  let draws = 0
  let exclusions = 0
  while (draws < 2_000_000) {
    const spent = drawsUntilOut(P0, 1, Math.log(1_000), 10_000, next)
    draws += spent ?? 10_000
    if (spent !== null) exclusions++
  }
  assert.ok(exclusions <= draws / 1_000, `${exclusions} in ${draws} draws`)
  assert.ok(exclusions > 0, 'the bound is worth something')
  let honest = 0
  for (let i = 0; i < 2_000; i++) if (drawsUntilOut(P0, 1, threshold, 1_000, next) !== null) honest++
  assert.is(honest, 0)
  const mean = (rate: number): number => {
    let sum = 0
    for (let i = 0; i < 500; i++) sum += drawsUntilOut(rate, 1, threshold, 100_000, next) ?? 100_000
    return sum / 500
  }
  assert.is(mean(1), 6)
  const [fifth, twentieth] = [mean(0.2), mean(0.05)]
  assert.ok(fifth > 25 && fifth < 45, `${fifth}`)
  assert.ok(twentieth > 150 && twentieth < 230, `${twentieth}`)
  console.log(`draws to the exclusion: always off 6, off at 20% ${fifth.toFixed(0)}, at 5% ${twentieth.toFixed(0)}`)
})

test.run()
