/** `npm run test:consumer`: what consumers use, over a local network of real processes: connection, scheduler and faults of providers. */

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { createGateway } from '../../node/gateway/app.ts'
import { serveHttp } from '../../node/gateway/serve.ts'
import { loadIdentity } from '../../node/identity/keystore.ts'
import { AbortedError, type Consumer, type Inference, InputError, MoneyError } from '../../node/sdk.ts'
import { assetPath } from '../../protocol/assets.ts'
import { failure } from '../failure.ts'
import { type ConsumerWorld, openConsumerWorld } from './consumer-world.ts'

const { images, labels } = loadHeldOut()
let world: ConsumerWorld

const answerOf = ({ outputs }: Inference): number => {
  const { data } = outputs.logits!
  return data.indexOf(Math.max(...data))
}
const right = (inference: Inference, i: number): boolean => answerOf(inference) === labels[i]

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
    phoenix: { price: '0.005' },
    loris: { price: '0.004', fault: 'slow-loris' },
    garbage: { price: '0.003', fault: 'quick-garbage' },
  }).catch((error: unknown) => {
    console.error(error)
    throw error
  })
})
test.after(() => world?.stop())

test('a job is answered with its price, its provider and a receipt that both sides sign', () =>
  using(world.connect(['honest']), async (consumer) => {
    const model = await consumer.model(world.model)
    assert.equal(model.inputs, [{ name: 'image', shape: [1, 8, 8], rows: null }])
    assert.ok(model.outputs[0]!.tolerance > 0 && model.outputs[0]!.tolerance < 1)
    assert.ok(model.caught.op > model.caught.leaf && model.caught.leaf > 0)
    const listed = await consumer.models()
    assert.ok(
      listed.some(({ manifest, name }) => manifest === world.model && name === 'digits'),
      'nobody tells of it',
    )
    const quotes = await consumer.quote(world.model, { windowMs: 40_000, bids: 4 })
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
    // A file that nobody has is looked for as long as the caller wants it.
    const nowhere = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
    const signal = AbortSignal.timeout(300)
    assert.is((await failure(consumer.infer(nowhere, images[0]!, { signal }))).code, 'ABORTED')
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

test('an account that cannot pay is told so, and one that another client has as well', async () => {
  const dataDir = join(world.net.folder, 'poor')
  const poor = await world.connect(['honest'], { dataDir, scheduler: { windowMs: 3_000 } })
  try {
    const error = await failure(poor.infer(world.model, images[0]!))
    assert.instance(error, MoneyError)
    assert.is(error.code, 'BALANCE_TOO_LOW')
    const twin = await failure(world.connect(['honest'], { dataDir }))
    assert.instance(twin, InputError)
    assert.is(twin.code, 'STORE_LOCKED')
  } finally {
    await poor.stop()
  }
})

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
    // While it hangs it is not asked: this one would wait for ever.
    const third = await consumer.infer(world.model, images[2]!, { hedgeMs: false })
    assert.is(third.receipt.provider, address('honest'))
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

test('a batch over three providers, one hanging and one killed midway: every item once, and right', () =>
  using(world.connect(['phoenix', 'loris', 'honest']), async (consumer) => {
    assert.is(await consumer.reserve(world.model), 3)
    const count = 80
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
      if (seen.size === 20) world.nodes.get('phoenix')!.actor.kill('SIGKILL')
    }
    assert.is(seen.size, count)
    assert.ok(correct >= 0.95 * count, `${correct} of ${count}`)
    const shares = Object.groupBy(seen.values(), (provider) => provider)
    assert.ok((shares[address('phoenix')]?.length ?? 0) > 0, 'the killed one had done some')
    assert.is(shares[address('loris')], undefined)
  }))

test('a provider killed in the middle of a request is replaced within the fail-over time, without a spare', () => {
  const chosen: string[] = []
  const onBids = (_: unknown, { provider }: { provider: string }): void => void chosen.push(provider)
  return using(world.connect(['loris', 'honest'], { scheduler: { providers: 1, onBids } }), async (consumer) => {
    await consumer.reserve(world.model)
    assert.equal(chosen, [address('loris')])
    const pending = consumer.infer(world.model, images[1]!, { hedgeMs: false })
    await new Promise((resolve) => setTimeout(resolve, 300))
    world.nodes.get('loris')!.actor.kill('SIGKILL')
    const started = performance.now()
    const answer = await pending
    assert.ok(performance.now() - started < 5_000, `${performance.now() - started} ms`)
    assert.ok(right(answer, 1))
    assert.is(answer.receipt.provider, address('honest'))
  })
})

test('batch goes on where it stopped, models and status say what there is', async () => {
  const account = await world.net.newAccount('commands')
  const [folder, out] = [join(account.folder, 'in'), join(account.folder, 'out')]
  for (const each of [folder, out]) mkdirSync(each)
  for (let i = 0; i < 6; i++) writeFileSync(join(folder, `${i}.json`), JSON.stringify([...images[i]!]))
  writeFileSync(join(folder, 'broken.json'), '[1, 2]')
  writeFileSync(join(out, '0.json'), 'done before')
  const cli = async (...args: string[]) => {
    const command = [assetPath('node/cli.ts'), ...args, '--json', ...world.join(account)]
    const run = promisify(execFile)(process.execPath, ['--no-warnings', ...command], { timeout: 120_000 })
    const { stdout, code } = await run.then(
      (done) => ({ ...done, code: 0 }),
      (error: { stdout: string; code: number }) => error,
    )
    return {
      code,
      lines: stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    }
  }
  const { code, lines } = await cli('batch', folder, '--model', world.model, '--out', out, '--providers', '1')
  assert.is(code, 1, 'one file is broken')
  assert.equal(lines[0], { event: 'begin', files: 7, before: 1 })
  assert.equal(
    lines.filter(({ event }) => event === 'failed').map(({ file, code }) => [file, code]),
    [['broken.json', 'TENSOR_SHAPE']],
  )
  assert.is(readFileSync(join(out, '0.json'), 'utf8'), 'done before')
  for (let i = 1; i < 6; i++) {
    const { outputs } = JSON.parse(readFileSync(join(out, `${i}.json`), 'utf8')) as {
      outputs: { logits: { data: number[] } }
    }
    assert.is(outputs.logits.data.indexOf(Math.max(...outputs.logits.data)), labels[i])
  }
  // The same images as a sealed data set: what is already there is left out, the rest comes over the network.
  const owner = await world.net.newAccount('owner')
  const flags = world.join(account)
  const password = readFileSync(flags[flags.indexOf('--password-file') + 1]!, 'utf8').trim()
  const { peerId } = await loadIdentity({ path: join(account.folder, 'key.json'), password, cost: 'devnet' })
  writeFileSync(join(folder, '6.json'), JSON.stringify([...images[6]!]))
  const serving = world.net.startCommand('owner', owner, ['dataset', folder, '--for', String(peerId)], ['--json'])
  const { facts } = await serving.wait('dataset', 60_000)
  const sealed = await cli(
    ...['batch', facts.cid as string, '--sender', facts.sender as string],
    ...['--model', world.model, '--out', out, '--providers', '1'],
  )
  assert.equal(sealed.lines[0], { event: 'begin', files: 8, before: 6 })
  assert.ok(existsSync(join(out, '6.json')))
  const [model] = (await cli('models', world.model)).lines
  assert.is(model!.name, 'digits')
  assert.ok((model!.quotes as unknown[]).length > 0)
  const [status] = (await cli('status')).lines
  assert.is(status!.address, account.address)
  // One more for each cheap provider that did not give an answer.
  assert.ok((status!.sessions as unknown[]).length >= 1)
})

test('the gateway answers over the network, and its receipt can be followed', () =>
  using(world.connect(['honest']), async (consumer) => {
    const { app, warm } = createGateway(
      { consumer, log: pino({ level: 'silent' }) },
      { models: { digits: world.model }, version: '0' },
    )
    const { url, stop } = await serveHttp(app, { host: '127.0.0.1', port: 0 })
    try {
      await warm()
      assert.is((await fetch(`${url}/v2/health/ready`)).status, 200)
      const inputs = [
        {
          name: 'image',
          shape: [2, 1, 8, 8],
          datatype: 'FP32',
          data: [images[3]!, images[4]!].flatMap((each) => [...each]),
        },
      ]
      const response = await fetch(`${url}/v2/models/digits/infer`, {
        method: 'POST',
        body: JSON.stringify({ inputs }),
      })
      assert.is(response.status, 200)
      const { outputs } = (await response.json()) as { outputs: { data: number[] }[] }
      const best = (from: number): number => {
        const row = outputs[0]!.data.slice(from, from + 10)
        return row.indexOf(Math.max(...row))
      }
      assert.equal([best(0), best(10)], labels.slice(3, 5))
      assert.is(response.headers.get('sinter-price'), String(2n * 10n ** 16n))
      const [receipt] = response.headers.get('sinter-receipt')!.split(', ')
      await consumer.receipt(receipt!).acknowledged()
      const status = (await (await fetch(`${url}/v2/receipts/${receipt}`)).json()) as Record<string, unknown>
      assert.equal([status.state, status.acknowledged, status.provider], ['pending', true, address('honest')])
    } finally {
      await stop()
    }
  }))

test.run()
