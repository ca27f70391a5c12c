/**
 * `npm run test:training`: the training step of models/training over a local network of real processes, on the real images, until a stated
 * accuracy: two replicas a step; then local SGD over three providers with averaging.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ConsumerWorld, openConsumerWorld, runExample } from './consumer-world.ts'
import { drawn, firstState, GRAPH, SAMPLES, type State, score, train, trainApart } from './learning.ts'

const CALLS = 64
const ROUNDS = 8
const LOCAL = 8
const NAMES = ['one', 'two', 'three']
let world: ConsumerWorld
let model: string

test.before(async () => {
  world = await openConsumerWorld(Object.fromEntries(NAMES.map((name, i) => [name, { price: `0.00${i + 1}` }])))
  const account = await world.net.newAccount('trainer')
  const command = world.net.startCommand(
    'trainer',
    account,
    ['model', 'publish', GRAPH],
    ['--samples', SAMPLES, '--json'],
  )
  model = (await command.wait('published', 120_000)).facts.manifest as string
})
test.after(() => world?.stop())

test(`${CALLS} calls over two replicas: at least 94% of the held-out images`, async () => {
  const consumer = await world.connect(NAMES, { scheduler: { windowMs: 120_000 } })
  try {
    const started = performance.now()
    const { right, receipts, providers, disputed } = await train(consumer, model, CALLS, 2)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(
      `# ${CALLS} calls, ${receipts.length} receipts: ${right} of 360 right, ${seconds} s, ${consumer.spent} units`,
    )
    assert.equal([receipts.length, providers.size, disputed], [2 * CALLS, 2, 0])
    assert.ok(right >= 0.94 * 360, `${right}`)
  } finally {
    await consumer.stop()
  }
})

test(`local SGD, three workers, ${ROUNDS} rounds of ${LOCAL} calls: at least 94%`, async () => {
  const consumer = await world.connect(NAMES, { scheduler: { windowMs: 120_000 } })
  try {
    const started = performance.now()
    const workers = NAMES.map((name) => world.nodes.get(name)!.address)
    const { right, receipts, providers } = await trainApart(consumer, model, workers, { rounds: ROUNDS, calls: LOCAL })
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(
      `# local SGD, ${receipts.length} receipts at ${providers.size} providers: ${right} of 360 right, ${seconds} s`,
    )
    assert.equal([receipts.length, providers.size], [NAMES.length * ROUNDS * LOCAL, 3])
    assert.ok(right >= 0.94 * 360, `${right}`)
  } finally {
    await consumer.stop()
  }
})

test('`sinter run` trains from files to files, and a second command goes on where the first ended', async () => {
  const account = await world.net.newAccount('runner')
  const file = (name: string): string => join(account.folder, name)
  mkdirSync(file('feed'))
  const batch = drawn(7, 0, 1)
  const plain = (state: State): object =>
    Object.fromEntries(Object.entries(state).map(([name, data]) => [name, Array.from(data)]))
  for (let step = 0; step < 3; step++) writeFileSync(file(`feed/${step}.json`), JSON.stringify(plain(batch(step))))
  writeFileSync(file('first.json'), JSON.stringify(plain(firstState())))
  const args = ['--model', model, '--state', file('first.json'), '--feed', file('feed'), '--out', file('out'), '--json']
  for (const [steps, own] of [
    [2, [0, 1]],
    [3, [2]],
  ] as const) {
    const command = world.net.startCommand(
      'runner',
      account,
      ['run'],
      [...args, '--steps', `${steps}`, '--policy', 'open'],
    )
    assert.is(await command.ended, 0)
    const seen = command.events.filter(({ event }) => event === 'step')
    assert.equal(
      seen.map(({ facts }) => [facts.step, (facts.receipts as string[]).length]),
      own.map((step) => [step, 2]),
    )
    const [id] = seen[0]!.facts.receipts as string[]
    const asked = world.net.startCommand('asker', account, ['receipt', id!], ['--json'])
    const { facts } = await asked.wait('receipt', 30_000)
    assert.equal([facts.state, facts.acknowledged], ['pending', true])
  }
  const { step, state } = JSON.parse(readFileSync(file('out/state.json'), 'utf8')) as { step: number; state: State }
  assert.is(step, 3)
  assert.ok(score(Object.fromEntries(Object.entries(state).map(([k, v]) => [k, Float32Array.from(v)]))) > 180)
})

test('the training example of node/README.md runs', async () => {
  const printed = await runExample(world, 1, { SINTER_TRAINING: model })
  const lines = [...printed.matchAll(/^(\d) Float32Array\(4\) \[[\s\S]*?\] 2 0 (\d+)$/gm)]
  assert.equal(
    lines.map(([, step]) => step),
    ['0', '1', '2'],
    printed,
  )
})

test.run()
