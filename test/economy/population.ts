import type { EconomyParams } from '../../protocol/economics.ts'
import { PARAMS } from '../../protocol/vectors/economics.ts'
import { at } from './random.ts'

export const SNTR = 10n ** 18n
export const tokens = (amount: bigint): number => Number(amount / 10n ** 9n) / 1e9
export const base = (amount: number): bigint => BigInt(Math.round(amount * 1e9)) * 10n ** 9n

/** The values that spec/economics.md argues for, epochs of a day. */
export const PARAMETERS: EconomyParams = PARAMS
export const NU_BPS = 300n
export const GENESIS = 100_000_000
export const MIN_STAKE = 1_000

/**
 * A hardware class. Costs in USD: a machine of `units` a day costs `fixed` a day whatever it does and `marginal` a unit it computes.
 * `demand` is the units a day that are asked for at the cost-covering price on day 0, for each machine of the class that is there.
 */
export type ClassModel = {
  name: string
  price: number
  floor: number
  units: number
  fixed: number
  marginal: number
  demand: number
}

/** A GPU of 2·10^14 multiply-adds a second at a fifth of its peak for 25 USD a day, a desktop CPU for 40 cents. */
export const CLASSES: ClassModel[] = [
  { name: 'gpu', price: 0.0002, floor: 0.0001, units: 3.4e6, fixed: 25, marginal: 2.4e-6, demand: 1.9e6 },
  { name: 'cpu', price: 0.001, floor: 0.0005, units: 8_640, fixed: 0.4, marginal: 4.6e-5, demand: 4_600 },
]

export type Provider = {
  class: number
  capacity: bigint
  units: number
  fixed: number
  marginal: number
  stake: bigint
  online: boolean
  /** Trailing profit in USD a day. */
  trend: number
  /** Tokens earned and USD spent since the start. */
  earned: number
  spent: number
  member: boolean
}

/** The others come when it pays. */
export const ONLINE_AT_START = 0.5

/** Two thirds GPUs; sizes differ by a factor of four, stakes by a hundred; the first `members` of them act together. */
export function makeProviders(count: number, members: number, seed: number): Provider[] {
  return Array.from({ length: count }, (_, i) => {
    const kind = i % 3 === 2 ? 1 : 0
    const model = CLASSES[kind]!
    const size = 0.5 * 4 ** at(seed, 0, i, 1)
    const thrift = 0.8 + 0.5 * at(seed, 0, i, 2)
    const online = at(seed, 0, i, 10) < ONLINE_AT_START
    const stake = MIN_STAKE * 100 ** at(seed, 0, i, 3)
    return {
      class: kind,
      capacity: BigInt(Math.round(model.units * size)),
      units: model.units * size,
      fixed: model.fixed * size * thrift,
      marginal: model.marginal * thrift,
      stake: base(stake),
      online,
      trend: 0,
      earned: 0,
      spent: 0,
      member: i < members,
    }
  })
}

/** Discount on the burn by consumer: two in a hundred hold the highest stake, eight the second, twenty the first. */
export function discountOfConsumer(consumer: number, consumers: number): bigint {
  const rank = consumer / consumers
  return rank < 0.02 ? 3_000n : rank < 0.1 ? 2_000n : rank < 0.3 ? 1_000n : 0n
}

/**
 * Price in USD for a unit at which demand meets supply, and the share of capacity that is then used. Providers ask for more the fuller
 * they are: at U* what covers their cost, at no use their marginal cost. Demand falls with the price, elasticity 0.8.
 */
export function clear(
  model: ClassModel,
  capacity: number,
  demand: number,
  target: number,
): { usd: number; used: number } {
  const whole = model.marginal + model.fixed / (model.units * target)
  const priceAt = (used: number): number => model.marginal + (whole - model.marginal) * (used / target) ** 2
  if (capacity === 0) return { usd: whole, used: 0 }
  let [low, high] = [0, 1]
  for (let i = 0; i < 40; i++) {
    const used = (low + high) / 2
    if (demand * (priceAt(used) / whole) ** -0.8 > used * capacity) low = used
    else high = used
  }
  return { usd: priceAt(low), used: low }
}
