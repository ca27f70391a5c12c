import { errorCode } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import type { Log } from '../net/log.ts'

/** Amounts in base units. `gasCost` is what the withdrawal costs, in tokens; null where nothing has a price. */
export type ClaimView = { balance: bigint; keep: bigint; least: bigint; gasCost: bigint | null }

/** Gas may take so much of a claim (1/10000), as of a batch. */
const GAS_SHARE_BPS = 200n

/** What to withdraw now; 0n when it is not worth it yet. */
export function claimable({ balance, keep, least, gasCost }: ClaimView): bigint {
  const surplus = balance > keep ? balance - keep : 0n
  const worth = gasCost === null || gasCost * 10_000n <= surplus * GAS_SHARE_BPS
  return surplus > 0n && surplus >= least && worth ? surplus : 0n
}

export type ClaimComponents = {
  address: Address
  chain: Pick<Chain, 'balanceOf' | 'node' | 'withdraw'>
  /** Cost of so much gas in tokens now, null where nothing has a price. */
  gasCost(gas: bigint): Promise<bigint | null>
  log: Log
}

/**
 * @param keep stays in the escrow for verification floors
 * @param least smallest amount that is withdrawn. @default 10 tokens
 */
export type ClaimInit = { keep: bigint; least?: bigint }

const WITHDRAW_GAS = 60_000n

export type MintComponents = Omit<ClaimComponents, 'chain'> & { chain: Pick<Chain, 'claimable' | 'claimMint'> }

/**
 * Has what the network mints for this node's work and capacity minted, to its payout address, whoever that is. Credits do not expire, and one
 * that somebody else was faster to claim has arrived too: nothing is remembered here, so a restart changes nothing.
 * @param least smallest amount that is claimed, base units
 */
export function createMintClaimer(components: MintComponents, least: bigint) {
  const { address, chain, gasCost, log } = components
  return {
    /** Base units that arrived. */
    async tick(): Promise<bigint> {
      const found = await chain.claimable(address)
      if (found === null) return 0n
      const amount = claimable({ balance: found.amount, keep: 0n, least, gasCost: await gasCost(found.gas) })
      if (amount === 0n) return 0n
      try {
        const { tx } = await chain.claimMint(address)
        log.info({ event: 'mint.claimed', amount: amount.toString(), tx }, 'what was minted for this node has arrived')
        return amount
      } catch (error) {
        if (errorCode(error) !== 'CHAIN_NothingToClaim') throw error
        return 0n
      }
    },
  }
}

/** Takes pay out of the escrow. Pay of a node with another payout address waits there for that address, which alone can take it. */
export function createClaimer(components: ClaimComponents, { keep, least = 10n ** 19n }: ClaimInit) {
  const { address, chain, gasCost, log } = components
  return {
    async tick(): Promise<bigint> {
      const node = await chain.node(address)
      if (node === null || node.payout !== address) return 0n
      const balance = await chain.balanceOf(address)
      if (balance < keep + least) return 0n
      const amount = claimable({ balance, keep, least, gasCost: await gasCost(WITHDRAW_GAS) })
      if (amount === 0n) return 0n
      const { tx } = await chain.withdraw(amount)
      log.info({ event: 'pay.claimed', amount: amount.toString(), tx }, 'pay withdrawn from the escrow')
      return amount
    },
  }
}
