import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What becomes of a request: passed on, refused, left without an answer, or passed on with the answer lost on the way back. */
export type Passage = 'pass' | 'refuse' | 'hang' | 'swallow'

/** An endpoint between a node and its chain that fails as told. */
export type FaultyEndpoint = {
  url: string
  /** Decides for each request; may wait. @default everything passes */
  rule: (method: string) => Passage | Promise<Passage>
  /** Requests by method. */
  seen: string[]
  /** Where requests go. */
  target: string
  stop(): Promise<void>
}

export async function startProxy(target: string): Promise<FaultyEndpoint> {
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', async () => {
      const { method } = JSON.parse(body) as { method: string }
      proxy.seen.push(method)
      const passage = await proxy.rule(method)
      if (passage === 'refuse') return request.socket.destroy()
      if (passage === 'hang') return
      try {
        const answer = await fetch(proxy.target, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json' },
        })
        const text = await answer.text()
        if (passage === 'swallow') return request.socket.destroy()
        response.setHeader('content-type', 'application/json').end(text)
      } catch {
        request.socket.destroy()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy: FaultyEndpoint = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rule: () => 'pass',
    seen: [],
    target,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return proxy
}
