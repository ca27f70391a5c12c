import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { run } from './market.ts'
import { GENESIS } from './population.ts'
import { CHEATS, profits, scenarios } from './scenarios.ts'

/** The simulation in short; `npm run sim:economy` is the long one. */

const SIZE = { days: 260, providers: 90, consumers: 90, seed: 1 }
const WEATHERS = scenarios(130)

for (const { name, weather } of WEATHERS) {
  test(`${name}: every cheat loses`, () => {
    const { profit } = profits(CHEATS, weather, SIZE)
    assert.is(Object.keys(profit).length, CHEATS.length)
    for (const [cheat, tokens] of Object.entries(profit)) assert.ok(tokens <= 0, `${cheat} gains ${tokens}`)
  })

  test(`${name}: supply is genesis and credits less what burned, and the schedule holds`, () => {
    const { series, credited } = run({ ...SIZE, weather })
    const supply = series.supply.at(-1)!
    assert.ok(Math.abs(supply - (GENESIS + credited - series.burned.at(-1)!)) < 1)
    assert.ok(credited < 400_000 * SIZE.days)
    assert.ok(series.burned.at(-1)! > series.work.at(-1)!)
  })
}

test('a rule that pays capacity by the moving index would pay self-dealing: what the losses above are worth', () => {
  const { profit } = profits(CHEATS, WEATHERS[0]!.weather, SIZE, 'index')
  assert.ok(profit['four days of seven']! > 0, JSON.stringify(profit))
})

test('prices, burn rate and income follow demand within a month', () => {
  const [steady, boom, , collapse] = WEATHERS.map(({ weather }) => run({ ...SIZE, weather }).series)
  for (const values of ['index', 'beta', 'burned', 'income'] as const) {
    const then = 160
    assert.ok(boom![values][then]! > steady![values][then]!, `boom ${values}`)
    assert.ok(collapse![values][then]! < steady![values][then]!, `collapse ${values}`)
  }
})

test.run()
