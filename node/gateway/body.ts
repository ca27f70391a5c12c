import { promisify } from 'node:util'
import { gunzip, inflate } from 'node:zlib'
import { SinterError } from '../../protocol/errors.ts'

const gunzipAsync = promisify(gunzip)
const inflateAsync = promisify(inflate)

const tooLarge = (most: number): SinterError =>
  new SinterError('GATEWAY_TOO_LARGE', `a request has at most ${most} bytes, decompressed`)

/** The body of a request, decompressed. Throws `GATEWAY_TOO_LARGE` beyond `most` bytes, `GATEWAY_REQUEST`. */
export async function readBody(request: Request, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of request.body ?? []) {
    size += part.length
    if (size > most) throw tooLarge(most)
    parts.push(part)
  }
  const bytes = new Uint8Array(Buffer.concat(parts))
  const encoding = request.headers.get('content-encoding') ?? 'identity'
  if (encoding === 'identity') return bytes
  if (encoding !== 'gzip' && encoding !== 'deflate')
    throw new SinterError('GATEWAY_REQUEST', `the content encoding ${encoding.slice(0, 40)} is not offered`)
  try {
    return new Uint8Array(await (encoding === 'gzip' ? gunzipAsync : inflateAsync)(bytes, { maxOutputLength: most }))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(most)
    throw new SinterError('GATEWAY_REQUEST', `the body is not ${encoding}`, { cause })
  }
}

/** The length of the JSON in front of binary tensors, or null. Throws `GATEWAY_REQUEST`. */
export function headerLength(headers: Headers): number | null {
  const text = headers.get('inference-header-content-length')
  if (text === null) return null
  if (!/^\d{1,10}$/.test(text))
    throw new SinterError('GATEWAY_REQUEST', 'Inference-Header-Content-Length must be a whole number')
  return Number(text)
}

/** Lists and objects in each other; a tensor of eight axes in its request is eleven. */
const DEEPEST = 32
const [QUOTE, ESCAPE] = [0x22, 0x5c]
const OPENING = new Set([0x5b, 0x7b])
const CLOSING = new Set([0x5d, 0x7d])

/**
 * JSON of a request. How deep it nests is looked at first: a bracket is one byte here and dozens once it is parsed. Throws
 * `GATEWAY_REQUEST`.
 */
export function parseJson(bytes: Uint8Array): unknown {
  let depth = 0
  let inText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte === QUOTE) inText = !inText
    else if (inText) i += byte === ESCAPE ? 1 : 0
    else if (CLOSING.has(byte)) depth--
    else if (OPENING.has(byte) && ++depth > DEEPEST)
      throw new SinterError('GATEWAY_REQUEST', `the request JSON nests more than ${DEEPEST} deep`)
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new SinterError('GATEWAY_REQUEST', 'failed to parse the request JSON', { cause })
  }
}
