import {
  availability,
  backingOf,
  betaOf,
  burnRateNext,
  closeEpoch,
  discountOf,
  type EconomyParams,
  gammaOf,
  median,
  ofPool,
  openEconomy,
  PPM,
  priceNext,
  remember,
  scheduleBound,
  scheduleNext,
  settleWork,
  smooth,
  splitFees,
  utilisation,
  workMint,
} from '../economics.ts'

const SNTR = 10n ** 18n

export const PARAMS: EconomyParams = {
  emission0: 400_000n * SNTR,
  lambdaPpm: 999_500n,
  workBps: 7_500n,
  availabilityBps: 1_000n,
  gammaBps: 8_000n,
  alphaBps: 1_000n,
  smoothingEpochs: 7n,
  releaseEpochs: 30n,
  betaBps: 500n,
  betaMinBps: 200n,
  betaMaxBps: 2_000n,
  kappaBps: 200n,
  betaStepBps: 50n,
  betaReturnEpochs: 30n,
  targetPpm: 600_000n,
  deltaBps: 200n,
  tierStakes: [5_000n * SNTR, 25_000n * SNTR],
  tierBps: [7_000n, 8_500n, 10_000n],
}

const CLASSES = [
  { price: SNTR / 1_000n, floor: SNTR / 2_000n },
  { price: SNTR / 5_000n, floor: SNTR / 10_000n },
]

/** Numbers from a fixed recurrence, so that the file can be made again. */
function stream(seed: bigint): (bound: bigint) => bigint {
  let state = seed
  return (bound) => {
    state = (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) % (1n << 64n)
    return (state >> 11n) % bound
  }
}

type Case = { in: bigint[]; out: bigint }

const cases = (count: number, make: (next: (bound: bigint) => bigint) => Case): { in: string[]; out: string }[] => {
  const next = stream(BigInt(count))
  return Array.from({ length: count }, () => make(next)).map((each) => ({
    in: each.in.map(String),
    out: each.out.toString(),
  }))
}

/** Every formula on inputs over its whole range; `in` has the arguments in the order of Economics.sol. */
function formulas(): unknown {
  const p = PARAMS
  const big = (next: (bound: bigint) => bigint): bigint => next(10n ** 15n) * next(10n ** 13n)
  const used = (next: (bound: bigint) => bigint): bigint =>
    [0n, p.targetPpm, p.targetPpm - 1n, PPM][Number(next(12n))] ?? next(PPM + 1n)
  return {
    scheduleNext: cases(4, (next) => {
      const args = [big(next), next(PPM)] as const
      return { in: [...args], out: scheduleNext(...args) }
    }),
    scheduleBound: cases(5, (next) => {
      const args = [big(next) >> 20n, next(PPM)] as const
      return { in: [...args], out: scheduleBound(...args) }
    }),
    smooth: cases(6, (next) => {
      const args = [big(next), big(next), 1n + next(40n)] as const
      return { in: [...args], out: smooth(...args) }
    }),
    burnRateNext: cases(24, (next) => {
      const [beta, u] = [20_000n + next(180_001n), used(next)]
      const steer = [p.targetPpm, p.betaBps, p.betaReturnEpochs, p.kappaBps, p.betaStepBps, p.betaMinBps, p.betaMaxBps]
      return { in: [beta, u, ...steer], out: burnRateNext(beta, u, p) }
    }),
    priceNext: cases(25, (next) => {
      const floor = 1n + next(10n ** 17n)
      const args = [floor + next(3n) * next(10n ** 17n), used(next), p.targetPpm, next(1_000n), floor] as const
      return { in: [...args], out: priceNext(...args) }
    }),
    gammaOf: cases(8, (next) => {
      const args = [next(10_000n), big(next), next(4n) * big(next)] as const
      return { in: [...args], out: gammaOf(...args) }
    }),
    workMint: cases(9, (next) => {
      const args = [big(next), next(PPM), next(10_001n)] as const
      return { in: [...args], out: workMint(...args) }
    }),
    backingOf: cases(8, (next) => {
      const args = [big(next), next(2_000n), next(2_000n), next(3n) * next(2_001n)] as const
      return { in: [...args], out: backingOf(...args) }
    }),
    discountOf: cases(3, (next) => {
      const args = [big(next), next(3_001n)] as const
      return { in: [...args], out: discountOf(...args) }
    }),
    availability: cases(12, (next) => {
      const args = [next(10n ** 9n), next(10n ** 15n), next(3n) * next(10n ** 23n)] as const
      return { in: [...args], out: availability(...args) }
    }),
    ofPool: cases(7, (next) => {
      const wanted = big(next)
      const args = [wanted, wanted + big(next), big(next)] as const
      return { in: [...args], out: ofPool(...args) }
    }),
    utilisation: cases(10, (next) => {
      const args = [next(10n ** 9n), 1n + next(10n ** 9n)] as const
      return { in: [...args], out: utilisation(...args) }
    }),
  }
}

/** Medians of a growing history, to be fed one by one. */
function medians(): unknown {
  const next = stream(99n)
  let history: bigint[] = []
  return Array.from({ length: 20 }, () => {
    const value = next(PPM + 1n)
    history = remember(history, value)
    return { value: value.toString(), median: median(history).toString() }
  })
}

/**
 * Epochs of a small network: node 0 is of the first class, node 1 of the second. `units` are reported for each at the start of an
 * epoch (0: not measured), then every batch of `fees` settles. Demand rises to twice the capacity and collapses.
 */
function epochs(): unknown {
  // So little that both budgets bind.
  const p = { ...PARAMS, emission0: 5n * SNTR }
  const economy = openEconomy(p, CLASSES)
  const next = stream(7n)
  const stakes = [5_000n * SNTR, 1_000n * SNTR]
  return Array.from({ length: 24 }, (_, e) => {
    const units = [e === 11 ? 0n : 50_000n + next(1_000n), e % 5 === 4 ? 0n : 400_000n + next(9_999n)]
    economy.classes.forEach((state, i) => {
      state.capacity = units[i]!
    })
    const free = [...units]
    const batches = [0, 1, 0].map((node) => {
      const fees = ((e < 14 ? 300n + 8n * BigInt(e) : 4n) * SNTR * (1n + next(1_000_000n))) / 1_500_000n
      const { netBurn } = splitFees(fees, betaOf(economy), 300n, node === 1 ? 2_000n : 0n)
      const { minted, counted } = settleWork(economy, p, {
        class: node,
        fees,
        netBurn,
        betaBps: betaOf(economy),
        stake: stakes[node]!,
        free: free[node]!,
      })
      free[node]! -= counted
      return { node, fees: fees.toString(), netBurn: netBurn.toString(), minted: minted.toString() }
    })
    const { perUnit, usedPpm } = closeEpoch(economy, p)
    return {
      units: units.map(Number),
      batches,
      usedPpm: Number(usedPpm),
      perUnit: perUnit.map(String),
      betaPpm: Number(economy.betaPpm),
      gammaPpm: Number(economy.gammaPpm),
      schedule: economy.schedule.toString(),
      smoothedBurn: economy.smoothedBurn.toString(),
      credited: economy.credited.toString(),
      prices: economy.classes.map(({ price }) => price.toString()),
      backing: economy.classes.map(({ backing }) => backing.toString()),
    }
  })
}

export function economics(): unknown {
  return { ...(formulas() as object), medians: medians(), epochs: epochs() }
}
