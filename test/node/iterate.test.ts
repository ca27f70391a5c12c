/** Iterated graphs over sessions of a real provider's code: what goes up, who is believed, and what becomes of who is not. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { tensorOf } from '../../models/tiling.ts'
import { createBudget } from '../../node/client/budget.ts'
import { createReplicas, type IterateOptions, linksOf } from '../../node/client/iterate.ts'
import type { ConsumerSession } from '../../node/client/session.ts'
import { carriedTensors, quantisedOutputs, toWire } from '../../node/jobs/tensors.ts'
import type { Runtime, Served } from '../../node/model/runtime.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import { code } from './session-peer.ts'
import { createWorld, digitsRuntime, log, model, PRICE, type World } from './session-world.ts'

const { images } = loadHeldOut()
const { manifest } = model
const [output] = manifest.outputs
const step = 2 ** -tensorOf(manifest, output!.tensor).exponent
const addressOf = (n: number): Address => `0x${String(n + 1).repeat(40)}`

/** Canonical answers that are one quantum off in one place. */
function shifted(): Runtime {
  return {
    ...digitsRuntime,
    async serveCanonical(inputs): Promise<Served> {
      const { outputs, executionUs } = await digitsRuntime.serveCanonical(inputs)
      const [wire] = outputs
      const floats = new Float32Array(wire!.data.slice().buffer)
      floats[3]! += step
      const wrong = [toWire(wire!.name, wire!.shape, floats)]
      return { outputs: wrong, quantised: quantisedOutputs(manifest, wrong), executionUs }
    },
  }
}
const failing = (): Runtime => ({
  ...digitsRuntime,
  serveCanonical: async () => {
    throw new SinterError('EXEC_CRASHED', 'gone')
  },
})

/** Providers that are opened in this order, and what became of them. */
function team(runtimes: Runtime[], options: IterateOptions = {}, budget = createBudget(null)) {
  const worlds = runtimes.map((runtime): World => {
    const world = createWorld({}, runtime)
    world.bid.canonical = true
    return world
  })
  const opened: Address[] = []
  const released: Address[] = []
  const suspects: bigint[] = []
  const replicas = createReplicas(
    {
      model,
      budget,
      async open(count, jobs, exclude) {
        assert.equal(exclude.toSorted(), opened.toSorted(), 'those at work and those dropped are left out')
        assert.ok(jobs > 0)
        const from = opened.length
        if (from + count > worlds.length) throw new SinterError('NO_BIDS', 'nobody is left')
        const sessions: ConsumerSession[] = []
        for (let i = from; i < from + count; i++) {
          const { consumer } = await worlds[i]!.consume()
          opened.push(addressOf(i))
          sessions.push({ ...consumer, provider: { ...consumer.provider, provider: addressOf(i) } })
        }
        return sessions
      },
      release: async ({ provider }) => void released.push(provider.provider),
      auditor: async () => ({ open: ({ seq }) => void suspects.push(seq) }),
      log,
    },
    [],
    options,
  )
  return { replicas, opened, released, suspects, budget }
}

test('two that agree to the bit are believed, and each is paid', async () => {
  const { replicas, opened, released, suspects, budget } = team([digitsRuntime, digitsRuntime])
  for (let i = 0; i < 6; i++) {
    const { shares, disputed } = await replicas.step([images[i]!], 6 - i)
    assert.equal([shares.length, disputed], [2, 0])
    for (const { acknowledged } of shares) await acknowledged
  }
  await replicas.close()
  assert.equal([opened.length, released.length, suspects.length], [2, 2, 0])
  assert.is(budget.spent, 12n * PRICE)
})

test('where two differ a third decides; who is outvoted is opened to the committee, dropped and replaced', async () => {
  const { replicas, opened, suspects } = team([shifted(), digitsRuntime, digitsRuntime, digitsRuntime])
  const first = await replicas.step([images[0]!], 2)
  assert.equal(
    first.shares.map(({ provider }) => provider.provider),
    [addressOf(1), addressOf(2)],
  )
  assert.is(first.disputed, 1)
  const second = await replicas.step([images[1]!], 1)
  assert.equal([second.shares.length, second.disputed, opened.length], [2, 0, 3])
  await replicas.close()
  assert.equal(suspects, [1n])
})

test('who fails is replaced in the same step, and costs nothing', async () => {
  const { replicas, opened, budget } = team([failing(), digitsRuntime, digitsRuntime])
  const { shares } = await replicas.step([images[0]!], 1)
  assert.is(shares.length, 2)
  await replicas.close()
  assert.is(opened.length, 3)
  assert.is(budget.spent, 2n * PRICE)
})

test('without a majority there is no state to go on from, and nobody is believed alone', async () => {
  const split = team([digitsRuntime, shifted()], { spares: 0 })
  assert.is(await code(split.replicas.step([images[0]!], 1)), 'REPLICAS_DIFFER')
  await split.replicas.close()
  assert.equal(split.suspects, [1n, 1n])
  const alone = team([digitsRuntime, failing(), failing()])
  assert.is(await code(alone.replicas.step([images[0]!], 1)), 'NO_BIDS')
  await alone.replicas.close()
  const one = team([digitsRuntime], { replicas: 1 })
  assert.is((await one.replicas.step([images[0]!], 1)).shares.length, 1)
  await one.replicas.close()
})

test('the limit and the caller end a run', async () => {
  const poor = team([digitsRuntime, digitsRuntime], {}, createBudget(3n * PRICE))
  await poor.replicas.step([images[0]!], 2)
  assert.is(await code(poor.replicas.step([images[1]!], 1)), 'SPENDING_LIMIT')
  await poor.replicas.close()
  const stopped = team([digitsRuntime, digitsRuntime], { signal: AbortSignal.abort() })
  assert.is(await code(stopped.replicas.step([images[0]!], 1)), 'ABORTED')
  assert.is(stopped.opened.length, 0)
})

test('links are taken by name, and only between ends of one size', () => {
  const ends = (name: string, count: number) => ({ name, shape: [count] })
  const graph = {
    ...manifest,
    inputs: [ends('w', 4), ends('v', 2), ends('x', 3)],
    outputs: [ends('w_out', 4), ends('v', 2), ends('error', 1)],
  } as unknown as typeof manifest
  assert.equal(linksOf(graph, null), [
    ['w_out', 'w'],
    ['v', 'v'],
  ])
  assert.equal(linksOf(graph, { w_out: 'w' }), [['w_out', 'w']])
  for (const carry of [{ error: 'x' }, { none: 'w' }, { w_out: 'none' }, {}])
    assert.throws(
      () => linksOf(graph, carry),
      (error: unknown) => errorCode(error) === 'GRAPH_CARRY',
    )
})

test('what a provider holds is named and not sent, and is still part of what the consumer signs', async () => {
  // An image goes in, ten logits come out: the shapes are made to fit by a runtime that gives its input back.
  const end = manifest.inputs[0]!
  const echoed = {
    ...model,
    manifest: { ...manifest, outputs: [{ ...output!, name: 'next', shape: end.shape, tensor: end.tensor }] },
  }
  const echo: Runtime = {
    ...digitsRuntime,
    model: echoed as typeof model,
    async serveCanonical([image]) {
      const floats = Float32Array.from(image!, (value) => value / 2 ** tensorOf(manifest, end.tensor).exponent)
      return { outputs: [toWire('next', end.shape, floats)], quantised: [image!], executionUs: 1 }
    },
  }
  const world = createWorld({}, echo)
  world.bid.canonical = true
  const { consumer, stream, served } = await world.consume({}, echoed as typeof model)
  const sizes: number[] = []
  const write = stream.write.bind(stream)
  stream.write = (bytes) => {
    sizes.push(bytes.length)
    return write(bytes)
  }
  const requests: number[] = []
  const ask = async (image: Float32Array) => {
    const at = sizes.length
    const result = await consumer.infer([image], { carry: { [end.name]: 'next' } })
    requests.push(sizes[at]!)
    await result.acknowledged
    return result.outputs.next!
  }
  const first = await ask(images[0]!)
  const second = await ask(first)
  assert.equal(second, first)
  await ask(images[1]!)
  // Whole, named, and whole again because it is another value.
  assert.ok(requests[0]! > 256 && requests[1]! < 100 && requests[2]! > 256, requests.join())
  await consumer.close()
  await served
  assert.is((await world.ledger.session(world.session))!.acknowledged.seq, 3n)
})

test('a provider takes nothing from a result that there was not', () => {
  const refused = (work: () => unknown) => assert.throws(work, (error: unknown) => errorCode(error) === 'CARRY_UNKNOWN')
  const last = [toWire(output!.name, output!.shape, new Float32Array(10))]
  refused(() => carriedTensors(manifest, null, [{ input: 'image', output: output!.name }]))
  refused(() => carriedTensors(manifest, last, [{ input: 'image', output: 'other' }]))
  refused(() => carriedTensors(manifest, last, [{ input: 'other', output: output!.name }]))
})

test.after(() => {
  // A test that failed leaves sessions open.
  setTimeout(() => process.exit(), 1_000).unref()
})

test.run()
