/** Which models nodes keep: the rule that divides them, and what three nodes that follow it do with requests. Real nodes: `npm run bench:warm`. */
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Runtime } from '../../node/model/runtime.ts'
import { createWarmth, divide, type Warmth } from '../../node/stages/warm.ts'
import { SinterError } from '../../protocol/errors.ts'
import { log } from './session-world.ts'

const SLOTS = 4
const NODES = ['a', 'b', 'c']
const MODELS = Array.from({ length: 10 }, (_, i) => `model-${i}`)
const TOTAL = MODELS.reduce((sum, _, rank) => sum + 1 / (rank + 1), 0)
const demandOf = (weights: number[]): Map<string, number> => new Map(weights.map((weight, i) => [`model-${i}`, weight]))

test('every model that there is room for has a place, the most wanted have more, and no node has more than it keeps', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 1_000 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 5 }),
      (weights, count, slots) => {
        const nodes = Array.from({ length: count }, (_, i) => `node-${i}`)
        const parts = divide(demandOf(weights), nodes, slots)
        for (const models of parts.values()) {
          assert.ok(models.length <= slots)
          assert.is(new Set(models).size, models.length)
        }
        const places = (model: string): number => [...parts.values()].filter((models) => models.includes(model)).length
        const ranked = [...demandOf(weights)].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
        for (const [i, [model]] of ranked.entries()) assert.ok(places(model) >= (i < slots * count ? 1 : 0))
      },
    ),
    { numRuns: 200 },
  )
  const parts = divide(demandOf([100, 10, 5, 3, 2, 2, 1, 1, 1, 1]), NODES, SLOTS)
  const total = [...parts.values()].map(({ length }) => length)
  assert.equal(total, [4, 4, 4])
  assert.is([...parts.values()].filter((models) => models.includes('model-0')).length, 3)
})

test('nodes that see the same divide alike, and a node that goes moves few models', () => {
  const demand = demandOf([9, 8, 7, 6, 5, 4, 3, 2, 1, 1])
  const backwards = new Map([...demand].reverse())
  assert.equal(divide(backwards, NODES, SLOTS), divide(demand, NODES, SLOTS))
  const nodes = Array.from({ length: 10 }, (_, i) => `node-${i}`)
  const one = (among: string[]): Map<string, string[]> => divide(demand, among, 4)
  const [before, after] = [one(nodes), one(nodes.slice(1))]
  const moved = nodes.slice(1).flatMap((node) => after.get(node)!.filter((model) => !before.get(node)!.includes(model)))
  assert.ok(moved.length <= 2 * before.get('node-0')!.length + 2, `${moved.length} models moved`)
})

/** What a node has loaded, as `createRuntimes` decides it with one job at a time: the real one is in runtimes.test.ts. */
function node(
  self: string,
  clock: { now: number },
  others: () => string[] = () => NODES.filter((each) => each !== self),
) {
  const loaded = new Map<string, number>()
  const now = (): number => clock.now
  const runtimes = {
    isWarm: (manifest: string) => loaded.has(manifest),
    loaded: () => [...loaded.keys()],
    hasRoom: () => loaded.size < SLOTS,
    async get(manifest: string): Promise<Runtime> {
      if (!loaded.has(manifest) && loaded.size >= SLOTS) {
        const wanted = warmth.worth(manifest)
        const [least] = [...loaded]
          .map(([each, at]) => ({ each, at, value: warmth.worth(each) }))
          .filter(({ at, value }) => clock.now - at >= (wanted > value ? 5_000 : 60_000))
          .sort((a, b) => a.value - b.value || a.at - b.at)
        if (least === undefined) throw new SinterError('MODELS_BUSY', 'none may go')
        loaded.delete(least.each)
      }
      loaded.set(manifest, clock.now)
      return null as never
    },
  }
  const warmth: Warmth = createWarmth({ self, others, runtimes, now, log }, { slots: SLOTS })
  return { self, warmth, runtimes }
}

/** Requests by Zipf's law over ten models, one a second, each with an offer that all see; how many met a cold provider. */
async function zipf(nodes: ReturnType<typeof node>[], clock: { now: number }, requests: number, seed: number) {
  let state = seed
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  let cold = 0
  for (let i = 0; i < requests; i++) {
    let rank = 0
    for (let left = random() * TOTAL - 1; left >= 0; left -= 1 / (rank + 1)) rank++
    const model = MODELS[Math.min(rank, MODELS.length - 1)]!
    const bids: { warm: boolean; warmth: Warmth }[] = []
    for (const { warmth, runtimes } of nodes) {
      if (!warmth.offered(model, `consumer-${i % 7}`)) continue
      const warm = runtimes.isWarm(model)
      if (
        await runtimes.get(model).then(
          () => true,
          () => false,
        )
      )
        bids.push({ warm, warmth })
    }
    const taken = bids.find(({ warm }) => warm) ?? bids[0]
    if (taken?.warm !== true) cold++
    taken?.warmth.served(model)
    clock.now += 1_000
    if (i % 2 === 1) for (const { warmth } of nodes) await warmth.tick()
  }
  return cold
}

test('three nodes that keep four of ten models: at most one in twenty of 200 requests meets a cold one', async () => {
  const clock = { now: 1_000_000 }
  const nodes = NODES.map((self) => node(self, clock))
  const empty = await zipf(nodes, clock, 200, 1)
  const settled = await zipf(nodes, clock, 200, 2)
  console.log(`# ${empty} of 200 cold from an empty start, ${settled} of 200 once demand was seen`)
  assert.ok(settled <= 10, `${settled} of 200`)
  // The first request of each model cannot be warm.
  assert.ok(empty <= 24, `${empty} of 200`)
  const kept = new Set(nodes.flatMap(({ runtimes }) => runtimes.loaded()))
  assert.is(kept.size, MODELS.length)
})

test('a full node leaves an offer to the node that keeps the model, unless the consumer comes again', async () => {
  const clock = { now: 1_000_000 }
  const { warmth, runtimes } = node('a', clock, () => ['b'])
  for (let i = 0; i < 8; i++) {
    assert.ok(warmth.offered(MODELS[i]!, 'someone') || !runtimes.hasRoom())
    clock.now += 2_000
  }
  const parts = divide(new Map(MODELS.slice(0, 8).map((model) => [model, 1])), ['a', 'b'], SLOTS)
  for (const model of parts.get('a')!) await runtimes.get(model)
  const theirs = parts.get('b')!.find((model) => !runtimes.isWarm(model))!
  assert.not.ok(runtimes.hasRoom())
  clock.now += 200_000
  assert.not.ok(warmth.offered(theirs, 'another'))
  clock.now += 2_000
  assert.ok(warmth.offered(theirs, 'another'), 'asked again: nobody answered the first time')
  // Alone, it takes what comes.
  const alone = node('a', clock, () => [])
  for (const model of MODELS.slice(0, 4)) {
    assert.ok(alone.warmth.offered(model, 'someone'))
    await alone.runtimes.get(model)
  }
  clock.now += 2_000
  assert.ok(alone.warmth.offered(MODELS[9]!, 'someone'), 'nobody else keeps it')
})

test('what many ask for is worth more than what one asks for often, and what was asked for long ago counts less', () => {
  const clock = { now: 1_000_000 }
  const { warmth } = node('a', clock, () => ['b', 'c'])
  for (let i = 0; i < 50; i++) warmth.offered('often', 'one')
  for (let i = 0; i < 10; i++) warmth.offered('many', `consumer-${i}`)
  const value = (model: string): number => warmth.worth(model) % 1e9
  assert.ok(value('many') > value('often'))
  const before = value('many')
  clock.now += 1_800_000
  assert.ok(value('many') < 0.7 * before)
})

test.run()
