import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { tableAt } from '../../models/canonical.ts'
import type { PlanTable, PlanTensor, Scale } from '../../models/plan.ts'
import { splitTable } from '../../models/split.ts'
import { tabulate } from '../../models/tables.ts'
import { tableRange } from '../../models/validate.ts'

/** Functions that 64 segments hold too coarsely: one table against the sum of two, over all 65,536 inputs. */

const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
const sides = (range: number): Scale => ({ scale: range / 32_768, offset: 0 })
const FREE = { kind: 'free' } as const
const EXP = { kind: 'fixed', scale: 2 ** -15, offset: 32_768, levels: null } as const

const op = (apply: (x: number) => number): PlanTable => ({
  kind: 'table',
  name: 'op',
  input: 0,
  output: 1,
  function: 'f',
  apply,
})
const tensorOf = (grid: PlanTensor['grid']): PlanTensor => ({ name: 'y', shape: [64], bits: 16, grid, viewOf: null })

type Case = { apply: (x: number) => number; input: Scale; grid: PlanTensor['grid']; low: number; high: number }
const CASES: Record<string, Case> = {
  'exp of softmax': { apply: Math.exp, input: { scale: 2 ** -12, offset: -32_767 }, grid: EXP, low: 0, high: 1 },
  'GELU over ±16': { apply: gelu, input: sides(16), grid: FREE, low: -0.17, high: 6 },
  'tanh over ±32': { apply: Math.tanh, input: sides(32), grid: FREE, low: -1, high: 1 },
  'SiLU over ±32': { apply: (x) => x / (1 + Math.exp(-x)), input: sides(32), grid: FREE, low: -0.28, high: 12 },
}

for (const [name, { apply, input, grid, low, high }] of Object.entries(CASES))
  test(`${name}: the sum of two tables is at least four times closer, and never off where one table is right`, () => {
    const range = { low, high }
    const split = splitTable(op(apply), input, tensorOf(grid), range, 2)
    assert.ok(split)
    const { near, fine, coarse, scale } = split!
    for (const { knots } of [near, fine, coarse]) {
      const { min, max } = tableRange(knots)
      assert.ok(min >= -32_768 && max <= 32_767)
    }
    assert.is(fine.scale.scale, scale.scale)
    const one = tabulate(op(apply), input, tensorOf(grid), range, 2)
    let [alone, cut] = [0, 0]
    for (let u = -32_768; u <= 32_767; u++) {
      const exact = apply((u + input.offset) * input.scale)
      if (Math.abs(exact) > 2 * Math.max(high, -low)) continue
      const sum =
        tableAt(coarse.knots, u) + coarse.scale.offset + tableAt(fine.knots, tableAt(near.knots, u)) - scale.offset
      alone = Math.max(alone, Math.abs((tableAt(one.knots, u) + one.scale.offset) * one.scale.scale - exact))
      const off = Math.abs((Math.min(32_767, Math.max(-32_768, sum)) + scale.offset) * scale.scale - exact)
      cut = Math.max(cut, off)
      // The largest score of a softmax is the top of its range: nothing is lost there.
      if (u === 32_767 && grid === EXP) assert.ok(off <= scale.scale, `${off} at 0`)
    }
    assert.ok(cut <= alone / 4 + scale.scale, `${cut} of ${alone}`)
  })

test('what a table holds well enough stays one table: lines, kinks on a knot, gentle curves', () => {
  for (const [apply, range] of [
    [(x: number) => Math.max(0, x), 16],
    [(x: number) => 3 * x, 8],
    [(x: number) => 1 / (1 + Math.exp(-x)), 8],
    [Math.tanh, 2],
  ] as const)
    assert.is(splitTable(op(apply), sides(range), tensorOf(FREE), { low: -1, high: 1 }, 2), null)
  // A step cannot be cut finer.
  assert.is(splitTable(op(Math.sign), sides(7.9), tensorOf(FREE), { low: -1, high: 1 }, 2), null)
})

test.run()
