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
  /** Milliseconds within which a client must have sent its headers. @default 10_000 */
  headersMs?: number
  /** Milliseconds within which a client must have sent its whole request. @default 60_000 */
  requestMs?: number
}

export type Served = { url: string; stop(): Promise<void> }

/**
 * How long a connection may be idle between requests. A client that sends into one that is being closed has its request refused for no reason it
 * can see: after Node's 5 s that happens to who pauses between batches; proxies and clients' pools give up before this.
 */
const KEEP_ALIVE_MS = 75_000

/** Listens. Throws `GATEWAY_LISTEN`, also for a certificate that cannot be used. */
export async function serveHttp(app: Hono, init: ServeInit): Promise<Served> {
  const { host, port, tls, headersMs = 10_000, requestMs = 60_000 } = init
  const limits = {
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Node looks for late clients every 30 s unless told otherwise.
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: Math.min(5_000, Math.ceil(headersMs / 2)),
  }
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
            serverOptions: {
              ...limits,
              handshakeTimeout: headersMs,
              cert: Buffer.from(tls.cert),
              key: Buffer.from(tls.key),
            },
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
