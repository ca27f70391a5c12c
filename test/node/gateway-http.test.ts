/** The gateway's server: TLS, clients that vanish, clients that dawdle, and what back-pressure looks like from outside. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect as connectTcp } from 'node:net'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Consumer, InferOptions } from '../../node/client/consumer.ts'
import { AbortedError } from '../../node/client/failures.ts'
import { createGateway } from '../../node/gateway/app.ts'
import { type Served, type ServeInit, serveHttp } from '../../node/gateway/serve.ts'
import { errorCode } from '../../protocol/errors.ts'

/** Made for this test, for localhost, and used nowhere else. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQggFKo9mAruCXZoU6U
tvtQbmW94XmPb9OgBpO1YNFmAQihRANCAAT/YMdL29/Kl3ZNEY+/DBniMajM3M8R
eXYHqHqw+YsBx58Rzw+6rJHQidOwqi1g/rQuOp8MVXU5wf1Uod60dHEw
-----END PRIVATE KEY-----
`
const CERT = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUeeVvMp2uobeM1Sw9Yt02jqst49UwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjE1MTU1OFoYDzIxMjYxMTAy
MTUxNTU4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT/YMdL29/Kl3ZNEY+/DBniMajM3M8ReXYHqHqw+YsBx58Rzw+6rJHQ
idOwqi1g/rQuOp8MVXU5wf1Uod60dHEwo28wbTAdBgNVHQ4EFgQU+WMogZevAPAw
L4qYubcTFc0QLE4wHwYDVR0jBBgwFoAU+WMogZevAPAwL4qYubcTFc0QLE4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAJNx50UX05Dp7tnQ/A024edkYkr4WEIfDkg7aeetV5LKAiAi
V7sNzDCZlt4qIGRgT5+G3jqKvcL3BvUD4ca5YwPoKw==
-----END CERTIFICATE-----
`
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const TOKEN = 'a-token-of-this-test'

/** Jobs that end when their client does, as the scheduler's do. */
const signals: AbortSignal[] = []
const consumer = {
  model: async () => ({ id: 'c', name: 'm', units: 1, inputs: [{ name: 'x', shape: [2], rows: null }], outputs: [] }),
  reserve: async () => 1,
  receipt: () => {
    throw new Error('not asked for')
  },
  infer: (_: string, __: unknown, { signal }: InferOptions = {}) =>
    new Promise((_resolve, reject) => {
      signals.push(signal!)
      signal!.addEventListener('abort', () => reject(new AbortedError('ABORTED', 'aborted')))
    }),
} as unknown as Pick<Consumer, 'model' | 'infer' | 'receipt' | 'reserve'>

async function open(init: Partial<ServeInit> = {}, tokens: string[] = []) {
  const made = createGateway(
    { consumer, log: pino({ level: 'silent' }) },
    { models: { m: 'c' }, version: '0', concurrency: 1, tokens },
  )
  const served = await serveHttp(made.app, { host: '127.0.0.1', port: 0, ...init })
  opened.push(served)
  return served
}
const opened: Served[] = []
test.after(async () => {
  // A test that failed leaves requests behind that nobody answers.
  for (const each of opened) await Promise.race([each.stop(), new Promise((resolve) => setTimeout(resolve, 100))])
  setTimeout(() => process.exit(), 1_000).unref()
})
const body = JSON.stringify({ inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }] })
const until = async (holds: () => boolean): Promise<void> => {
  for (const end = Date.now() + 5_000; !holds(); await new Promise((resolve) => setTimeout(resolve, 5)))
    assert.ok(Date.now() < end, 'it did not come to pass')
}

test('over TLS it answers those who trust its certificate, with a token, and nobody in the clear', async () => {
  const gateway = await open({ tls: { cert: utf8(CERT), key: utf8(KEY) } }, [TOKEN])
  assert.match(gateway.url, /^https:/)
  const get = (options: object): Promise<number | string> =>
    new Promise((resolve) =>
      httpsRequest(`${gateway.url}/v2`, options, (response) => {
        response.resume()
        resolve(response.statusCode!)
      })
        .on('error', (error) => resolve((error as NodeJS.ErrnoException).code!))
        .end(),
    )
  assert.is(await get({ ca: CERT, headers: { authorization: `Bearer ${TOKEN}` } }), 200)
  assert.is(await get({ ca: CERT }), 401)
  assert.is(await get({}), 'DEPTH_ZERO_SELF_SIGNED_CERT')
  assert.is(
    await fetch(gateway.url.replace('https', 'http')).then(
      () => 'answered',
      () => 'refused',
    ),
    'refused',
  )
  const bad = { tls: { cert: utf8('no certificate'), key: utf8(KEY) } }
  assert.is(await open(bad).then(() => 'NONE', errorCode), 'GATEWAY_LISTEN')
})

test('a client that vanishes aborts its job, and its place is free again', async () => {
  const gateway = await open()
  const { hostname, port } = new URL(gateway.url)
  const send = (path: string) =>
    httpRequest({ hostname, port, path, method: 'POST', headers: { 'Content-Type': 'application/json' } })
  const before = signals.length
  const request = send('/v2/models/m/infer').on('error', () => {})
  request.end(body)
  await until(() => signals.length > before)
  // The only place is taken: the next one is told when to come back.
  const busy = await fetch(`${gateway.url}/v2/models/m/infer`, { method: 'POST', body })
  assert.equal([busy.status, busy.headers.get('retry-after')], [503, '1'])
  assert.not.ok(signals[before]!.aborted)
  request.destroy()
  await until(() => signals[before]!.aborted)
  const next = new AbortController()
  const again = fetch(`${gateway.url}/v2/models/m/infer`, { method: 'POST', body, signal: next.signal }).catch(() => {})
  await until(() => signals.length > before + 1)
  next.abort()
  await again
  await until(() => signals[before + 1]!.aborted)
})

test('a connection stays open between requests for longer than a client keeps it', async () => {
  for (const init of [{}, { tls: { cert: utf8(CERT), key: utf8(KEY) } }]) {
    const { url } = await open(init, [TOKEN])
    const send = url.startsWith('https') ? httpsRequest : httpRequest
    const answered = await new Promise<IncomingMessage>((resolve, reject) =>
      send(`${url}/v2`, { ca: CERT, headers: { connection: 'keep-alive' } }, resolve)
        .on('error', reject)
        .end(),
    )
    answered.resume()
    assert.is(answered.headers['keep-alive'], 'timeout=75')
    answered.destroy()
  }
})

test('a client that does not come to an end with its headers is let go', async () => {
  const gateway = await open({ headersMs: 200, requestMs: 400 })
  const { hostname, port } = new URL(gateway.url)
  const socket = connectTcp({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  let said = ''
  socket.on('data', (chunk) => {
    said += chunk
  })
  socket.write('POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nX-Slow: ')
  await until(() => socket.closed)
  assert.match(said, /^HTTP\/1.1 408/)
  // Nor one that never begins, with TLS or with anything.
  for (const tls of [undefined, { cert: utf8(CERT), key: utf8(KEY) }]) {
    const { url } = await open({ headersMs: 200, requestMs: 400, ...(tls && { tls }) }, [TOKEN])
    const silent = connectTcp({ host: hostname, port: Number(new URL(url).port) }).resume()
    silent.on('error', () => {})
    await until(() => silent.closed)
  }
})

test.run()
