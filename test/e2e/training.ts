/**
 * `npm run test:training`: the training step of models/training over a local network of real processes, on the real images, until a stated
 * accuracy: two replicas a step; then local SGD over three providers with averaging.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ConsumerWorld, openConsumerWorld, runExample } from './consumer-world.ts'
import { GRAPH, SAMPLES, train, trainApart } from './learning.ts'

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
