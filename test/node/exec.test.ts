import { spawn } from 'node:child_process'
import { constants, getPriority } from 'node:os'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { openSession } from '../../models/session.ts'
import { createExecutor, type Executor, type ExecutorInit } from '../../node/exec/host.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { onnxModel } from '../models/onnx-fixture.ts'

const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })

/** y = x + x. */
const DOUBLE = onnxModel({
  nodes: [{ op: 'Add', inputs: ['x', 'x'], output: 'y' }],
  input: ['n', 256],
  output: ['n', 256],
})
/** All products of n numbers, n² of them, several times over: memory to order. */
const GREEDY = onnxModel({
  nodes: [
    { op: 'Transpose', inputs: ['x'], output: 't' },
    { op: 'MatMul', inputs: ['x', 't'], output: 'a' },
    { op: 'Exp', inputs: ['a'], output: 'b' },
    { op: 'Exp', inputs: ['b'], output: 'c' },
    { op: 'Add', inputs: ['a', 'c'], output: 'y' },
  ],
  input: ['n', 1],
  output: ['n', 'n'],
})
/** n³ multiplications: time to order. */
const SLOW = onnxModel({
  nodes: [
    { op: 'Transpose', inputs: ['x'], output: 't' },
    { op: 'MatMul', inputs: ['x', 't'], output: 'a' },
    { op: 'MatMul', inputs: ['a', 'a'], output: 'b' },
    { op: 'MatMul', inputs: ['b', 'a'], output: 'y' },
  ],
  input: ['n', 1],
  output: ['n', 'n'],
})

const open: Executor[] = []
const start = async (init: Partial<ExecutorInit> = {}): Promise<Executor> => {
  const executor = await createExecutor({
    model: DOUBLE,
    executionProvider: 'cpu',
    timeoutMs: 10_000,
    memoryMb: 1_024,
    threads: 1,
    log,
    ...init,
  })
  open.push(executor)
  return executor
}
test.after(async () => {
  await Promise.all(open.map((executor) => executor.close()))
})

const x = (rows: number, columns = 256) => ({
  x: { data: Float32Array.from({ length: rows * columns }, (_, i) => i % 7), shape: [rows, columns] },
})
const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', errorCode)
const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
const until = async (what: string, condition: () => boolean, timeoutMs = 5_000): Promise<void> => {
  const deadline = Date.now() + timeoutMs
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('a model yields to the process that answers peers', async () => {
  const executor = await start()
  assert.ok(getPriority(executor.pid!) > getPriority() || getPriority() === constants.priority.PRIORITY_LOW)
})

test('a run in the child gives what a direct run gives, and costs little more', async () => {
  const executor = await start()
  assert.equal([executor.inputNames, executor.outputNames], [['x'], ['y']])
  assert.is.not(executor.pid, process.pid)
  const direct = await openSession(DOUBLE, { executionProvider: 'cpu', threads: 1 })
  const input = x(1)
  assert.equal(await executor.run(input), await direct.run(input))
  const median = async (run: () => Promise<unknown>): Promise<number> => {
    for (let i = 0; i < 50; i++) await run()
    const times: number[] = []
    for (let i = 0; i < 300; i++) {
      const at = performance.now()
      await run()
      times.push(performance.now() - at)
    }
    return times.sort((a, b) => a - b)[150]!
  }
  const inside = await median(() => direct.run(input))
  const outside = await median(() => executor.run(input))
  console.log(
    `  1 KiB through an addition: direct ${inside.toFixed(3)} ms, child process ${outside.toFixed(3)} ms (medians)`,
  )
  assert.ok(outside - inside < 5)
  await direct.dispose()
})

test('the reference model answers alike in the child and directly', async () => {
  const { model } = loadDigits()
  const { images } = loadHeldOut()
  const executor = await start({ model })
  const direct = await openSession(model, { executionProvider: 'cpu', threads: 1 })
  for (const data of images.slice(0, 5)) {
    const input = { image: { data, shape: [1, 1, 8, 8] } }
    assert.equal(await executor.run(input), await direct.run(input))
  }
  await direct.dispose()
})

test('many runs at once are answered each with its own result', async () => {
  const executor = await start()
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, i) => executor.run({ x: { data: new Float32Array(256).fill(i), shape: [1, 256] } })),
  )
  for (const [i, result] of results.entries()) assert.is(result.y!.data[0], 2 * i)
})

test('a wrong input costs that run only, and keeps its code', async () => {
  const executor = await start()
  const pid = executor.pid
  assert.is(await code(executor.run({})), 'INPUT_NAME')
  assert.is(await code(executor.run({ x: { data: new Float32Array(3), shape: [1, 256] } })), 'INPUT_SHAPE')
  assert.is((await executor.run(x(1))).y!.data[3], 6)
  assert.is(executor.pid, pid)
})

test('a model that does not load and an execution provider that is not there are refused with their codes', async () => {
  assert.is(await code(start({ model: new Uint8Array(100) })), 'MODEL_LOAD')
  const refused = await start({ executionProvider: 'cuda' }).catch((error: unknown) => error as SinterError)
  // On a machine with a working CUDA the same call must really run there.
  if (refused instanceof SinterError) {
    assert.is(refused.code, 'EP_UNAVAILABLE')
    assert.match(refused.message, /--ep cpu/)
  } else assert.is((await refused.run(x(1))).y!.data[3], 6)
})

test('a killed child fails the run with EXEC_CRASHED; the next run has a new one', async () => {
  const executor = await start({ model: SLOW })
  const first = executor.pid!
  const running = executor.run(x(3_000, 1))
  const waiting = executor.run(x(2, 1))
  setTimeout(() => process.kill(first, 'SIGKILL'), 150)
  assert.is(await code(running), 'EXEC_CRASHED')
  assert.is((await waiting).y!.shape[0], 2)
  const second = executor.pid!
  assert.is.not(second, first)
  assert.not.ok(alive(first))
  // The same while it is idle.
  process.kill(second, 'SIGKILL')
  await until('the host noticed', () => executor.pid === null)
  assert.is((await executor.run(x(2, 1))).y!.shape[0], 2)
  assert.is.not(executor.pid, second)
})

test('a hung child, and a run that takes too long, are killed and reported as EXEC_TIMEOUT', async () => {
  const executor = await start({ model: SLOW, timeoutMs: 700, memoryMb: 4_096 })
  const first = executor.pid!
  process.kill(first, 'SIGSTOP')
  const from = Date.now()
  assert.is(await code(executor.run(x(2, 1))), 'EXEC_TIMEOUT')
  assert.ok(Date.now() - from < 2_000)
  assert.not.ok(alive(first))
  // Not hung, only slow: some 10^12 operations.
  assert.is(await code(executor.run(x(8_000, 1))), 'EXEC_TIMEOUT')
  assert.is((await executor.run(x(2, 1))).y!.shape[0], 2)
})

test('a run that takes more memory than allowed is ended with EXEC_MEMORY, while the model is running', async () => {
  const executor = await start({ model: GREEDY, memoryMb: 500 })
  assert.is((await executor.run(x(2, 1))).y!.shape[0], 2)
  const before = process.memoryUsage.rss()
  assert.is(await code(executor.run(x(20_000, 1))), 'EXEC_MEMORY')
  assert.ok(process.memoryUsage.rss() - before < 300e6, 'the memory was not ours')
  assert.is((await executor.run(x(3, 1))).y!.shape[0], 3)
})

test('a run that was given up fails at once; the executor goes on', async () => {
  const executor = await start({ model: SLOW })
  const from = Date.now()
  const long = executor.run(x(2_500, 1), { signal: AbortSignal.timeout(50) })
  const queued = executor.run(x(2, 1), { signal: AbortSignal.timeout(60) })
  assert.is(await code(long), 'EXEC_ABORTED')
  assert.is(await code(queued), 'EXEC_ABORTED')
  assert.ok(Date.now() - from < 1_000)
  assert.is((await executor.run(x(2, 1))).y!.shape[0], 2)
})

test('close ends the process, whatever it is doing, and is final', async () => {
  const idle = await start()
  const idlePid = idle.pid!
  await idle.close()
  assert.not.ok(alive(idlePid))
  assert.is(await code(idle.run(x(1))), 'EXEC_CLOSED')
  const busy = await start({ model: SLOW, memoryMb: 4_096 })
  const busyPid = busy.pid!
  const running = code(busy.run(x(8_000, 1)))
  const waiting = code(busy.run(x(2, 1)))
  await new Promise((resolve) => setTimeout(resolve, 100))
  await busy.close()
  assert.is(await running, 'EXEC_CLOSED')
  assert.is(await waiting, 'EXEC_CLOSED')
  assert.not.ok(alive(busyPid))
})

test('a child ends with its host, even when the host is killed in the middle of a run', async () => {
  const host = new URL('../../node/exec/host.ts', import.meta.url).href
  for (const busy of [false, true]) {
    const script = `const { createExecutor } = await import(${JSON.stringify(host)})
      const log = { debug() {}, info() {}, warn() {}, error() {} }
      const model = Buffer.from(${JSON.stringify(Buffer.from(SLOW).toString('base64'))}, 'base64')
      const executor = await createExecutor({ model, executionProvider: 'cpu', timeoutMs: 60000, memoryMb: 4096, threads: 1, log })
      if (${busy}) executor.run({ x: { data: new Float32Array(8000), shape: [8000, 1] } })
      setTimeout(() => console.log(executor.pid), 300)
      setInterval(() => {}, 1000)`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const pid = await new Promise<number>((resolve) => {
      parent.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())))
    })
    assert.ok(alive(pid))
    parent.kill('SIGKILL')
    await until(`the ${busy ? 'busy' : 'idle'} child ended`, () => !alive(pid))
  }
})

test('a child knows none of our settings', async () => {
  process.env.SINTER_PASSWORD = 'secret'
  const executor = await start()
  if (process.platform === 'linux') {
    const { readFileSync } = await import('node:fs')
    assert.not.ok(readFileSync(`/proc/${executor.pid}/environ`, 'utf8').includes('SINTER_PASSWORD'))
  }
  delete process.env.SINTER_PASSWORD
})

test.run()
