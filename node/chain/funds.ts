import { SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from './chain.ts'

export type Funds = Pick<Chain, 'address' | 'balanceOf' | 'tokensOf' | 'deposit'>

/** What an account has outside of sessions, in its wallet and in the escrow (base units). Throws the chain's codes. */
export async function fundsOf(chain: Pick<Chain, 'balanceOf' | 'tokensOf'>, account: Address): Promise<bigint> {
  const [wallet, escrow] = await Promise.all([chain.tokensOf(account), chain.balanceOf(account)])
  return wallet + escrow
}

/** Moves what is missing from the account into the escrow. Throws `BALANCE_TOO_LOW` and the chain's codes. */
export async function ensureBalance(chain: Funds, needed: bigint): Promise<void> {
  const address = chain.address!
  const balance = await chain.balanceOf(address)
  if (balance >= needed) return
  const missing = needed - balance
  const tokens = await chain.tokensOf(address)
  if (tokens < missing)
    throw new SinterError('BALANCE_TOO_LOW', `the escrow needs ${missing} base units more than ${address} has`)
  await chain.deposit(missing)
}
