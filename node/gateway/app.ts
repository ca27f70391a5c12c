import { type Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Consumer } from '../client/consumer.ts'
import { MoneyError, ProviderError, UnavailableError } from '../client/failures.ts'
import type { Log } from '../net/log.ts'
import { createAccess } from './access.ts'
import { inputsOf, joinOutput, outputsOf, splitJobs } from './batching.ts'
import { headerLength, readBody } from './body.ts'
import { addEmbeddings, EmbeddingError, type EmbeddingModel, openAiError } from './embeddings.ts'
import { openApi } from './openapi.ts'
import { decodeInfer, encodeInfer } from './tensors.ts'
import { together } from './together.ts'

export type GatewayInit = {
  /** Names under which models are offered, with the CIDs of their manifests. */
  models: Readonly<Record<string, string>>
  /** Embedding models by name, for `/v1/embeddings`. @default none */
  embeddings?: ReadonlyMap<string, EmbeddingModel>
  /** API tokens; none lets programs on this machine in. @default none */
  tokens?: string[]
  /** Infer requests at once; more get 503 with Retry-After. @default 64 */
  concurrency?: number
  /** Bytes of a request, decompressed. @default 64 MiB */
  maxBytes?: number
  /** Rows of a request, each a job. @default 64 */
  maxRows?: number
  /** Milliseconds a request may take. @default 30_000 */
  timeoutMs?: number
  version: string
}

export type GatewayComponents = { consumer: Pick<Consumer, 'model' | 'infer' | 'receipt' | 'reserve'>; log: Log }

/** Which shape of errors a client expects. */
const isOpenAi = (c: Context): boolean => c.req.path.startsWith('/v1/')

/** Every model has one version: a new one is another manifest. */
const VERSION = '1'
const EXTENSIONS = ['binary_tensor_data', 'model_configuration', 'model_repository', 'statistics']

type Stats = { success: number; fail: number; totalMs: number; computeMs: number; rows: number; lastMs: number }

/** What is wrong with a request. Another `InputError`, of a model's files or of a full disk, is its operator's to mend. */
const REQUEST_CODES = /^(GATEWAY_REQUEST$|INPUT_|TENSOR_|OUTPUT_OFF_TOLERANCE$)/

function statusOf(error: SinterError): ContentfulStatusCode {
  if (error instanceof EmbeddingError) return error.status
  if (error.code === 'GATEWAY_TOO_LARGE') return 413
  if (error.code === 'GATEWAY_MODEL' || error.code === 'RECEIPT_UNKNOWN') return 404
  if (REQUEST_CODES.test(error.code) && !(error instanceof ProviderError)) return 400
  if (error instanceof UnavailableError || error instanceof MoneyError) return 503
  if (error.code === 'GATEWAY_BUSY' || error.code === 'ABORTED' || error.code === 'CLIENT_STOPPED') return 503
  // Those behind the gateway failed, and not the gateway.
  if (error.code === 'JOB_TIMEOUT') return 504
  if (error instanceof ProviderError) return 502
  return 500
}

/** The gateway as a web application. Its `warm` opens sessions for every model that has none, and says whether each is ready now. */
export function createGateway(
  { consumer, log }: GatewayComponents,
  init: GatewayInit,
): { app: Hono; warm(): Promise<boolean> } {
  const {
    models,
    embeddings = new Map(),
    tokens = [],
    concurrency = 64,
    maxBytes = 2 ** 26,
    maxRows = 64,
    timeoutMs = 30_000,
    version,
  } = init
  for (const name of [...Object.keys(models), ...embeddings.keys()])
    if (!/^[A-Za-z0-9._-]{1,128}$/.test(name))
      throw new SinterError('GATEWAY_MODEL', `${name} is no model name: letters, digits, dot, dash and underscore`)
  const app = new Hono()
  const allowed = createAccess(tokens)
  /** Manifests that had a provider when last one was looked for. */
  const ready = new Set<string>()
  const offered = [...Object.entries(models), ...[...embeddings].map(([name, { cid }]) => [name, cid] as const)]
  const allReady = (): boolean => offered.every(([, cid]) => ready.has(cid))
  const stats = new Map<string, Stats>()
  let running = 0

  function cidOf(c: Context): string {
    const name = c.req.param('model') ?? ''
    const asked = c.req.param('version') ?? VERSION
    const cid = Object.hasOwn(models, name) ? models[name] : undefined
    if (cid === undefined) throw new SinterError('GATEWAY_MODEL', `unknown model: '${name}'`)
    if (asked !== VERSION) throw new SinterError('GATEWAY_MODEL', `model '${name}' has version ${VERSION} only`)
    return cid
  }
  const nameOf = (c: Context): string => c.req.param('model') ?? ''
  const batched = (shape: number[]): number[] => [-1, ...shape]

  app.onError((error, c) => {
    const known =
      error instanceof SinterError ? error : new SinterError('UNEXPECTED', 'the gateway failed', { cause: error })
    const status = statusOf(known)
    // That it is full, or that a client went away, is no fault.
    const level = known.code === 'GATEWAY_BUSY' || known.code === 'ABORTED' ? 'debug' : 'warn'
    if (status >= 500)
      log[level]({ event: 'gateway.failed', code: known.code, error: describeError(error) }, 'request failed')
    // Money does not come back by waiting; everything else that is 503 may.
    if (status === 503 && !(known instanceof MoneyError)) c.header('Retry-After', '1')
    return c.json(isOpenAi(c) ? openAiError(known, status) : { error: known.message, code: known.code }, status)
  })
  app.notFound((c) => {
    const unknown = new SinterError('unknown_url', 'not found')
    return c.json(isOpenAi(c) ? openAiError(unknown, 404) : { error: 'not found' }, 404)
  })

  app.get('/v2/health/live', (c) => c.body(null, 200))
  app.get('/v2/health/ready', (c) => (allReady() ? c.body(null, 200) : c.json({ error: 'not ready' }, 503)))
  app.use(async (c, next) => {
    const refusal = allowed(c.req.raw.headers)
    if (refusal === null) return next()
    if (refusal.status === 401) c.header('WWW-Authenticate', 'Bearer')
    const key = new SinterError('invalid_api_key', refusal.error)
    return c.json(isOpenAi(c) ? openAiError(key, refusal.status) : { error: refusal.error }, refusal.status)
  })
  app.get('/openapi.json', (c) => c.json(openApi(version)))
  app.get('/v2', (c) => c.json({ name: 'sinter', version, extensions: EXTENSIONS }))
  app.post('/v2/repository/index', (c) =>
    c.json(
      Object.entries(models).map(([name, cid]) =>
        ready.has(cid)
          ? { name, version: VERSION, state: 'READY', reason: '' }
          : { name, version: VERSION, state: 'UNAVAILABLE', reason: 'no provider yet' },
      ),
    ),
  )
  for (const action of ['load', 'unload'])
    app.post(`/v2/repository/models/:model/${action}`, (c) =>
      c.json({ error: 'models are named when the gateway is started' }, 501),
    )
  app.get('/v2/receipts/:id', (c) => {
    const { id, price, provider, status } = consumer.receipt(c.req.param('id'))
    return c.json({ id, price: price.toString(), provider, ...status() })
  })

  const statsOf = (name: string) => {
    const each = stats.get(name) ?? { success: 0, fail: 0, totalMs: 0, computeMs: 0, rows: 0, lastMs: 0 }
    const of = (count: number, ms: number) => ({ count, ns: Math.round(1e6 * ms) })
    return {
      name,
      version: VERSION,
      last_inference: each.lastMs,
      inference_count: each.rows,
      execution_count: each.rows,
      inference_stats: {
        success: of(each.success, each.totalMs),
        fail: of(each.fail, 0),
        queue: of(each.success, each.totalMs - each.computeMs),
        compute_input: of(each.success, 0),
        compute_infer: of(each.success, each.computeMs),
        compute_output: of(each.success, 0),
      },
      batch_stats: [],
    }
  }
  app.get('/v2/models/stats', (c) => c.json({ model_stats: Object.keys(models).map(statsOf) }))

  async function metadata(c: Context) {
    const model = await consumer.model(cidOf(c))
    const ends = (list: ReturnType<typeof inputsOf>) =>
      list.map(({ name, shape, datatype }) => ({ name, datatype, shape: batched(shape) }))
    return c.json({
      name: nameOf(c),
      versions: [VERSION],
      platform: 'onnx_sinter',
      inputs: ends(inputsOf(model)),
      outputs: ends(outputsOf(model)),
    })
  }

  async function config(c: Context) {
    const model = await consumer.model(cidOf(c))
    const ends = (list: ReturnType<typeof inputsOf>) =>
      list.map(({ name, shape, datatype }) => ({ name, data_type: `TYPE_${datatype}`, dims: shape }))
    return c.json({
      name: nameOf(c),
      platform: 'onnx_sinter',
      backend: 'sinter',
      version_policy: { latest: { num_versions: 1 } },
      max_batch_size: maxRows,
      input: ends(inputsOf(model)),
      output: ends(outputsOf(model)),
    })
  }

  /** A request to a model, within the limit on how many there are at once; what becomes of it says whether the model has a provider. */
  async function within<T>(cid: string, work: () => Promise<T>): Promise<T> {
    if (running >= concurrency)
      throw new SinterError('GATEWAY_BUSY', `${concurrency} requests are under way: try again`)
    running++
    try {
      const result = await work()
      ready.add(cid)
      return result
    } catch (error) {
      if (error instanceof UnavailableError) ready.delete(cid)
      throw error
    } finally {
      running--
    }
  }

  async function infer(c: Context): Promise<Response> {
    const cid = cidOf(c)
    return within(cid, () => inferNow(c, cid))
  }

  async function inferNow(c: Context, cid: string): Promise<Response> {
    const name = nameOf(c)
    const record = stats.get(name) ?? { success: 0, fail: 0, totalMs: 0, computeMs: 0, rows: 0, lastMs: 0 }
    stats.set(name, record)
    const started = performance.now()
    try {
      const length = headerLength(c.req.raw.headers)
      const request = decodeInfer(await readBody(c.req.raw, maxBytes), length)
      const model = await consumer.model(cid)
      const { jobs, batched: rows } = splitJobs(model, request.inputs, maxRows)
      const all = outputsOf(model)
      const wanted = request.outputs ?? all.map((each) => ({ name: each.name, binary: request.binaryOutput }))
      const ends = wanted.map((each) => {
        const end = all.find((output) => output.name === each.name)
        if (end === undefined)
          throw new SinterError('GATEWAY_REQUEST', `unexpected inference output '${each.name}' for this model`)
        return { ...end, binary: each.binary }
      })
      const done = await together(c.req.raw.signal, (signal) =>
        jobs.map((job) => consumer.infer(cid, job, { timeoutMs, signal })),
      )
      const receipts = done.map(({ receipt }) => receipt.id).join(', ')
      const price = done.reduce((sum, { receipt }) => sum + receipt.price, 0n).toString()
      const { body, headerLength: jsonLength } = encodeInfer({
        model: name,
        version: VERSION,
        id: request.id,
        parameters: { receipt: receipts, price },
        outputs: ends.map((end) => ({
          ...joinOutput(
            done.map(({ outputs }) => outputs[end.from]!.data),
            end,
            rows,
          ),
          binary: end.binary,
        })),
      })
      record.success++
      record.rows += jobs.length
      record.totalMs += performance.now() - started
      record.computeMs += done.reduce((sum, { executionMs }) => sum + executionMs, 0)
      record.lastMs = Date.now()
      return new Response(body as Uint8Array<ArrayBuffer>, {
        headers: {
          'Content-Type': jsonLength === null ? 'application/json' : 'application/octet-stream',
          'Sinter-Receipt': receipts,
          'Sinter-Price': price,
          'Sinter-Provider': done.map(({ receipt }) => receipt.provider).join(', '),
          ...(jsonLength === null ? {} : { 'Inference-Header-Content-Length': String(jsonLength) }),
        },
      })
    } catch (error) {
      record.fail++
      throw error
    }
  }

  for (const place of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    app.get(place, metadata)
    app.get(`${place}/config`, config)
    app.get(`${place}/ready`, (c) => {
      return ready.has(cidOf(c)) ? c.body(null, 200) : c.json({ error: 'no provider yet' }, 503)
    })
    app.get(`${place}/stats`, (c) => {
      cidOf(c)
      return c.json({ model_stats: [statsOf(nameOf(c))] })
    })
    app.post(`${place}/infer`, infer)
  }

  addEmbeddings(app, { consumer, models: embeddings, within }, { maxBytes, timeoutMs })

  return {
    app,
    async warm() {
      const cold = offered.filter(([, cid]) => !ready.has(cid))
      await Promise.all(
        cold.map(async ([name, cid]) => {
          try {
            await consumer.reserve(cid)
            ready.add(cid)
          } catch (error) {
            log.warn(
              { event: 'gateway.cold', model: name, code: errorCode(error), error: describeError(error) },
              'no provider for a model yet',
            )
          }
        }),
      )
      return allReady()
    },
  }
}
