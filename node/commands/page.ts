import { servePage } from '../page/serve.ts'
import { parseCount, parseRpc, readNetworkFile, untilAsked } from './options.ts'

export type PageOptions = {
  network: string
  rpc: string[]
  bootstrap: string[]
  model: string
  port: string
  devnet: boolean
}

/** Serves the demo page until asked to stop. Throws `PAGE_MISSING`, `GATEWAY_LISTEN`. */
export async function page(options: PageOptions): Promise<void> {
  const { bootstrap, model, devnet } = options
  const served = await servePage({
    network: readNetworkFile(options.network),
    rpcUrl: parseRpc(options.rpc)[0]!,
    bootstrap,
    model,
    devnet,
    port: parseCount(options.port),
  })
  console.log(`page: ${served.url} (Ctrl-C stops it)`)
  await untilAsked()
  await served.stop()
}
