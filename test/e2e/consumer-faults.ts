/**
 * The second half of `npm run test:consumer`: one local network of real processes on which nothing is settled, a provider
 * that hangs, one that is killed in a batch, a consumer that is killed in a request, and a training step over two replicas.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import type { Inference } from '../../node/sdk.ts'
import { type ConsumerWorld, openConsumerWorld, runExample } from './consumer-world.ts'
import { GRAPH, SAMPLES, train } from './learning.ts'

const { images, labels } = loadHeldOut()
const CALLS = 10
const FAIL_OVER_MS = 5_000
let world: ConsumerWorld
let training: Promise<string>

const answerOf = ({ outputs }: Inference): number => {
  const { data } = outputs.logits!
  return data.indexOf(Math.max(...data))
}
const address = (name: string): string => world.nodes.get(name)!.address

async function publishTraining(): Promise<string> {
  const account = await world.net.newAccount('trainer')
  const args = ['--samples', SAMPLES, '--json']
  const command = world.net.startCommand('trainer', account, ['model', 'publish', GRAPH], args)
  return (await command.wait('published', 120_000)).facts.manifest as string
}

test.before(async () => {
  world = await openConsumerWorld({
    honest: { price: '0.01' },
    second: { price: '0.02' },
    phoenix: { price: '0.005' },
    loris: { price: '0.004', fault: 'slow-loris' },
  }).catch((error: unknown) => {
    console.error(error)
    throw error
  })
  training = publishTraining()
  training.catch(() => {})
})
test.after(() => world?.stop())

test('a batch over three reserved providers, one hanging and one killed midway: every item once, right, and paid once', async () => {
  const names = ['phoenix', 'loris', 'honest']
  const consumer = await world.connect(names, { scheduler: { windowMs: 60_000 } })
  try {
    const count = 60
    const seen = new Map<number, Inference>()
    let correct = 0
    let cost = 0n
    const options = { shardMs: 100, reserve: { providers: 3, jobs: count } }
    for await (const item of consumer.batch(world.model, images.slice(0, count), options)) {
      assert.ok(item.ok, item.ok ? '' : item.error.message)
      if (!item.ok) continue
      assert.not.ok(seen.has(item.index), `item ${item.index} came twice`)
      seen.set(item.index, item.inference)
      cost += item.inference.receipt.price
      if (answerOf(item.inference) === labels[item.index]) correct++
      if (seen.size === 15) world.nodes.get('phoenix')!.actor.kill('SIGKILL')
    }
    assert.is(seen.size, count)
    assert.ok(correct >= 0.95 * count, `${correct} of ${count}`)
    const receipts = [...seen.values()].map(({ receipt }) => receipt)
    assert.is(new Set(receipts.map(({ id }) => id)).size, count, 'one receipt an item')
    const by = (name: string) => receipts.filter(({ provider }) => provider === address(name))
    assert.ok(by('phoenix').length > 0 && by('honest').length > 0 && by('loris').length <= 1)
    for (const receipt of by('honest')) await receipt.acknowledged()
    // What the hanging provider has is not answered and still counted, until it is given up.
    assert.ok([cost, cost + 4n * 10n ** 15n].includes(consumer.spent), `${consumer.spent} spent, ${cost} answered`)
  } finally {
    await consumer.stop()
  }
})

test('a request that hangs is answered by another provider within the fail-over time', async () => {
  const consumer = await world.connect(['loris', 'honest'], { scheduler: { windowMs: 60_000 } })
  try {
    await consumer.reserve(world.model)
    const started = performance.now()
    const { receipt, ...inference } = await consumer.infer(world.model, images[1]!)
    assert.ok(performance.now() - started < FAIL_OVER_MS, `${performance.now() - started} ms`)
    assert.is(answerOf({ receipt, ...inference }), labels[1])
    assert.is(receipt.provider, address('honest'))
  } finally {
    await consumer.stop()
  }
})

test('a consumer that is killed leaves its provider serving others', async () => {
  const account = await world.net.newAccount('vanisher')
  const terms = ['--provider', address('honest'), '--window', '60000', '--count', '300']
  const vanisher = world.net.startCommand('vanisher', account, ['infer'], ['--model', world.model, ...terms, '--json'])
  await vanisher.wait('answer', 60_000)
  vanisher.kill('SIGKILL')
  const consumer = await world.connect(['honest'], { scheduler: { windowMs: 60_000 } })
  try {
    await consumer.reserve(world.model)
    const started = performance.now()
    const inference = await consumer.infer(world.model, images[2]!, { hedgeMs: false })
    assert.ok(performance.now() - started < FAIL_OVER_MS)
    assert.is(answerOf(inference), labels[2])
    await inference.receipt.acknowledged()
  } finally {
    await consumer.stop()
  }
})

test('the first example of node/README.md runs', async () => {
  const printed = await runExample(world, 0)
  assert.match(printed, /^digits \[/)
  assert.match(printed, /^10 true$/m)
  assert.match(printed, /^0x[0-9a-f]{64}-\d+ \d+n pending$/m)
  assert.is([...printed.matchAll(/^\d+ \d+ \d+n$/gm)].length, 10)
  assert.match(printed, /^TENSOR_SHAPE$/m)
})

test(`${CALLS} calls of a training step over two replicas, to the bit: at least 80% of the held-out images`, async () => {
  const consumer = await world.connect(['honest', 'second'], { scheduler: { windowMs: 120_000 } })
  try {
    const { right, receipts, providers, disputed } = await train(consumer, await training, CALLS, 2)
    console.log(`# ${CALLS} calls, ${receipts.length} receipts of ${providers.size} providers: ${right} of 360 right`)
    assert.equal([receipts.length, new Set(receipts).size, providers.size, disputed], [2 * CALLS, 2 * CALLS, 2, 0])
    assert.ok(right >= 0.8 * 360, `${right}`)
  } finally {
    await consumer.stop()
  }
})

test.run()
