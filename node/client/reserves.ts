import type { Hex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Chain } from '../chain/chain.ts'

/** Moves what is missing from the account into the escrow. Throws `BALANCE_TOO_LOW` and the chain's codes. */
export async function ensureBalance(
  chain: Pick<Chain, 'address' | 'balanceOf' | 'tokensOf' | 'deposit'>,
  needed: bigint,
): Promise<void> {
  const address = chain.address!
  const balance = await chain.balanceOf(address)
  if (balance >= needed) return
  const missing = needed - balance
  const tokens = await chain.tokensOf(address)
  if (tokens < missing)
    throw new SinterError('BALANCE_TOO_LOW', `the escrow needs ${missing} base units more than ${address} has`)
  await chain.deposit(missing)
}

/**
 * Asks for the end of a session that will not be used up; its provider has `closeWindow` seconds to anchor what it holds. Does
 * nothing for a session that is closed, closing or spent. Throws the chain's codes.
 */
export async function releaseSession(chain: Pick<Chain, 'session' | 'requestClose'>, id: Hex): Promise<void> {
  const { closed, closesAt, ceiling, anchored } = await chain.session(id)
  if (!closed && closesAt === 0n && anchored < ceiling) await chain.requestClose(id)
}

/**
 * Closes the account's sessions whose time has come and returns what came back to its escrow balance (base units): `closeWindow`
 * after it asked for their end, or after they expired. Throws the chain's codes.
 */
export async function reclaimSessions(
  chain: Pick<Chain, 'address' | 'head' | 'params' | 'sessionsOf' | 'closeSession'>,
): Promise<bigint> {
  const { timestamp } = await chain.head()
  let sum = 0n
  for (const { id, session } of await chain.sessionsOf(chain.address!)) {
    const expired = session.expiry + BigInt(chain.params.closeWindow)
    const due = session.closesAt !== 0n && session.closesAt < expired ? session.closesAt : expired
    if (session.closed || session.anchored === session.ceiling || timestamp < due) continue
    await chain.closeSession(id)
    sum += session.ceiling - session.anchored
  }
  return sum
}
