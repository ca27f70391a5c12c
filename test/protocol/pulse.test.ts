import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, equalBytes, u32, utf8 } from '../../protocol/bytes.ts'
import { keccak256, sha256 } from '../../protocol/hash.ts'
import {
  checkEntry,
  type EntryOpening,
  isDrawn,
  isPulse,
  type KeptState,
  laneSeed,
  laneTree,
  matrixRow,
  nextState,
  openEntry,
  type Position,
  PULSE_PRIME,
  positions,
  pulseMatrix,
  REPORT_DEPTH,
  reportLeaf,
  reportTree,
  STATE_MODULUS,
  stateTree,
  stepSeed,
  stepVectors,
} from '../../protocol/pulse.ts'

const CLASS = { n: 256, steps: 4, entries: 8 }
const OPERATOR = `0x${'11'.repeat(20)}` as const
const OTHER = `0x${'22'.repeat(20)}` as const
const CAPACITY = `0x${'33'.repeat(20)}` as const
const matrix = pulseMatrix(CLASS.n)
const bytes = (label: string, i = 0): Uint8Array => keccak256(concat(utf8(label), u32(i)))
const seedOf = (operator: `0x${string}`, lane = 0): Uint8Array =>
  laneSeed({ chainId: 31337, capacity: CAPACITY, value: bytes('value'), operator, lane })

/** A lane's states after each step; `forge` may replace what a step computed. */
function run(lane: Uint8Array, forge: (step: number, state: Uint8Array) => Uint8Array = (_, state) => state) {
  const { n, steps } = CLASS
  const kept: KeptState[] = []
  for (let step = 0; step < steps; step++) {
    const before = kept.at(-1)
    const vectors = stepVectors(stepSeed(lane, step, before?.tree.root ?? new Uint8Array(32)), n)
    const state = forge(step, nextState(matrix, vectors, before?.state ?? new Uint8Array(n * n), n))
    kept.push({ state, tree: stateTree(state, n) })
  }
  const tree = laneTree(kept.map((each) => each.tree.root))
  const open = (at: Position): EntryOpening =>
    openEntry(at, n, tree, at.step === 0 ? null : kept[at.step - 1]!, kept[at.step]!)
  return { kept, tree, open }
}

const lane = seedOf(OPERATOR)
const honest = run(lane)
const PLACES: Position[] = [
  { step: 0, row: 0, column: 0 },
  { step: 0, row: 255, column: 255 },
  { step: 1, row: 3, column: 200 },
  { step: 3, row: 255, column: 0 },
]

test('every product is exact in float32, and p is the largest prime of which that is true', () => {
  const prime = (x: number): boolean => {
    for (let d = 2; d * d <= x; d++) if (x % d === 0) return false
    return true
  }
  const exact = (p: number): boolean => 2 * (p - 1) ** 2 < 2 ** 24
  assert.ok(prime(PULSE_PRIME) && exact(PULSE_PRIME))
  for (let p = PULSE_PRIME + 1; exact(p); p++) assert.not(prime(p))
  assert.ok(8192 * 3 * (STATE_MODULUS - 1) < 2 ** 24)
})

test('entries of the matrix are 0 to 3, each about as often, and a smaller matrix is a corner of a larger', () => {
  const counts = [0, 0, 0, 0]
  for (const entry of matrix) counts[entry]!++
  assert.ok(counts.every((count) => Math.abs(count / matrix.length - 0.25) < 0.01))
  assert.equal(matrixRow(7, 512).subarray(0, 256), matrixRow(7, 256))
})

test('states are spread over all residues', () => {
  const counts = new Array<number>(STATE_MODULUS).fill(0)
  for (const entry of honest.kept[3]!.state) counts[entry]!++
  const expected = CLASS.n ** 2 / STATE_MODULUS
  assert.ok(counts.every((count) => Math.abs(count - expected) < 6 * Math.sqrt(expected)))
})

test('an entry that was computed is shown to be', () => {
  for (const place of PLACES) assert.ok(checkEntry(place, CLASS, lane, honest.tree.answer, honest.open(place)))
})

test('an entry that was not is found, and one that is right beside it is not enough', () => {
  const forged = run(lane, (step, state) => {
    if (step === 1) state[3 * CLASS.n + 200]! ^= 1
    return state
  })
  const [, , place] = PLACES
  assert.not(checkEntry(place!, CLASS, lane, forged.tree.answer, forged.open(place!)))
  const beside = { ...place!, column: 201 }
  assert.ok(checkEntry(beside, CLASS, lane, forged.tree.answer, forged.open(beside)))
  assert.not(checkEntry(place!, CLASS, lane, forged.tree.answer, forged.open(beside)))
})

test('another node cannot use the lane, not even a step in its middle', () => {
  for (const step of [0, 1, 3]) {
    for (const seed of [seedOf(OTHER), seedOf(OPERATOR, 1)]) {
      const places = Array.from({ length: 64 }, (_, row) => ({ step, row, column: 255 - row }))
      const passed = places.filter((at) => checkEntry(at, CLASS, seed, honest.tree.answer, honest.open(at))).length
      // One in 64 is right by luck.
      assert.ok(passed < 8, `${passed} of 64`)
    }
  }
})

test('every part of an opening counts', () => {
  const place = { step: 1, row: 3, column: 200 }
  const opening = honest.open(place)
  const flip = (hash: Uint8Array): Uint8Array => hash.map((byte, i) => (i === 5 ? byte ^ 1 : byte))
  const first = (path: Uint8Array[]): Uint8Array[] => [flip(path[0]!), ...path.slice(1)]
  const broken: Partial<EntryOpening>[] = [
    { before: flip(opening.before) },
    { after: flip(opening.after) },
    { operand: flip(opening.operand) },
    { result: flip(opening.result) },
    { operand: opening.operand.subarray(1) },
    { result: new Uint8Array(CLASS.n + 1) },
    ...(['beforePath', 'afterPath', 'operandPath', 'resultPath'] as const).flatMap((name) => [
      { [name]: first(opening[name]) },
      { [name]: opening[name].slice(0, -1) },
      { [name]: [...opening[name], opening.before] },
    ]),
  ]
  for (const change of broken)
    assert.not(checkEntry(place, CLASS, lane, honest.tree.answer, { ...opening, ...change }), Object.keys(change)[0])
})

test('the choice of X = −H is not free: the vectors come from the root over X', () => {
  const { n } = CLASS
  const vectors = stepVectors(stepSeed(lane, 0, new Uint8Array(32)), n)
  const against = new Uint8Array(n).map(
    (_, k) =>
      (STATE_MODULUS -
        (((vectors.alpha[0]! * vectors.beta[k]! + vectors.gamma[0]! * vectors.delta[k]!) % PULSE_PRIME) %
          STATE_MODULUS)) %
      STATE_MODULUS,
  )
  const state = new Uint8Array(n * n)
  state.set(against, 0)
  const forged = run(lane, (step, computed) => (step === 0 ? state : step === 1 ? new Uint8Array(n * n) : computed))
  let passed = 0
  for (let row = 0; row < 64; row++) {
    const place = { step: 1, row, column: 0 }
    if (checkEntry(place, CLASS, lane, forged.tree.answer, forged.open(place))) passed++
  }
  assert.ok(passed < 8, `${passed} of 64`)
})

/** Which of the answers would be paid at each of many draws, two entries examined. */
function paidOf(answers: ReturnType<typeof run>[], draws: number): boolean[][] {
  const examined = { ...CLASS, entries: 2 }
  return Array.from({ length: draws }, (_, i) => {
    const places = positions({ slot: 9n, value: bytes('many', i), operator: OPERATOR, lane: 0 }, examined)
    return answers.map(({ tree, open }) => places.every((at) => checkEntry(at, CLASS, lane, tree.answer, open(at))))
  })
}

/** The last of four steps is not computed: all its entries are `value`. */
const skipping = (value: number) => run(lane, (step, state) => (step === 3 ? state.fill(value) : state))

test('who skips a share f of the work passes with (1 − f)^q, which is less than the work it did', () => {
  const draws = 1_000
  const passed = paidOf([skipping(7)], draws).filter(([paid]) => paid).length
  const expected = draws * (3 / 4 + 1 / 4 / STATE_MODULUS) ** 2
  assert.ok(Math.abs(passed - expected) < 4 * Math.sqrt(expected * (1 - expected / draws)), `${passed} of ${draws}`)
  assert.ok(passed < (3 / 4) * draws)
})

test('five answers to choose from after the draw are worth what one of them is, but for one entry in 64', () => {
  const draws = 600
  const passed = paidOf([1, 2, 3, 4, 5].map(skipping), draws).filter((paid) => paid.includes(true)).length
  // Both entries in what was computed, or one there and one that some answer has guessed; or both guessed by the same.
  const expected =
    draws * ((3 / 4) ** 2 + 2 * (3 / 4) * (1 / 4) * (5 / STATE_MODULUS) + (1 / 16) * (5 / STATE_MODULUS ** 2))
  assert.ok(Math.abs(passed - expected) < 4 * Math.sqrt(expected * (1 - expected / draws)), `${passed} of ${draws}`)
  assert.ok(passed < (3 / 4) * draws)
})

test('a report has one place for a node, and zeros where nobody answered', () => {
  const leaves = new Map([0, 5, 1_000].map((index) => [index, reportLeaf(OPERATOR, [bytes('answer', index)])] as const))
  const tree = reportTree(leaves)
  for (const index of [0, 5, 1_000, 6]) {
    const path = tree.path(index)
    assert.is(path.length, REPORT_DEPTH)
    const root = path.reduce(
      (hash, sibling, depth) =>
        sha256(concat(Uint8Array.of(1), ...((index >> depth) & 1 ? [sibling, hash] : [hash, sibling]))),
      leaves.get(index) ?? new Uint8Array(32),
    )
    assert.ok(equalBytes(root, tree.root))
  }
  assert.not(equalBytes(reportTree(new Map()).root, tree.root))
})

test('pulses and drawn lanes are as rare as they should be; positions are within the class', () => {
  const values = Array.from({ length: 4_000 }, (_, i) => bytes('slot', i))
  const pulses = values.filter((value) => isPulse(value, 8)).length
  assert.ok(Math.abs(pulses - 500) < 100, `${pulses} pulses`)
  const draws = values.map((value, i) => ({ slot: 9n, value, operator: OPERATOR, lane: i % 3 }))
  const count = draws.filter((draw) => isDrawn(draw, 8)).length
  assert.ok(Math.abs(count - 500) < 100, `${count} drawn`)
  for (const draw of draws.slice(0, 50)) {
    const list = positions(draw, CLASS)
    assert.is(list.length, CLASS.entries)
    assert.ok(list.every(({ step, row, column }) => step < 4 && row < 256 && column < 256))
  }
})

test.run()
