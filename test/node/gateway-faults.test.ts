/** A gateway whose network fails, and clients that mean it harm: what is bought, what is said, and whether it is there for others. */
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Consumer, InferOptions } from '../../node/client/consumer.ts'
import { AbortedError, InputError, ProviderError, UnavailableError } from '../../node/client/failures.ts'
import { createGateway } from '../../node/gateway/app.ts'
import type { EmbeddingModel } from '../../node/gateway/embeddings.ts'
import { serveHttp } from '../../node/gateway/serve.ts'

type Answer = { outputs: Record<string, { shape: number[]; data: Float32Array }> }
/** What the network does with a job; the test's to change. */
let answer: (values: number[], signal: AbortSignal) => Promise<Answer>
const bought: number[] = []
const served = async (): Promise<Answer> => ({ outputs: { y: { shape: [2], data: new Float32Array(2) } } })

const consumer = {
  model: async (id: string) => ({
    ...{ id, name: 'm', units: 1 },
    inputs: [{ name: 'x', shape: [2], rows: id === 'text' ? 1_000 : null }],
    outputs: [{ name: 'y', shape: [2], index: null, tolerance: 0 }],
  }),
  reserve: async () => 1,
  async infer(_: string, inputs: { x: Float32Array }, { signal }: InferOptions = {}) {
    if (signal!.aborted) throw new AbortedError('ABORTED', 'aborted')
    bought.push(inputs.x[0]!)
    const given = await answer([...inputs.x], signal!)
    return { ...given, executionMs: 1, receipt: { id: '0xab-1', price: 1n, provider: '0xcd' } }
  },
} as unknown as Pick<Consumer, 'model' | 'infer' | 'receipt' | 'reserve'>

const tokenizer = { encode: (text: string) => ({ ids: [text.length] }) } as unknown as EmbeddingModel['tokenizer']
const log = pino({ level: 'silent' })
const { app, warm } = createGateway(
  { consumer, log },
  { models: { m: 'numbers' }, embeddings: new Map([['e', { cid: 'text', tokenizer }]]), version: '0', concurrency: 4 },
)
const { url, stop } = await serveHttp(app, { host: '127.0.0.1', port: 0, headersMs: 400, requestMs: 800 })
const { port } = new URL(url)
test.before.each(() => {
  answer = served
  bought.length = 0
})
test.after(stop)

const infer = (rows: number, body?: string): Promise<Response> =>
  fetch(`${url}/v2/models/m/infer`, {
    method: 'POST',
    body:
      body ??
      JSON.stringify({
        inputs: [
          { name: 'x', shape: [rows, 2], datatype: 'FP32', data: Array.from({ length: 2 * rows }, (_, i) => i) },
        ],
      }),
  })
const embed = (input: unknown): Promise<Response> =>
  fetch(`${url}/v1/embeddings`, { method: 'POST', body: JSON.stringify({ model: 'e', input }) })
const status = async (path: string): Promise<number> => (await fetch(`${url}${path}`)).status
const both = async (): Promise<number[]> => [await status('/v2/health/ready'), await status('/v2/models/m/ready')]

test('ready is what has a provider now, embedding models among them', async () => {
  assert.equal(await both(), [503, 503])
  assert.is((await infer(1)).status, 200)
  assert.equal(await both(), [503, 200], 'nobody has been found for the embedding model yet')
  await warm()
  assert.equal(await both(), [200, 200])
  answer = () => Promise.reject(new UnavailableError('NO_BIDS', 'nobody bid'))
  assert.is((await infer(1)).status, 503)
  assert.equal(await both(), [503, 503], 'its providers are gone')
  await warm()
  assert.equal(await both(), [200, 200])
  // One that took a job and failed it says nothing about the next.
  answer = () => Promise.reject(new ProviderError('EXEC_CRASHED', 'gone'))
  assert.is((await infer(1)).status, 502)
  assert.equal(await both(), [200, 200])
})

test('when a row fails, those that are not sent are not bought', async () => {
  let aborted = 0
  answer = ([first], signal) =>
    first === 0
      ? Promise.reject(new ProviderError('EXEC_CRASHED', 'gone'))
      : new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            aborted++
            reject(new AbortedError('ABORTED', 'aborted'))
          }),
        )
  assert.is((await infer(8)).status, 502)
  assert.is(aborted, 7)
})

test('when an embedding fails, the inputs after it are not bought', async () => {
  answer = async () => {
    if (bought.length > 20) throw new ProviderError('EXEC_CRASHED', 'gone')
    return served()
  }
  assert.is((await embed(Array.from({ length: 500 }, (_, i) => [i + 1]))).status, 502)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok(bought.length < 60, `${bought.length} were bought`)
})

test('what is wrong with the request is 400, with the model or this machine 500, with providers 502, and time that is over 504', async () => {
  for (const [code, expected] of [
    ['TENSOR_SHAPE', 400],
    ['INPUT_ID', 400],
    ['OUTPUT_OFF_TOLERANCE', 400],
    ['MANIFEST_MALFORMED', 500],
    ['CONTENT_DISK_FULL', 500],
    ['CID_MALFORMED', 500],
  ] as const) {
    answer = () => Promise.reject(new InputError(code, 'no'))
    assert.is((await infer(1)).status, expected, code)
  }
  answer = () => Promise.reject(new ProviderError('INPUT_NAN', 'says a provider'))
  assert.is((await infer(1)).status, 502)
  answer = () => Promise.reject(new ProviderError('JOB_TIMEOUT', 'no answer within 30000 ms'))
  assert.is((await infer(1)).status, 504)
  answer = () => Promise.reject(new Error('a fault of ours'))
  assert.is((await infer(1)).status, 500)
})

test('JSON that is deep, and not large, is refused before it is read', async () => {
  const deep = 2 ** 20
  const before = process.memoryUsage.rss()
  for (const body of [
    '['.repeat(deep) + ']'.repeat(deep),
    `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":${'['.repeat(deep)}${']'.repeat(deep)}}]}`,
    `{"a":${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}}`,
  ]) {
    const response = await infer(1, body)
    assert.is(response.status, 400)
    assert.match(((await response.json()) as { error: string }).error, /nests/)
  }
  assert.ok(process.memoryUsage.rss() - before < 200e6)
  // Brackets in a text are none.
  const id = `"id":"${'[{\\"'.repeat(500)}"`
  assert.is((await infer(1, `{${id},"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}]}`)).status, 200)
})

test('a text that cannot be as short as the model’s context is not cut into tokens', async () => {
  let asked = 0
  const { encode } = tokenizer
  tokenizer.encode = ((text: string) => {
    asked = Math.max(asked, text.length)
    return encode.call(tokenizer, text)
  }) as typeof encode
  const response = await embed('a '.repeat(2 ** 20))
  tokenizer.encode = encode
  assert.equal([response.status, asked], [400, 0])
  const { error } = (await response.json()) as { error: { code: string; param: string } }
  assert.equal([error.code, error.param], ['context_length_exceeded', 'input'])
})

/** A connection that says something by hand. */
async function dial(...said: string[]): Promise<{ closed: Promise<void>; heard(): string }> {
  const socket = connectTcp({ host: '127.0.0.1', port: Number(port) })
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  // A connection that is reset is closed too.
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  for (const each of said) socket.write(each)
  return { closed, heard: () => text }
}
const HEAD = 'POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\n'
const good = JSON.stringify({ inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }] })

test('lengths that lie end in an answer, and buy nothing', async () => {
  const half = await dial(`${HEAD}Content-Length: ${good.length + 100}\r\n\r\n${good}`)
  await half.closed
  assert.match(half.heard(), /^HTTP\/1.1 408/)
  const short = await dial(`${HEAD}Content-Length: 10\r\n\r\n${good}`)
  await short.closed
  assert.match(short.heard(), /^HTTP\/1.1 400/)
  const twice = await dial(`${HEAD}Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`)
  await twice.closed
  assert.match(twice.heard(), /^HTTP\/1.1 400/)
  for (const length of ['99999999999999999999', '-1', '1e3', '0x10', String(good.length + 1)]) {
    const response = await fetch(`${url}/v2/models/m/infer`, {
      ...{ method: 'POST', body: good },
      headers: { 'Inference-Header-Content-Length': length },
    })
    assert.is(response.status, 400, length)
  }
  const large = await dial(`${HEAD}X: ${'x'.repeat(100_000)}\r\n\r\n`)
  await large.closed
  assert.match(large.heard(), /^HTTP\/1.1 431/)
  assert.equal(bought, [])
})

test('hundreds of connections that say nothing, and slow ones in every place, do not keep others out for long', async () => {
  const idle = await Promise.all(Array.from({ length: 500 }, () => dial()))
  assert.is((await infer(1)).status, 200)
  const slow = await Promise.all(Array.from({ length: 8 }, () => dial(`${HEAD}Content-Length: 100\r\n\r\n{`)))
  await Promise.all([...idle, ...slow].map(({ closed }) => closed))
  assert.is((await infer(1)).status, 200)
})

test.run()
