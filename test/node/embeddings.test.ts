/** `/v1/embeddings` over plain HTTP: the real model and tokeniser of models/sentences, called here instead of over a network. */
import { readFileSync } from 'node:fs'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest, modelInputs, readSamples } from '../../models/calibrate.ts'
import { givenInputs } from '../../models/lookup.ts'
import { openSession } from '../../models/session.ts'
import type { Consumer } from '../../node/client/consumer.ts'
import { InputError, UnavailableError } from '../../node/client/failures.ts'
import { jobValues } from '../../node/client/values.ts'
import { createGateway } from '../../node/gateway/app.ts'
import { readTokenizer } from '../../node/gateway/embeddings.ts'
import { serveHttp } from '../../node/gateway/serve.ts'
import { assetPath } from '../../protocol/assets.ts'
import { errorCode, type SinterError } from '../../protocol/errors.ts'

const read = (file: string): Uint8Array => new Uint8Array(readFileSync(assetPath(`models/sentences/${file}`)))
const heldOut = JSON.parse(new TextDecoder().decode(read('heldout.json'))) as {
  tokens: { text: string; ids: number[] }[]
  pairs: [string, string][]
}
const original = read('sentences.onnx')
const samples = readSamples(read('calibration.bin'), [modelInputs(original)[0]!.shape])
const { manifest, weights, model } = await buildManifest({ name: 'sentences', model: original, samples })
const onnx = await openSession(model, { executionProvider: 'cpu', threads: 1 })
const tokenizer = readTokenizer(read('tokenizer.json'))
const TOKEN = 'a-token-of-this-test'
const [WIDTH] = manifest.outputs[0]!.shape as [number]
const [{ rows, shape }] = givenInputs(manifest) as unknown as [{ rows: number; shape: [number] }]

let refuse: SinterError | null = null
let jobs = 0
const consumer = {
  model: async () => ({
    id: 'cid',
    name: 'sentences',
    units: manifest.units,
    inputs: givenInputs(manifest),
    outputs: manifest.outputs.map(({ name, shape }) => ({ name, shape })),
  }),
  reserve: async () => 1,
  async infer(_: string, inputs: Parameters<typeof jobValues>[1]) {
    if (refuse !== null) throw refuse
    const [data] = jobValues({ manifest, weights }, inputs)
    const { name, shape } = manifest.inputs[0]!
    const out = await onnx.run({ [name]: { shape: [1, ...shape], data: data! } })
    const [end] = manifest.outputs
    const receipt = { id: `0x${'ab'.repeat(32)}-${++jobs}`, price: 5n, provider: '0xcd' }
    return { outputs: { [end!.name]: { shape: end!.shape, data: out[end!.name]!.data } }, receipt }
  },
} as unknown as Pick<Consumer, 'model' | 'infer' | 'receipt' | 'reserve'>

const log = pino({ level: 'silent' })
const embeddings = new Map([['sentences', { cid: 'cid', tokenizer }]])
const made = createGateway({ consumer, log }, { models: {}, embeddings, tokens: [TOKEN], version: '0' })
const { url, stop } = await serveHttp(made.app, { host: '127.0.0.1', port: 0 })
test.after(async () => {
  await stop()
  await onnx.dispose()
})

type Reply = {
  object: string
  model: string
  data: { object: string; index: number; embedding: number[] | string }[]
  usage: { prompt_tokens: number; total_tokens: number }
  error: { message: string; type: string; param: string | null; code: string }
}
const authorization = `Bearer ${TOKEN}`
async function embed(
  body: unknown,
  headers: Record<string, string> = { authorization },
): Promise<[number, Reply, Headers]> {
  const text = typeof body === 'string' ? body : JSON.stringify({ model: 'sentences', ...(body as object) })
  const response = await fetch(`${url}/v1/embeddings`, { method: 'POST', body: text, headers })
  return [response.status, (await response.json()) as Reply, response.headers]
}
async function vectors(input: unknown, more: object = {}): Promise<number[][]> {
  const [status, { data }] = await embed({ input, ...more })
  assert.is(status, 200)
  return data.map(({ embedding }) => embedding as number[])
}
const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0)
const near = (a: number[], b: number[]): boolean =>
  a.length === b.length && a.every((x, i) => Math.abs(x - b[i]!) < 1e-6)

test('tokens are those of the Python package that trained the tokeniser', () => {
  for (const { text, ids } of heldOut.tokens) assert.equal(tokenizer.encode(text).ids, ids, text)
  assert.throws(
    () => readTokenizer(new TextEncoder().encode('{}')),
    (error: unknown) => errorCode(error) === 'TOKENIZER',
  )
})

test('a text, texts, tokens and lists of tokens are the same vectors, of length 1, with their usage', async () => {
  const [text, other] = heldOut.pairs[0]!.map((each) => each.slice(0, 80)) as [string, string]
  const ids = [text, other].map((each) => tokenizer.encode(each).ids)
  const [status, reply, headers] = await embed({ input: [text, other], user: 'somebody' })
  assert.is(status, 200)
  assert.equal([reply.object, reply.model], ['list', 'sentences'])
  assert.equal(
    reply.data.map(({ object, index }) => [object, index]),
    [
      ['embedding', 0],
      ['embedding', 1],
    ],
  )
  const count = ids[0]!.length + ids[1]!.length
  assert.equal(reply.usage, { prompt_tokens: count, total_tokens: count })
  assert.is(headers.get('sinter-receipt')!.split(', ').length, 2)
  assert.is(headers.get('sinter-price'), '10')
  const both = reply.data.map(({ embedding }) => embedding as number[])
  for (const each of both) assert.ok(each.length === WIDTH && Math.abs(dot(each, each) - 1) < 1e-5)
  assert.ok(near((await vectors(text))[0]!, both[0]!))
  assert.ok(near((await vectors(ids[0]))[0]!, both[0]!))
  assert.ok((await vectors(ids)).every((each, i) => near(each, both[i]!)))
})

test('base64 holds the same floats, and fewer dimensions are the first ones, of length 1 again', async () => {
  const input = heldOut.pairs[1]![0]
  const [whole] = (await vectors(input)) as [number[]]
  const [, { data }] = await embed({ input, encoding_format: 'base64' })
  const bytes = new Uint8Array(Buffer.from(data[0]!.embedding as string, 'base64'))
  assert.ok(near([...new Float32Array(bytes.buffer)], whole))
  const [cut] = (await vectors(input, { dimensions: 8 })) as [number[]]
  const scale = Math.hypot(...whole.slice(0, 8))
  assert.ok(
    near(
      cut,
      whole.slice(0, 8).map((value) => value / scale),
    ),
  )
})

test('what is wrong is said as OpenAI says it', async () => {
  const before = jobs
  const bad = async (body: unknown, status: number, code: string, param: string | null) => {
    const [got, { error }] = await embed(body)
    assert.equal([got, error.code, error.param], [status, code, param], error.message)
    assert.is(error.type, 'invalid_request_error')
    assert.ok(error.message.length > 5)
  }
  await bad('{', 400, 'invalid_json', null)
  await bad('[]', 400, 'invalid_value', null)
  await bad({}, 400, 'missing_required_parameter', 'input')
  await bad({ input: 'x', model: 7 }, 400, 'missing_required_parameter', 'model')
  await bad({ input: 'x', model: 'none' }, 404, 'model_not_found', 'model')
  await bad({ input: [] }, 400, 'empty_array', 'input')
  await bad({ input: '' }, 400, 'invalid_value', 'input')
  await bad({ input: ['a', ''] }, 400, 'invalid_value', 'input.1')
  await bad({ input: ['a', 7] }, 400, 'invalid_type', 'input.1')
  await bad({ input: { a: 1 } }, 400, 'invalid_type', 'input')
  await bad({ input: [[0.5]] }, 400, 'invalid_type', 'input')
  await bad({ input: [rows] }, 400, 'invalid_value', 'input')
  await bad({ input: [-1] }, 400, 'invalid_value', 'input')
  await bad({ input: 'word '.repeat(shape[0] + 1) }, 400, 'context_length_exceeded', 'input')
  await bad({ input: Array(2_049).fill('a') }, 400, 'array_above_max_length', 'input')
  await bad({ input: 'x', encoding_format: 'hex' }, 400, 'invalid_value', 'encoding_format')
  await bad({ input: 'x', dimensions: 0 }, 400, 'invalid_value', 'dimensions')
  await bad({ input: 'x', dimensions: WIDTH + 1 }, 400, 'invalid_value', 'dimensions')
  assert.is(jobs, before, 'nothing was bought')
  const [status, { error }] = await embed({ input: 'x' }, {})
  assert.equal([status, error.code], [401, 'invalid_api_key'])
  const lost = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { authorization } })
  assert.equal([lost.status, ((await lost.json()) as Reply).error.code], [404, 'unknown_url'])
})

test('a network that fails is a server error, with a time to come back where there is one', async () => {
  refuse = new UnavailableError('NO_BIDS', 'nobody bid')
  const [status, { error }, headers] = await embed({ input: 'x' })
  assert.equal([status, error.type, headers.get('retry-after')], [503, 'server_error', '1'])
  refuse = new InputError('INPUT_ID', 'no')
  assert.is((await embed({ input: 'x' }))[0], 400)
  refuse = null
})

test('models are listed as OpenAI lists them', async () => {
  const get = async (path: string) => fetch(`${url}${path}`, { headers: { authorization } })
  const list = (await (await get('/v1/models')).json()) as { data: { id: string }[] }
  assert.equal(
    list.data.map(({ id }) => id),
    ['sentences'],
  )
  assert.is((await get('/v1/models/sentences')).status, 200)
  assert.is((await get('/v1/models/none')).status, 404)
})

test('held-out first sentences find the paragraphs that follow them', async () => {
  const cut = (text: string): number[] => tokenizer.encode(text).ids.slice(0, shape[0])
  const queries = await vectors(heldOut.pairs.map(([query]) => cut(query)))
  const answers = await vectors(heldOut.pairs.map(([, answer]) => cut(answer)))
  const ranks = queries.map((query, i) => {
    const own = dot(query, answers[i]!)
    return answers.filter((answer) => dot(query, answer) > own).length
  })
  const first = ranks.filter((rank) => rank === 0).length
  const ten = ranks.filter((rank) => rank < 10).length
  console.log(
    `# sentences: of ${ranks.length} first sentences ${first} find their paragraph first, ${ten} among ten; by chance 1 and 10`,
  )
  assert.ok(first >= 40 && ten >= 70, `${first}, ${ten}`)
})

test.run()
