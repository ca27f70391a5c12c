import type { Hex } from '../../protocol/bytes.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import { ensureBalance, type Funds } from '../chain/funds.ts'

/** The account's units in the escrow, spent by one step at a time: two steps at once would both count on the same units. */
export type Purse = {
  /**
   * Makes sure that the escrow holds `amount` beside what is set aside, then runs the step that takes it. Throws `BALANCE_TOO_LOW` and
   * what the step throws.
   */
  spend<T>(amount: bigint, step: () => Promise<T>): Promise<T>
  /** Sets an amount aside for a step that has no time to deposit; a failure to deposit it comes up when it is spent. */
  setAside(amount: bigint): SetAside
}
export type SetAside = {
  /** Runs the step that takes the amount. */
  spend<T>(step: () => Promise<T>): Promise<T>
  /** It is no longer needed. */
  release(): void
}

/** The purse of the chain's account. An account has one, shared by all that spend from its escrow balance. */
export function createPurse(chain: Funds): Purse {
  let aside = 0n
  let last: Promise<unknown> = Promise.resolve()

  function inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = last.catch(() => {}).then(step)
    last = turn.catch(() => {})
    return turn
  }
  const spend = <T>(amount: bigint, step: () => Promise<T>): Promise<T> =>
    inTurn(async () => {
      await ensureBalance(chain, amount + aside)
      return step()
    })

  return {
    spend,
    setAside(amount) {
      aside += amount
      let held = true
      const release = (): void => {
        if (held) aside -= amount
        held = false
      }
      inTurn(() => ensureBalance(chain, aside)).catch(() => {})
      return {
        release,
        spend: (step) =>
          inTurn(async () => {
            release()
            await ensureBalance(chain, amount + aside)
            return step()
          }),
      }
    },
  }
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
 * @param account whose sessions they are; anyone may close them then. @default the chain's own
 */
export async function reclaimSessions(
  chain: Pick<Chain, 'address' | 'head' | 'params' | 'sessionsOf' | 'closeSession'>,
  account: Address = chain.address!,
): Promise<bigint> {
  const { timestamp } = await chain.head()
  let sum = 0n
  for (const { id, session } of await chain.sessionsOf(account)) {
    const expired = session.expiry + BigInt(chain.params.closeWindow)
    const due = session.closesAt !== 0n && session.closesAt < expired ? session.closesAt : expired
    if (session.closed || session.anchored === session.ceiling || timestamp < due) continue
    await chain.closeSession(id)
    sum += session.ceiling - session.anchored
  }
  return sum
}
