import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createProverPool, type ProverPool, type ProverPoolInit } from '../../circuits/pool.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { SinterError } from '../../protocol/errors.ts'
import {
  childIds,
  clampInput,
  codeOf,
  extremumInput,
  leaf,
  ownWork,
  pointwiseInput,
  productInput,
  relationInput,
} from './fixtures.ts'

const pools: ProverPool[] = []
/** A pool that is closed after the test, however that ends: a leftover child would keep this process alive. */
const openPool = (init: ProverPoolInit = {}): ProverPool => {
  const pool = createProverPool(init)
  pools.push(pool)
  return pool
}
test.after.each(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()))
})

/** Brings up `workers` children with the pointwise key loaded, so that what follows is running at once. */
const warm = (pool: ProverPool, workers: number) =>
  Promise.all(Array.from({ length: workers }, () => pool.prove('pointwise', pointwiseInput())))
/** Longer than handing a job to a waiting child takes, shorter than any proof. */
const SHORT_MS = 50

const verifier = await createVerifier()
test.after(() => verifier.close())

test('proves every kind in a child and not in the calling process', async () => {
  const pool = openPool()
  const work = await ownWork(async () => {
    const [relation, table, clamp, product, extremum] = await Promise.all([
      pool.prove('relation', relationInput()),
      pool.prove('pointwise', pointwiseInput()),
      pool.prove('pointwise', clampInput()),
      pool.prove('product', productInput()),
      pool.prove('extremum', extremumInput()),
    ])
    assert.equal(await verifier.verify('product', product.publicSignals, product.proof), { ok: true })
    assert.equal(await verifier.verify('extremum', extremum.publicSignals, extremum.proof), { ok: true })
    assert.is(extremum.publicSignals[2], extremum.accOut)
    assert.equal(await verifier.verify('relation', relation.publicSignals, relation.proof), { ok: true })
    assert.is(relation.publicSignals[11], relation.accOut)
    for (const { publicSignals, proof } of [table, clamp])
      assert.equal(await verifier.verify('pointwise', publicSignals, proof), { ok: true })
  })
  // The five proofs are more than five seconds of computing.
  assert.ok(work < 500, `${work} ms`)
  // A false statement fails its own job; the same child goes on.
  const lie = pool.prove('pointwise', pointwiseInput({ b: leaf('lie', () => 1) }))
  const truth = pool.prove('pointwise', pointwiseInput())
  assert.is(await codeOf(() => lie), 'WITNESS_UNSATISFIED')
  assert.is((await truth).proof.length, 256)
  await pool.close()
  assert.is(await codeOf(() => pool.prove('pointwise', pointwiseInput())), 'PROVER_CLOSED')
})

test('a job of higher priority goes before those that wait, equal ones in order', async () => {
  const pool = openPool()
  const order: string[] = []
  const job = (label: string, priority?: number) =>
    pool.prove('pointwise', pointwiseInput(), priority === undefined ? {} : { priority }).then(() => order.push(label))
  await Promise.all([job('first'), job('second'), job('late', -1), job('urgent', 1), job('urgent too', 1)])
  // No job is running before the child is up.
  assert.equal(order, ['urgent', 'urgent too', 'first', 'second', 'late'])
  const running = new AbortController()
  const aborted = codeOf(() => pool.prove('pointwise', pointwiseInput(), { signal: running.signal, priority: 1 }))
  running.abort()
  assert.is(await aborted, 'PROOF_ABORTED')
})

test('a timeout, an abort and the memory limit cost one job each', async () => {
  const quick = openPool({ timeoutMs: 50 })
  assert.is(await codeOf(() => quick.prove('pointwise', pointwiseInput())), 'PROOF_TIMEOUT')
  await quick.close()

  // Elsewhere a worker is only asked for its memory when it answers.
  if (process.platform === 'linux') {
    const small = openPool({ memoryMb: 50 })
    assert.is(await codeOf(() => small.prove('relation', relationInput())), 'PROVER_MEMORY')
    await small.close()
  }

  const pool = openPool()
  await warm(pool, 1)
  const running = new AbortController()
  const queued = new AbortController()
  const first = codeOf(() => pool.prove('relation', relationInput(), running.signal))
  const second = codeOf(() => pool.prove('relation', relationInput(), queued.signal))
  const third = pool.prove('pointwise', pointwiseInput())
  queued.abort()
  assert.is(await second, 'PROOF_ABORTED')
  setTimeout(() => running.abort(), SHORT_MS)
  assert.is(await first, 'PROOF_ABORTED')
  assert.is((await third).proof.length, 256)
  assert.is(await codeOf(() => pool.prove('relation', relationInput(), AbortSignal.abort())), 'PROOF_ABORTED')
  await pool.close()
})

test('a child that is killed costs its job, and close leaves none behind', async () => {
  const before = childIds()
  const pool = openPool({ workers: 2 })
  await warm(pool, 2)
  const jobs = [0, 1, 2].map(() => codeOf(() => pool.prove('pointwise', pointwiseInput())))
  await sleep(SHORT_MS)
  const [pid] = childIds().filter((id) => !before.includes(id))
  if (pid !== undefined) {
    process.kill(pid, 'SIGKILL')
    const codes = await Promise.all(jobs)
    assert.equal(
      codes.filter((code) => code !== null),
      ['PROVER_DIED'],
    )
  }
  await pool.close()
  assert.equal(childIds(), before)
})

test('closing rejects what is queued and running', async () => {
  const pool = openPool()
  await warm(pool, 1)
  const jobs = [0, 1, 2].map(() => codeOf(() => pool.prove('pointwise', pointwiseInput())))
  await sleep(SHORT_MS)
  await pool.close()
  assert.equal(await Promise.all(jobs), ['PROVER_CLOSED', 'PROVER_CLOSED', 'PROVER_CLOSED'])
})

test('a pool has at least one worker', () => {
  for (const workers of [0, -1, 1.5])
    assert.throws(
      () => createProverPool({ workers }),
      (error: unknown) => error instanceof SinterError && error.code === 'POOL_SIZE',
    )
})

test('a process that closed its pool and left an idle verifier ends by itself', () => {
  const script = `
    import { createProverPool } from './circuits/pool.ts'
    import { createVerifier } from './circuits/verify.ts'
    import { pointwiseInput } from './test/circuits/fixtures.ts'
    const pool = createProverPool()
    const { publicSignals, proof } = await pool.prove('pointwise', pointwiseInput())
    const verifier = await createVerifier()
    console.log(JSON.stringify(await verifier.verify('pointwise', publicSignals, proof)))
    await pool.close()
  `
  const result = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script], {
    encoding: 'utf8',
    timeout: 120_000,
  })
  assert.is(result.stderr, '')
  assert.is(result.stdout.trim(), '{"ok":true}')
  assert.is(result.status, 0)
})

test.run()
