import type { Hex } from '../../protocol/bytes.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'

/** All that an account has on the network, in base units. */
export type Holdings = { wallet: bigint; escrow: bigint; stake: bigint; reserved: bigint; total: bigint }

/** @param sessions sessions whose unspent ceiling still belongs to the account */
export async function holdingsOf(chain: Chain, account: Address, sessions: Hex[] = []): Promise<Holdings> {
  const [wallet, escrow, node, open] = await Promise.all([
    chain.tokensOf(account),
    chain.balanceOf(account),
    chain.node(account),
    Promise.all(sessions.map((id) => chain.session(id))),
  ])
  const stake = node?.stake ?? 0n
  const reserved = open
    .filter(({ closed, consumer }) => !closed && consumer === account)
    .reduce((sum, { ceiling, anchored }) => sum + ceiling - anchored, 0n)
  return { wallet, escrow, stake, reserved, total: wallet + escrow + stake + reserved }
}

export type Ledger = { holdings: Map<Address, Holdings>; supply: bigint }

/** Holdings of everybody who takes part, and the supply, at one moment. */
export async function takeLedger(chain: Chain, accounts: Address[], sessions: Hex[] = []): Promise<Ledger> {
  const entries = await Promise.all(
    accounts.map(async (account) => [account, await holdingsOf(chain, account, sessions)] as const),
  )
  return { holdings: new Map(entries), supply: await chain.tokenSupply() }
}
