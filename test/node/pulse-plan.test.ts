/** What a node does next for a pulse, from facts alone: the last good moment and the first bad one of each step. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  answerUntil,
  claimDelayS,
  computeUntil,
  gasOfLane,
  nextPulseMove,
  type PulseView,
  turnS,
  worthClaiming,
} from '../../node/stages/pulse-plan.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { hash } from '../../protocol/hash.ts'
import type { Address } from '../../protocol/signature.ts'

const value = (name: string): Hex => toHex(hash('test', new TextEncoder().encode(name)))
const operator = (i: number): Address => toHex(hash('operator', Uint8Array.of(i)).subarray(0, 20))

const OPENED = 1_000n
const lane = (number: number, delayS = 0, done = false) => ({ lane: number, delayS, done })
/** A pulse of 100 s with 600 s for claims, as it is found. */
const view = (change: Partial<PulseView> = {}): PulseView => ({
  now: OPENED,
  openedAt: OPENED,
  window: 100,
  claimWindow: 600,
  value: value('slot'),
  kept: null,
  handedOver: false,
  rootsOut: false,
  standing: false,
  drawValue: null,
  drawRecordedAt: 0n,
  drawn: [],
  worth: true,
  turn: true,
  ...change,
})
const answered = { kept: { value: value('slot'), openedAt: OPENED, reported: false } }
const reported = { kept: { value: value('slot'), openedAt: OPENED, reported: true }, standing: true }
const drawn = { ...reported, drawValue: value('draw'), drawn: [lane(0)] }
const recorded = { ...drawn, drawRecordedAt: 1_200n }
const at = (now: number, change: Partial<PulseView> = {}): string => {
  const move = nextPulseMove(view({ now: BigInt(now), ...change }))
  return move.do === 'end' ? `end ${move.loss}` : move.do === 'claim' ? `claim ${move.lanes}` : move.do
}

test('lanes are computed in the first 45% of the window, answers handed over until 60%', () => {
  assert.is(at(1_044), 'compute')
  assert.is(at(1_045), 'end TOO_LATE')
  assert.is(at(1_060, answered), 'handOver')
  assert.is(at(1_060, { ...answered, handedOver: true }), 'wait')
  assert.is(at(1_061, answered), 'path')
  assert.is(computeUntil({ openedAt: OPENED, window: 12 }), 1_005n)
  assert.is(answerUntil({ openedAt: OPENED, window: 12 }), 1_007n)
})

test('a pulse that nobody has reported in time is given up, one that somebody has is not', () => {
  assert.is(at(1_200, answered), 'path')
  assert.is(at(1_201, answered), 'end NOT_REPORTED')
  assert.is(at(1_201, { ...answered, rootsOut: true }), 'path')
  assert.is(at(2_300, { ...answered, rootsOut: true }), 'path')
  assert.is(at(2_301, { ...answered, rootsOut: true }), 'end NOT_REPORTED')
})

test('after a fork that gives the slot another value the answers are computed anew, or dropped', () => {
  const forked = { ...answered, value: value('other') }
  assert.is(at(1_044, forked), 'compute')
  assert.is(at(1_045, forked), 'end FORKED')
  // Never a claim by them, however far they have come.
  assert.is(at(1_300, { ...recorded, value: value('other') }), 'end FORKED')
  assert.is(at(1_300, { ...recorded, openedAt: 0n }), 'wait')
  assert.is(at(1_300, { ...recorded, value: null }), 'wait')
  assert.is(at(2_301, { ...recorded, openedAt: 0n, value: null }), 'end FORKED')
  // The report has changed: its path leads nowhere.
  assert.is(at(1_300, { ...recorded, standing: false }), 'unpath')
})

test('the draw is waited for, recorded in turn by who has something to claim, and claimed from this node’s time on', () => {
  assert.is(at(1_150, reported), 'wait')
  assert.is(at(1_150, { ...drawn, drawn: [] }), 'end NOT_DRAWN')
  assert.is(at(1_150, { ...drawn, turn: false }), 'wait')
  assert.is(at(1_150, drawn), 'record')
  assert.is(at(1_150, { ...drawn, worth: false }), 'wait')
  const two = { ...recorded, drawn: [lane(0, 30), lane(3, 90)] }
  assert.is(at(1_229, two), 'wait')
  assert.is(at(1_230, two), 'claim 0')
  assert.is(at(1_290, two), 'claim 0,3')
  assert.is(at(1_290, { ...recorded, drawn: [lane(0, 30, true), lane(3, 90)] }), 'claim 3')
  assert.is(at(1_290, { ...recorded, drawn: [lane(0, 30, true), lane(3, 90, true)] }), 'end null')
})

test('a claim that is not worth its gas waits for cheaper gas until its time is over, and says so then', () => {
  const dear = { ...recorded, worth: false }
  assert.is(at(1_800, dear), 'wait')
  assert.is(at(1_800, recorded), 'claim 0')
  assert.is(at(1_801, dear), 'end NOT_WORTH_GAS')
  assert.is(at(1_801, recorded), 'end CLAIM_CLOSED')
  // Nobody has recorded the draw, for nobody's claim was worth it.
  assert.is(at(2_301, { ...drawn, worth: false }), 'end NOT_WORTH_GAS')
})

test('at the prices of the bench a lane of a small machine is not worth its claim, one of a large machine is', () => {
  const UNIT = 10n ** 18n
  // 0.01 gwei, ether at 3,000 and a token at 0.10 dollars.
  const cost = (gas: bigint): bigint => gas * 10n ** 7n * 30_000n
  const cpu = cost(gasOfLane({ n: 1024, entries: 4 }))
  assert.ok(cpu > (28n * UNIT) / 100n && cpu < (32n * UNIT) / 100n)
  // 176 units of one lane in eight at 16% of a floor of 0.0005 tokens.
  assert.is(worthClaiming((8n * 176n * 16n * 5n * UNIT) / 1_000_000n, cpu), false)
  assert.is(worthClaiming(37n * UNIT, cost(gasOfLane({ n: 4096, entries: 4 }))), true)
  assert.is(worthClaiming(5n, 5n), false)
  assert.is(worthClaiming(6n, 5n), true)
  assert.is(worthClaiming(0n, null), true)
})

test('gas of a claim is what the bench measured, within a twentieth', () => {
  for (const [n, gas] of [
    [256, 600_000],
    [1_024, 1_010_000],
    [4_096, 2_590_000],
    [8_192, 4_680_000],
  ] as const)
    assert.ok(Math.abs(Number(gasOfLane({ n, entries: 4 })) / gas - 1) < 0.05, `${n}`)
})

test('turns are those of two nodes each in the mean, a tenth of the window apart, and other ones for each value', () => {
  const nodes = 40
  const turns = (name: string): number[] =>
    Array.from({ length: nodes }, (_, i) => turnS(value(name), operator(i), nodes, 60))
  for (const each of turns('a')) assert.ok(each % 6 === 0 && each >= 0 && each < 120)
  assert.ok(new Set(turns('a')).size >= 10)
  assert.is.not(String(turns('a')), String(turns('b')))
  for (const few of [0, 1, 2]) assert.is(turnS(value('a'), operator(7), few, 60), 0)
})

test('claims are spread over a quarter of their time', () => {
  const delays = Array.from({ length: 200 }, (_, i) => claimDelayS(value('draw'), operator(i % 100), i % 3, 400))
  assert.ok(delays.every((delay) => Number.isInteger(delay) && delay >= 0 && delay < 100))
  assert.ok(Math.max(...delays) > 90 && Math.min(...delays) < 10)
})

test.run()
