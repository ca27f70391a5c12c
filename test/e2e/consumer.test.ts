/** What consumers use, over a local network of real processes: connection, scheduler and faults of providers. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { AbortedError, type Consumer, type Inference, InputError, MoneyError } from '../../node/sdk.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type ConsumerWorld, openConsumerWorld } from './consumer-world.ts'

const { images, labels } = loadHeldOut()
let world: ConsumerWorld

const answerOf = ({ outputs }: Inference): number => {
  const { data } = outputs.logits!
  return data.indexOf(Math.max(...data))
}
const right = (inference: Inference, i: number): boolean => answerOf(inference) === labels[i]

async function failure(work: Promise<unknown>): Promise<SinterError> {
  try {
    await work
  } catch (error) {
    assert.instance(error, SinterError)
    return error as SinterError
  }
  throw new Error('it did not fail')
}

async function using<T>(consumer: Promise<Consumer>, work: (each: Consumer) => Promise<T>): Promise<T> {
  const each = await consumer
  try {
    return await work(each)
  } finally {
    await each.stop()
  }
}

const address = (name: string): string => world.nodes.get(name)!.address

test.before(async () => {
  world = await openConsumerWorld({
    honest: { price: '0.01' },
    other: { price: '0.02' },
    phoenix: { price: '0.005' },
    loris: { price: '0.004', fault: 'slow-loris' },
    garbage: { price: '0.003', fault: 'quick-garbage' },
    snail: { price: '0.006', fault: 'straggler' },
  }).catch((error: unknown) => {
    console.error(error)
    throw error
  })
})
test.after(() => world?.stop())

test('a job is answered with its price, its provider and a receipt that both sides sign', () =>
  using(world.connect(['honest']), async (consumer) => {
    const model = await consumer.model(world.model)
    assert.equal(model.inputs, [{ name: 'image', shape: [1, 8, 8] }])
    const quotes = await consumer.quote(world.model, { windowMs: 40_000, bids: 6 })
    assert.is(quotes[0]!.provider, address('garbage'), 'the cheapest first')
    assert.is(quotes[0]!.price, 3n * 10n ** 15n)
    assert.is(consumer.spent, 0n, 'a quote costs nothing')
    const inference = await consumer.infer(world.model, { image: images[0]! })
    assert.ok(right(inference, 0))
    assert.equal(inference.outputs.logits!.shape, [10])
    assert.is(inference.receipt.price, 10n ** 16n)
    assert.is(inference.receipt.provider, address('honest'))
    await inference.receipt.acknowledged()
    assert.equal(consumer.receipt(inference.receipt.id).status(), { state: 'pending', acknowledged: true, batch: null })
    assert.is(consumer.spent, 10n ** 16n)
    // Nested numbers are the same job.
    const rows = Array.from({ length: 8 }, (_, y) => [...images[1]!.subarray(8 * y, 8 * y + 8)])
    assert.ok(right(await consumer.infer(world.model, [rows]), 1))
  }))

test('what cannot be done says so with its class and code, and costs nothing', () =>
  using(world.connect(['honest'], { spendingLimit: 2n * 10n ** 16n }), async (consumer) => {
    const short = await failure(consumer.infer(world.model, { image: new Float32Array(63) }))
    assert.instance(short, InputError)
    assert.is(short.code, 'TENSOR_SHAPE')
    assert.is((await failure(consumer.infer(world.model, { picture: images[0]! }))).code, 'TENSOR_SET')
    assert.is((await failure(consumer.infer(world.model, new Float32Array(64).fill(Number.NaN)))).code, 'INPUT_NAN')
    assert.is((await failure(consumer.infer('nothing', images[0]!))).code, 'CID_MALFORMED')
    const aborted = await failure(consumer.infer(world.model, images[0]!, { signal: AbortSignal.abort() }))
    assert.instance(aborted, AbortedError)
    assert.is(consumer.spent, 0n)
    await consumer.infer(world.model, images[0]!)
    await consumer.infer(world.model, images[0]!)
    const limited = await failure(consumer.infer(world.model, images[0]!))
    assert.instance(limited, MoneyError)
    assert.is(limited.code, 'SPENDING_LIMIT')
    assert.throws(() => consumer.receipt('0x00-1'), /RECEIPT_UNKNOWN|no receipt/)
    // Logits do not fit the image: the graph cannot be iterated.
    assert.is((await failure(consumer.run(world.model, {}, 1).next())).code, 'GRAPH_CARRY')
  }))

test('a provider that hangs is hedged within the fail-over time', () =>
  using(world.connect(['loris', 'honest']), async (consumer) => {
    assert.is(await consumer.reserve(world.model), 2)
    const first = await consumer.infer(world.model, images[0]!)
    assert.is(first.receipt.provider, address('loris'), 'the cheapest and idle one is asked first')
    const started = performance.now()
    const second = await consumer.infer(world.model, images[1]!)
    assert.ok(performance.now() - started < 5_000)
    assert.ok(right(second, 1))
    assert.is(second.receipt.provider, address('honest'))
    // While it hangs, nobody waits for it again.
    const again = performance.now()
    await consumer.infer(world.model, images[2]!)
    assert.ok(performance.now() - again < 240, `${performance.now() - again} ms`)
  }))

test('a quick answer that is no answer is not passed on, and its provider not asked again', () =>
  using(world.connect(['garbage', 'honest'], { scheduler: { providers: 1 } }), async (consumer) => {
    const first = await consumer.infer(world.model, images[0]!)
    assert.is(first.receipt.provider, address('garbage'))
    const started = performance.now()
    const second = await consumer.infer(world.model, images[1]!)
    assert.ok(performance.now() - started < 5_000, `${performance.now() - started} ms`)
    assert.ok(right(second, 1))
    assert.is(second.receipt.provider, address('honest'))
    assert.is(consumer.spent, 13n * 10n ** 15n, 'the garbage is not counted')
  }))

test('a batch over three providers, one slow and one killed midway: every item once, and right', () =>
  using(world.connect(['phoenix', 'snail', 'other', 'honest'], { scheduler: { providers: 3 } }), async (consumer) => {
    const count = 120
    const seen = new Map<number, string>()
    let correct = 0
    const dataset = images.slice(0, count).map((image) => ({ image }))
    for await (const item of consumer.batch(world.model, dataset, { shardMs: 100 })) {
      assert.ok(item.ok, item.ok ? '' : item.error.message)
      if (!item.ok) continue
      assert.not.ok(seen.has(item.index), `item ${item.index} came twice`)
      seen.set(item.index, item.inference.receipt.provider)
      if (right(item.inference, item.index)) correct++
      assert.is(item.progress.done, seen.size)
      if (seen.size === 30) world.nodes.get('phoenix')!.actor.kill('SIGKILL')
    }
    assert.is(seen.size, count)
    assert.ok(correct >= 0.95 * count, `${correct} of ${count}`)
    const shares = Object.groupBy(seen.values(), (provider) => provider)
    assert.ok((shares[address('phoenix')]?.length ?? 0) > 0, 'the killed one had done some')
    assert.ok((shares[address('snail')]?.length ?? 0) < count / 4, 'the slow one gets fewer')
  }))

test('a provider killed in the middle of a request is replaced within the fail-over time, without a spare', () =>
  using(world.connect(['loris', 'honest'], { scheduler: { providers: 1 } }), async (consumer) => {
    await consumer.infer(world.model, images[0]!)
    const pending = consumer.infer(world.model, images[1]!, { hedgeMs: false })
    await new Promise((resolve) => setTimeout(resolve, 300))
    world.nodes.get('loris')!.actor.kill('SIGKILL')
    const started = performance.now()
    const second = await pending
    assert.ok(performance.now() - started < 5_000, `${performance.now() - started} ms`)
    assert.ok(right(second, 1))
    assert.is(second.receipt.provider, address('honest'))
  }))

test.run()
