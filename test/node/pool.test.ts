/** Sessions of a pool: when the next one is opened, and whose failure counts for whom. The client's `openSession` is the test's. */
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LightClient } from '../../node/client/client.ts'
import { createPool, type PoolInit } from '../../node/client/pool.ts'
import { createScores } from '../../node/client/score.ts'
import type { ConsumerSession, JobOptions } from '../../node/client/session.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'

const PROVIDER = `0x${'1'.repeat(40)}` as const
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const now = { timeoutMs: 1_000, cancelled: () => false }

function createFake(init: Partial<PoolInit> = {}) {
  /** Answers of the jobs that run, when they are held back. */
  const held: (() => void)[] = []
  const answers = { hold: false }
  const openings: { jobs: bigint; resolve(): void; reject(error: SinterError): void }[] = []
  const session = (): ConsumerSession =>
    ({
      session: Uint8Array.of(openings.length),
      provider: { provider: PROVIDER, price: 1n, expectedLatencyMs: 1 },
      ended: new Promise(() => {}),
      async infer(_: Float32Array[], { before }: JobOptions) {
        if (answers.hold) await new Promise<void>((resolve) => held.push(resolve))
        before!()
        return { outputs: {}, acknowledged: new Promise(() => {}) }
      },
      close: async () => {},
    }) as unknown as ConsumerSession
  const client = {
    openSession: ({ jobs }: { jobs: bigint }) =>
      new Promise<ConsumerSession>((resolve, reject) =>
        openings.push({ jobs, resolve: () => resolve(session()), reject }),
      ),
    funds: async () => 1_000n,
    release: async () => {},
  } as unknown as LightClient
  const pool = createPool(
    {
      client,
      model: {} as LoadedModel,
      scores: createScores(Date.now),
      now: () => performance.now(),
      log: pino({ level: 'silent' }),
    },
    { ceiling: 1n, providers: 1, ...init },
  )
  return { pool, openings, held, answers }
}

test('the next session is opened before one is used up, so that nobody waits for it', async () => {
  const { pool, openings } = createFake({ sessionJobs: 8 })
  const first = pool.take()
  await tick()
  openings[0]!.resolve()
  const slot = await first
  for (let job = 0; job < 6; job++) await (await pool.take()).run([], now)
  assert.is(openings.length, 1)
  assert.is(await pool.take(), slot)
  await tick()
  assert.is(openings.length, 2, 'two of eight are left')
  await slot.run([], now)
  assert.is(await pool.take(), slot)
  openings[1]!.resolve()
  await tick()
  for (let job = 0; job < 7; job++) {
    const waits = await Promise.race([pool.take().then((each) => each.run([], now)), tick().then(() => 'waited')])
    assert.is.not(waits, 'waited')
  }
  assert.is(slot.jobsLeft, 0)
  await pool.close()
})

test('a session that is used up answers what waits in it, and only then is closed', async () => {
  const { pool, openings, held, answers } = createFake({ sessionJobs: 4 })
  const first = pool.take()
  await tick()
  openings[0]!.resolve()
  const slot = await first
  answers.hold = true
  const jobs = [0, 1, 2, 3].map(() => slot.run([], now).then(() => 'ANSWER', errorCode))
  const next = pool.take()
  await tick()
  assert.equal([slot.dead, slot.jobsLeft], [true, 0])
  for (const answer of held) answer()
  assert.equal(await Promise.all(jobs), ['ANSWER', 'ANSWER', 'ANSWER', 'ANSWER'])
  openings[1]!.resolve()
  assert.is.not(await next, slot)
  await pool.close()
})

test('what a hedge finds nobody for is no answer to a request that needs anybody', async () => {
  const { pool, openings } = createFake({ sessionJobs: 2 })
  const first = pool.take()
  await tick()
  openings[0]!.resolve()
  const slot = await first
  await slot.run([], now)
  // A second provider for a slow request: the one we have is not taken for that.
  const hedge = pool.take(new Set([slot])).then(() => 'NONE', errorCode)
  await tick()
  assert.is(openings.length, 2)
  await slot.run([], now)
  const request = pool.take()
  openings[1]!.reject(new SinterError('NO_BIDS', 'nobody else'))
  assert.is(await hedge, 'NO_BIDS')
  await tick()
  assert.is(openings.length, 3, 'the request asks for itself')
  openings[2]!.resolve()
  assert.is((await request).jobsLeft, 2)
  await pool.close()
})

test('a hedge does not ask again right after nobody else bid, a request whose provider is gone does', async () => {
  const { pool, openings } = createFake()
  const first = pool.take()
  await tick()
  openings[0]!.resolve()
  const slot = await first
  const hedge = pool.take(new Set([slot])).then(() => 'NONE', errorCode)
  await tick()
  openings[1]!.reject(new SinterError('NO_BIDS', 'nobody else'))
  assert.is(await hedge, 'NO_BIDS')
  assert.is(await pool.take(new Set([slot])).then(() => 'NONE', errorCode), 'NO_BIDS')
  assert.is(openings.length, 2)
  await slot.close()
  const again = pool.take(new Set([slot]))
  await tick()
  assert.is(openings.length, 3)
  openings[2]!.resolve()
  await again
  await pool.close()
})

test('a session of which many jobs are used at once is followed by a larger one, as funds allow', async () => {
  for (const [ceiling, larger] of [
    [1n, 32n],
    [4n, 16n],
  ] as const) {
    const { pool, openings } = createFake({ sessionJobs: 16, ceiling })
    const first = pool.take()
    await tick()
    assert.is(openings[0]!.jobs, 16n)
    openings[0]!.resolve()
    const slot = await first
    for (let job = 0; job < 12; job++) await slot.run([], now)
    await pool.take()
    await tick()
    assert.is(openings[1]!.jobs, larger, 'an eighth of 1,000')
    openings[1]!.resolve()
    await tick()
    assert.is(pool.slots()[1]!.jobsLeft, Number(larger))
    await pool.close()
  }
})

test.run()
