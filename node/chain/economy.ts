import { type Hex, keccak256, stringToHex } from 'viem'
import type { NetworkParams } from './params.ts'

/** Constructor arguments of the contracts of the economy, in the shape of their structs. */

type ClassPrice = { class: Hex; price: bigint; floor: bigint }

/** `IPriceIndex.ClassPrice` of every class, from the `name:price:floor` list of the parameters. */
export function classPrices(p: NetworkParams): ClassPrice[] {
  return p.classes
    .split(',')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [name, price, floor] = entry.split(':') as [string, string, string]
      return { class: keccak256(stringToHex(name)), price: BigInt(price), floor: BigInt(floor) }
    })
}

/** `IConsumerStakes.StakeParams`. */
export function stakeParams(p: NetworkParams): unknown {
  return {
    lockTime: BigInt(p.consumerLock),
    activation: BigInt(p.stakeActivation),
    stakes: [p.discountStake1, p.discountStake2, p.discountStake3],
    discountBps: [p.discountBps1, p.discountBps2, p.discountBps3],
  }
}

/** `IEmissions.Params`. */
export function emissionParams(p: NetworkParams): unknown {
  return {
    ...p,
    epochLength: BigInt(p.epochLength),
    tierStakes: [p.tierStake2, p.tierStake3],
    tierBps: [p.tierBps1, p.tierBps2, p.tierBps3],
  }
}

/** Most that the schedule of `Emissions` mints over all epochs: S_0 / (1 − λ), rounded up. */
export function scheduleBound(p: NetworkParams): bigint {
  const left = 1_000_000n - BigInt(p.lambdaPpm)
  return (p.emission0 * 1_000_000n + left - 1n) / left
}

/** `IStrikes.StrikeParams`: the highest discount has full weight. */
export const strikeParams = (p: NetworkParams) => ({
  gain: BigInt(p.strikeGain),
  loss: BigInt(p.strikeLoss),
  threshold: BigInt(p.strikeThreshold),
  grace: BigInt(p.strikeGrace),
  exclusion: BigInt(p.strikeExclusion),
  fullBps: p.discountBps3,
})

/** `ICapacity.Params`. */
export const pulseParams = (p: NetworkParams) => ({
  rarity: p.pulseRarity,
  window: BigInt(p.pulseWindow),
  claimWindow: BigInt(p.pulseClaimWindow),
  freshSlots: p.pulseFreshSlots,
  drawMargin: p.pulseDrawMargin,
  reporters: p.pulseReporters,
})

/** A hardware class's pulses; `name` as nodes register it. */
export type CapacityClass = {
  name: string
  n: number
  steps: number
  entries: number
  units: bigint
  share: number
  stakePerLane: bigint
}

/** The classes that capacity is measured of, from the `name:n:steps:entries:units:share:stake` list of the parameters. */
export function capacityClasses(p: Pick<NetworkParams, 'capacityClasses'>): CapacityClass[] {
  return p.capacityClasses
    .split(',')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [name = '', n, steps, entries, units = '', share, stake = ''] = entry.split(':')
      return {
        name,
        n: Number(n),
        steps: Number(steps),
        entries: Number(entries),
        units: BigInt(units),
        share: Number(share),
        stakePerLane: BigInt(stake),
      }
    })
}

/** `ICapacity.Class`. */
export const capacityClass = ({ name, ...rest }: CapacityClass) => ({ class: keccak256(stringToHex(name)), ...rest })
