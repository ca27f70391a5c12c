import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { predicted, wilson } from './detection.ts'
import { judgeHonest } from './honest.ts'
import { openReference } from './reference.ts'
import { describeRow, describeTally, inside, measureModel } from './statistics.ts'

/** The small part of `npm run test:statistics`: 300 draws for each attack, 300 honest statements, 5 of them proved. */

const DRAWS = 300
const S = 8

test('Wilson’s interval is that of the textbook', () => {
  // Newcombe 1998, table I: 81 of 263 at 95%.
  const [low, high] = wilson(81, 263, 1.959964)
  assert.equal([low.toFixed(4), high.toFixed(4)], ['0.2553', '0.3662'])
  assert.equal(
    wilson(0, 10, 1.959964).map((end) => end.toFixed(4)),
    ['0.0000', '0.2775'],
  )
})

test('the odds that were not met are seen', () => {
  assert.not(inside({ predicted: 0.9, interval: wilson(150, 300) }))
  assert.ok(inside({ predicted: 0.5, interval: wilson(150, 300) }))
})

test('one broken op is caught with d1 and one edited tile with d2, on each model', async () => {
  for (const name of ['digits', 'residual', 'quantised', 'transformer'] as const) {
    const rows = await measureModel(name, S, DRAWS, false)
    assert.is(rows.length, 5, name)
    for (const row of rows) assert.ok(inside(row), describeRow(row))
    const of = (attack: string) => rows.find((row) => row.attack.startsWith(attack))!
    // The prediction of a whole op and of one tile are the published odds, which are cut off after six decimals.
    for (const [row, odds] of [
      [of('one whole op'), of('one whole op').d1],
      [of('one element'), of('one element').d2],
      [of('one limb'), of('one limb').d2],
    ] as const)
      assert.ok(row.predicted >= odds && row.predicted < odds + 1e-6, describeRow(row))
    assert.ok(of('another model').share > 0.99)
    for (const row of rows) console.log(`# ${describeRow(row)}`)
  }
})

test('where every op is checked whole, whatever is wrong is caught', async () => {
  const [row] = await measureModel('breast', S, DRAWS, true)
  assert.equal([row!.caught, row!.predicted], [DRAWS, 1])
  const { model } = await openReference('breast')
  assert.is(predicted(model.manifest, [{ op: 0, tile: 0 }], 0), 1)
})

test('no honest statement is refused', async () => {
  const tallies = await judgeHonest(
    [
      { model: 'digits', statements: 160, proofs: 3 },
      { model: 'residual', statements: 140, proofs: 2 },
    ],
    ['relation', 'pointwise'],
  )
  for (const tally of tallies) {
    assert.is(tally.rejected, 0)
    console.log(`# ${describeTally(tally)}`)
  }
  const sum = (of: 'statements' | 'proved' | 'witnesses'): number => tallies.reduce((all, each) => all + each[of], 0)
  assert.ok(sum('statements') >= 300 && sum('witnesses') >= sum('statements'))
  assert.is(sum('proved'), 5)
})

test.run()
