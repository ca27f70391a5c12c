import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createCommitter, ZERO_LEAF } from '../../circuits/commit.ts'
import { relationWitnessInput } from '../../circuits/prove.ts'
import { isCanonical, readScalar } from '../../circuits/scalars.ts'
import { SIGNAL_COUNT } from '../../circuits/signals.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'
import { calculator, codeOf, element, leaf, relationHolds, relationInput, satisfied } from './fixtures.ts'

const committer = await createCommitter()
const witness = await calculator('relation')

test('the public signals stand in the witness in their documented order', () => {
  const { signals, input, accIn, accOut } = relationWitnessInput(committer, relationInput())
  assert.is(signals.length, SIGNAL_COUNT.relation)
  assert.is(SIGNAL_COUNT.relation, 653)
  const wires = witness.calculate(input)
  const view = new DataView(wires.buffer)
  for (const [i, signal] of signals.entries()) assert.is(readScalar(view, 32 * (i + 1)), signal)
  const { leaves, u, binding } = relationInput()
  assert.equal(
    signals.slice(0, 10),
    leaves.map(({ limbs, salt }) => committer.leaf(limbs, salt)),
  )
  assert.equal(signals.slice(10, 13), [accIn, accOut, binding])
  assert.equal(signals.slice(13), u)
})

test('a short segment is filled with zero leaves and zero coefficients', () => {
  const input = relationInput({ leaves: [leaf('only', (j) => j)], u: Array.from({ length: 64 }, () => 2n) })
  const { signals } = relationWitnessInput(committer, input)
  assert.equal(signals.slice(1, 10), new Array(9).fill(ZERO_LEAF))
  assert.equal(signals.slice(13 + 64), new Array(576).fill(0n))
  assert.ok(relationHolds(committer, witness, input))
})

test('segments chain: the sum of one is the start of the next, whatever the blinds', () => {
  const u = Array.from({ length: 640 }, (_, i) => element(`c ${i}`))
  const first = relationWitnessInput(committer, relationInput({ accIn: 0n, blindIn: 0n, u }))
  assert.is(first.accIn, committer.chain(0n, 0n))
  const second = relationWitnessInput(
    committer,
    relationInput({ accIn: first.sum, blindIn: element('blind out'), blindOut: 0n, u }),
  )
  assert.is(second.accIn, first.accOut)
  let c = 0n
  relationInput().leaves.forEach(({ limbs }, k) => {
    limbs.forEach((z, j) => {
      c += 2n * u[64 * k + j]! * BigInt(z)
    })
  })
  assert.is(second.accOut, committer.chain(mod(c), 0n))
})

test('agrees with the integer model over random segments', () => {
  const edge = fc.oneof(fc.constantFrom(0n, 1n, FIELD_PRIME - 1n), fc.bigInt(0n, FIELD_PRIME - 1n))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.array(fc.integer({ min: 0, max: 65535 }), { minLength: 64, maxLength: 64 }), edge), {
        maxLength: 10,
      }),
      edge,
      edge,
      fc.bigInt(1n, FIELD_PRIME - 1n),
      (opened, accIn, coefficient, wrongBy) => {
        const leaves = opened.map(([values, salt]) => ({ limbs: Uint16Array.from(values), salt }))
        const u = leaves.flatMap((_, k) => Array.from({ length: 64 }, (_, j) => mod(coefficient + BigInt(64 * k + j))))
        const model = leaves.reduce(
          (sum, { limbs }, k) => limbs.reduce((part, z, j) => part + u[64 * k + j]! * BigInt(z), sum),
          accIn,
        )
        const { input, sum } = relationWitnessInput(committer, relationInput({ leaves, u, accIn }))
        assert.is(sum, mod(model))
        witness.calculate(input)
        const accOut = [committer.chain(mod(model + wrongBy), element('blind out'))]
        assert.not(satisfied(() => witness.calculate({ ...input, accOut })))
      },
    ),
    { numRuns: 25 },
  )
})

test('limb 65535 is the last one there is', () => {
  const { input } = relationWitnessInput(committer, relationInput())
  const limbs = Array.from(input.limbs as Uint16Array)
  for (const at of [0, 63, 64, 639]) {
    const edge = relationInput()
    edge.leaves[Math.floor(at / 64)]!.limbs[at % 64] = 65535
    assert.ok(relationHolds(committer, witness, edge))
    for (const bad of [65536, 65536 + limbs[at]!, 2 ** 31])
      assert.not(satisfied(() => witness.calculate({ ...input, limbs: limbs.with(at, bad) })))
  }
  // The same packed element with limbs 65536 and 0 in place of 0 and 1: the sum is another, the commitment is not.
  const carried = relationInput({ leaves: [leaf('carry', (j) => (j === 1 ? 1 : 0))], u: new Array(64).fill(3n) })
  const honest = relationWitnessInput(committer, carried)
  assert.ok(satisfied(() => witness.calculate(honest.input)))
  const forged = Array.from(honest.input.limbs as Uint16Array)
    .with(0, 65536)
    .with(1, 0)
  const accOut = [committer.chain(mod(carried.accIn + 3n * 65536n), element('blind out'))]
  assert.not(satisfied(() => witness.calculate({ ...honest.input, limbs: forged, accOut })))
  assert.not(satisfied(() => witness.calculate({ ...honest.input, limbs: forged })))
})

test('every opened value is bound to its commitment', () => {
  const { input } = relationWitnessInput(committer, relationInput())
  const scalars = ['accIn', 'accOut', 'acc', 'blindIn', 'blindOut'] as const
  for (const name of scalars)
    assert.not(satisfied(() => witness.calculate({ ...input, [name]: [mod((input[name]![0] as bigint) + 1n)] })))
  for (const name of ['leaf', 'salt', 'u'] as const) {
    const values = [...input[name]!] as bigint[]
    // Not 0: the first limb is 0, and its coefficient may be anything.
    for (const at of [1, values.length - 1])
      assert.not(satisfied(() => witness.calculate({ ...input, [name]: values.with(at, mod(values[at]! + 1n)) })))
  }
  // A refused witness leaves the calculator usable.
  assert.ok(satisfied(() => witness.calculate(input)))
})

test('refuses inputs of the wrong shape or range', async () => {
  const { leaves, u } = relationInput()
  const holds = (change: Partial<ReturnType<typeof relationInput>>) => () =>
    relationHolds(committer, witness, relationInput(change))
  assert.is(await codeOf(holds({ u: u.slice(1) })), 'SEGMENT_SHAPE')
  assert.is(await codeOf(holds({ leaves: [...leaves, leaves[0]!], u: [...u, ...u.slice(0, 64)] })), 'SEGMENT_SHAPE')
  assert.is(await codeOf(holds({ u: u.with(5, FIELD_PRIME) })), 'SIGNAL_RANGE')
  assert.is(await codeOf(holds({ binding: -1n })), 'SIGNAL_RANGE')
  assert.is(
    await codeOf(holds({ leaves: [{ limbs: new Uint16Array(60), salt: 0n }], u: u.slice(0, 64) })),
    'LEAF_LENGTH',
  )
  const { input } = relationWitnessInput(committer, relationInput())
  assert.is(await codeOf(() => witness.calculate({ ...input, salt: [1n] })), 'WITNESS_INPUT')
  assert.is(await codeOf(() => witness.calculate({ ...input, nothing: [1n] })), 'WITNESS_INPUT')
  const { acc: _, ...missing } = input
  assert.is(await codeOf(() => witness.calculate(missing)), 'WITNESS_INPUT')
  assert.ok(isCanonical(FIELD_PRIME - 1n) && !isCanonical(FIELD_PRIME) && !isCanonical(-1n))
})

test.run()
