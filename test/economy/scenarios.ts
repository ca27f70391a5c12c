import type { Economy } from '../../protocol/economics.ts'
import { type Conduct, type Options, run, type Weather } from './market.ts'
import { MIN_STAKE, PARAMETERS, type Provider, tokens } from './population.ts'

export type Scenario = { name: string; what: string; weather: Weather }

/** @param turn day on which the weather changes. */
export function scenarios(turn: number): Scenario[] {
  const growth = (day: number): number => 1.3 ** (day / 365)
  const steady: Weather = { demand: growth, usd: () => 0.1 }
  const boom = (day: number): number => growth(day) * (1 + 2 * Math.min(1, Math.max(0, (day - turn) / 60)))
  return [
    { name: 'steady', what: 'demand grows by 30% a year, the token stands at 0.10 USD', weather: steady },
    { name: 'boom', what: 'demand triples within sixty days', weather: { ...steady, demand: boom } },
    {
      name: 'price-shock',
      what: 'the token loses 70% overnight',
      weather: { ...steady, usd: (day) => (day < turn ? 0.1 : 0.03) },
    },
    {
      name: 'demand-collapse',
      what: 'demand falls by 55% overnight and grows on from there',
      weather: { ...steady, demand: (day) => growth(day) * (day < turn ? 1 : 0.45) },
    },
    {
      name: 'mass-exit',
      what: 'two fifths of the providers leave on one day',
      weather: { ...steady, leave: (day) => (day === turn ? 0.4 : 0) },
    },
  ]
}

/** Tokens that all of a provider's capacity of a day is worth at the index. */
const worth = (economy: Economy, { class: kind, units }: Provider): number =>
  units * tokens(economy.classes[kind]!.price)

export type Cheat = { name: string; what: string; conduct: Conduct }

/** Yearly rate at which staked money could have been lent. */
const RATE = 0.1
/** USD for the transactions of another identity in a day. */
const GAS = 0.05

export const CHEATS: Cheat[] = [
  {
    name: 'self-dealing',
    what: 'pays itself for all of its capacity, every day, with the highest discount',
    conduct: { wash: (_, economy, provider) => worth(economy, provider), savedBps: 3_000n },
  },
  {
    name: 'one-unit receipts',
    what: 'pays itself twenty times its capacity for jobs of one unit, to lift utilisation and index',
    conduct: { wash: (_, economy, provider) => 20 * worth(economy, provider), savedBps: 3_000n },
  },
  {
    name: 'four days of seven',
    what: 'pays itself as often as it takes to own the median',
    conduct: { wash: (day, economy, provider) => (day % 7 < 4 ? worth(economy, provider) : 0), savedBps: 3_000n },
  },
  {
    name: 'opening burst',
    what: 'pays itself for the first sixty days, to lift the index for good',
    conduct: { wash: (day, economy, provider) => (day < 60 ? worth(economy, provider) : 0), savedBps: 3_000n },
  },
  {
    name: 'lazy',
    what: 'computes nothing and makes all answers up',
    conduct: { lazy: 1 },
  },
  {
    name: 'lazy now and then',
    what: 'makes every tenth answer up',
    conduct: { lazy: 0.1 },
  },
  {
    name: 'Sybil',
    what: 'registers each machine four times; measured capacity stays that of the machine',
    conduct: { cost: 3 * ((MIN_STAKE * 0.1 * RATE) / 365 + GAS) },
  },
  {
    name: 'censors',
    what: 'a tenth of the nodes leave their seats empty, so that batches of others wait for larger committees',
    conduct: { silent: true },
  },
  {
    name: 'flash staking',
    what: 'stakes 50,000 around every batch; nothing counts before its activation',
    conduct: { cost: (50_000 * 0.1 * RATE) / 365 },
  },
]

export type Size = { days: number; providers: number; consumers: number; seed: number }

/**
 * What a tenth of the nodes gain by each cheat over the whole time: tokens they have at the end, costs taken off, less what honest work
 * gives them on the same days with the same strangers.
 * @param rule availability by the moving index instead of the contracts' rule.
 */
export function profits(
  cheats: readonly Cheat[],
  weather: Weather,
  size: Size,
  rule?: 'index',
): { honest: number; profit: Record<string, number> } {
  const options: Options = {
    ...size,
    weather,
    members: Math.ceil(size.providers / 10),
    ...(rule === undefined ? {} : { availabilityRule: rule }),
  }
  const { coalition: honest, presence } = run(options)
  const profit = cheats.map(({ name, conduct }) => [name, run({ ...options, conduct, presence }).coalition - honest])
  return { honest, profit: Object.fromEntries(profit) as Record<string, number> }
}

/**
 * The most that a coalition gains by paying itself for a while, over 72 patterns (weather, share of the nodes, start, length, strength): what
 * moving β and the index does to strangers' jobs at its nodes. As a share of its honest result, with the pattern.
 * @param returnEpochs time constant of β's return, so that it can be compared with none.
 */
export function steering(
  size: Size,
  turn: number,
  returnEpochs: bigint,
): { share: number; most: Record<string, string> }[] {
  const params = { ...PARAMETERS, betaReturnEpochs: returnEpochs }
  return [0.2, 1].map((share) => {
    let most = { gain: -Infinity, pattern: '' }
    for (const { name, weather } of scenarios(turn).slice(0, 3)) {
      const options: Options = { ...size, weather, params, members: Math.ceil(size.providers * share) }
      const { coalition: honest, presence } = run(options)
      for (const start of [0, turn / 2, turn]) {
        for (const length of [20, 120]) {
          for (const strength of [0.3, 1]) {
            const wash: Conduct['wash'] = (day, economy, provider) =>
              day >= start && day < start + length ? strength * worth(economy, provider) : 0
            const { coalition } = run({ ...options, presence, conduct: { wash, savedBps: 3_000n } })
            const gain = (coalition - honest) / Math.abs(honest)
            if (gain > most.gain) most = { gain, pattern: `${name}, from day ${start} for ${length}, ${strength}` }
          }
        }
      }
    }
    return { share, most: { gain: `${(100 * most.gain).toFixed(2)}%`, pattern: most.pattern } }
  })
}
