import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { type ExecutionProvider, openSession } from '../../models/session.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, onnxGraph } from './onnx-fixture.ts'

const { model } = loadDigits()
const { images } = loadHeldOut()

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run()
  } catch (error) {
    if (error instanceof SinterError) return error.code
    throw error
  }
  return 'none'
}

test('a session runs one input or a batch, the same either way', async () => {
  const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
  assert.equal([session.inputNames, session.outputNames], [['image'], ['logits']])
  const single = await session.run({ image: { data: images[0]!, shape: [1, 1, 8, 8] } })
  assert.equal(single.logits!.shape, [1, 10])
  const both = new Float32Array(128)
  both.set(images[1]!)
  both.set(images[0]!, 64)
  const batch = await session.run({ image: { data: both, shape: [2, 1, 8, 8] } })
  assert.equal(batch.logits!.shape, [2, 10])
  single.logits!.data.forEach((value, i) => {
    assert.ok(Math.abs(value - batch.logits!.data[10 + i]!) < 1e-4)
  })
  await session.dispose()
})

test('wrong inputs, wrong files and closed sessions give coded errors', async () => {
  const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
  const image = { data: images[0]!, shape: [1, 1, 8, 8] }
  assert.is(await codeOf(() => session.run({})), 'INPUT_NAME')
  assert.is(await codeOf(() => session.run({ image, other: image })), 'INPUT_NAME')
  assert.is(await codeOf(() => session.run({ image: { data: images[0]!, shape: [1, 1, 8, 9] } })), 'INPUT_SHAPE')
  assert.is(await codeOf(() => session.run({ image: { data: images[0]!, shape: [1, 1, 4, 16] } })), 'RUN_FAILED')
  await session.dispose()
  await session.dispose()
  assert.is(await codeOf(() => session.run({ image })), 'RUN_FAILED')
  assert.is(await codeOf(() => openSession(new Uint8Array(100), { executionProvider: 'cpu' })), 'MODEL_LOAD')
})

for (const dtype of ['float16', 'float64'] as const)
  test(`a model of ${dtype} takes and gives numbers like any other`, async () => {
    const halves = [1, 0.5, -0.25, 2 ** -24, 65_504, -0, 1.0009765625]
    const session = await openSession(
      onnxGraph({
        nodes: [{ op: 'Add', inputs: ['x', 'c'], outputs: ['y'] }],
        inputs: { x: { dtype, dims: ['n', 7] } },
        outputs: { y: { dtype, dims: ['n', 7] } },
        constants: { c: constant(dtype, [], [0]) },
      }),
      { executionProvider: 'cpu', threads: 1 },
    )
    const { y } = await session.run({ x: { data: Float32Array.from(halves), shape: [1, 7] } })
    assert.equal(
      Array.from(y!.data, (value) => value + 0),
      halves.map((value) => value + 0),
    )
    assert.equal(y!.shape, [1, 7])
    await session.dispose()
  })

/** On a machine that has the GPU the session must work; on any other it must say what to do. Never a quiet CPU. */
for (const executionProvider of ['cuda', 'webgpu'] as ExecutionProvider[])
  test(`${executionProvider} runs or is refused with the remedy`, async () => {
    try {
      const session = await openSession(model, { executionProvider })
      const { logits } = await session.run({ image: { data: images[0]!, shape: [1, 1, 8, 8] } })
      assert.is(session.executionProvider, executionProvider)
      assert.is(logits!.data.length, 10)
      await session.dispose()
    } catch (error) {
      assert.is((error as SinterError).code, 'EP_UNAVAILABLE')
      assert.match((error as Error).message, '--ep cpu')
    }
  })

test.run()
