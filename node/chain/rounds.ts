import { z } from 'zod'
import { fromHex } from '../../protocol/bytes.ts'
import { type DrandNetwork, EVMNET_CHAIN, verifyRound } from '../../protocol/drand.ts'
import { SinterError } from '../../protocol/errors.ts'

/** Where signatures of rounds come from. */
export type RoundSource = {
  /** 64 bytes. Throws `DRAND_UNAVAILABLE` while nobody has it. */
  signature(round: bigint): Promise<Uint8Array>
}

/** The relays of drand's own team. */
export const EVMNET_RELAYS = ['api', 'api2', 'api3'].map((host) => `https://${host}.drand.sh/${EVMNET_CHAIN}`)

const answerSchema = z.object({ round: z.number(), signature: z.string().regex(/^[0-9a-f]{128}$/) })
const TIMEOUT_MS = 5_000

/**
 * Rounds over drand's HTTP API (`<url>/public/<round>`; the url names the chain). Each is verified, so no relay has to be trusted; one
 * that has nothing, or something wrong, is passed over.
 */
export function httpRounds(urls: readonly string[], network: Pick<DrandNetwork, 'publicKey'>): RoundSource {
  async function ask(url: string, round: bigint): Promise<Uint8Array> {
    const response = await fetch(`${url.replace(/\/$/, '')}/public/${round}`, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (!response.ok) throw new SinterError('DRAND_UNAVAILABLE', `${url} answers ${response.status}`)
    const answer = answerSchema.parse(await response.json())
    const signature = fromHex(answer.signature)
    if (!verifyRound(network, round, signature))
      throw new SinterError('DRAND_SIGNATURE', `${url} gives a wrong signature of round ${round}`)
    return signature
  }
  return {
    async signature(round) {
      let cause: unknown
      for (const url of urls) {
        try {
          return await ask(url, round)
        } catch (error) {
          cause = error
        }
      }
      throw new SinterError('DRAND_UNAVAILABLE', `no relay has round ${round}`, { cause })
    },
  }
}
