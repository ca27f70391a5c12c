import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import {
  availability,
  BPS,
  backingOf,
  betaOf,
  burnRateNext,
  closeEpoch,
  discountOf,
  type Economy,
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
} from '../../protocol/economics.ts'
import { PARAMS } from '../../protocol/vectors/economics.ts'

type Case = { in: string[]; out: string }
type Vectors = { medians: { value: string; median: string }[] } & Record<string, unknown>

const vectors = JSON.parse(readFileSync(assetPath('protocol/vectors/economics.json'), 'utf8')) as Vectors
const SNTR = 10n ** 18n

type Nine = [bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint]

/** By the names of the vectors, with the arguments in the order of Economics.sol. */
const FORMULAS: Record<string, (...args: Nine) => bigint> = {
  scheduleNext,
  scheduleBound,
  smooth,
  burnRateNext: (
    beta,
    used,
    ...[targetPpm, betaBps, betaReturnEpochs, kappaBps, betaStepBps, betaMinBps, betaMaxBps]
  ) =>
    burnRateNext(beta, used, {
      targetPpm,
      betaBps,
      betaReturnEpochs,
      kappaBps,
      betaStepBps,
      betaMinBps,
      betaMaxBps,
    }),
  priceNext,
  gammaOf,
  workMint,
  backingOf,
  discountOf,
  availability,
  ofPool,
  utilisation,
}

test('every formula has its vectors', () => {
  assert.equal(Object.keys(vectors).sort(), [...Object.keys(FORMULAS), 'medians', 'epochs'].sort())
})

for (const [name, formula] of Object.entries(FORMULAS))
  test(`${name} gives what the vectors say`, () => {
    const cases = vectors[name] as Case[]
    assert.ok(cases.length > 2)
    for (const { in: given, out } of cases)
      assert.is(formula(...(given.map(BigInt) as Parameters<typeof formula>)), BigInt(out), given.join())
  })

test('medians are those of the vectors', () => {
  let history: bigint[] = []
  for (const each of vectors.medians) {
    history = remember(history, BigInt(each.value))
    assert.is(median(history), BigInt(each.median))
  }
})

test('fees are split to the last unit', () => {
  const share = fc.bigInt({ min: 0n, max: 3_000n })
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 10n ** 27n }), share, share, share, (fees, beta, nu, saved) => {
      const { netBurn, discount, voters, provider } = splitFees(fees, beta, nu, saved)
      assert.is(netBurn + discount + voters + provider, fees)
      assert.ok(discount * 10n <= (netBurn + discount) * 3n)
    }),
  )
})

/** A life of `epochs` epochs; `own` are the fees that a coalition pays itself. */
type Life = { units: bigint[]; fees: bigint[]; own: bigint[]; saved: bigint }

/** What the coalition, node 0 of class 0 and node 2 of class 1, mints and burns. Node 1 is a stranger's. */
function live(life: Life, washing: boolean, p = { ...PARAMS, kappaBps: 0n }): { minted: bigint; burned: bigint } {
  const economy: Economy = openEconomy(p, [
    { price: SNTR / 1_000n, floor: SNTR / 2_000n },
    { price: SNTR / 1_000n, floor: SNTR / 1_000n },
  ])
  const classOf = [0, 1, 0].map((_, node) => (node === 2 ? 1 : 0))
  let minted = 0n
  let burned = 0n
  for (let e = 0; e < life.own.length + 40; e++) {
    for (const [node, units] of life.units.entries()) economy.classes[classOf[node]!]!.capacity += units
    const free = [...life.units]
    const settle = (node: number, fees: bigint, saved: bigint): bigint => {
      const { netBurn } = splitFees(fees, betaOf(economy), 300n, saved)
      const done = settleWork(economy, p, {
        class: classOf[node]!,
        fees,
        netBurn,
        betaBps: betaOf(economy),
        stake: 25_000n * SNTR,
        free: free[node]!,
      })
      free[node]! -= done.counted
      if (node !== 1) minted += done.minted
      return netBurn
    }
    const own = life.own[e]
    if (washing && own !== undefined) burned += settle(e % 3 === 2 ? 2 : 0, own, life.saved)
    for (const [node, fees] of life.fees.entries()) settle(node, (fees * BigInt((e % 4) + 1)) / 4n, 0n)
    const { perUnit } = closeEpoch(economy, p)
    minted += perUnit[0]! * life.units[0]! + perUnit[1]! * life.units[2]!
  }
  return { minted, burned }
}

const lives = fc.record({
  units: fc.array(fc.bigInt({ min: 1n, max: 200_000n }), { minLength: 3, maxLength: 3 }),
  fees: fc.array(fc.bigInt({ min: 0n, max: 60n * SNTR }), { minLength: 3, maxLength: 3 }),
  own: fc.array(fc.bigInt({ min: 0n, max: 200n * SNTR }), { minLength: 1, maxLength: 20 }),
  saved: fc.bigInt({ min: 0n, max: 3_000n }),
})

test('no coalition mints by jobs of its own what they burn, whatever they do to demand, prices and pool', () => {
  fc.assert(
    fc.property(lives, fc.bigInt({ min: 1n, max: 400n }), (life, emission) => {
      const p = { ...PARAMS, kappaBps: 0n, emission0: emission * SNTR }
      const [with_, without] = [live(life, true, p), live(life, false, p)]
      const share = p.gammaBps + p.alphaBps
      // Rounding: less than a unit for each unit of capacity and epoch.
      const most = without.minted + (with_.burned * share) / BPS + 600_000n * 60n
      assert.ok(with_.minted <= most, `${with_.minted} > ${most}`)
    }),
    { numRuns: 1_000 },
  )
})

test('the schedule stays below its bound, and the bound below the room of the cap', () => {
  let sum = 0n
  let schedule = PARAMS.emission0
  for (let e = 0; e < 20_000; e++) {
    sum += schedule
    schedule = scheduleNext(schedule, PARAMS.lambdaPpm)
  }
  const bound = scheduleBound(PARAMS.emission0, PARAMS.lambdaPpm)
  assert.ok(sum <= bound && bound - sum < bound / 10_000n)
  assert.is(bound, 800_000_000n * SNTR)
})

test('a price that stands at its floor stays there, and one above full use rises by delta', () => {
  assert.is(priceNext(500n, 0n, PARAMS.targetPpm, 200n, 500n), 500n)
  assert.is(priceNext(10_000n, PPM, 500_000n, 200n, 500n), 10_200n)
  assert.is(priceNext(10_000n, PARAMS.targetPpm, PARAMS.targetPpm, 200n, 500n), 10_000n)
  assert.is(priceNext(10_000n, 0n, PARAMS.targetPpm, 200n, 500n), 9_800n)
})

test('work at full rate and highest tier mints four fifths of what burned, and full demand a quarter of the floor price', () => {
  assert.is(workMint(1_000n, 800_000n, 10_000n), 800n)
  assert.is(availability(1_000n, 40n, 10n ** 20n), 10_000n)
  assert.is(availability(1_000n, 40n, 0n), 6_400n)
})

test.run()
