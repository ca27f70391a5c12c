import { existsSync, readFileSync } from 'node:fs'
import { Hono } from 'hono'
import { assetPath } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { type Served, serveHttp } from '../gateway/serve.ts'

/** What the page is told: whom to join and what to run. */
export type PageConfig = {
  network: NetworkFile
  rpcUrl: string
  /** Addresses of nodes that a browser reaches. */
  bootstrap: string[]
  /** CID of the digits model's manifest. */
  model: string
  devnet: boolean
  /** Whether `POST /faucet` gives play money. */
  faucet: boolean
}

export type PageInit = Omit<PageConfig, 'faucet'> & {
  /** 0 picks a free one. @default 0 */
  port?: number
  /** Gives play money to an account. @default nobody does */
  drip?(account: Address): Promise<void>
}

const PAGE = '.dist/page'
const TYPES: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
}

export const pageBuilt = (): boolean => existsSync(assetPath(`${PAGE}/index.html`))

/** Only our own script and style run; WebAssembly verifies the proofs; connections go to the chain's endpoint and to nodes. */
function policy({ rpcUrl, devnet }: PageInit): string {
  const nodes = devnet ? 'ws://127.0.0.1:*' : 'ws: wss:'
  return [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    'img-src data:',
    `connect-src 'self' ${new URL(rpcUrl).origin} ${nodes}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** Pages that are open, each by a request that is never answered to its end. */
function createVisitors(): { enter(): Response; count(): number; gone(): Promise<void> } {
  let count = 0
  let waiting: (() => void)[] = []
  const leave = (): void => {
    count--
    if (count > 0) return
    for (const resolve of waiting) resolve()
    waiting = []
  }
  return {
    enter() {
      count++
      const body = new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode('here\n')),
        cancel: leave,
      })
      return new Response(body, { headers: { 'Content-Type': 'text/plain' } })
    },
    count: () => count,
    gone: () => new Promise((resolve) => (count === 0 ? resolve() : waiting.push(resolve))),
  }
}

/** The page while it is served. */
export type ServedPage = Served & {
  /** Pages that are open now. */
  visitors(): number
  /** Resolves when no page is open any more. */
  abandoned(): Promise<void>
}

/** Serves the demo page on loopback. Throws `PAGE_MISSING` when it is not built, `GATEWAY_LISTEN`. */
export async function servePage(init: PageInit): Promise<ServedPage> {
  if (!pageBuilt()) throw new SinterError('PAGE_MISSING', 'the page is not built: npm run build makes it')
  const { port = 0, drip, network, rpcUrl, bootstrap, model, devnet } = init
  const config: PageConfig = { network, rpcUrl, bootstrap, model, devnet, faucet: drip !== undefined }
  const app = new Hono()
  app.use(async (c, next) => {
    // A name that somebody else points at this machine is not this page's.
    if (!/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(c.req.header('host') ?? '')) return c.text('not here', 421)
    await next()
    c.header('Content-Security-Policy', policy(init))
    c.header('X-Content-Type-Options', 'nosniff')
    c.header('Referrer-Policy', 'no-referrer')
    c.header('Cross-Origin-Opener-Policy', 'same-origin')
  })
  const visitors = createVisitors()
  app.get('/presence', () => visitors.enter())
  app.get('/config.json', (c) => c.json(config))
  app.post('/faucet', async (c) => {
    if (drip === undefined) return c.text('no faucet here', 404)
    // Other pages may post here without asking, but they say who they are.
    const origin = c.req.header('origin')
    if (origin !== undefined && origin !== new URL(c.req.url).origin) return c.text('not for other pages', 403)
    const account = (await c.req.text()).slice(0, 100).toLowerCase()
    if (!/^0x[0-9a-f]{40}$/.test(account)) return c.text('not an address', 400)
    await drip(account as Address)
    return c.text('ok')
  })
  app.get('/:file{[\\w.-]*}', (c) => file(c.req.param('file') || 'index.html'))
  app.get('/assets/:file{[\\w.-]+}', (c) => file(`assets/${c.req.param('file')}`))

  function file(name: string): Response {
    const type = TYPES[name.split('.').at(-1)!]
    const path = assetPath(`.dist/page/${name}`)
    if (type === undefined || !existsSync(path)) return new Response('not found', { status: 404 })
    return new Response(readFileSync(path), { headers: { 'Content-Type': type } })
  }

  const served = await serveHttp(app, { host: '127.0.0.1', port })
  return { ...served, visitors: visitors.count, abandoned: visitors.gone }
}
