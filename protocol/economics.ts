/**
 * The formulas of the economy, as protocol/contracts/libraries/Economics.sol has them; both are held to vectors/economics.json.
 * Amounts are base units below 2^96, `…Bps` 1/10000, `…Ppm` 1/1000000. Divisions round down, signed steps towards zero.
 * What each is for, and why it has its value: spec/economics.md.
 */

export const BPS = 10_000n
export const PPM = 1_000_000n
/** Epochs whose median is the utilisation that steers. */
const MEDIAN_OF = 7
/** What a unit of capacity earns of its class's floor price at demand factor 1, and the ends of that factor. */
const AVAILABLE_BPS = 2_000n
const FACTOR_MIN_BPS = 8_000n
const FACTOR_MAX_BPS = 12_500n
const PRICE_MAX = (1n << 96n) - 1n

const PPM_OF_BPS = 100n

const clamp = (value: bigint, low: bigint, high: bigint): bigint => (value < low ? low : value > high ? high : value)
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)

/** S_{e+1} = λ·S_e. */
export function scheduleNext(schedule: bigint, lambdaPpm: bigint): bigint {
  return (schedule * lambdaPpm) / PPM
}

/** Bound of Σ S_e over all epochs: S_0 / (1 − λ), rounded up. */
export function scheduleBound(first: bigint, lambdaPpm: bigint): bigint {
  return (first * PPM + PPM - lambdaPpm - 1n) / (PPM - lambdaPpm)
}

/** Exponential mean over about n epochs. */
export function smooth(mean: bigint, value: bigint, n: bigint): bigint {
  return (mean * (n - 1n) + value) / n
}

/** `betaBps` is β_0, to which β returns where utilisation is on its target; `betaReturnEpochs` the time constant of that. */
export type BurnRateParams = {
  targetPpm: bigint
  betaBps: bigint
  betaReturnEpochs: bigint
  kappaBps: bigint
  betaStepBps: bigint
  betaMinBps: bigint
  betaMaxBps: bigint
}

/** β_{e+1} = clamp(β_e + κ(U − U*) − (β_e − β_0)/R, β_min, β_max) with a largest step; β in parts per million. */
export function burnRateNext(betaPpm: bigint, usedPpm: bigint, p: BurnRateParams): bigint {
  const step = (p.kappaBps * (usedPpm - p.targetPpm)) / BPS - (betaPpm - p.betaBps * PPM_OF_BPS) / p.betaReturnEpochs
  const most = p.betaStepBps * PPM_OF_BPS
  return clamp(betaPpm + clamp(step, -most, most), p.betaMinBps * PPM_OF_BPS, p.betaMaxBps * PPM_OF_BPS)
}

/** p_{t+1} = p_t·(1 + δ·clamp((U − U*)/U*, −1, 1)), not below the class's floor. */
export function priceNext(price: bigint, usedPpm: bigint, targetPpm: bigint, deltaBps: bigint, floor: bigint): bigint {
  if (usedPpm >= targetPpm) {
    const up = min(((usedPpm - targetPpm) * PPM) / targetPpm, PPM)
    return min(price + (price * deltaBps * up) / (BPS * PPM), PRICE_MAX)
  }
  const down = ((targetPpm - usedPpm) * PPM) / targetPpm
  const next = price - (price * deltaBps * down) / (BPS * PPM)
  return next < floor ? floor : next
}

/** γ_e = min(γ, budget / smoothed burn) in parts per million; the budget is w·S_e. */
export function gammaOf(gammaBps: bigint, budget: bigint, smoothedBurn: bigint): bigint {
  const most = (gammaBps * PPM) / BPS
  return smoothedBurn === 0n ? most : min(most, (budget * PPM) / smoothedBurn)
}

/** What a batch mints: γ_e·tier·net burn, below the net burn. */
export function workMint(netBurn: bigint, gammaPpm: bigint, tierBps: bigint): bigint {
  return (((netBurn * gammaPpm) / PPM) * tierBps) / BPS
}

/**
 * What a batch adds to its class's backing: α of its net burn as it were at the lowest β. So it does not grow when β does, and idle
 * capacity gains nothing by driving up what others burn.
 */
export function backingOf(netBurn: bigint, alphaBps: bigint, betaMinBps: bigint, betaBps: bigint): bigint {
  return betaBps === 0n ? 0n : (netBurn * alphaBps * betaMinBps) / (BPS * betaBps)
}

/** The consumer's discount on what a range burns. */
export function discountOf(burned: bigint, discountBps: bigint): bigint {
  return (burned * discountBps) / BPS
}

/** What a class's capacity earns in an epoch before the pool's limit; `released` is the backing that the epoch may spend. */
export function availability(units: bigint, floor: bigint, released: bigint): bigint {
  const whole = units * floor * AVAILABLE_BPS
  return min((whole * FACTOR_MAX_BPS) / (BPS * BPS), (whole * FACTOR_MIN_BPS) / (BPS * BPS) + released)
}

/** Share of a limited pool: all of it while the pool suffices. */
export function ofPool(wanted: bigint, sum: bigint, pool: bigint): bigint {
  return sum <= pool ? wanted : (wanted * pool) / sum
}

/** used / capacity in parts per million, at most 1. */
export function utilisation(used: bigint, capacity: bigint): bigint {
  return used >= capacity ? PPM : (used * PPM) / capacity
}

/** Adds a utilisation; newest first, at most seven. */
export function remember(history: readonly bigint[], usedPpm: bigint): bigint[] {
  return [usedPpm, ...history].slice(0, MEDIAN_OF)
}

/** Median; of an even number the lower of the middle two. */
export function median(values: readonly bigint[]): bigint {
  const sorted = [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  return sorted[(sorted.length - 1) >> 1]!
}

// ---- the state that the formulas move, as `Emissions` and `PriceIndex` keep it

/** @param tierStakes stakes from which the second and third tier begin. */
export type EconomyParams = BurnRateParams & {
  emission0: bigint
  lambdaPpm: bigint
  workBps: bigint
  availabilityBps: bigint
  gammaBps: bigint
  alphaBps: bigint
  smoothingEpochs: bigint
  releaseEpochs: bigint
  deltaBps: bigint
  tierStakes: readonly [bigint, bigint]
  tierBps: readonly [bigint, bigint, bigint]
}

/** A hardware class. `capacity` and `used` are units (10^12 multiply-adds) of the open epoch. */
export type ClassState = {
  price: bigint
  floor: bigint
  capacity: bigint
  used: bigint
  backing: bigint
  history: bigint[]
}

export type Economy = {
  epoch: number
  betaPpm: bigint
  gammaPpm: bigint
  schedule: bigint
  burned: bigint
  smoothedBurn: bigint
  workMinted: bigint
  credited: bigint
  history: bigint[]
  classes: ClassState[]
}

/** @param classes start prices and floors, base units per unit. */
export function openEconomy(p: EconomyParams, classes: readonly { price: bigint; floor: bigint }[]): Economy {
  return {
    epoch: 0,
    betaPpm: p.betaBps * PPM_OF_BPS,
    gammaPpm: gammaOf(p.gammaBps, 0n, 0n),
    schedule: p.emission0,
    burned: 0n,
    smoothedBurn: 0n,
    workMinted: 0n,
    credited: 0n,
    history: [],
    classes: classes.map(({ price, floor }) => ({ price, floor, capacity: 0n, used: 0n, backing: 0n, history: [] })),
  }
}

/** β as a batch takes it at its anchor, in basis points. */
export function betaOf(economy: Economy): bigint {
  return economy.betaPpm / PPM_OF_BPS
}

export function tierOf(stake: bigint, p: EconomyParams): bigint {
  return stake >= p.tierStakes[1] ? p.tierBps[2] : stake >= p.tierStakes[0] ? p.tierBps[1] : p.tierBps[0]
}

/** Fees of a batch of one consumer: what burns (net), what its stake saves, what voters (without the floor) and provider get. */
export function splitFees(
  fees: bigint,
  betaBps: bigint,
  nuBps: bigint,
  discountBps: bigint,
): { netBurn: bigint; discount: bigint; voters: bigint; provider: bigint } {
  const burn = (fees * betaBps) / BPS
  const voters = (fees * nuBps) / BPS
  const discount = discountOf(burn, discountBps)
  return { netBurn: burn - discount, discount, voters, provider: fees - burn - voters }
}

/**
 * A batch settles: `Emissions.settleWork`. Changes `economy`.
 * @param work.betaBps the β of the batch, as of its anchor.
 * @param work.free units that were measured of the node and are not used yet.
 * @returns `minted` base units to the node, `counted` units of its capacity that count as used.
 */
export function settleWork(
  economy: Economy,
  p: EconomyParams,
  work: { class: number; fees: bigint; netBurn: bigint; betaBps: bigint; stake: bigint; free: bigint },
): { minted: bigint; counted: bigint } {
  const state = economy.classes[work.class]!
  state.backing += backingOf(work.netBurn, p.alphaBps, p.betaMinBps, work.betaBps)
  const counted = min(work.fees / state.price, work.free)
  state.used += counted
  economy.burned += work.netBurn
  const left = (economy.schedule * p.workBps) / BPS - economy.workMinted
  const minted = min(workMint(work.netBurn, economy.gammaPpm, tierOf(work.stake, p)), left)
  economy.workMinted += minted
  economy.credited += minted
  return { minted, counted }
}

/**
 * An epoch ends: utilisation, prices, availability, then the next epoch's β, S and γ. Changes `economy`.
 * @returns `perUnit` base units that a unit of each class's capacity earned, `available` their sum, `usedPpm` of this epoch.
 */
export function closeEpoch(
  economy: Economy,
  p: EconomyParams,
): { perUnit: bigint[]; available: bigint; usedPpm: bigint } {
  const closed = closeClasses(economy, p)
  economy.credited += closed.available
  economy.smoothedBurn = smooth(economy.smoothedBurn, economy.burned, p.smoothingEpochs)
  economy.schedule = scheduleNext(economy.schedule, p.lambdaPpm)
  economy.gammaPpm = gammaOf(p.gammaBps, (economy.schedule * p.workBps) / BPS, economy.smoothedBurn)
  economy.burned = 0n
  economy.workMinted = 0n
  economy.epoch++
  return closed
}

function closeClasses(economy: Economy, p: EconomyParams): { perUnit: bigint[]; available: bigint; usedPpm: bigint } {
  const pool = (economy.schedule * p.availabilityBps) / BPS
  let usedValue = 0n
  let capacityValue = 0n
  const wanted = economy.classes.map((state) => {
    const released = state.backing / p.releaseEpochs
    state.backing -= released
    if (state.capacity === 0n) return 0n
    usedValue += state.used * state.price
    capacityValue += state.capacity * state.price
    state.history = remember(state.history, utilisation(state.used, state.capacity))
    state.price = priceNext(state.price, median(state.history), p.targetPpm, p.deltaBps, state.floor)
    return availability(state.capacity, state.floor, released)
  })
  const sum = wanted.reduce((all, each) => all + each, 0n)
  let available = 0n
  const perUnit = economy.classes.map((state, i) => {
    const each = state.capacity === 0n ? 0n : ofPool(wanted[i]!, sum, pool) / state.capacity
    available += each * state.capacity
    state.capacity = 0n
    state.used = 0n
    return each
  })
  // Where nothing was measured there is nothing to steer by.
  if (capacityValue === 0n) return { perUnit, available, usedPpm: 0n }
  const usedPpm = utilisation(usedValue, capacityValue)
  economy.history = remember(economy.history, usedPpm)
  economy.betaPpm = burnRateNext(economy.betaPpm, median(economy.history), p)
  return { perUnit, available, usedPpm }
}
