import { createPublicClient, http, type PublicClient } from 'viem'

/** JSON-RPC client. Transport errors are retried a few times; block numbers are never cached. */
export function openClient(rpcUrl: string, pollMs = 250): PublicClient {
  return createPublicClient({
    transport: http(rpcUrl, { retryCount: 4, retryDelay: 100, timeout: 15_000 }),
    pollingInterval: pollMs,
    cacheTime: 0,
  })
}
