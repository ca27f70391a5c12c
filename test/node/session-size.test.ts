import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createSessionSizes } from '../../node/client/session-size.ts'

const RICH = async (): Promise<bigint> => 10n ** 30n

/** Sessions of 256 jobs at first, of which `use` takes some in so many milliseconds. */
function world(base = 256) {
  let at = 0
  const sizes = createSessionSizes(base, () => at)
  return {
    sizes,
    open(jobs: number, tookMs = 2_000) {
      const slot = { jobsLeft: jobs }
      sizes.opened(slot, jobs, tookMs)
      return slot
    },
    use(slot: { jobsLeft: number }, jobs: number, ms: number): void {
      slot.jobsLeft -= jobs
      at += ms
    },
    next: (ceiling = 1n, funds = RICH) => sizes.next(ceiling, funds),
  }
}

test('sessions that are used up within a minute double, to sixteen times', async () => {
  const { open, use, next } = world()
  const seen: number[] = []
  while (seen.length < 6) {
    const jobs = await next()
    seen.push(jobs)
    // The last, of 4,096, lasts 45 s.
    use(open(jobs), jobs / 2, jobs * 5.5)
  }
  assert.equal(seen, [256, 512, 1_024, 2_048, 4_096, 4_096])
})

test('no session is larger than an offer may say', async () => {
  const { open, use, next } = world(100_000)
  use(open(800_000), 400_000, 1_000)
  assert.is(await next(), 1_000_000)
})

test('where no session is open the next one is of the base size', async () => {
  const { sizes, open, use, next } = world()
  const only = open(256)
  use(only, 128, 1_000)
  assert.is(await next(), 512)
  sizes.gone(only)
  assert.is(await next(), 256)
})

test('a session that lasts is followed by one of its size, one that nobody uses by a smaller one', async () => {
  const { open, use, next } = world()
  const slot = open(1_024)
  use(slot, 512, 31_000)
  assert.is(await next(), 1_024)
  use(slot, 0, 100_000)
  assert.is(await next(), 512)
  use(slot, 0, 10 ** 9)
  assert.is(await next(), 512)
  assert.is(await world().next(), 256)
})

test('the session that is used decides, not the spare beside it', async () => {
  const { open, use, next } = world()
  open(256)
  const busy = open(512)
  use(busy, 300, 5_000)
  assert.is(await next(), 1_024)
})

test('a larger session takes an eighth of the funds at most, and the base is not asked for', async () => {
  const { open, use, next } = world()
  assert.is(await next(3n, () => Promise.reject(new Error('nobody asks'))), 256)
  use(open(2_048), 1_024, 1_000)
  const price = 3n
  assert.is(await next(price, async () => 8n * price * 4_096n), 4_096)
  assert.is(await next(price, async () => 8n * price * 4_096n - 1n), 2_048)
  assert.is(await next(price, async () => 8n * price * 300n), 256)
  assert.is(await next(price, async () => 0n), 256)
})

test('the next session is due when what is left lasts no longer than two openings', () => {
  const { sizes, open, use } = world()
  const slot = open(256, 1_500)
  // 40 a second: 120 jobs in 3 s.
  use(slot, 80, 2_000)
  assert.is(sizes.due(slot), false)
  use(slot, 55, 1_375)
  assert.is(slot.jobsLeft, 121)
  assert.is(sizes.due(slot), false)
  use(slot, 1, 25)
  assert.is(sizes.due(slot), true)
})

test('slow or fast, a quarter of the jobs is kept, and no more than three quarters', () => {
  const { sizes, open, use } = world()
  const slow = open(256)
  use(slow, 191, 10 ** 7)
  assert.is(sizes.due(slow), false)
  use(slow, 1, 10 ** 5)
  assert.is(sizes.due(slow), true)
  const fast = open(256, 60_000)
  use(fast, 63, 10)
  assert.is(sizes.due(fast), false)
  use(fast, 1, 10)
  assert.is(sizes.due(fast), true)
})

test('a burst is no pace', () => {
  const { sizes, open, use } = world()
  const slot = open(256, 100)
  // 64 within a second are 13 in two openings, however soon they came.
  use(slot, 64, 1)
  assert.is(sizes.due(slot), false)
  assert.is(sizes.due({ jobsLeft: 0 }), false, 'one that the pool did not open by itself')
})

test.run()
