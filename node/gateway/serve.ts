import { createServer as createHttp } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type ServerType } from '@hono/node-server'
import type { Hono } from 'hono'
import { SinterError } from '../../protocol/errors.ts'

export type ServeInit = {
  host: string
  /** 0 picks a free one. */
  port: number
  /** PEM. @default plain HTTP */
  tls?: { cert: Uint8Array; key: Uint8Array }
}

export type Served = { url: string; stop(): Promise<void> }

/** Milliseconds within which a client must have sent its headers and its whole request. */
const HEADERS_MS = 10_000
const REQUEST_MS = 60_000

/** Listens. Throws `GATEWAY_LISTEN`, also for a certificate that cannot be used. */
export async function serveHttp(app: Hono, init: ServeInit): Promise<Served> {
  const { host, port, tls } = init
  const limits = { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS }
  const failed = (cause: unknown): SinterError =>
    new SinterError('GATEWAY_LISTEN', `the gateway cannot listen on ${host}:${port}`, { cause })
  let server: ServerType
  try {
    server = createAdaptorServer(
      tls === undefined
        ? { fetch: app.fetch, createServer: createHttp, serverOptions: limits }
        : {
            fetch: app.fetch,
            createServer: createHttps,
            serverOptions: { ...limits, cert: Buffer.from(tls.cert), key: Buffer.from(tls.key) },
          },
    )
  } catch (cause) {
    throw failed(cause)
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(failed(cause)))
    server.listen(port, host, resolve)
  })
  const { port: taken } = server.address() as AddressInfo
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${taken}`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        if ('closeIdleConnections' in server) server.closeIdleConnections()
        if ('closeAllConnections' in server) setTimeout(() => server.closeAllConnections(), 5_000).unref()
      }),
  }
}
