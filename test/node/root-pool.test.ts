/** Roots made in threads are those made here, and this thread goes on meanwhile. */
import { readdirSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createCommitter } from '../../circuits/commit.ts'
import { commitSide } from '../../node/attestation/commit.ts'
import { createRootPool } from '../../node/attestation/root-pool.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { errorCode } from '../../protocol/errors.ts'
import { model } from './session-world.ts'

const committer = await createCommitter()

/** The digits model with an input of so many numbers. */
function wide(elements: number): LoadedModel {
  const manifest = structuredClone(model.manifest)
  const [input] = manifest.inputs
  manifest.tensors[input!.tensor] = { ...manifest.tensors[input!.tensor]!, shape: [elements] }
  manifest.inputs[0] = { ...input!, shape: [elements] }
  return { ...model, manifest }
}
const values = (elements: number): Int16Array[] => [Int16Array.from({ length: elements }, (_, i) => (i * 37) % 30_011)]
const key = new Uint8Array(32).fill(3)

test('small and large, input and output: the same root', async () => {
  const pool = createRootPool(committer, { workers: 2 })
  for (const elements of [1, 64, 512, 513, 5_000]) {
    const of = wide(elements)
    assert.equal(
      await pool.root(of, 'input', key, values(elements)),
      commitSide(committer, of, 'input', key, values(elements)),
      `${elements}`,
    )
  }
  assert.equal(
    await pool.root(model, 'output', key, values(10)),
    commitSide(committer, model, 'output', key, values(10)),
  )
  await pool.close()
  assert.is(await pool.root(wide(5_000), 'input', key, values(5_000)).then(() => 'none', errorCode), 'ROOTS_CLOSED')
})

test('several at once come back to those who asked', async () => {
  const pool = createRootPool(committer)
  const sizes = [2_000, 700, 1_300]
  const roots = await Promise.all(sizes.map((size) => pool.root(wide(size), 'input', key, values(size))))
  for (const [i, size] of sizes.entries())
    assert.equal(roots[i], commitSide(committer, wide(size), 'input', key, values(size)))
  await pool.close()
})

test('what waits when the pool is closed is told so', async () => {
  const pool = createRootPool(committer)
  const waiting = pool.root(wide(50_000), 'input', key, values(50_000)).then(() => 'none', errorCode)
  await new Promise((resolve) => setTimeout(resolve, 50))
  await pool.close()
  assert.is(await waiting, 'ROOTS_CLOSED')
})

test('the thread that asks does not stand still', async () => {
  const elements = 60_000
  const of = wide(elements)
  const at = performance.now()
  commitSide(committer, of, 'input', key, values(elements))
  const here = performance.now() - at
  const pool = createRootPool(committer)
  await pool.root(wide(1_000), 'input', key, values(1_000))
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await pool.root(of, 'input', key, values(elements))
  delay.disable()
  console.log(
    `# ${here.toFixed(0)} ms of commitments; elsewhere they hold this thread ${(delay.max / 1e6).toFixed(0)} ms at most`,
  )
  assert.ok(delay.max / 1e6 < here / 2)
  await pool.close()
})

/** Nice values of this process's threads (proc(5), stat). */
const niceness = (): number[] =>
  readdirSync('/proc/self/task').map((id) =>
    Number(readFileSync(`/proc/self/task/${id}/stat`, 'latin1').split(') ')[1]!.split(' ')[16]),
  )

if (process.platform === 'linux')
  test('a thread that commits yields to the one that asks, which stays as it is', async () => {
    const before = niceness()
    const own = before[0]!
    const pool = createRootPool(committer)
    await pool.root(wide(1_000), 'input', key, values(1_000))
    const lower = Math.min(own + 10, 19)
    const count = (of: number[]): number => of.filter((nice) => nice === lower).length
    assert.is(count(niceness()), count(before) + 1)
    assert.is(niceness()[0], own)
    await pool.close()
  })

test.run()
