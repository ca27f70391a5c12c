import { createPublicClient, type PublicClient } from 'viem'
import { type EndpointOptions, failover } from './endpoints.ts'

/** JSON-RPC client over one or several endpoints (see endpoints.ts); block numbers are never cached. */
export function openClient(rpcUrls: string | readonly string[], pollMs = 250, options?: EndpointOptions): PublicClient {
  const urls = typeof rpcUrls === 'string' ? [rpcUrls] : rpcUrls
  return createPublicClient({ transport: failover(urls, options), pollingInterval: pollMs, cacheTime: 0 })
}
