import { createTransport, type EIP1193RequestFn, http, type Transport } from 'viem'
import { SinterError } from '../../protocol/errors.ts'
import { sleep } from '../timers.ts'
import { isTransport } from './errors.ts'

/** How an endpoint has done lately. Nothing is asked of it before `until` (ms) while another one is there. */
export type Health = { failures: number; until: number; foreign: boolean }

export const HEALTHY: Health = { failures: 0, until: 0, foreign: false }
const COOL_MS = 1_000
const MAX_COOL_MS = 60_000

export function afterFailure(health: Health, now: number): Health {
  const pause = Math.min(MAX_COOL_MS, COOL_MS * 2 ** health.failures)
  return { ...health, failures: health.failures + 1, until: now + pause }
}

/** Endpoints in the order in which they are asked: in the operator's order, those that failed lately last, foreign ones never. */
export function askingOrder(health: readonly Health[], now: number): number[] {
  const usable = health.flatMap(({ foreign }, i) => (foreign ? [] : [i]))
  const rest = (i: number): number => Math.max(0, health[i]!.until - now)
  return usable.sort((a, b) => rest(a) - rest(b) || a - b)
}

/**
 * @param chainId an endpoint that is of another chain is never asked again. @default not checked
 * @param rounds times that all endpoints are tried before a request fails. @default 5
 * @param pauseMs pause after the first round; it doubles. @default 100
 * @param timeoutMs longest wait for one answer. @default 15_000
 */
export type EndpointOptions = { chainId?: number; rounds?: number; pauseMs?: number; timeoutMs?: number }

/**
 * One transport over several JSON-RPC endpoints. Only an endpoint that gives no answer, or one that says it is overloaded, is passed
 * over; what another says of the request itself (a revert, a spent nonce) is the answer.
 */
export function failover(
  urls: readonly string[],
  options: EndpointOptions = {},
): Transport<'failover', { url: string }> {
  const { chainId, rounds = 5, pauseMs = 100, timeoutMs = 15_000 } = options
  if (urls.length === 0) throw new SinterError('OPTION', 'at least one JSON-RPC endpoint is needed')
  const health: Health[] = urls.map(() => HEALTHY)
  const checked = urls.map(() => chainId === undefined)
  return (config) => {
    const asks = urls.map(
      (url) => http(url, { retryCount: 0, timeout: timeoutMs })({ ...config, retryCount: 0 }).request,
    )

    async function ask(i: number, body: Parameters<EIP1193RequestFn>[0]): Promise<unknown> {
      if (!checked[i]) {
        const found = Number(await asks[i]!({ method: 'eth_chainId' }))
        if (found !== chainId) {
          health[i] = { ...health[i]!, foreign: true }
          throw new SinterError('CHAIN_ID', `the endpoint is chain ${found}, the network is on ${chainId}`)
        }
        checked[i] = true
      }
      return asks[i]!(body)
    }

    const request = async (body: Parameters<EIP1193RequestFn>[0]): Promise<unknown> => {
      let last: unknown = new SinterError('CHAIN_ID', 'no endpoint is of the chain that the network is on')
      let doubt = false
      for (let round = 0; round < rounds; round++) {
        if (round > 0) await sleep(pauseMs * 2 ** (round - 1))
        for (const i of askingOrder(health, Date.now())) {
          try {
            const answer = await ask(i, body)
            health[i] = HEALTHY
            return answer
          } catch (error) {
            const isForeign = error instanceof SinterError
            // One that gave no answer may have passed the transaction on, whatever the next one says of it.
            if (!isForeign && !isTransport(error))
              throw doubt && body.method === 'eth_sendRawTransaction' ? last : error
            last = error
            if (isForeign) continue
            doubt = true
            health[i] = afterFailure(health[i]!, Date.now())
          }
        }
        if (health.every(({ foreign }) => foreign)) break
      }
      throw last
    }
    const description = { key: 'failover', name: 'fail-over', type: 'failover' } as const
    return createTransport({ ...description, request: request as EIP1193RequestFn, retryCount: 0 }, { url: urls[0]! })
  }
}
