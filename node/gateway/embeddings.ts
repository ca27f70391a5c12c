import { Tokenizer } from '@huggingface/tokenizers'
import type { Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { SinterError } from '../../protocol/errors.ts'
import type { Consumer, ModelInfo } from '../client/consumer.ts'
import { parseJson, readBody } from './body.ts'
import { together } from './together.ts'

/**
 * `POST /v1/embeddings` as OpenAI's clients ask for it (https://platform.openai.com/docs/api-reference/embeddings), for a model whose one input
 * is a list of token ids and whose one output is a vector. Vectors have length 1, and tokens are made here: a provider sees neither.
 */

/** A published embedding model with its tokeniser. */
export type EmbeddingModel = { cid: string; tokenizer: Tokenizer }

export type EmbeddingsComponents = {
  consumer: Pick<Consumer, 'model' | 'infer'>
  models: ReadonlyMap<string, EmbeddingModel>
  /** Runs a request to a model within the gateway's limit on how many there may be. Throws `GATEWAY_BUSY`. */
  within<T>(cid: string, work: () => Promise<T>): Promise<T>
}

export type EmbeddingsInit = { maxBytes: number; timeoutMs: number }

/** OpenAI's code for a text that a model has no room for. */
const LENGTH = 'context_length_exceeded'
/** Inputs of one request, as OpenAI has it. */
const MAX_INPUTS = 2_048
/** Jobs of one request that are under way at once. */
const AT_ONCE = 16
/** Characters of a text for each token that the model takes, at most: a longer one is refused before it is cut into tokens. */
const TOKEN_CHARACTERS = 256
/** Token of places where there is no text. */
const PAD = 0

/** A refusal in OpenAI's shape. */
export class EmbeddingError extends SinterError {
  readonly status: ContentfulStatusCode
  readonly param: string | null
  constructor(code: string, message: string, param: string | null, status: ContentfulStatusCode = 400) {
    super(code, message)
    this.status = status
    this.param = param
  }
}
const bad = (message: string, param: string | null, code = 'invalid_value'): never => {
  throw new EmbeddingError(code, message, param)
}

/** A tokeniser from the bytes of a `tokenizer.json` of Hugging Face. Throws `TOKENIZER`. */
export function readTokenizer(bytes: Uint8Array): Tokenizer {
  try {
    return new Tokenizer(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as object, {})
  } catch (cause) {
    throw new SinterError('TOKENIZER', 'the tokeniser file is no tokenizer.json of Hugging Face', { cause })
  }
}

/** What a model takes and gives. Throws `GATEWAY_MODEL` for one that is no embedding model. */
function endsOf({ name, inputs, outputs }: ModelInfo) {
  const [input, output] = [inputs[0], outputs[0]]
  const fits =
    inputs.length === 1 &&
    outputs.length === 1 &&
    input!.rows !== null &&
    input!.shape.length === 1 &&
    output!.shape.length === 1
  if (!fits) throw new SinterError('GATEWAY_MODEL', `${name} is no embedding model: token ids in, one vector out`)
  return {
    input: input!.name,
    tokens: input!.shape[0]!,
    rows: input!.rows!,
    output: output!.name,
    width: output!.shape[0]!,
  }
}
type Ends = ReturnType<typeof endsOf>

const isId = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value)

/** Token ids of each input: a text, a list of texts, a list of ids or a list of such lists. */
function tokensOf(input: unknown, { tokenizer }: EmbeddingModel, { tokens: most, rows }: Ends): number[][] {
  const list: unknown[] = Array.isArray(input) && !(input.length > 0 && input.every(isId)) ? input : [input]
  if (list.length === 0) bad('input must not be an empty list', 'input', 'empty_array')
  if (list.length > MAX_INPUTS) bad(`input has at most ${MAX_INPUTS} entries`, 'input', 'array_above_max_length')
  const kind = typeof list[0]
  return list.map((each, i): number[] => {
    const where = list.length === 1 ? 'input' : `input.${i}`
    if (typeof each !== kind) bad('input must be of one kind: texts, or lists of token ids', where, 'invalid_type')
    const tooLong = (have: string): never =>
      bad(`This model's maximum context length is ${most} tokens, however you requested ${have}`, where, LENGTH)
    if (typeof each === 'string' && each.length > TOKEN_CHARACTERS * most) tooLong(`${each.length} characters`)
    const ids =
      typeof each === 'string'
        ? tokenizer.encode(each).ids
        : Array.isArray(each) && each.every(isId)
          ? (each as number[])
          : bad('input must be a text, a list of texts, a list of token ids or a list of these', where, 'invalid_type')
    if (ids.length === 0) bad('input must not be empty', where, 'invalid_value')
    if (ids.length > most) tooLong(`${ids.length} tokens`)
    if (ids.some((id: number) => id < 0 || id >= rows)) bad(`a token id is from 0 to ${rows - 1}`, where)
    return ids
  })
}

/** The first `dimensions` numbers, scaled to length 1. */
function unit(vector: Float32Array, dimensions: number): Float32Array {
  const cut = vector.subarray(0, dimensions)
  const length = Math.hypot(...cut)
  return length === 0 ? cut : cut.map((value) => value / length)
}

/** Little-endian float32, as OpenAI's clients read it. */
function base64(vector: Float32Array): string {
  const bytes = new Uint8Array(4 * vector.length)
  const view = new DataView(bytes.buffer)
  vector.forEach((value, i) => {
    view.setFloat32(4 * i, value, true)
  })
  return Buffer.from(bytes).toString('base64')
}

type Asked = { model: string; input: unknown; format: 'float' | 'base64'; dimensions: number | null }

function readRequest(bytes: Uint8Array): Asked {
  let value: unknown
  try {
    value = parseJson(bytes)
  } catch (error) {
    return bad((error as SinterError).message, null, 'invalid_json')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return bad('the body must be an object', null)
  const { model, input, encoding_format: format = 'float', dimensions = null } = value as Record<string, unknown>
  if (typeof model !== 'string') return bad('you must provide a model', 'model', 'missing_required_parameter')
  if (input === undefined) return bad('you must provide an input', 'input', 'missing_required_parameter')
  if (format !== 'float' && format !== 'base64') return bad('encoding_format is float or base64', 'encoding_format')
  if (dimensions !== null && (!isId(dimensions) || dimensions < 1))
    return bad('dimensions must be a whole number of 1 or more', 'dimensions')
  return { model, input, format, dimensions }
}

/** Adds `/v1/embeddings` and `/v1/models` to the gateway. */
export function addEmbeddings(app: Hono, components: EmbeddingsComponents, init: EmbeddingsInit): void {
  const { consumer, models, within } = components
  const described = (name: string) => ({ id: name, object: 'model', created: 0, owned_by: 'sinter' })
  const missing = (name: string): never => {
    throw new EmbeddingError('model_not_found', `The model '${name.slice(0, 128)}' does not exist`, 'model', 404)
  }

  app.get('/v1/models', (c) => c.json({ object: 'list', data: [...models.keys()].map(described) }))
  app.get('/v1/models/:model', (c) => {
    const name = c.req.param('model')
    return c.json(described(models.has(name) ? name : missing(name)))
  })
  app.post('/v1/embeddings', async (c: Context) => {
    const asked = readRequest(await readBody(c.req.raw, init.maxBytes))
    const model = models.get(asked.model) ?? missing(asked.model)
    return within(model.cid, async () => {
      const ends = endsOf(await consumer.model(model.cid))
      const { dimensions } = asked
      if (dimensions !== null && dimensions > ends.width) bad(`this model has ${ends.width} dimensions`, 'dimensions')
      const inputs = tokensOf(asked.input, model, ends)
      const data: object[] = []
      const receipts: string[] = []
      let price = 0n
      let next = 0
      const worker = async (signal: AbortSignal): Promise<void> => {
        for (let index = next++; index < inputs.length; index = next++) {
          const ids = new Float32Array(ends.tokens).fill(PAD)
          ids.set(inputs[index]!)
          const request = { timeoutMs: init.timeoutMs, signal }
          const { outputs, receipt } = await consumer.infer(model.cid, { [ends.input]: ids }, request)
          const vector = unit(outputs[ends.output]!.data, dimensions ?? ends.width)
          data[index] = {
            object: 'embedding',
            index,
            embedding: asked.format === 'base64' ? base64(vector) : [...vector],
          }
          receipts[index] = receipt.id
          price += receipt.price
        }
      }
      const workers = Math.min(AT_ONCE, inputs.length)
      await together(c.req.raw.signal, (signal) => Array.from({ length: workers }, () => worker(signal)))
      const count = inputs.reduce((sum, ids) => sum + ids.length, 0)
      c.header('Sinter-Price', price.toString())
      // Headers have an end: a large request's receipts are in its body only.
      if (receipts.length <= 64) c.header('Sinter-Receipt', receipts.join(', '))
      return c.json({
        object: 'list',
        data,
        model: asked.model,
        usage: { prompt_tokens: count, total_tokens: count },
        sinter: { receipts, price: price.toString() },
      })
    })
  })
}

/** OpenAI's shape of an error. @param type `invalid_request_error` for what the caller can mend */
export function openAiError(error: SinterError, status: number): object {
  const { message, code } = error
  const type = status < 500 ? 'invalid_request_error' : 'server_error'
  const param = error instanceof EmbeddingError ? error.param : null
  return { error: { message, type, param, code } }
}
