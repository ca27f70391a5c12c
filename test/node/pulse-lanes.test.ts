/** A node's own part in a pulse: real lanes, a real store and real reports over a chain in memory. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LaneClaim } from '../../node/chain/capacity.ts'
import type { PulseEngine } from '../../node/pulse/engine.ts'
import { claimDelayS } from '../../node/stages/pulse-plan.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { checkEntry, inReport, laneSeed, positions, reportLeaf, reportTree } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'
import {
  CAPACITY,
  CLASS,
  createWorld,
  named,
  OPERATOR,
  OTHER,
  REPORTER,
  real,
  SLOT,
  SNTR,
  type World,
  word,
} from './pulse-world.ts'

/** A path of another report. */
const ELSEWHERE = reportTree(new Map([[0, named('leaf')]])).path(1)

const isIn = (world: World, reporter: Address): void => {
  const [claim] = world.claims
  assert.is(claim!.reporter, reporter)
  const leaf = reportLeaf(OPERATOR, claim!.answers)
  assert.ok(inReport(leaf, claim!.index, claim!.path, fromHex(world.roots.get(reporter)!)))
}
/** Its lanes are those of the slot's value, and each entry that the draw names is shown. */
function isShown({ answers, lane, entries }: LaneClaim, value: Hex, drawn: Hex): void {
  const seed = laneSeed({ chainId: 31_337, capacity: CAPACITY, value: fromHex(value), operator: OPERATOR, lane })
  const places = positions({ slot: SLOT, value: fromHex(drawn), operator: OPERATOR, lane }, CLASS)
  assert.is(entries.length, places.length)
  for (const [i, place] of places.entries()) assert.ok(checkEntry(place, CLASS, seed, answers[lane]!, entries[i]!))
}
const reasons = ({ said }: World): (string | undefined)[] =>
  said.filter(({ event }) => event === 'pulse.skipped').map(({ reason }) => reason)
/** From the opening to a report that has the answers, and a draw that is deep enough. */
async function reported(world: World): Promise<void> {
  await world.at(1_000)
  await world.at(1_001)
  world.report(REPORTER)
  await world.at(1_062)
  world.state.drawn = word('draw')
}
const made: World[] = []
const world = async (init?: Parameters<typeof createWorld>[0]): Promise<World> => {
  made.push(await createWorld(init))
  return made.at(-1)!
}
test.after.each(async () => {
  for (const each of made.splice(0)) await each.stop()
})

test('a lane is computed, handed to all reporters, found in a report, recorded, computed again and claimed once', async () => {
  const w = await world()
  await w.at(1_000)
  assert.is(w.told.size, 0)
  await w.at(1_001)
  assert.equal([...w.told.keys()].sort(), [REPORTER, OTHER].sort())
  w.report(REPORTER)
  await w.at(1_060)
  assert.is(w.said.filter(({ event }) => event === 'pulse.path').length, 0)
  await w.at(1_061)
  w.state.drawn = word('draw')
  // Three blocks on top of the draw's.
  await w.at(1_112)
  assert.equal(w.calls, [])
  await w.at(1_113)
  await w.at(1_123)
  assert.equal(w.calls, ['record'])
  const due = Number(w.state.recordedAt) + claimDelayS(word('draw'), OPERATOR, 0, 600)
  await w.at(due - 1)
  assert.is(w.claims.length, 0)
  await w.at(due + 10)
  assert.equal(w.calls, ['record', 'claim 0'])
  isIn(w, REPORTER)
  isShown(w.claims[0]!, w.state.value, word('draw'))
  await w.at(due + 20)
  await w.at(due + 30)
  assert.is(w.calls.length, 2)
  const { counts, last } = (await w.status())!
  assert.equal(counts, { opened: 0, answered: 1, reported: 0, claimed: 1 })
  assert.equal(last, { slot: '9', openedAt: 1_000, lanes: 1 })
})

test('a node that is killed between its answer and its claim claims what it has answered, and once', async () => {
  let computed = 0
  const engine: Partial<PulseEngine> = {
    async lanes(work, limits) {
      computed++
      return real.lanes(work, limits)
    },
  }
  const w = await world({ engine })
  await w.at(1_000)
  await w.restart()
  await w.at(1_001)
  assert.is(computed, 1)
  assert.is(w.told.size, 2)
  w.report(OTHER)
  await w.restart()
  await w.at(1_070)
  w.state.drawn = word('draw')
  w.state.recordedAt = 1_200n
  await w.restart()
  await w.at(1_500)
  isIn(w, OTHER)
  isShown(w.claims[0]!, w.state.value, word('draw'))
  // Killed after its transaction was mined and before it noted that.
  await w.restart()
  await w.at(1_510)
  assert.equal(w.calls, ['claim 0'])
})

test('a claim that was mined while nobody looked is not made again', async () => {
  const w = await world()
  await reported(w)
  w.state.recordedAt = 1_200n
  w.refuse('CHAIN_RECEIPT')
  await w.at(1_500)
  w.claims.push({ lane: 0 } as LaneClaim)
  await w.restart()
  for (const now of [1_520, 1_540]) await w.at(now)
  assert.equal(w.calls, ['claim 0'])
  assert.is((await w.status())!.counts.claimed, 1)
})

test('a restart after the transaction left claims nothing twice', async () => {
  const w = await world()
  await reported(w)
  w.state.recordedAt = 1_200n
  w.refuse('CHAIN_RPC')
  await w.at(1_500)
  assert.ok(w.said.some(({ event, code }) => event === 'pulse.delayed' && code === 'CHAIN_RPC'))
  w.refuse('CHAIN_AlreadyClaimed')
  await w.restart()
  await w.at(1_520)
  await w.at(1_540)
  await w.at(1_560)
  assert.equal(w.calls, ['claim 0', 'claim 0'])
  assert.is((await w.status())!.counts.claimed, 1)
})

test('a reporter that lies, one that is silent and one that left it out cost nothing while another has the answers', async () => {
  const lies: [string, Parameters<World['says']['set']>[1]][] = [
    ['a path that leads elsewhere', () => ({ taken: true, code: '', path: ELSEWHERE })],
    ['a short path', () => ({ taken: true, code: '', path: [] })],
    ['left out', () => ({ taken: false, code: 'PULSE_CLOSED', path: [] })],
    [
      'silence',
      () => {
        throw new SinterError('STREAM_TIMEOUT', 'silent')
      },
    ],
  ]
  for (const [name, lie] of lies) {
    const w = await world()
    await w.at(1_000)
    await w.at(1_001)
    w.report(REPORTER)
    w.report(OTHER)
    w.says.set(REPORTER, lie)
    await w.at(1_062)
    w.state.drawn = word('draw')
    w.state.recordedAt = 1_200n
    await w.at(1_400)
    assert.is(w.claims.length, 1, name)
    isIn(w, OTHER)
  }
})

test('a report that all have left the answers out of is not claimed by', async () => {
  const w = await world()
  await w.at(1_000)
  await w.at(1_001)
  for (const reporter of [REPORTER, OTHER]) {
    w.report(reporter)
    w.says.set(reporter, () => ({ taken: true, code: '', path: ELSEWHERE }))
  }
  for (const now of [1_062, 1_070, 1_250, 2_301]) await w.at(now)
  assert.equal(w.calls, [])
  assert.equal(reasons(w), ['NOT_REPORTED'])
  const none = await world()
  await none.at(1_000)
  await none.at(1_001)
  await none.at(1_201)
  assert.equal(reasons(none), ['NOT_REPORTED'])
})

test('a reporter that has not seen the pulse yet is told again, one that does not want the answers is not', async () => {
  const w = await world()
  await w.at(1_000)
  let asked = 0
  w.says.set(REPORTER, () => {
    asked++
    return { taken: false, code: asked < 3 ? 'PULSE_UNKNOWN' : 'PULSE_NOT_STAKED', path: [] }
  })
  for (const now of [1_001, 1_002, 1_003, 1_004, 1_005]) await w.at(now)
  assert.is(asked, 3)
})

test('a fork that changes the slot’s value has the lanes computed anew while there is time, and never claimed by', async () => {
  const w = await world()
  await w.at(1_000)
  await w.at(1_001)
  const before = w.told.get(REPORTER)!
  w.state.value = word('fork')
  await w.at(1_010)
  await w.at(1_011)
  assert.is.not(toHex(w.told.get(REPORTER)!), toHex(before))
  w.report(REPORTER)
  await w.at(1_062)
  w.state.drawn = word('draw')
  w.state.recordedAt = 1_200n
  await w.at(1_400)
  isShown(w.claims[0]!, word('fork'), word('draw'))
  const late = await world()
  await reported(late)
  late.state.recordedAt = 1_200n
  late.state.value = word('fork')
  await late.at(1_400)
  assert.equal(late.calls, [])
  assert.equal(reasons(late), ['FORKED'])
})

test('a report that a fork has changed is looked for again, of every reporter', async () => {
  const w = await world()
  await w.at(1_000)
  await w.at(1_001)
  w.report(REPORTER)
  w.report(OTHER)
  w.says.set(REPORTER, () => ({ taken: true, code: '', path: ELSEWHERE }))
  await w.at(1_062)
  w.state.drawn = word('draw')
  w.roots.delete(OTHER)
  w.says.delete(REPORTER)
  w.state.recordedAt = 1_200n
  for (const now of [1_300, 1_320, 1_500]) await w.at(now)
  isIn(w, REPORTER)
})

test('a draw is not answered before it is as deep as forks go', async () => {
  const w = await world()
  await reported(w)
  w.state.recordedAt = 700n
  await w.at(1_112)
  assert.equal(w.calls, [])
  await w.at(1_113)
  assert.equal(w.calls, ['claim 0'])
})

test('a draw that a fork changes before the claim is answered as it stands then', async () => {
  const w = await world()
  await reported(w)
  w.state.recordedAt = 1_200n
  w.refuse('CHAIN_RPC')
  await w.at(1_500)
  w.refuse(null)
  w.state.drawn = word('another draw')
  await w.at(1_600)
  isShown(w.claims[0]!, w.state.value, word('another draw'))
})

test('a machine that computes the same otherwise the second time claims nothing', async () => {
  const engine: Partial<PulseEngine> = {
    lane: async (work) => ({ ...(await real.lane(work)), answer: named('otherwise') }),
  }
  const w = await world({ engine })
  await reported(w)
  w.state.recordedAt = 1_200n
  for (const now of [1_500, 1_520]) await w.at(now)
  assert.equal(w.calls, [])
  assert.equal((await w.status())!.skipped, { slot: '9', reason: 'CLAIM_REFUSED', detail: { code: 'LANE_DIFFERS' } })
})

test('a claim that the contract refuses for good is not sent again, one that it may take later is', async () => {
  for (const [code, calls] of [
    ['CHAIN_StakeTooLow', 1],
    ['CHAIN_Excluded', 2],
  ] as const) {
    const w = await world()
    await reported(w)
    w.state.recordedAt = 1_200n
    w.refuse(code)
    for (const now of [1_500, 1_520]) await w.at(now)
    assert.is(w.calls.length, calls, code)
  }
})

test('a claim that costs more than it brings is not made, and what it would have brought and cost is said', async () => {
  const pay = CLASS.units
  const w = await world()
  await reported(w)
  w.state.recordedAt = 1_200n
  w.state.gasCost = pay
  await w.at(1_500)
  assert.equal(w.calls, [])
  w.state.gasCost = pay - 1n
  await w.at(1_520)
  assert.equal(w.calls, ['claim 0'])
  const never = await world()
  await reported(never)
  never.state.recordedAt = 1_200n
  never.state.gasCost = pay + 7n
  for (const now of [1_790, 1_801]) await never.at(now)
  const detail = { pay: String(pay), cost: String(pay + 7n) }
  assert.equal((await never.status())!.skipped, { slot: '9', reason: 'NOT_WORTH_GAS', detail })
  // And a pulse whose claims would not be worth it is not computed for.
  const dear = await world()
  dear.state.gasCost = pay
  await dear.at(1_000)
  assert.equal(dear.lanesOf, [])
  assert.equal((await dear.status())!.skipped, {
    slot: '9',
    reason: 'NOT_WORTH_GAS',
    detail: { pay: String(pay), cost: String(pay) },
  })
})

test('as many lanes are computed as are wanted and have stake from before the pulse', async () => {
  for (const [lanes, stake, most] of [
    [5, 2_999n, 2],
    [1, 2_999n, 1],
    [5, 5_000n, 5],
  ] as const) {
    const w = await world({ lanes, engine: { lanes: async () => [] } })
    w.state.stake = stake * SNTR
    await w.at(1_000)
    assert.equal(w.lanesOf, [most])
    assert.equal(reasons(w), ['NO_LANE_IN_TIME'])
  }
  const late = await world()
  late.state.stake = 999n * SNTR
  await late.at(1_000)
  await late.at(1_001)
  assert.equal(reasons(late), ['STAKE_TOO_NEW'])
})

test('a network’s first pulse, which nobody reports, and a class that is not measured cost no computation', async () => {
  const first = await world()
  first.state.reporters = []
  await first.at(1_000)
  await first.at(1_001)
  assert.equal(reasons(first), ['NO_REPORTERS'])
  const other = await world()
  other.state.hardwareClass = 'tpu'
  await other.at(1_000)
  assert.is((await other.status())!.skipped!.reason, 'CLASS_NOT_MEASURED')
  for (const { lanesOf } of [first, other]) assert.equal(lanesOf, [])
})

test('epochs that nobody has ended are ended before a claim, a few at a time', async () => {
  const w = await world()
  await reported(w)
  w.state.recordedAt = 1_200n
  w.state.behind = 19n
  await w.at(1_500)
  assert.equal(w.calls, ['roll 8', 'roll 8', 'roll 3', 'claim 0'])
})

test.run()
