import { toHex } from '../../protocol/bytes.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import { signPayoutConsent } from '../chain/eip712.ts'
import type { Identity } from '../identity/identity.ts'
import type { Log } from '../net/log.ts'

export type EntryInit = {
  network: NetworkFile
  identity: Identity
  /** Base units at stake; 0n does not register. */
  stake: bigint
  hardwareClass: string
  /** Base units for verification floors. */
  floorDeposit: bigint
  log: Log
}

/** Registers the operator with its stake, its own owner unless it registered otherwise before, and funds verification floors. */
export async function enterRegistry(chain: Chain, init: EntryInit): Promise<void> {
  const { identity, stake, hardwareClass, floorDeposit, log } = init
  if (stake === 0n) return
  if ((await chain.node(identity.address)) === null) {
    const payoutConsent = await signPayoutConsent(init.network, toHex(identity.privateKey), identity.address)
    await chain.register({ payout: identity.address, hardwareClass, stake, payoutConsent })
    log.info({ event: 'node.registered', operator: identity.address, stake: stake.toString() }, 'registered')
  }
  await keepFloor(chain, identity.address, floorDeposit, floorDeposit)
}

/** Fills the escrow balance up to `target` when it is below `least`. */
export async function keepFloor(chain: Chain, account: Address, least: bigint, target: bigint): Promise<void> {
  const balance = await chain.balanceOf(account)
  if (balance < least) await chain.deposit((target > least ? target : least) - balance)
}
