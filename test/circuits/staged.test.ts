import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createCommitter } from '../../circuits/commit.ts'
import { type ProverInputs, type StageInput, stageWitnessInput } from '../../circuits/prove.ts'
import { readScalar, scalarBuffer } from '../../circuits/scalars.ts'
import { SIGNAL_COUNT } from '../../circuits/signals.ts'
import type { CircuitInput } from '../../circuits/witness.ts'
import { foldStaged, formValue, limbSum, padForms } from '../../models/forms.ts'
import { FIELD_PRIME, hashToField, mod } from '../../protocol/field.ts'
import { EXTREMUM_GAPS, type Form, LEAF_LIMBS, type LeafRef, type StagedStatement } from '../../protocol/statement.ts'
import {
  calculator,
  codeOf,
  element,
  endsOf,
  extremumInput,
  limbs,
  productInput,
  satisfied,
  stageHolds,
} from './fixtures.ts'

const committer = await createCommitter()
const witness = { product: await calculator('product'), extremum: await calculator('extremum') }
type Staged = keyof typeof witness
const KINDS = ['product', 'extremum'] as const
const GAP_LIMIT = 1n << 32n

const inputOf = (kind: Staged): ProverInputs['extremum'] =>
  kind === 'extremum' ? extremumInput() : { ...productInput(), ends: [0n, 0n] }
const honest = (kind: Staged) => stageWitnessInput(committer, kind, inputOf(kind))

/** Σ first · γ^i · v_i, and the products of pairs. */
function stagedSum(kind: Staged, { values, gamma, first }: Pick<StageInput, 'values' | 'gamma' | 'first'>): bigint {
  let sum = 0n
  let power = first
  values.forEach((value, i) => {
    sum += power * value
    power = mod(power * gamma)
    if (kind === 'product' && i % 2 === 1) sum += values[i - 1]! * value
  })
  return mod(sum)
}

test('the commitment is the chain of Poseidon calls that the circuits compute', () => {
  const counting = (length: number) => Array.from({ length }, (_, i) => BigInt(i))
  // The vectors of protocol/spec/circuits.md.
  assert.is(
    committer.stage('product', counting(128), 1n),
    4292907305942881709551111532403718465912554728283377487569536846116858756699n,
  )
  assert.is(
    committer.stage('extremum', counting(256), 1n),
    9416832610738824460875220884046702843444798764184002046232601472293197886259n,
  )
  const blind = 1n
  assert.ok(stageHolds(committer, witness.product, 'product', productInput({ values: counting(128), blind })))
  const ends = endsOf([256])
  assert.ok(stageHolds(committer, witness.extremum, 'extremum', extremumInput({ values: counting(256), blind, ends })))
  for (const kind of KINDS) {
    const { values, blind } = inputOf(kind)
    const seen = new Set([committer.stage(kind, values, blind), committer.stage(kind, values, blind + 1n)])
    for (let i = 0; i < values.length; i++)
      seen.add(committer.stage(kind, values.with(i, values[i] === 7n ? 8n : 7n), blind))
    assert.is(seen.size, values.length + 2)
  }
})

test('what is not a segment of staged values is refused', async () => {
  for (const kind of KINDS) {
    const { values, blind } = inputOf(kind)
    const limit = kind === 'product' ? FIELD_PRIME : GAP_LIMIT
    const stage = (list: bigint[], by = blind) => codeOf(() => committer.stage(kind, list, by))
    assert.is(await stage(values.slice(1)), 'STAGE_LENGTH')
    assert.is(await stage([...values, 0n]), 'STAGE_LENGTH')
    assert.is(await stage(values.with(5, limit - 1n)), null)
    assert.is(await stage(values.with(5, limit)), 'STAGE_RANGE')
    assert.is(await stage(values.with(5, -1n)), 'STAGE_RANGE')
    assert.is(await stage(values, FIELD_PRIME), 'STAGE_RANGE')
    assert.is(await stage(values, FIELD_PRIME - 1n), null)
  }
  assert.is(
    await codeOf(() => stageHolds(committer, witness.product, 'product', productInput({ gamma: -1n }))),
    'SIGNAL_RANGE',
  )
})

test('the public signals stand in the witness in their documented order', () => {
  for (const kind of KINDS) {
    const { signals, input, accIn, accOut, sum } = honest(kind)
    const { values, blind, binding, gamma, first, ends, ...given } = inputOf(kind)
    assert.is(signals.length, SIGNAL_COUNT[kind])
    const view = new DataView(witness[kind].calculate(input).buffer)
    for (const [i, signal] of signals.entries()) assert.is(readScalar(view, 32 * (i + 1)), signal)
    const common = [committer.stage(kind, values, blind), accIn, accOut, binding, gamma, first]
    assert.equal(signals, kind === 'extremum' ? [...common, ...ends] : common)
    assert.is(sum, mod(given.accIn + stagedSum(kind, { values, gamma, first })))
    assert.is(accIn, committer.chain(given.accIn, given.blindIn))
    assert.is(accOut, committer.chain(sum, given.blindOut))
  }
})

test('every value and every public signal is bound', () => {
  for (const kind of KINDS) {
    const { input } = honest(kind)
    const names = ['commitment', 'accIn', 'accOut', 'gamma', 'first', 'stageBlind', 'acc', 'blindIn', 'blindOut']
    for (const name of names) {
      const other = [mod((input[name]![0] as bigint) + 1n)]
      assert.not(
        satisfied(() => witness[kind].calculate({ ...input, [name]: other })),
        `${kind} ${name}`,
      )
    }
    const name = kind === 'product' ? 'values' : 'gaps'
    const values = [...input[name]!] as bigint[]
    for (let at = 0; at < values.length; at += 17)
      assert.not(satisfied(() => witness[kind].calculate({ ...input, [name]: values.with(at, values[at]! + 1n) })))
    // A refused witness leaves the calculator usable.
    assert.ok(satisfied(() => witness[kind].calculate(input)))
  }
})

test('a wrong sum is refused, whoever computes it', () => {
  for (const kind of KINDS) {
    const { input, sum } = honest(kind)
    const { blindOut } = inputOf(kind)
    for (const by of [1n, -1n, element('by')]) {
      const accOut = [committer.chain(mod(sum + by), blindOut)]
      assert.not(satisfied(() => witness[kind].calculate({ ...input, accOut })))
    }
  }
})

/**
 * An extremum's witness input with other gaps, consistent in everything else: `packed` are gaps in range whose packing is
 * that of `gaps`, so that only what the circuit says of each gap stands against it.
 */
function withGaps(gaps: bigint[], packed: bigint[], base = extremumInput()): CircuitInput {
  const { input } = stageWitnessInput(committer, 'extremum', { ...base, values: packed })
  const accOut = [committer.chain(mod(base.accIn + stagedSum('extremum', { ...base, values: gaps })), base.blindOut)]
  return { ...input, gaps: gaps.map(mod), accOut } as CircuitInput
}
const gapsHold = (...args: Parameters<typeof withGaps>): boolean =>
  satisfied(() => witness.extremum.calculate(withGaps(...args)))

test('2^32 − 1 is the last gap there is, 0 the first', () => {
  const { values } = extremumInput()
  // Gap 0 is the zero of its window; 1 and 2 lie in the same element as it.
  const last = values.with(1, GAP_LIMIT - 1n)
  assert.ok(gapsHold(last, last))
  for (const at of [1, 2, 126, 129, 254]) {
    assert.not.equal(values[at], 0n)
    const edge = values.with(at, GAP_LIMIT - 1n)
    assert.ok(gapsHold(edge, edge), `${at}`)
  }
  // 2^32 beside 5 packs like 0 beside 6, −1 beside 6 like 2^32 − 1 beside 5.
  const six = values.with(2, 6n)
  assert.not(gapsHold(values.with(1, GAP_LIMIT).with(2, 5n), six.with(1, 0n)))
  assert.ok(gapsHold(six.with(1, 0n), six.with(1, 0n)))
  assert.not(gapsHold(six.with(1, -1n), values.with(1, GAP_LIMIT - 1n).with(2, 5n)))
  assert.ok(gapsHold(values.with(1, GAP_LIMIT - 1n).with(2, 5n), values.with(1, GAP_LIMIT - 1n).with(2, 5n)))
})

test('each window has a zero of its own', () => {
  const { values } = extremumInput()
  const holds = (list: bigint[], lengths?: number[]) =>
    stageHolds(committer, witness.extremum, 'extremum', {
      ...extremumInput({ values: list }),
      ...(lengths === undefined ? {} : { ends: endsOf(lengths) }),
    })
  assert.ok(holds(values))
  assert.ok(holds(values.fill(0n, 8, 12)), 'more than one zero')
  for (const window of [0, 31, 32, 63]) {
    const zero = 4 * window + (window % 4)
    assert.not(holds(values.with(zero, 1n)), `window ${window} has none`)
    // The neighbours' second zero does not help.
    const near = window === 0 ? 1 : window - 1
    const other = 4 * near + ((near + 1) % 4)
    assert.not(holds(values.with(zero, 1n).with(other, 0n)), `window ${window} next to another with two`)
  }
  // Windows of one gap, of a whole segment, and across the two masks.
  assert.ok(holds(new Array<bigint>(256).fill(0n), new Array(256).fill(1)))
  assert.not(holds(new Array<bigint>(256).fill(0n).with(200, 1n), new Array(256).fill(1)))
  const one = new Array<bigint>(256).fill(9n)
  for (const at of [0, 100, 127, 128, 255]) assert.ok(holds(one.with(at, 0n), [256]))
  assert.not(holds(one, [256]))
  assert.ok(holds(one.with(127, 0n).with(255, 0n), [128, 128]))
  assert.not(holds(one.with(127, 0n).with(126, 0n), [128, 128]))
  assert.not(holds(one.with(128, 0n).with(255, 0n), [128, 128]))
  assert.ok(holds(one.with(129, 0n).with(255, 0n), [130, 126]))
  assert.not(holds(one.with(130, 0n).with(255, 0n), [130, 126]))
})

test('the last gap of a segment ends a window, and the masks have 128 bits', () => {
  const { values, ends } = extremumInput()
  const holds = (list: bigint[], masks: [bigint, bigint]) =>
    stageHolds(committer, witness.extremum, 'extremum', extremumInput({ values: list, ends: masks }))
  const open = ends[1] - (1n << 127n)
  assert.not(holds(values, [ends[0], open]))
  assert.not(holds(values.with(252, 1n).with(255, 1n), [ends[0], open]))
  assert.not(holds(new Array(256).fill(0n), [0n, 0n]))
  assert.not(holds(values, [ends[0] + (1n << 128n), ends[1]]))
  assert.not(holds(values, [ends[0], ends[1] + (1n << 128n)]))
  assert.not(holds(values, [ends[0], FIELD_PRIME - 1n]))
})

test('which gaps end a window is the verifier’s to say', () => {
  const { input } = honest('extremum')
  const [low, high] = extremumInput().ends
  // Windows merged (one of the two zeros would do) and windows cut (a part without a zero).
  const merged = [low - (1n << 3n), high]
  const calculated = witness.extremum.calculate({ ...input, ends: merged })
  assert.is(readScalar(new DataView(calculated.buffer), 32 * 7), merged[0])
  assert.not(satisfied(() => witness.extremum.calculate({ ...input, ends: [low + (1n << 5n), high] })))
})

/* The identity in γ, with the prover's choices before and after γ. */

const LEAF: LeafRef = { tensor: 0, tree: 0, index: 0 }
const trace = limbs((j) => 1 + ((j * 40503) & 0x7fff))
const limbsOf = () => trace
const form = (j: number): Form => ({
  constant: mod(element(`constant ${j}`)),
  limbs: [
    { leaf: LEAF, limb: j % LEAF_LIMBS, u: element(`form ${j}`) },
    { leaf: LEAF, limb: (3 * j + 1) % LEAF_LIMBS, u: BigInt(j) + 1n },
  ],
})
const gammaOf = (com: bigint): bigint => hashToField('test gamma', scalarBuffer([com]))

/** Σ f·f + Σ u·z ≡ c over `pairs` pairs of forms, true or off by `by`. */
function productStatement(pairs: number, by = 0n): { statement: StagedStatement; values: bigint[] } {
  const forms = padForms(
    'product',
    Array.from({ length: 2 * pairs }, (_, j) => form(j)),
  )
  const values = forms.map((each) => formValue(each, limbsOf))
  const terms = [{ leaf: LEAF, u: Array.from({ length: LEAF_LIMBS }, (_, j) => element(`term ${j}`)) }]
  let c = limbSum(terms, limbsOf) + by
  for (let d = 0; d < 64; d++) c += values[2 * d]! * values[2 * d + 1]!
  return { statement: { kind: 'product', op: 0, tiles: [0], forms, ends: [], terms, c: mod(c) }, values }
}

/** What the chain's last link lacks to the constant it must open to, for these staged values under γ. */
function missing(statement: StagedStatement, gamma: bigint, values: bigint[]): bigint {
  const { terms, c } = foldStaged(statement, gamma)
  return mod(c - stagedSum(statement.kind, { values, gamma, first: gamma }) - limbSum(terms, limbsOf))
}

test('the folded identity closes for the forms’ values and for no others, padding included', () => {
  const { statement, values } = productStatement(40)
  assert.is(values.length, 128)
  assert.equal(values.slice(80), new Array(48).fill(0n))
  const gamma = gammaOf(committer.stage('product', values, 1n))
  assert.is(missing(statement, gamma, values), 0n)
  assert.not.equal(missing(productStatement(40, 1n).statement, gamma, values), 0n)
  for (let at = 0; at < 128; at++) {
    const moved = values.with(at, mod(values[at]! + 1n))
    assert.not.equal(missing(statement, gammaOf(committer.stage('product', moved, 1n)), moved), 0n, `value ${at}`)
  }
  // A false sum hidden in a pair of padding slots, the only free product if they were not tied to 0: 1 · x.
  const { statement: lie } = productStatement(40, 12345n)
  const padded = values.with(126, 1n).with(127, 12345n)
  const sums = (list: bigint[]) => mod(list.reduce((sum, each, i) => (i % 2 ? sum + list[i - 1]! * each : sum), 0n))
  assert.is(mod(sums(padded) + limbSum(lie.terms, limbsOf)), lie.c, 'the products alone would meet it')
  assert.not.equal(missing(lie, gammaOf(committer.stage('product', padded, 1n)), padded), 0n)
})

test('an extremum’s identity ties every gap, padding included', () => {
  const forms = padForms(
    'extremum',
    Array.from({ length: 100 }, (_, j) => ({ constant: BigInt(j % 4), limbs: [] })),
  )
  const values = forms.map((each) => formValue(each, limbsOf))
  const ends = values.map((_, i) => i % 4 === 3 || i >= 100)
  const statement: StagedStatement = { kind: 'extremum', op: 0, tiles: [0], forms, ends, terms: [], c: 0n }
  const gamma = gammaOf(committer.stage('extremum', values, 1n))
  assert.is(missing(statement, gamma, values), 0n)
  for (let at = 0; at < EXTREMUM_GAPS; at += 5) {
    const moved = values.with(at, values[at]! + 1n)
    assert.not.equal(missing(statement, gammaOf(committer.stage('extremum', moved, 1n)), moved), 0n, `gap ${at}`)
  }
})

test('values chosen after γ meet a false product where the commitment does not bind them, and not here', () => {
  const { statement, values } = productStatement(64, 777n)
  // The weak variant: what γ is derived from says nothing of the values (here, a hash of the blind alone).
  const blind = element('blind')
  const weakCommitment = () => committer.chain(blind, 0n)
  const weakGamma = gammaOf(weakCommitment())
  const choose = (gamma: bigint): bigint[] => {
    // One value moved by x changes the sum by x (γ + f_1): solve for the amount that is missing.
    const x = mod(missing(statement, gamma, values) * inverse(gamma + values[1]!))
    return values.with(0, mod(values[0]! + x))
  }
  const forged = choose(weakGamma)
  assert.is(missing(statement, weakGamma, forged), 0n, 'the false statement is met')
  assert.not.equal(forged, values)

  // Here: the values under γ's own commitment are refused …
  const before = productInput({ values, blind, gamma: gammaOf(committer.stage('product', values, blind)) })
  before.first = before.gamma
  const late = choose(before.gamma)
  assert.is(missing(statement, before.gamma, late), 0n)
  const { input } = stageWitnessInput(committer, 'product', { ...before, values: late })
  const commitment = [committer.stage('product', values, blind)]
  assert.ok(
    satisfied(() => witness.product.calculate(input)),
    'they have a commitment of their own',
  )
  assert.not(satisfied(() => witness.product.calculate({ ...input, commitment })))
  // … and under their own commitment γ is another, for which they do not close.
  assert.not.equal(missing(statement, gammaOf(committer.stage('product', late, blind)), late), 0n)
})

test('forgery (b): with a range check whose challenge binds packed gaps only, a false maximum is met, and not here', () => {
  // True gaps of a claimed maximum that is too small by 5: one is negative. The statement is false.
  const base = extremumInput()
  const truth = base.values.with(1, mod(-5n))
  // What the prover commits to: packed elements of harmless gaps.
  const harmless = base.values.with(1, 3n)
  const packedOf = (gaps: bigint[]): bigint[] =>
    Array.from({ length: 37 }, (_, k) =>
      mod(gaps.slice(7 * k, 7 * k + 7).reduce((sum, gap, j) => sum + (gap << BigInt(32 * j)), 0n)),
    )
  const com = committer.stage('extremum', harmless, base.blind)
  const gamma = gammaOf(com)
  const alpha = hashToField('test alpha', scalarBuffer([com]))
  const at = (gaps: bigint[]): bigint => stagedSum('extremum', { values: gaps, gamma, first: gamma })

  /**
   * The weak variant: gaps are range-checked by Σ 1/(α − v) = Σ m_t/(α − t) over a table, α derived from the packed elements.
   * (The table is the gaps' own small one, as the argument does not depend on its size.)
   */
  const table = [...new Set(harmless)]
  const weakAccepts = (gaps: bigint[], counts: bigint[]): boolean => {
    const left = gaps.reduce((sum, gap) => sum + inverse(alpha - gap), 0n)
    const right = table.reduce((sum, entry, i) => sum + counts[i]! * inverse(alpha - entry), 0n)
    const zeros = Array.from({ length: 64 }, (_, w) => gaps.slice(4 * w, 4 * w + 4).includes(0n))
    const packing = packedOf(gaps).every((each, k) => each === packedOf(harmless)[k])
    return mod(left - right) === 0n && zeros.every(Boolean) && packing && at(gaps) === at(truth)
  }
  const countsOf = (gaps: bigint[]): bigint[] =>
    table.map((entry) => BigInt(gaps.filter((gap) => gap === entry).length))
  assert.not(weakAccepts(truth, countsOf(truth)), 'the packing is not that of the true gaps')
  assert.not(weakAccepts(harmless, countsOf(harmless)), 'the sum is not')

  // After γ and α: two gaps of one element solve both linear equations, one count the third.
  const [i, j] = [1, 3] as const
  const weights = (k: number): [bigint, bigint] => {
    const unit = new Array<bigint>(256).fill(0n).with(k, 1n)
    return [1n << BigInt(32 * k), at(unit)]
  }
  const [[pi, gi], [pj, gj]] = [weights(i), weights(j)]
  const goal = mod(at(truth) - at(harmless))
  // dx · 2^32i + dy · 2^32j = 0 and dx · γ^(i+1) + dy · γ^(j+1) = goal.
  const dx = mod(goal * pj * inverse(gi * pj - gj * pi))
  const dy = mod(-dx * pi * inverse(pj))
  const forged = harmless.with(i, mod(harmless[i]! + dx)).with(j, mod(harmless[j]! + dy))
  const counts = countsOf(forged)
  const left = forged.reduce((sum, gap) => sum + inverse(alpha - gap), 0n)
  const right = table.reduce((sum, entry, k) => sum + counts[k]! * inverse(alpha - entry), 0n)
  counts[0] = mod(counts[0]! + (left - right) * (alpha - table[0]!))
  assert.ok(weakAccepts(forged, counts), 'the false maximum is met')

  // Here each gap has 32 bits: the same values, consistent with commitment and sum, have no witness.
  const input = { ...base, gamma, first: gamma }
  assert.not(gapsHold(forged, harmless, input))
  assert.ok(gapsHold(harmless, harmless, input))
  assert.is(committer.stage('extremum', harmless, base.blind), withGaps(forged, harmless, input).commitment![0])
})

/** Inverse mod r. */
function inverse(value: bigint): bigint {
  let [a, b, x, y] = [mod(value), FIELD_PRIME, 1n, 0n]
  while (a !== 0n) {
    const q = b / a
    ;[a, b, x, y] = [b - q * a, a, y - q * x, x]
  }
  return mod(y)
}

test.run()
