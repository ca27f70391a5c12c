/** Whole numbers on the gateway's wire: what a model looks up, and the index that it ends in. */
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { openSession } from '../../models/session.ts'
import type { Consumer } from '../../node/client/consumer.ts'
import { createGateway } from '../../node/gateway/app.ts'
import { serveHttp } from '../../node/gateway/serve.ts'

// Pixels of the digits are 0 to 16 sixteenths: the grey levels are rows of a table, and the digit is the place of the largest logit.
const { images, labels } = loadHeldOut()
const onnx = await openSession(loadDigits().model, { executionProvider: 'cpu', threads: 1 })
const LEVELS = 17
const levels = images.map((image) => [...image].map((value) => Math.round(16 * value)))
let sent = 0
const consumer = {
  model: async () => ({
    id: 'cid',
    name: 'levels',
    units: 1,
    inputs: [{ name: 'levels', shape: [64], rows: LEVELS }],
    outputs: [{ name: 'logits', shape: [10], index: { name: 'digit', axis: 0 } }],
  }),
  async infer(_: string, { levels }: { levels: Float32Array }) {
    sent++
    const out = await onnx.run({ image: { shape: [1, 1, 8, 8], data: levels.map((each) => each / 16) } })
    const receipt = { id: `0x${'ab'.repeat(32)}-${sent}`, price: 5n, provider: '0xcd' }
    return { outputs: { logits: { shape: [10], data: out.logits!.data } }, executionMs: 1, receipt }
  },
} as unknown as Pick<Consumer, 'model' | 'infer' | 'receipt' | 'reserve'>
const { app } = createGateway({ consumer, log: pino({ level: 'silent' }) }, { models: { levels: 'cid' }, version: '0' })
const { url, stop } = await serveHttp(app, { host: '127.0.0.1', port: 0 })
test.after(async () => {
  await stop()
  await onnx.dispose()
})

type Output = { name: string; datatype: string; shape: number[]; data?: number[]; parameters?: object }
const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const post = (body: Uint8Array, headers: Record<string, string> = {}) =>
  fetch(`${url}/v2/models/levels/infer`, { method: 'POST', body: body as Uint8Array<ArrayBuffer>, headers })
const rows = (n: number, datatype = 'INT64') => ({
  ...{ name: 'levels', shape: [n, 64], datatype },
  data: levels.slice(0, n).flat(),
})

test('metadata and config say INT64 for what is looked up and for the index', async () => {
  const model = (await (await fetch(`${url}/v2/models/levels`)).json()) as { inputs: Output[]; outputs: Output[] }
  assert.equal(model.inputs, [{ name: 'levels', datatype: 'INT64', shape: [-1, 64] }])
  assert.equal(model.outputs, [
    { name: 'digit', datatype: 'INT64', shape: [-1] },
    { name: 'logits', datatype: 'FP32', shape: [-1, 10] },
  ])
  const config = (await (await fetch(`${url}/v2/models/levels/config`)).json()) as Record<string, object[]>
  assert.equal(config.input, [{ name: 'levels', data_type: 'TYPE_INT64', dims: [64] }])
  assert.equal(config.output![0], { name: 'digit', data_type: 'TYPE_INT64', dims: [] })
})

test('whole numbers go in and come out as JSON', async () => {
  for (const datatype of ['INT64', 'INT32']) {
    const response = await post(utf8({ inputs: [rows(3, datatype)] }))
    const { outputs } = (await response.json()) as { outputs: Output[] }
    assert.is(response.status, 200)
    assert.equal(outputs[0], { name: 'digit', datatype: 'INT64', shape: [3], data: labels.slice(0, 3) })
    assert.equal([outputs[1]!.name, outputs[1]!.shape], ['logits', [3, 10]])
  }
  // Without a batch axis the index is a scalar.
  const plain = { ...rows(1), shape: [64] }
  const { outputs } = (await (await post(utf8({ inputs: [plain], outputs: [{ name: 'digit' }] }))).json()) as {
    outputs: Output[]
  }
  assert.equal(outputs, [{ name: 'digit', datatype: 'INT64', shape: [], data: [labels[0]!] }])
})

test('and as bytes, eight to a number', async () => {
  const flat = levels.slice(0, 2).flat()
  for (const [datatype, tail] of [
    ['INT64', new Uint8Array(BigInt64Array.from(flat, BigInt).buffer)],
    ['INT32', new Uint8Array(Int32Array.from(flat).buffer)],
  ] as const) {
    const header = utf8({
      inputs: [{ name: 'levels', shape: [2, 64], datatype, parameters: { binary_data_size: tail.length } }],
      parameters: { binary_data_output: true },
    })
    const response = await post(new Uint8Array(Buffer.concat([header, tail])), {
      'Inference-Header-Content-Length': String(header.length),
    })
    assert.is(response.status, 200)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const at = Number(response.headers.get('inference-header-content-length'))
    const { outputs } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, at))) as { outputs: Output[] }
    assert.equal(outputs[0], {
      ...{ name: 'digit', datatype: 'INT64', shape: [2] },
      parameters: { binary_data_size: 16 },
    })
    assert.equal(Array.from(new BigInt64Array(bytes.slice(at, at + 16).buffer), Number), labels.slice(0, 2))
    assert.is(bytes.length, at + 16 + 80)
  }
})

test('what is no row of the table is refused before anything is bought', async () => {
  const before = sent
  const bad = async (change: object, message: RegExp) => {
    const response = await post(utf8({ inputs: [{ ...rows(1), ...change }] }))
    const { error } = (await response.json()) as { error: string }
    assert.is(response.status, 400, error)
    assert.match(error, message)
  }
  const one = (value: number): number[] => [value, ...levels[0]!.slice(1)]
  await bad({ datatype: 'FP32' }, /model has INT64/)
  await bad({ datatype: 'UINT8' }, /FP32 or INT64/)
  await bad({ data: one(LEVELS) }, /holds 17, which is not from 0 to 16/)
  await bad({ data: one(-1) }, /holds -1/)
  await bad({ data: one(0.5) }, /0.5 is no INT64/)
  await bad({ data: one(2 ** 63) }, /not from 0 to 16/)
  const header = utf8({
    inputs: [{ name: 'levels', shape: [1, 64], datatype: 'INT64', parameters: { binary_data_size: 256 } }],
  })
  const short = await post(new Uint8Array(Buffer.concat([header, new Uint8Array(256)])), {
    'Inference-Header-Content-Length': String(header.length),
  })
  assert.match(((await short.json()) as { error: string }).error, /binary_data_size is 256, its shape has 512 bytes/)
  assert.is(sent, before)
  assert.is((await post(utf8({ inputs: [{ ...rows(1), data: one(LEVELS - 1) }] }))).status, 200)
})

test.run()
