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

/** @property pots what lies in batches that are under way, base units */
export type Ledger = { holdings: Map<Address, Holdings>; pots: bigint; supply: bigint }

/** Sessions and batches that hold a part of what the accounts have. */
export type Held = { sessions?: Hex[]; batches?: Hex[] }

/** Holdings of everybody who takes part, and the supply, at one block. */
export async function takeLedger(
  chain: Chain,
  accounts: Address[],
  { sessions, batches = [] }: Held = {},
): Promise<Ledger> {
  for (;;) {
    const { block } = await chain.head()
    const [entries, pots, supply] = await Promise.all([
      Promise.all(accounts.map(async (account) => [account, await holdingsOf(chain, account, sessions)] as const)),
      Promise.all(batches.map((id) => chain.pot(id))),
      chain.tokenSupply(),
    ])
    // A block in between has moved something: a sum over two moments is none.
    if ((await chain.head()).block === block)
      return { holdings: new Map(entries), pots: pots.reduce((sum, pot) => sum + pot, 0n), supply }
  }
}
