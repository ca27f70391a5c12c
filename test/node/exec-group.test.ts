/** Several processes of one model, and requests that run together. */
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { placements } from '../../node/exec/devices.ts'
import { createGroup, type Group, type GroupInit } from '../../node/exec/group.ts'
import { errorCode } from '../../protocol/errors.ts'
import { onnxModel } from '../models/onnx-fixture.ts'

const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })

/** A few milliseconds a row: a product with a square matrix, many times. */
const SIDE = 256
const WORK = onnxModel({
  nodes: Array.from({ length: 12 }, (_, i) => ({
    op: 'MatMul',
    inputs: [i === 0 ? 'x' : `h${i}`, 'w'],
    output: i === 11 ? 'y' : `h${i + 1}`,
  })),
  floats: {
    w: { dims: [SIDE, SIDE], data: Array.from({ length: SIDE * SIDE }, (_, i) => (i % (SIDE + 1) === 0 ? 1 : 0)) },
  },
  input: ['n', SIDE],
  output: ['n', SIDE],
})
/** n columns ask for n² numbers: memory to order. */
const GREEDY = onnxModel({
  nodes: [
    { op: 'Expand', inputs: ['x', 'shape'], output: 'a' },
    { op: 'Exp', inputs: ['a'], output: 'y' },
  ],
  ints: { shape: [1, 20_000, 1] },
  input: ['n', 1, 'k'],
  output: ['n', 20_000, 'k'],
})

const open: Group[] = []
const start = async (init: Partial<GroupInit> = {}): Promise<Group> => {
  const group = await createGroup({
    model: WORK,
    executionProvider: 'cpu',
    placements: placements({ executionProvider: 'cpu' }),
    timeoutMs: 10_000,
    memoryMb: 1_024,
    log,
    ...init,
  })
  open.push(group)
  return group
}
test.after(async () => {
  await Promise.all(open.map((group) => group.close()))
})

const row = (value: number) => ({ x: { data: new Float32Array(SIDE).fill(value), shape: [1, SIDE] } })
const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', errorCode)

test('what waits runs together, each gets its own row, and who is alone waits for nobody', async () => {
  const group = await start({ maxBatch: 4 })
  await group.run(row(1))
  assert.equal(group.counts(), { runs: 1, rows: 1 })
  const answers = await Promise.all(Array.from({ length: 9 }, (_, i) => group.run(row(i))))
  for (const [i, { y }] of answers.entries()) {
    assert.equal(y!.shape, [1, SIDE])
    assert.ok(y!.data.every((value) => value === i))
  }
  // The first alone, for nothing was running; then four and four.
  assert.equal(group.counts(), { runs: 4, rows: 10 })
})

test('without a batch nothing runs together', async () => {
  const group = await start()
  await Promise.all(Array.from({ length: 5 }, (_, i) => group.run(row(i))))
  assert.equal(group.counts(), { runs: 5, rows: 5 })
})

test('requests of another shape run by themselves', async () => {
  const group = await start({ maxBatch: 8 })
  const wide = { x: { data: new Float32Array(2 * SIDE).fill(3), shape: [2, SIDE] } }
  const [, a, b, c] = await Promise.all([group.run(row(0)), group.run(row(1)), group.run(wide), group.run(row(2))])
  assert.equal([a!.y!.data[0], b!.y!.shape, c!.y!.data[0]], [1, [2, SIDE], 2])
  assert.equal(group.counts().runs, 3)
})

test('a request that fails in company fails alone; the others get their answers', async () => {
  const group = await start({ maxBatch: 8 })
  const poison = { y: row(1).x }
  const [, good, bad, also] = await Promise.all([
    group.run(row(0)),
    group.run(row(1)),
    code(group.run(poison)),
    group.run(row(2)),
  ])
  assert.equal([good!.y!.data[0], bad, also!.y!.data[0]], [1, 'INPUT_NAME', 2])
})

test('a process that dies under a batch costs none of its rows', async () => {
  const group = await start({ maxBatch: 8 })
  const running = Array.from({ length: 6 }, (_, i) => group.run(row(i)))
  await running[0]
  process.kill(group.pid!, 'SIGKILL')
  const answers = await Promise.allSettled(running)
  assert.equal(
    answers.map((each) => each.status === 'fulfilled' && each.value.y!.data[0]),
    [0, 1, 2, 3, 4, 5],
  )
})

test('memory beyond the limit is refused with its code, and the next request is served', async () => {
  const group = await start({ model: GREEDY, memoryMb: 400 })
  const wide = (k: number) => ({ x: { data: new Float32Array(k), shape: [1, 1, k] } })
  assert.is((await group.run(wide(10))).y!.shape[2], 10)
  assert.ok(['EXEC_MEMORY', 'RUN_FAILED'].includes(await code(group.run(wide(20_000)))))
  assert.is((await group.run(wide(2))).y!.shape[2], 2)
})

test('several sessions run at once, one request each', async () => {
  const group = await start({ placements: placements({ executionProvider: 'cpu', sessionsPerDevice: 2 }) })
  const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => group.run(row(i))))
  assert.equal(
    answers.map(({ y }) => y!.data[0]),
    [0, 1, 2, 3, 4, 5],
  )
})

test('a request given up leaves the line at once and takes no place in a batch', async () => {
  const group = await start({ maxBatch: 4 })
  const first = group.run(row(0))
  const gone = new AbortController()
  const dropped = code(group.run(row(1), { signal: gone.signal }))
  const last = group.run(row(2))
  gone.abort()
  assert.is(await dropped, 'EXEC_ABORTED')
  assert.equal([(await first).y!.data[0], (await last).y!.data[0]], [0, 2])
  assert.is(group.counts().rows, 2)
  await group.settled()
})

test('closing refuses what waits, and is final', async () => {
  const group = await start()
  const all = Array.from({ length: 3 }, (_, i) => code(group.run(row(i))))
  await group.close()
  const codes = await Promise.all(all)
  assert.equal(codes.slice(1), ['EXEC_CLOSED', 'EXEC_CLOSED'])
  assert.is(await code(group.run(row(1))), 'EXEC_CLOSED')
})

test('one process that cannot start ends the others', async () => {
  const places = placements({ executionProvider: 'cpu', sessionsPerDevice: 2 })
  assert.is(await code(start({ model: new Uint8Array(50), placements: places })), 'MODEL_LOAD')
  assert.is(await code(start({ placements: [] })), 'DEVICE_SESSIONS')
})

test.run()
