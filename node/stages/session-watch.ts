import { toHex } from '../../protocol/bytes.ts'
import { describeError } from '../../protocol/errors.ts'
import type { AssignmentContext, ChainSession } from '../../protocol/rules/assignment.ts'
import type { Chain } from '../chain/chain.ts'
import type { Log } from '../net/log.ts'

/** Looks a session up on the chain; null for one that it does not have. */
export const sessionOnChain =
  (chain: Pick<Chain, 'session'>) =>
  async (session: Uint8Array): Promise<ChainSession | null> => {
    const { consumer, signer, provider, ceiling, anchored, expiry, closed, closesAt } = await chain.session(
      toHex(session),
    )
    if (/^0x0+$/.test(consumer)) return null
    return { signer, provider, ceiling, spent: anchored, expiry: Number(expiry), closing: closed || closesAt !== 0n }
  }

/**
 * A session as the chain has it, from time to time: looked up beside the jobs, never in their way. `closing` says that a job
 * served now might not be paid: the consumer has asked for the end, or less than `minimumLifeS` is left.
 */
export function watchSession(
  components: { chainSession: AssignmentContext['session']; now(): number; log: Log },
  id: Uint8Array,
  first: ChainSession,
  init: { recheckMs: number; minimumLifeS: number },
): () => ChainSession {
  let latest = first
  let at = components.now()
  let asking = false
  async function ask(): Promise<void> {
    asking = true
    at = components.now()
    try {
      latest = (await components.chainSession(id)) ?? { ...latest, closing: true }
    } catch (error) {
      components.log.debug({ event: 'session.unseen', error: describeError(error) }, 'the chain does not answer')
    } finally {
      asking = false
    }
  }
  return (): ChainSession => {
    const now = components.now()
    if (!asking && now - at >= init.recheckMs) void ask()
    const ending = latest.expiry * 1000 < now + init.minimumLifeS * 1000
    return ending ? { ...latest, closing: true } : latest
  }
}
