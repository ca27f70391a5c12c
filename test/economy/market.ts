import {
  availability,
  betaOf,
  closeEpoch,
  type Economy,
  type EconomyParams,
  openEconomy,
  settleWork,
  splitFees,
} from '../../protocol/economics.ts'
import {
  base,
  CLASSES,
  clear,
  discountOfConsumer,
  GENESIS,
  makeProviders,
  NU_BPS,
  ONLINE_AT_START,
  PARAMETERS,
  type Provider,
  tokens,
} from './population.ts'
import { at } from './random.ts'

/** What happens from outside, by day. `demand` multiplies what is asked for, `usd` is the token's price, `leave` the share that goes. */
export type Weather = { demand(day: number): number; usd(day: number): number; leave?(day: number): number }

/** What the members of a coalition do other than work. Absent: they are honest. */
export type Conduct = {
  /** Fees in tokens that member `i` pays itself today, for jobs that cost nothing to compute. */
  wash?(day: number, economy: Economy, provider: Provider): number
  /** Discount of its consumers, 1/10000. */
  savedBps?: bigint
  /** Share of jobs that it makes up instead of computing. */
  lazy?: number
  /** Its seats stay silent. */
  silent?: boolean
  /** USD a day for each member. */
  cost?: number
}

export type Options = {
  weather: Weather
  days: number
  providers: number
  consumers: number
  seed: number
  members?: number
  conduct?: Conduct
  params?: EconomyParams
  /** Availability by another rule than the contracts': for showing what it would be worth to cheats. */
  availabilityRule?: 'index'
  /** Who is online on which day, from another run: so that two runs differ by what the members do and by nothing else. */
  presence?: boolean[][]
}

/** One value a day. Tokens, but for `used`, `beta`, `gamma` (shares), `income` (USD a day of the middle provider)
 * and `online` (providers, 1 for those of the start). */
export type Series = Record<
  'supply' | 'burned' | 'work' | 'available' | 'beta' | 'gamma' | 'used' | 'index' | 'market' | 'income' | 'online',
  number[]
>

export type Outcome = {
  series: Series
  coalition: number
  slashed: number
  credited: number
  saved: number
  presence: boolean[][]
}

/** k draws, the odds d₁ of one draw on a job that is made up, and the lock 1.5·F/(k·d₁) (DESIGN §5.4, §5.5). */
export const DRAWS = 8
export const ODDS = 0.5
const LOCK = 1.5 / (DRAWS * ODDS)

type Market = Options & {
  p: EconomyParams
  economy: Economy
  providers_: Provider[]
  burned: number
  saved: number
  slashed: number
}

export function run(options: Options): Outcome {
  const p = options.params ?? PARAMETERS
  const economy = openEconomy(
    p,
    CLASSES.map(({ price, floor }) => ({ price: base(price), floor: base(floor) })),
  )
  const providers_ = makeProviders(options.providers, options.members ?? 0, options.seed)
  const market: Market = { ...options, p, economy, providers_, burned: 0, saved: 0, slashed: 0 }
  const series: Series = Object.fromEntries(
    ['supply', 'burned', 'work', 'available', 'beta', 'gamma', 'used', 'index', 'market', 'income', 'online'].map(
      (name) => [name, [] as number[]],
    ),
  ) as Series
  const sums = { work: 0, available: 0 }
  const presence: boolean[][] = []
  for (let day = 0; day < options.days; day++) {
    for (const [i, provider] of providers_.entries()) provider.online = options.presence?.[day]?.[i] ?? provider.online
    presence.push(providers_.map(({ online }) => online))
    const today = live(market, day)
    sums.work += today.work
    sums.available += today.available
    series.work.push(sums.work)
    series.available.push(sums.available)
    series.burned.push(market.burned)
    series.supply.push(GENESIS + sums.work + sums.available - market.burned)
    series.beta.push(Number(economy.betaPpm) / 1e6)
    series.gamma.push(Number(economy.gammaPpm) / 1e6)
    series.used.push(today.used)
    series.index.push(tokens(economy.classes[0]!.price))
    series.market.push(today.price)
    series.income.push(today.income)
    series.online.push(providers_.filter(({ online }) => online).length / (providers_.length * ONLINE_AT_START))
  }
  const members = providers_.filter(({ member }) => member)
  const usd = options.weather.usd(options.days - 1)
  const coalition = members.reduce((sum, { earned, spent }) => sum + earned - spent / usd, 0)
  return {
    series,
    coalition,
    slashed: market.slashed,
    credited: tokens(economy.credited),
    saved: market.saved,
    presence,
  }
}

type Today = { work: number; available: number; used: number; price: number; income: number }

function live(market: Market, day: number): Today {
  const { economy, p, providers_, weather, seed } = market
  const usd = weather.usd(day)
  const online = providers_.filter((each) => each.online)
  for (const { class: kind, capacity } of online) economy.classes[kind]!.capacity += capacity
  const cleared = CLASSES.map((model, kind) => {
    const all = providers_.filter((each) => each.class === kind).length * ONLINE_AT_START
    const capacity = online.filter((each) => each.class === kind).reduce((sum, { units }) => sum + units, 0)
    return clear(model, capacity, model.demand * all * weather.demand(day), Number(p.targetPpm) / 1e6)
  })
  const profit = new Map<Provider, number>()
  const before = economy.credited
  let fees = 0
  for (const [i, provider] of online.entries()) {
    const { usd: price, used } = cleared[provider.class]!
    const units = provider.units * Math.min(1, used * (0.7 + 0.6 * at(seed, day, i, 4)))
    const consumer = Math.floor(at(seed, day, i, 5) * market.consumers)
    const paid = (units * price) / usd
    fees += paid
    profit.set(provider, work(market, provider, day, i, paid, units, discountOfConsumer(consumer, market.consumers)))
  }
  const worked = economy.credited - before
  vote(market, online, (fees * Number(NU_BPS)) / 1e4)
  const asked = market.availabilityRule === 'index' ? byIndex(economy, p) : undefined
  const { perUnit, usedPpm } = closeEpoch(economy, p)
  const each = asked ?? perUnit
  const available = online.reduce((sum, provider) => {
    const amount = tokens(each[provider.class]! * provider.capacity)
    provider.earned += amount
    profit.set(provider, profit.get(provider)! + amount)
    return sum + amount
  }, 0)
  const incomes = online.map((provider) => move(provider, profit.get(provider)! * usd)).sort((a, b) => a - b)
  comeAndGo(market, day, incomes[incomes.length >> 1] ?? 0)
  return {
    work: tokens(worked),
    available,
    used: Number(usedPpm) / 1e6,
    price: cleared[0]!.usd / usd,
    income: incomes[incomes.length >> 1] ?? 0,
  }
}

/** A provider's batch of the day; its profit in tokens, mint included, seats and availability not. */
function work(
  market: Market,
  provider: Provider,
  day: number,
  i: number,
  paid: number,
  units: number,
  saved: bigint,
): number {
  const { economy, p, conduct, weather } = market
  const settle = (fees: bigint, savedBps: bigint, free: bigint): { pay: number; counted: bigint; burned: number } => {
    const split = splitFees(fees, betaOf(economy), NU_BPS, savedBps)
    const done = settleWork(economy, p, {
      class: provider.class,
      fees,
      netBurn: split.netBurn,
      betaBps: betaOf(economy),
      stake: provider.stake,
      free,
    })
    const burned = tokens(split.netBurn)
    market.burned += burned
    market.saved += tokens(split.discount)
    return { pay: tokens(split.provider + done.minted), counted: done.counted, burned }
  }
  const cheat = provider.member ? conduct : undefined
  // Made-up jobs cost nothing to compute, and are found with odds d₁ in each of k draws.
  const lazy = cheat?.lazy ?? 0
  const spent = provider.fixed + provider.marginal * units * (1 - lazy) + (cheat?.cost ?? 0)
  provider.spent += spent
  let earned = 0
  let free = provider.capacity
  if (lazy > 0 && at(market.seed, day, i, 6) < 1 - (1 - lazy * ODDS) ** DRAWS) {
    earned -= paid * LOCK
    market.slashed += paid * LOCK
  } else {
    const honest = settle(base(paid), saved, free)
    free -= honest.counted
    earned += honest.pay
  }
  const wash = cheat?.wash?.(day, economy, provider) ?? 0
  // What it pays itself comes back but for the burn and the voters' part; their seats are its own at best.
  if (wash > 0)
    earned +=
      settle(base(wash), cheat?.savedBps ?? 0n, free).pay -
      wash * (1 - Number(NU_BPS) / 1e4) +
      selfSaved(market, wash, cheat)
  provider.earned += earned
  return earned - spent / weather.usd(day)
}

function selfSaved(market: Market, wash: number, conduct: Conduct | undefined): number {
  return tokens(splitFees(base(wash), betaOf(market.economy), NU_BPS, conduct?.savedBps ?? 0n).discount)
}

/** Seats are drawn by stake; what the silent ones leave goes to those who vote. */
function vote(market: Market, online: Provider[], pot: number): void {
  const voters = online.filter(({ member }) => !(member && market.conduct?.silent))
  const stake = voters.reduce((sum, each) => sum + tokens(each.stake), 0)
  for (const voter of voters) voter.earned += (pot * tokens(voter.stake)) / stake
}

/** A fifth of the moving price, times a factor of 0.8 to 1.25 by the median of utilisation: the rule that the contracts do not have. */
function byIndex(economy: Economy, p: EconomyParams): bigint[] {
  const pool = (economy.schedule * p.availabilityBps) / 10_000n
  const wanted = economy.classes.map((state) => {
    const busy = state.history.filter((used) => used >= p.targetPpm).length * 2 > state.history.length
    return availability(state.capacity, state.price, busy ? 10n ** 40n : 0n)
  })
  const sum = wanted.reduce((all, each) => all + each, 0n)
  return economy.classes.map((state, i) => {
    if (state.capacity === 0n) return 0n
    return (sum <= pool ? wanted[i]! : (wanted[i]! * pool) / sum) / state.capacity
  })
}

function move(provider: Provider, usd: number): number {
  provider.trend += (usd - provider.trend) / 30
  return usd
}

/** Who has lost money for a month goes, a few a day; who is away comes back when the middle provider earns. */
function comeAndGo(market: Market, day: number, middle: number): void {
  const leave = market.weather.leave?.(day) ?? 0
  for (const [i, provider] of market.providers_.entries()) {
    if (provider.online) {
      provider.online = !(
        at(market.seed, day, i, 7) < leave ||
        (provider.trend < 0 && at(market.seed, day, i, 8) < 0.02)
      )
    } else if (middle > 0 && at(market.seed, day, i, 9) < 0.01) {
      provider.online = true
      provider.trend = 0
    }
  }
}
