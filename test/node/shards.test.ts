/** Who gets which items of a batch. The slots are the test's. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createBudget } from '../../node/client/budget.ts'
import type { Pool } from '../../node/client/pool.ts'
import { runBatch } from '../../node/client/shards.ts'
import type { Answer, Slot } from '../../node/client/slot.ts'

test('each provider of a reserved batch is asked by one runner, so that one that hangs holds up its own item only', async () => {
  const asked = new Map<string, number>()
  const slotOf = (name: string, answers: boolean): Slot =>
    ({
      session: { provider: { price: 1n, provider: name } },
      dead: false,
      jobsLeft: 100,
      measured: () => false,
      paceMs: () => 1,
      run: () => {
        asked.set(name, (asked.get(name) ?? 0) + 1)
        return answers ? new Promise((resolve) => setTimeout(() => resolve({} as Answer), 2)) : new Promise(() => {})
      },
    }) as unknown as Slot
  // The one that hangs is the cheapest.
  const slots = [slotOf('hangs', false), slotOf('first', true), slotOf('second', true)]
  const pool = {
    size: 3,
    reserve: async () => {},
    take: async (avoid: ReadonlySet<Slot>) => slots.find((slot) => !avoid.has(slot)),
  } as unknown as Pool
  const data = Array.from({ length: 20 }, () => ({ values: [] }))
  const reserve = { providers: 3, jobs: 20 }
  let done = 0
  const batch = runBatch({ pool, budget: createBudget(null), now: () => performance.now() }, data, { reserve })
  for await (const item of batch) {
    assert.ok(item.ok)
    if (++done === 19) break
  }
  assert.is(asked.get('hangs'), 1)
  assert.is(asked.get('first')! + asked.get('second')!, 19)
})

test.run()
