import type { Hex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import { fundsOf } from '../chain/funds.ts'
import { type Opening, openingToSign, type Payer } from '../chain/opening.ts'
import type { Purse } from './reserves.ts'

/** The account that a client's sessions are paid by. */
export type Payment = {
  account: Address
  /** What it has for further sessions (base units). Throws the chain's codes. */
  funds(): Promise<bigint>
  /**
   * Opens a session whose vouchers the client's key signs; `lifeS` seconds until it expires. Throws `BALANCE_TOO_LOW`, what the account's
   * consent throws, and the chain's codes.
   */
  open(provider: Address, ceiling: bigint, lifeS: number): Promise<Hex>
}

/** Seconds in which a signed opening has to be mined. */
const OPENING_S = 600n

type PaymentChain = Pick<
  Chain,
  | 'address'
  | 'balanceOf'
  | 'head'
  | 'network'
  | 'openSession'
  | 'openSessionFor'
  | 'session'
  | 'sessionId'
  | 'sessionNonce'
  | 'tokensOf'
>

/** Out of the client's own account, or of one that consents to each session. */
export function createPayment(chain: PaymentChain, purse: Purse, payer: Payer | null): Payment {
  const signer = chain.address!
  if (payer === null)
    return {
      account: signer,
      funds: () => fundsOf(chain, signer),
      async open(provider, ceiling, lifeS) {
        const { timestamp } = await chain.head()
        const { session } = await purse.spend(ceiling, () =>
          chain.openSession(provider, ceiling, timestamp + BigInt(lifeS)),
        )
        return session
      },
    }

  const account = payer.address.toLowerCase() as Address
  let last: Promise<unknown> = Promise.resolve()

  async function open(provider: Address, ceiling: bigint, lifeS: number): Promise<Hex> {
    const balance = await chain.balanceOf(account)
    if (balance < ceiling)
      throw new SinterError('BALANCE_TOO_LOW', `${account} has ${ceiling - balance} base units too few in the escrow`)
    const [{ timestamp }, nonce] = await Promise.all([chain.head(), chain.sessionNonce(account)])
    const [expiry, deadline] = [timestamp + BigInt(lifeS), timestamp + OPENING_S]
    const opening: Opening = { consumer: account, provider, ceiling, expiry, signer, nonce, deadline }
    const signature = await payer!.sign(openingToSign(chain.network, opening))
    try {
      return (await chain.openSessionFor(opening, signature)).session
    } catch (error) {
      // Whoever sees the signature may be faster, and has then opened the same session.
      if (errorCode(error) !== 'CHAIN_BadNonce') throw error
      const id = await chain.sessionId(account, nonce)
      const found = await chain.session(id)
      const same = found.provider === provider && found.signer === signer && found.ceiling === ceiling
      if (!same || found.expiry !== expiry || found.anchored > 0n) throw error
      return id
    }
  }

  return {
    account,
    // Nobody but the account itself deposits what lies in its wallet.
    funds: () => chain.balanceOf(account),
    // One after the other: each consent names the account's next session.
    open(...terms) {
      const turn = last.catch(() => {}).then(() => open(...terms))
      last = turn.catch(() => {})
      return turn
    },
  }
}
