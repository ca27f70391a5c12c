import { equalBytes, fromHex, type Hex } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { laneSeed, type PulseClass, positions } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'
import type { LaneClaim } from '../chain/capacity.ts'
import type { Chain } from '../chain/chain.ts'
import type { CapacityClass } from '../chain/economy.ts'
import type { Log } from '../net/log.ts'
import type { PulseEngine } from '../pulse/engine.ts'
import { gasOfLane, ROLLED, worthClaiming } from './pulse-plan.ts'

export type ClaimComponents = {
  address: Address
  chain: Pick<Chain, 'capacityPay' | 'claimLane' | 'epochsBehind' | 'laneClaimed' | 'network' | 'rollEpochs'>
  engine: Pick<PulseEngine, 'lane'>
  /** Cost of so much gas in tokens now, null where nothing has a price. */
  gasCost(gas: bigint): Promise<bigint | null>
  signal: AbortSignal
  log: Log
}

/** Answers that a report has. */
export type Reported = {
  slot: bigint
  /** Of the slot. */
  value: Hex
  answers: Uint8Array[]
  report: { reporter: Address; index: number; path: Uint8Array[] }
}

/** Claims of lanes that are examined. */
export type Claims = {
  /** What a drawn lane brings and a claim costs at present, base units. @param extraGas of what has to be done first */
  worth(own: CapacityClass, extraGas?: bigint): Promise<{ pay: bigint; cost: bigint | null; worth: boolean }>
  /**
   * Computes a lane again, with what the draw's value names of it, and claims it. Why it will never be paid, null once it is; throws what another
   * look may find otherwise.
   */
  claim(kept: Reported, lane: number, drawn: Hex, own: CapacityClass): Promise<string | null>
}

/** Refusals that no waiting will change. */
const FOR_GOOD = new Set([
  'CHAIN_ClaimClosed',
  'CHAIN_ClassNotMeasured',
  'CHAIN_ClassNotPriced',
  'CHAIN_EntryNotShown',
  'CHAIN_NotDrawn',
  'CHAIN_StakeTooLow',
])
/** Epochs that one transaction ends. */
const ROLL_AT_ONCE = 8n

export const productsOf = ({ n, steps, entries }: CapacityClass): PulseClass => ({ n, steps, entries })

export function laneSeedOf(network: NetworkFile, operator: Address, value: Hex, lane: number): Uint8Array {
  const { chainId, contracts } = network
  return laneSeed({ chainId, capacity: contracts.capacity, value: fromHex(value), operator, lane })
}

export function createClaims({ address, chain, engine, gasCost, signal, log }: ClaimComponents): Claims {
  /** Made and not mined yet: what took a minute to compute is not computed again because an endpoint was silent. */
  const made = new Map<string, LaneClaim>()

  async function make(kept: Reported, lane: number, drawn: Hex, own: CapacityClass): Promise<LaneClaim | null> {
    const { slot, report, answers, value } = kept
    const pulse = productsOf(own)
    const places = positions({ slot, value: fromHex(drawn), operator: address, lane }, pulse)
    const seed = laneSeedOf(chain.network, address, value, lane)
    const { answer, entries } = await engine.lane({ seed, pulse, positions: places }, signal)
    // A machine that computes the same otherwise the second time has nothing to show.
    if (!equalBytes(answer, answers[lane]!)) return null
    const { reporter, index, path } = report
    return { slot, reporter, index, path, answers, lane, entries }
  }

  /** A report of capacity ends a few epochs on its way, and no more. */
  async function catchUp(): Promise<void> {
    for (let behind = await chain.epochsBehind(); behind > ROLLED; behind = await chain.epochsBehind())
      await chain.rollEpochs(behind < ROLL_AT_ONCE ? behind : ROLL_AT_ONCE)
  }

  return {
    async worth(own, extraGas = 0n) {
      const [pay, cost] = await Promise.all([
        chain.capacityPay(own.name, own.units * BigInt(own.share)),
        gasCost(gasOfLane(own) + extraGas),
      ])
      return { pay, cost, worth: worthClaiming(pay, cost) }
    },
    async claim(kept, lane, drawn, own) {
      const { slot, report } = kept
      if (await chain.laneClaimed(slot, address, lane)) return null
      const key = `${slot}/${kept.value}/${lane}/${drawn}/${report.reporter}`
      const claim = made.get(key) ?? (await make(kept, lane, drawn, own))
      if (claim === null) return 'LANE_DIFFERS'
      made.set(key, claim)
      await catchUp()
      try {
        const { gasUsed } = await chain.claimLane(claim)
        const units = Number(own.units) * own.share
        log.info({ event: 'pulse.claimed', slot: Number(slot), lane, units, gas: Number(gasUsed) }, 'lane claimed')
      } catch (error) {
        const code = errorCode(error)
        if (code !== 'CHAIN_AlreadyClaimed' && !FOR_GOOD.has(code)) throw error
        made.delete(key)
        return code === 'CHAIN_AlreadyClaimed' ? null : code
      }
      made.delete(key)
      return null
    },
  }
}
