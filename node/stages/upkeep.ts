import { SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import { type FuelLevel, fuelLevel, gasOfBatch } from '../chain/fuel.ts'
import type { Quoter } from '../chain/oracle.ts'
import { formatUsd } from '../chain/oracle.ts'
import type { Log } from '../net/log.ts'
import { createClaimer, createMintClaimer } from './claims.ts'

export type UpkeepComponents = {
  address: Address
  chain: Pick<Chain, 'balanceOf' | 'claimable' | 'claimMint' | 'etherOf' | 'gasPrice' | 'node' | 'withdraw'>
  /** null where nothing has a price: batches and claims then go by time and amount alone. */
  quoter: Quoter | null
  log: Log
}

/**
 * @param keep base units that stay in the escrow for verification floors
 * @param claimFrom smallest amount that is withdrawn, or claimed of what is minted, base units; null never does either
 */
export type UpkeepInit = { keep: bigint; claimFrom: bigint | null }

/** The operator's money: what a batch costs, pay that can be taken, ether that runs out. */
export type Upkeep = {
  /** So much gas in base units of the token at present, null where nothing has a price. */
  gasCost(gas: bigint): Promise<bigint | null>
  /** Gas of a batch, likewise. */
  batchCost(ranges: number): Promise<bigint | null>
  tick(): Promise<void>
}

export function createUpkeep(components: UpkeepComponents, { keep, claimFrom }: UpkeepInit): Upkeep {
  const { address, chain, quoter, log } = components
  const gasCost = async (gas: bigint): Promise<bigint | null> =>
    quoter === null ? null : quoter.gasInTokens(gas, await chain.gasPrice())
  const claimer = createClaimer({ address, chain, gasCost, log }, { keep, least: claimFrom ?? 0n })
  const mintClaimer = createMintClaimer({ address, chain, gasCost, log }, claimFrom ?? 0n)
  let said: FuelLevel = 'ok'

  async function checkFuel(): Promise<void> {
    const [wei, feePerGas] = await Promise.all([chain.etherOf(address), chain.gasPrice()])
    const { level, batches } = fuelLevel({ wei, feePerGas })
    if (level === said) return
    said = level
    const usd = quoter === null ? null : await quoter.usdOfGas(gasOfBatch(1), feePerGas).catch(() => null)
    const facts = {
      event: 'funds.low',
      level,
      address,
      wei: wei.toString(),
      batches: Number(batches),
      ...(usd === null ? {} : { usdPerBatch: formatUsd(usd) }),
    }
    if (level === 'ok') log.info({ ...facts, event: 'funds.ok' }, 'enough ether for gas again')
    else log.warn(facts, `ether for ${batches} more batches: send some to ${address}`)
  }

  return {
    gasCost,
    batchCost: (ranges) => gasCost(gasOfBatch(ranges)),
    async tick() {
      await checkFuel()
      if (claimFrom === null) return
      await mintClaimer.tick()
      await claimer.tick()
    },
  }
}

/** Throws `OPTION` unless both prices are given or none. */
export function bothOrNone<T>(ether: T | undefined, token: T | undefined): { ether: T; token: T } | null {
  if (ether !== undefined && token !== undefined) return { ether, token }
  if (ether !== undefined || token !== undefined)
    throw new SinterError('OPTION', 'prices of ether and of the token are needed together')
  return null
}
