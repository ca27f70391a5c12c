import { type Address, type Hex, keccak256, stringToHex } from 'viem'
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

export const NO_CAPACITY: Address = '0x0000000000000000000000000000000000000000'

/** `IStrikes.StrikeParams`: the highest discount has full weight. */
export const strikeParams = (p: NetworkParams) => ({
  gain: BigInt(p.strikeGain),
  loss: BigInt(p.strikeLoss),
  threshold: BigInt(p.strikeThreshold),
  grace: BigInt(p.strikeGrace),
  exclusion: BigInt(p.strikeExclusion),
  fullBps: p.discountBps3,
})
