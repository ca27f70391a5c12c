import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createCommitter } from '../../circuits/commit.ts'
import { type PointwiseInput, pointwiseWitnessInput } from '../../circuits/prove.ts'
import { readScalar } from '../../circuits/scalars.ts'
import { SIGNAL_COUNT } from '../../circuits/signals.ts'
import { mod } from '../../protocol/field.ts'
import {
  ALL,
  calculator,
  clampInput,
  clampModel,
  codeOf,
  element,
  IDENTITY,
  leaf,
  limbs,
  OFFSET,
  pointwiseHolds,
  pointwiseInput,
  pointwiseModel,
  RELU,
  satisfied,
  tableModel,
} from './fixtures.ts'

const committer = await createCommitter()
const witness = await calculator('pointwise')
const holds = (input: PointwiseInput) => pointwiseHolds(committer, witness, input)

/** The input with limb `at` of leaf `name` replaced. */
const withLimb = (input: PointwiseInput, name: 'a' | 'b' | 'hi', at: number, value: number): PointwiseInput => ({
  ...input,
  [name]: { limbs: input[name]!.limbs.with(at, value), salt: input[name]!.salt },
})

test('the public signals stand in the witness in their documented order', () => {
  const input = clampInput()
  const { signals, input: values } = pointwiseWitnessInput(committer, input)
  assert.is(signals.length, SIGNAL_COUNT.pointwise)
  assert.is(SIGNAL_COUNT.pointwise, 72)
  const view = new DataView(witness.calculate(values).buffer)
  for (const [i, signal] of signals.entries()) assert.is(readScalar(view, 32 * (i + 1)), signal)
  const commitments = [input.a, input.b, input.hi!].map((open) => committer.leaf(open.limbs, open.salt))
  assert.equal(signals.slice(0, 7), [...commitments, 1n, ALL, 0n, input.binding])
  assert.equal(pointwiseWitnessInput(committer, pointwiseInput()).signals.slice(7), RELU)
  assert.equal(
    pointwiseWitnessInput(committer, pointwiseInput({ knots: IDENTITY })).signals.slice(7),
    IDENTITY.map(mod),
  )
})

test('the table at its edges: both ends, and each side of every knot', () => {
  const knots = Array.from({ length: 65 }, (_, i) => BigInt(((i * 7919) % 60000) - 30000))
  const edges = [0, 65535, ...Array.from({ length: 63 }, (_, i) => [1024 * (i + 1) - 1, 1024 * (i + 1)]).flat()]
  for (let from = 0; from < edges.length; from += 64) {
    const a = leaf('edge', (j) => edges[from + j] ?? 512)
    const b = leaf('out', (j) => Number(tableModel(knots, a.limbs[j]!)) + OFFSET)
    assert.ok(holds(pointwiseInput({ a, b, knots })))
    for (const at of [0, 1, 30, 63])
      for (const by of [-1, 1])
        assert.not(holds(withLimb(pointwiseInput({ a, b, knots }), 'b', at, (b.limbs[at]! + by) & 0xffff)))
  }
})

test('rounding: exact halves round up, on falling segments as well', () => {
  for (const slope of [1n, -1n, 3n, -3n, 1023n, -1025n]) {
    const knots = Array.from({ length: 65 }, (_, i) => (i % 2 === 0 ? 0n : slope))
    const a = leaf('half', (j) => 1024 * j + 512 - (j % 3) + (j % 2))
    const b = leaf('out', (j) => Number(tableModel(knots, a.limbs[j]!)) + OFFSET)
    assert.ok(holds(pointwiseInput({ a, b, knots })))
    assert.not(holds(withLimb(pointwiseInput({ a, b, knots }), 'b', 12, b.limbs[12]! - 1)))
    assert.not(holds(withLimb(pointwiseInput({ a, b, knots }), 'b', 12, b.limbs[12]! + 1)))
  }
})

test('the tolerance is met exactly and not exceeded by one, on both sides', () => {
  for (const tol of [0, 1, 77, 32767, 65535]) {
    const a = leaf('canonical', () => (tol > 32767 ? 65535 : OFFSET))
    for (const sign of [-1, 1]) {
      const at = a.limbs[5]! + sign * tol
      const near = pointwiseInput({ a, b: leaf('served', (j) => (j === 5 ? at : a.limbs[j]!)), knots: IDENTITY, tol })
      if (at < 0 || at > 65535) continue
      assert.ok(holds(near), `${sign * tol} within ${tol}`)
      if (tol > 0) assert.not(holds({ ...near, tol: tol - 1 }), `${sign * tol} beyond ${tol - 1}`)
      const next = at + sign
      if (next >= 0 && next <= 65535)
        assert.not(holds(withLimb(near, 'b', 5, next)), `${sign * (tol + 1)} beyond ${tol}`)
    }
  }
})

test('tol and knots are range-checked, mode is a bit, mask has 64 bits, a clamp has tol 0', () => {
  const inputs = pointwiseWitnessInput(committer, pointwiseInput({ knots: IDENTITY, b: pointwiseInput().a })).input
  const accepts = (change: Record<string, bigint[]>) => satisfied(() => witness.calculate({ ...inputs, ...change }))
  const knot = inputs.knot as bigint[]
  assert.ok(accepts({ tol: [65535n] }))
  for (const tol of [65536n, mod(-1n), 1n << 200n]) assert.not(accepts({ tol: [tol] }))
  // With an empty mask nothing else speaks about the mode.
  assert.ok(accepts({ mode: [1n], mask: [0n] }))
  for (const mode of [2n, mod(-1n)]) assert.not(accepts({ mode: [mode], mask: [0n] }))
  assert.ok(accepts({ mask: [0n] }))
  for (const mask of [1n << 64n, mod(-1n)]) assert.not(accepts({ mask: [mask] }))
  // Knot 64 is only used by inputs above 64511; with the mask empty the range is all that speaks.
  for (const good of [(1n << 17n) - 1n, mod(-(1n << 17n))])
    assert.ok(accepts({ mask: [0n], knot: knot.with(64, good) }))
  for (const bad of [1n << 17n, mod(-(1n << 17n) - 1n), 1n << 200n])
    for (const at of [0, 31, 64]) assert.not(accepts({ mask: [0n], knot: knot.with(at, bad) }))
  assert.ok(holds(clampInput()))
  assert.not(holds(clampInput({ tol: 1 })))
})

test('extreme knots and tolerances at once stay exact', () => {
  const top = (1n << 17n) - 1n
  const knots = Array.from({ length: 65 }, (_, i) => (i % 2 === 0 ? -top - 1n : top))
  const a = leaf('swing', (j) => 1024 * j + (j % 2 === 0 ? 640 : 384))
  const target = a.limbs.map((u) => Number(tableModel(knots, u)) + OFFSET)
  const b = leaf('out', (j) => Math.max(0, Math.min(65535, target[j]!)))
  for (const tol of [0, 65535]) {
    const input = pointwiseInput({ a, b, knots, tol })
    assert.is(holds(input), pointwiseModel(input))
  }
})

test('clamp at its edges', () => {
  const cases: [lo: number, hi: number][] = [0, 1, 12345, 65534, 65535].flatMap((lo) =>
    [0, 1, 2 ** 15 - 1, 2 ** 15, 2 ** 15 + 1, 65534, 65535].map((hi): [number, number] => [lo, hi]),
  )
  const a = leaf('lo', (j) => cases[j % cases.length]![0])
  const hi = leaf('hi', (j) => cases[j % cases.length]![1])
  const b = leaf('out', (j) => clampModel(a.limbs[j]!, hi.limbs[j]!))
  const honest = clampInput({ a, b, hi })
  assert.ok(holds(honest))
  for (let at = 0; at < cases.length; at += 3)
    for (const value of [b.limbs[at]! ^ 1, 65535 - b.limbs[at]!, (b.limbs[at]! + 32768) & 0xffff])
      assert.not(holds(withLimb(honest, 'b', at, value)))
  // In clamp mode without a committed high limb, everything reads as far below: only 0 comes out.
  assert.ok(holds({ ...honest, hi: null, b: leaf('zero', () => 0) }))
})

test('pairs outside the mask are free, pairs inside are not', () => {
  const odd = BigInt(`0b${'10'.repeat(32)}`)
  for (const make of [pointwiseInput, clampInput]) {
    const honest = make({ mask: odd })
    for (const at of [0, 30, 62]) assert.ok(holds(withLimb(honest, 'b', at, honest.b.limbs[at]! ^ 0x5555)))
    for (const at of [1, 31, 63]) assert.not(holds(withLimb(honest, 'b', at, honest.b.limbs[at]! ^ 0x5555)))
    for (let j = 0; j < 64; j += 9)
      assert.not(holds(withLimb(make({ mask: 1n << BigInt(j) }), 'b', j, honest.b.limbs[j]! ^ 1)))
  }
})

test('limbs beyond 65535 and openings of another leaf have no witness', () => {
  for (const make of [pointwiseInput, clampInput]) {
    const { input } = pointwiseWitnessInput(committer, make({ mask: 0n }))
    for (const name of ['aLimbs', 'bLimbs', 'hiLimbs'] as const) {
      const values = Array.from(input[name] as Uint16Array)
      assert.not(satisfied(() => witness.calculate({ ...input, [name]: values.with(63, 65536) })))
      assert.not(satisfied(() => witness.calculate({ ...input, [name]: values.with(0, values[0]! ^ 1) })))
      const salt = `${name.replace('Limbs', '')}Salt`
      assert.not(satisfied(() => witness.calculate({ ...input, [salt]: [element('another salt')] })))
    }
  }
})

test('agrees with the integer model over random statements', () => {
  const limb = fc.oneof(fc.constantFrom(0, 1, 32767, 32768, 32769, 65534, 65535), fc.integer({ min: 0, max: 65535 }))
  const sixtyFour = fc.array(limb, { minLength: 64, maxLength: 64 })
  let accepted = 0
  let refused = 0
  fc.assert(
    fc.property(
      sixtyFour,
      sixtyFour,
      sixtyFour,
      fc.array(fc.integer({ min: -32768, max: 32767 }), { minLength: 65, maxLength: 65 }),
      fc.record({
        mode: fc.constantFrom('table' as const, 'clamp' as const),
        tol: fc.constantFrom(0, 1, 40, 65535),
        mask: fc.bigInt(0n, ALL),
        noise: fc.constantFrom(0, 0, 1, 3),
        at: fc.integer({ min: 0, max: 63 }),
      }),
      (low, noise, high, knots, { mode, tol, mask, noise: scale, at }) => {
        const clamp = mode === 'clamp'
        const base = pointwiseInput({
          mode,
          mask,
          tol: clamp ? 0 : tol,
          knots: knots.map(BigInt),
          a: { limbs: Uint16Array.from(low), salt: 1n },
          hi: clamp ? { limbs: limbs((j) => OFFSET + (high[j]! % 5) - 2), salt: 2n } : null,
        })
        const exact = (j: number) =>
          clamp ? clampModel(low[j]!, base.hi!.limbs[j]!) : Number(tableModel(base.knots, low[j]!)) + OFFSET
        // Mostly on the edge of the tolerance, one pair possibly over it.
        const b = limbs((j) => {
          const off = Math.min(base.tol, noise[j]!) + (j === at ? scale : 0)
          return Math.max(0, Math.min(65535, exact(j) + (noise[j]! % 2 === 0 ? off : -off)))
        })
        const input = { ...base, b: { limbs: b, salt: 3n } }
        const expected = pointwiseModel(input)
        assert.is(holds(input), expected)
        if (expected) accepted++
        else refused++
      },
    ),
    { numRuns: 80 },
  )
  assert.ok(accepted > 10 && refused > 5, `${accepted} accepted, ${refused} refused`)
})

test('refuses inputs of the wrong shape or range', async () => {
  const run = (change: Partial<PointwiseInput>) => () => holds(pointwiseInput(change))
  assert.is(await codeOf(run({ knots: RELU.slice(1) })), 'KNOT_COUNT')
  assert.is(await codeOf(run({ knots: RELU.with(0, 1n << 253n) })), 'KNOT_RANGE')
  assert.is(await codeOf(run({ tol: -1 })), 'SIGNAL_RANGE')
  assert.is(await codeOf(run({ mask: -1n })), 'SIGNAL_RANGE')
  assert.is(await codeOf(run({ a: { limbs: new Uint16Array(65), salt: 0n } })), 'LEAF_LENGTH')
})

test.run()
