import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { openSession } from '../../models/session.ts'
import type { Consumer } from '../../node/client/consumer.ts'
import { MoneyError, UnavailableError } from '../../node/client/failures.ts'
import { jobValues } from '../../node/client/values.ts'
import { checkExposure } from '../../node/gateway/access.ts'
import { createGateway, type GatewayInit } from '../../node/gateway/app.ts'
import { serveHttp } from '../../node/gateway/serve.ts'
import { decodeInfer, encodeInfer } from '../../node/gateway/tensors.ts'
import { SinterError } from '../../protocol/errors.ts'

/** The gateway's wire: real HTTP and the real model, called here instead of over a network (test/e2e/consumer.ts has that). */

const { images, labels } = loadHeldOut()
const digits = loadDigits()
const onnx = await openSession(digits.model, { executionProvider: 'cpu', threads: 1 })
const TOKEN = 'a-token-of-this-test'
const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

const ends = (list: { name: string; shape: number[] }[]) => list.map(({ name, shape }) => ({ name, shape, rows: null }))
const info = {
  id: 'cid',
  name: 'digits',
  units: 1,
  inputs: ends(digits.manifest.inputs),
  outputs: digits.manifest.outputs.map(({ name, shape }) => ({ name, shape, index: null, tolerance: 0 })),
  caught: { op: 1, leaf: 1 },
}
let hold: Promise<void> | null = null
let refuse: SinterError | null = null
let asked = 0
const consumer: Pick<Consumer, 'model' | 'infer' | 'receipt' | 'reserve'> = {
  model: async () => info,
  reserve: async () => 1,
  async infer(_, inputs) {
    const seq = ++asked
    if (refuse !== null) throw refuse
    await hold
    const [data] = jobValues(digits, inputs)
    const out = await onnx.run({ image: { shape: [1, 1, 8, 8], data: data! } })
    const receipt = {
      id: `0x${'ab'.repeat(32)}-${seq}`,
      price: 5n,
      provider: `0x${'cd'.repeat(20)}` as const,
      status: () => ({ state: 'pending' as const, acknowledged: true, batch: null }),
      checks: () => null,
      acknowledged: async () => {},
    }
    return { outputs: { logits: { shape: [10], data: out.logits!.data } }, latencyMs: 1, executionMs: 1, receipt }
  },
  receipt(id) {
    if (id !== 'known') throw new SinterError('RECEIPT_UNKNOWN', 'no such receipt')
    return {
      id,
      price: 5n,
      provider: '0xcd',
      status: () => ({ state: 'pending', acknowledged: true, batch: null }),
      checks: () => null,
      acknowledged: async () => {},
    }
  },
}

async function open(init: Partial<GatewayInit> = {}) {
  const made = createGateway(
    { consumer, log: pino({ level: 'silent' }) },
    { models: { digits: 'cid', again: 'cid' }, version: '0', ...init },
  )
  const { url, stop } = await serveHttp(made.app, { host: '127.0.0.1', port: 0 })
  return { ...made, url, stop }
}
const gateway = await open({ concurrency: 2, maxBytes: 100_000, maxRows: 3 })
test.after(async () => {
  await gateway.stop()
  await onnx.dispose()
})

type Given = { body: Uint8Array; headers?: Record<string, string> }
const post = (path: string, { body, headers = {} }: Given) =>
  fetch(`${gateway.url}${path}`, { method: 'POST', body: body as Uint8Array<ArrayBuffer>, headers })
const image = (i: number, shape = [1, 1, 8, 8]) => ({ name: 'image', shape, datatype: 'FP32', data: [...images[i]!] })
const infer = (value: object, path = '/v2/models/digits/infer') => post(path, { body: utf8(value) })
const best = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)))
async function refusal(response: Response): Promise<[number, string]> {
  return [response.status, ((await response.json()) as { error: string }).error]
}

test('health, metadata, config, index and statistics are where clients look for them', async () => {
  const get = async (path: string) => (await fetch(`${gateway.url}${path}`)).json() as Promise<Record<string, unknown>>
  assert.is((await fetch(`${gateway.url}/v2/health/live`)).status, 200)
  assert.is((await fetch(`${gateway.url}/v2/health/ready`)).status, 503)
  assert.is((await fetch(`${gateway.url}/v2/models/digits/ready`)).status, 503)
  await gateway.warm()
  assert.is((await fetch(`${gateway.url}/v2/health/ready`)).status, 200)
  assert.is((await fetch(`${gateway.url}/v2/models/digits/versions/1/ready`)).status, 200)
  assert.ok(((await get('/v2')).extensions as string[]).includes('binary_tensor_data'))
  const model = await get('/v2/models/digits')
  assert.equal(model.inputs, [{ name: 'image', datatype: 'FP32', shape: [-1, 1, 8, 8] }])
  assert.equal(model.outputs, [{ name: 'logits', datatype: 'FP32', shape: [-1, 10] }])
  assert.is((await get('/v2/models/digits/config')).max_batch_size, 3)
  assert.is(((await get('/v2/models/digits/stats')).model_stats as unknown[]).length, 1)
  assert.is(((await get('/v2/models/stats')).model_stats as unknown[]).length, 2)
  const index = (await (await post('/v2/repository/index', { body: new Uint8Array() })).json()) as { name: string }[]
  assert.equal(
    index.map(({ name }) => name),
    ['digits', 'again'],
  )
  const paths = Object.keys((await get('/openapi.json')).paths as object)
  assert.ok(paths.includes('/v2/models/{model}/infer'))
  assert.is((await get('/v2/receipts/known')).state, 'pending')
})

test('JSON in, JSON out: the answer, its receipt and its price', async () => {
  const response = await infer({ id: 'mine', inputs: [image(0)], outputs: [{ name: 'logits' }] })
  assert.is(response.status, 200)
  const json = (await response.json()) as {
    id: string
    model_name: string
    outputs: { shape: number[]; data: number[] }[]
  }
  assert.is(json.id, 'mine')
  assert.is(json.model_name, 'digits')
  assert.equal(json.outputs[0]!.shape, [1, 10])
  assert.is(best(json.outputs[0]!.data), labels[0])
  assert.match(response.headers.get('sinter-receipt')!, /^0x(ab){32}-\d+$/)
  assert.is(response.headers.get('sinter-price'), '5')
})

test('bytes in, bytes out, compressed or not, and rows in their order', async () => {
  const data = new Float32Array([...images[0]!, ...images[1]!])
  const header = utf8({
    inputs: [{ name: 'image', shape: [2, 1, 8, 8], datatype: 'FP32', parameters: { binary_data_size: 512 } }],
    parameters: { binary_data_output: true },
  })
  const body = new Uint8Array(Buffer.concat([header, new Uint8Array(data.buffer)]))
  const headers = { 'Inference-Header-Content-Length': String(header.length) }
  const zipped = { body: new Uint8Array(gzipSync(body)), headers: { ...headers, 'Content-Encoding': 'gzip' } }
  for (const given of [{ body, headers }, zipped]) {
    const response = await post('/v2/models/digits/infer', given)
    assert.is(response.status, 200)
    const at = Number(response.headers.get('inference-header-content-length'))
    const bytes = new Uint8Array(await response.arrayBuffer())
    const json = JSON.parse(new TextDecoder().decode(bytes.subarray(0, at))) as { outputs: { shape: number[] }[] }
    assert.equal(json.outputs[0]!.shape, [2, 10])
    const logits = new Float32Array(bytes.slice(at).buffer)
    assert.equal([best(logits.subarray(0, 10)), best(logits.subarray(10))], labels.slice(0, 2))
    assert.is(response.headers.get('sinter-receipt')!.split(', ').length, 2)
    assert.is(response.headers.get('sinter-price'), '10')
  }
})

test('what is wrong is named, with the status for it', async () => {
  const before = asked
  const bad = async (change: object, status: number, message: RegExp) => {
    const [got, error] = await refusal(await infer({ inputs: [{ ...image(0), ...change }] }))
    assert.is(got, status, error)
    assert.match(error, message)
  }
  await bad({ datatype: 'INT32', data: Array(64).fill(0) }, 400, /FP32/)
  await bad({ datatype: 'X' }, 400, /unknown datatype/)
  await bad({ shape: [1, 1, 8, 9] }, 400, /72/)
  await bad({ shape: [64] }, 400, /expected \[-1,1,8,8\]/)
  await bad({ shape: [2 ** 40, 2 ** 40] }, 400, /elements/)
  await bad({ name: 'other' }, 400, /unexpected inference input 'other'/)
  await bad({ data: undefined, parameters: { binary_data_size: 256 } }, 400, /Inference-Header-Content-Length/)
  for (const size of [252, 260, -256, 255.5]) {
    const header = utf8({ inputs: [{ ...image(0), data: undefined, parameters: { binary_data_size: size } }] })
    const body = new Uint8Array(Buffer.concat([header, new Uint8Array(Math.max(0, Math.floor(size)))]))
    const headers = { 'Inference-Header-Content-Length': String(header.length) }
    assert.match((await refusal(await post('/v2/models/digits/infer', { body, headers })))[1], /binary_data_size is/)
  }
  assert.match((await refusal(await infer({ inputs: [image(0)], outputs: [{ name: 'none' }] })))[1], /output 'none'/)
  assert.is((await infer({ inputs: [{ ...image(0), shape: [4, 1, 8, 8], data: Array(256).fill(0) }] })).status, 400)
  assert.is((await infer({ inputs: [image(0)] }, '/v2/models/none/infer')).status, 404)
  assert.is((await infer({ inputs: [image(0)] }, '/v2/models/constructor/infer')).status, 404)
  assert.is((await infer({ inputs: [image(0)] }, '/v2/models/digits/versions/2/infer')).status, 404)
  assert.is((await fetch(`${gateway.url}/v2/receipts/none`)).status, 404)
  assert.is((await post('/v2/repository/models/digits/load', { body: utf8({}) })).status, 501)
  assert.is((await post('/v2/models/digits/infer', { body: new Uint8Array(100_001) })).status, 413)
  const bomb = { body: new Uint8Array(gzipSync(new Uint8Array(10_000_000))), headers: { 'Content-Encoding': 'gzip' } }
  assert.is((await post('/v2/models/digits/infer', bomb)).status, 413)
  assert.is(asked, before, 'nothing was bought')
})

test('beyond the limit of requests the answer is 503 with a time to come back', async () => {
  let go = () => {}
  hold = new Promise((resolve) => {
    go = resolve
  })
  const first = [infer({ inputs: [image(0)] }), infer({ inputs: [image(1)] })]
  const before = asked
  while (asked < before + 2) await new Promise((resolve) => setTimeout(resolve, 5))
  const third = await infer({ inputs: [image(2)] })
  assert.is(third.status, 503)
  assert.is(third.headers.get('retry-after'), '1')
  go()
  hold = null
  for (const each of first) assert.is((await each).status, 200)
  assert.is((await infer({ inputs: [image(2)] })).status, 200)
})

test('a network without providers is 503 with Retry-After, a spent limit 503 without', async () => {
  refuse = new UnavailableError('NO_BIDS', 'nobody bid')
  const nobody = await infer({ inputs: [image(0)] })
  assert.equal([nobody.status, nobody.headers.get('retry-after')], [503, '1'])
  refuse = new MoneyError('SPENDING_LIMIT', 'spent')
  const spent = await infer({ inputs: [image(0)] })
  assert.equal([spent.status, spent.headers.get('retry-after')], [503, null])
  refuse = null
})

test('strangers do not spend the account’s money', async () => {
  assert.is((await fetch(`${gateway.url}/v2`, { headers: { Origin: 'https://evil.example' } })).status, 403)
  assert.is((await gateway.app.request('/v2', { headers: { Host: 'evil.example:80' } })).status, 403)
  assert.is((await gateway.app.request('/v2', { headers: { Host: 'localhost:8000' } })).status, 200)
  const guarded = await open({ tokens: [TOKEN] })
  const status = async (authorization?: string) =>
    (await fetch(`${guarded.url}/v2`, { headers: authorization === undefined ? {} : { authorization } })).status
  assert.is(await status(), 401)
  assert.is(await status('Bearer something-else-of-16'), 401)
  assert.is(await status(`Bearer ${TOKEN}`), 200)
  assert.is((await fetch(`${guarded.url}/v2/health/live`)).status, 200)
  await guarded.stop()
  assert.throws(() => checkExposure('0.0.0.0', []), /token/)
  assert.throws(() => checkExposure('0.0.0.0', ['short']), /16/)
  checkExposure('127.0.0.1', [])
  checkExposure('0.0.0.0', [TOKEN])
})

/** Decodes, and lets no other error out than the coded one. */
function decoded(body: Uint8Array, length: number | null) {
  try {
    return decodeInfer(body, length)
  } catch (error) {
    if (!(error instanceof SinterError) || error.code !== 'GATEWAY_REQUEST') throw error
    return null
  }
}

const jsonish = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.oneof(
      fc.integer(),
      fc.double(),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.constantFrom(-1, 2 ** 53, 1e300),
    ),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('name', 'shape', 'datatype', 'data', 'parameters', 'binary_data_size'), tie('value')),
  ),
})).value
const tensorish = fc.record(
  {
    name: fc.oneof(fc.constant('image'), jsonish),
    shape: fc.oneof(fc.array(fc.nat(3), { maxLength: 3 }), jsonish),
    datatype: fc.oneof(fc.constant('FP32'), jsonish),
    data: fc.oneof(fc.array(fc.double(), { maxLength: 4 }), jsonish),
    parameters: fc.oneof(fc.record({ binary_data_size: fc.oneof(fc.nat(40), jsonish) }), jsonish),
  },
  { requiredKeys: [] },
)

const right = fc
  .array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 4 })
  .map((data) => ({ name: 'image', shape: [data.length], datatype: 'FP32', data }))

test('whatever comes, the decoder reads it or refuses it with a code', () => {
  let read = 0
  fc.assert(
    fc.property(
      fc.array(fc.oneof(tensorish, right), { maxLength: 3 }),
      fc.uint8Array({ maxLength: 40 }),
      jsonish,
      (inputs, tail, odd) => {
        const json = utf8({ inputs, outputs: odd })
        const body = new Uint8Array(Buffer.concat([json, tail]))
        if (decoded(utf8({ inputs }), null) !== null) read++
        decoded(body, json.length)
        decoded(body, json.length + tail.length + 1)
        decoded(tail, null)
        decoded(utf8(odd), null)
      },
    ),
    { numRuns: 2_000 },
  )
  assert.ok(read > 0, 'some of it is right, or this shows little')
})

test('what is encoded is decoded again, bit for bit', () => {
  // JSON has no infinities, and an answer with one is refused before it comes here.
  const float = fc.float({ noNaN: true, noDefaultInfinity: true })
  fc.assert(
    fc.property(fc.array(fc.array(float, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 4 }), (rows) => {
      const outputs = rows.map((row, i) => ({
        name: `t${i}`,
        shape: [row.length],
        datatype: 'FP32' as const,
        data: Float32Array.from(row),
        binary: i % 2 === 0,
      }))
      const { body, headerLength } = encodeInfer({ model: 'm', version: '1', id: undefined, parameters: {}, outputs })
      const response = JSON.parse(new TextDecoder().decode(body.subarray(0, headerLength ?? body.length))) as {
        outputs: object[]
      }
      const json = utf8({ inputs: response.outputs })
      const request = decodeInfer(
        new Uint8Array(Buffer.concat([json, body.subarray(headerLength ?? body.length)])),
        json.length,
      )
      for (const [i, { data }] of request.inputs.entries())
        assert.ok(data.every((value, at) => value === outputs[i]!.data[at]))
    }),
    { numRuns: 300 },
  )
})

test.run()
