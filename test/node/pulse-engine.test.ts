import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { placements } from '../../node/exec/devices.ts'
import { createPulseEngine } from '../../node/pulse/engine.ts'
import type { LaneWork } from '../../node/pulse/lane.ts'
import { openProducts } from '../../node/pulse/products.ts'
import { errorCode } from '../../protocol/errors.ts'
import {
  checkEntry,
  laneTree,
  nextState,
  type Position,
  PULSE_PRIME,
  pulseMatrix,
  stateTree,
  stepSeed,
  stepVectors,
} from '../../protocol/pulse.ts'

const N = 256
const pulse = { n: N, steps: 4, entries: 4 }
const matrix = pulseMatrix(N)
const engine = createPulseEngine({ executionProvider: 'cpu', placements: placements({ executionProvider: 'cpu' }) })
const pair = createPulseEngine({
  executionProvider: 'cpu',
  placements: placements({ executionProvider: 'cpu', sessionsPerDevice: 2 }),
})

/** A lane's answer by plain loops. */
function answerOf(seed: Uint8Array): Uint8Array {
  const roots: Uint8Array[] = []
  let x: Uint8Array = new Uint8Array(N * N)
  for (let step = 0; step < pulse.steps; step++) {
    x = nextState(matrix, stepVectors(stepSeed(seed, step, roots.at(-1) ?? new Uint8Array(32)), N), x, N)
    roots.push(stateTree(x, N).root)
  }
  return laneTree(roots).answer
}

for (const threads of [1, 2])
  test(`products on ${threads} threads are those of the reference, bit for bit`, async () => {
    const products = await openProducts(N, { executionProvider: 'cpu', threads })
    for (let i = 0; i < 3; i++) {
      const vectors = stepVectors(randomBytes(32), N)
      // The largest values that there are, and their neighbours.
      for (const vector of [vectors.alpha, vectors.beta, vectors.gamma, vectors.delta])
        for (let k = 0; k < 8; k++) vector[k] = PULSE_PRIME - 1 - (k & 1)
      const x = Uint8Array.from(randomBytes(N * N), (byte) => byte & 63)
      const got = Uint8Array.from(await products(Float32Array.from(x), vectors))
      assert.equal(Buffer.compare(got, nextState(matrix, vectors, x, N)), 0)
    }
  })

test('a lane has the answer of the reference, and what it shows passes the check', async () => {
  const seed = randomBytes(32)
  const positions: Position[] = [0, 3, 1, 1].map((step, i) => ({ step, row: 255 - i, column: 40 * i }))
  const { answer, entries } = await engine.lane({ seed, pulse, positions })
  assert.equal(answer, answerOf(seed))
  for (const [i, position] of positions.entries())
    assert.ok(checkEntry(position, pulse, seed, answer, entries[i]!), `entry ${i}`)
})

test('lanes side by side are those of their seeds, in order, and no more than wanted', async () => {
  const seeds = Array.from({ length: 5 }, () => randomBytes(32))
  const work = (lane: number): LaneWork => ({ seed: seeds[lane]!, pulse, positions: [] })
  const results = await pair.lanes(work, { most: 5, budgetMs: 30_000 })
  assert.equal(
    results.map(({ answer }) => Buffer.from(answer).toString('hex')),
    seeds.map((seed) => Buffer.from(answerOf(seed)).toString('hex')),
  )
})

test('what is not done in time is left, and no lane begins that would not be', async () => {
  const long = { ...pulse, steps: 65_536 }
  const began = performance.now()
  const work = (lane: number): LaneWork => ({ seed: randomBytes(32), pulse: lane === 0 ? pulse : long, positions: [] })
  const results = await engine.lanes(work, { most: 8, budgetMs: 4_000 })
  assert.is(results.length, 1)
  assert.ok(performance.now() - began < 8_000)
  // All lanes take as long; a machine that is busy with something else may have one that does not.
  let wasted = 1
  for (let attempt = 0; attempt < 3 && wasted > 0; attempt++) {
    let begun = 0
    const counted = (): LaneWork => {
      begun++
      return { seed: randomBytes(32), pulse: { ...pulse, steps: 128 }, positions: [] }
    }
    const done = await engine.lanes(counted, { most: 1_000, budgetMs: 2_500 })
    assert.ok(done.length > 0)
    wasted = begun - done.length
  }
  assert.is(wasted, 0)
})

test('a pulse that is given up says so, and so does a device that is not there', async () => {
  const seed = randomBytes(32)
  const signal = AbortSignal.timeout(300)
  const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'NO_ERROR', errorCode)
  assert.is(
    await code(engine.lane({ seed, pulse: { ...pulse, steps: 65_536 }, positions: [] }, signal)),
    'LANE_ABORTED',
  )
  const none = createPulseEngine({ executionProvider: 'dml', placements: placements({ executionProvider: 'dml' }) })
  assert.is(await code(none.lane({ seed, pulse, positions: [] })), 'EP_UNAVAILABLE')
})

test.run()
