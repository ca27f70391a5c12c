import { spawnSync } from 'node:child_process'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createProverPool } from '../../circuits/pool.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { SinterError } from '../../protocol/errors.ts'
import { childIds, clampInput, codeOf, leaf, pointwiseInput, relationInput } from './fixtures.ts'

test('proves both kinds in a child while the event loop stays free', async () => {
  const pool = createProverPool()
  const verifier = await createVerifier()
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
  }, 2)
  const [relation, table, clamp] = await Promise.all([
    pool.prove('relation', relationInput()),
    pool.prove('pointwise', pointwiseInput()),
    pool.prove('pointwise', clampInput()),
  ])
  clearInterval(timer)
  assert.ok(longest < 200, `${longest} ms`)
  assert.equal(await verifier.verify('relation', relation.publicSignals, relation.proof), { ok: true })
  assert.is(relation.publicSignals[11], relation.accOut)
  for (const { publicSignals, proof } of [table, clamp])
    assert.equal(await verifier.verify('pointwise', publicSignals, proof), { ok: true })
  // A false statement fails its own job; the same child goes on.
  const lie = pool.prove('pointwise', pointwiseInput({ b: leaf('lie', () => 1) }))
  const truth = pool.prove('pointwise', pointwiseInput())
  assert.is(await codeOf(() => lie), 'WITNESS_UNSATISFIED')
  assert.is((await truth).proof.length, 256)
  await pool.close()
  await verifier.close()
  assert.is(await codeOf(() => pool.prove('pointwise', pointwiseInput())), 'PROVER_CLOSED')
})

test('a timeout, an abort and the memory limit cost one job each', async () => {
  const quick = createProverPool({ timeoutMs: 50 })
  assert.is(await codeOf(() => quick.prove('pointwise', pointwiseInput())), 'PROOF_TIMEOUT')
  await quick.close()

  const small = createProverPool({ memoryMb: 50 })
  assert.is(await codeOf(() => small.prove('relation', relationInput())), 'PROVER_MEMORY')
  await small.close()

  const pool = createProverPool()
  const running = new AbortController()
  const queued = new AbortController()
  const first = codeOf(() => pool.prove('relation', relationInput(), running.signal))
  const second = codeOf(() => pool.prove('relation', relationInput(), queued.signal))
  const third = pool.prove('pointwise', pointwiseInput())
  queued.abort()
  assert.is(await second, 'PROOF_ABORTED')
  // Long enough for the child to have started, shorter than its first proof.
  setTimeout(() => running.abort(), 900)
  assert.is(await first, 'PROOF_ABORTED')
  assert.is((await third).proof.length, 256)
  assert.is(await codeOf(() => pool.prove('relation', relationInput(), AbortSignal.abort())), 'PROOF_ABORTED')
  await pool.close()
})

test('a child that is killed costs its job, and close leaves none behind', async () => {
  const before = childIds()
  const pool = createProverPool({ workers: 2 })
  const jobs = [0, 1, 2].map(() => codeOf(() => pool.prove('pointwise', pointwiseInput())))
  await new Promise((resolve) => setTimeout(resolve, 1200))
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
  const pool = createProverPool()
  const jobs = [0, 1, 2].map(() => codeOf(() => pool.prove('pointwise', pointwiseInput())))
  await new Promise((resolve) => setTimeout(resolve, 900))
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
    timeout: 30_000,
  })
  assert.is(result.stderr, '')
  assert.is(result.stdout.trim(), '{"ok":true}')
  assert.is(result.status, 0)
})

test.run()
