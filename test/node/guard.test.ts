import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const GUARD = new URL('../../node/exec/guard.ts', import.meta.url).href
/** Starts two processes that would never end, guards both, releases one if asked, and prints their ids. */
const program = (release: boolean): string => `
import { spawn } from 'node:child_process'
const { guardProcess } = await import(${JSON.stringify(GUARD)})
const start = () => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
const [a, b] = [start(), start()]
const done = guardProcess(a.pid)
guardProcess(b.pid)
if (${release}) done()
console.log(a.pid, b.pid)
setInterval(() => {}, 1000)
`

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function endsWithin(pid: number, ms: number): Promise<boolean> {
  for (let waited = 0; alive(pid) && waited < ms; waited += 50) await sleep(50)
  return !alive(pid)
}

async function start(release: boolean): Promise<{ parent: ChildProcess; pids: number[] }> {
  const parent = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', program(release)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(parent.stdout!, 'data')) as [Buffer]
  return { parent, pids: line.toString().trim().split(' ').map(Number) }
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const)
  test(`guarded processes end with a parent that ends by ${signal}`, async () => {
    const { parent, pids } = await start(false)
    // Long enough for the guard to run.
    await sleep(500)
    parent.kill(signal)
    for (const pid of pids) assert.ok(await endsWithin(pid, 15_000), `${pid} is still there`)
  })

test('a process that was released is left alone', async () => {
  const { parent, pids } = await start(true)
  await sleep(500)
  parent.kill('SIGKILL')
  assert.ok(await endsWithin(pids[1]!, 15_000))
  assert.ok(alive(pids[0]!))
  process.kill(pids[0]!, 'SIGKILL')
})

test.run()
