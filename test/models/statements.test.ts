import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, type Trace, tableAt, traceOutputs, withServed } from '../../models/canonical.ts'
import { allTiles, selectTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import type { Manifest, TableOp } from '../../models/manifest.ts'
import { buildStatements, checkStatement, foldStaged, formValue } from '../../models/statements.ts'
import { elementCount, resolveTensor, saturates, tileLeaf, tileRange, treesOfTensor } from '../../models/tiling.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'
import { type LeafRef, STAGE_FORMS, type Statement, TREE } from '../../protocol/statement.ts'
import { randomModel } from './random-model.ts'

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const RHO = 0x2f8d1c0a9b7e6d5c4b3a29181716151413121110f0e0d0c0b0a090807060504n

const key = ({ tensor, tree, index }: LeafRef): string => `${tensor}/${tree}/${index}`

const limbsOf =
  (manifest: Manifest, trace: Trace) =>
  (ref: LeafRef): Uint16Array =>
    leafLimbs(manifest, trace, ref) ?? new Uint16Array(64)

const holds = (statements: Statement[], limbs: (ref: LeafRef) => Uint16Array): boolean =>
  statements.every((statement) => checkStatement(statement, limbs))

/** A random model, its honest trace, and a served output a few quanta away. */
function honest(seed: number) {
  const model = randomModel(seed)
  const { manifest, weights, inputs, int } = model
  const trace = evaluate(manifest, weights, inputs)
  const { quanta } = manifest.outputs[0]!.tolerance
  const near = traceOutputs(manifest, trace).map((values) =>
    values.map((value) => Math.min(32_767, Math.max(-32_768, value + int(-quanta, quanta)))),
  )
  return { ...model, trace: withServed(manifest, trace, near) }
}

const build = (manifest: Manifest, weights: Uint8Array, trace: Trace, selected = allTiles(manifest)): Statement[] =>
  buildStatements(manifest, weights, selected, flagsOf(manifest, trace), RHO)

test('every statement of an honest trace holds, flagged tiles included, for all tiles and for drawn ones', () => {
  let clamps = 0
  const kinds = { relation: 0, pointwise: 0, product: 0, extremum: 0 }
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace } = honest(seed)
      const all = build(manifest, weights, trace)
      assert.ok(holds(all, limbsOf(manifest, trace)))
      clamps += all.filter((statement) => statement.kind === 'pointwise' && statement.mode === 'clamp').length
      for (const { kind } of all) kinds[kind]++
      const drawn = selectTiles(manifest, seededRandomness(new Uint8Array(32).fill(seed)), 4)
      assert.ok(holds(build(manifest, weights, trace, drawn), limbsOf(manifest, trace)))
    }),
    { numRuns: 80 },
  )
  assert.ok(clamps > 20 && Math.min(...Object.values(kinds)) > 5, JSON.stringify({ clamps, ...kinds }))
})

test('every coefficient is in [0, r) and no position past a tensor’s end has one', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace } = honest(seed)
      for (const statement of build(manifest, weights, trace)) {
        if (statement.kind === 'pointwise') continue
        assert.ok(statement.c >= 0n && statement.c < FIELD_PRIME)
        assert.is(new Set(statement.terms.map(({ leaf }) => key(leaf))).size, statement.terms.length)
        for (const { leaf, u } of statement.terms) {
          assert.is(u.length, 64)
          const tile = leaf.tree === 2 ? Math.floor(leaf.index / 2) : leaf.index
          const elements = elementCount(manifest.tensors[leaf.tensor]!.shape)
          u.forEach((value, j) => {
            assert.ok(value >= 0n && value < FIELD_PRIME)
            if (64 * tile + j >= elements) assert.is(value, 0n)
          })
        }
      }
    }),
    { numRuns: 30 },
  )
})

test('changing any one limb of any tree that an op wrote fails', () => {
  const tried = new Map<string, number>()
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace, int } = honest(seed)
      const op = manifest.ops[int(0, manifest.ops.length - 1)]!
      const statements = build(manifest, weights, trace)
      const { output } = op
      const element = int(0, elementCount(manifest.tensors[output]!.shape) - 1)
      const leaf = Math.floor(element / 64)
      for (const tree of treesOfTensor(manifest, output)) {
        if (tree === TREE.served || (tree === TREE.pre && !flagsOf(manifest, trace)(output, leaf))) continue
        const index = tree === TREE.pre ? 2 * leaf + int(0, 1) : leaf
        const changed = key({ tensor: output, tree, index })
        const delta = int(1, 65_535)
        const limbs = (ref: LeafRef): Uint16Array => {
          const honestLimbs = limbsOf(manifest, trace)(ref)
          if (key(ref) !== changed) return honestLimbs
          const out = honestLimbs.slice()
          out[element % 64]! += delta
          return out
        }
        assert.is(holds(statements, limbs), false, `${op.kind}: tensor ${changed} limb ${element % 64}`)
        tried.set(`${op.kind}/${tree}`, (tried.get(`${op.kind}/${tree}`) ?? 0) + 1)
      }
    }),
    { numRuns: 150 },
  )
  for (const each of [
    'linear/0',
    'linear/1',
    'linear/2',
    'product/0',
    'product/1',
    'product/4',
    'table/0',
    'extremum/0',
  ])
    assert.ok(tried.has(each), each)
  for (const each of [
    'divide/0',
    'divide/1',
    'divide/6',
    'divide/5',
    'divide/7',
    'root/0',
    'root/1',
    'root/5',
    'root/6',
    'root/7',
  ])
    assert.ok(tried.has(each), each)
})

test('staged statements fill whole segments, no window crosses two, and their fold closes exactly when they hold', () => {
  const gamma = 0x1e3f5a7c9b8d6e4f2a1b3c5d7e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1bn
  let folded = 0
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace } = honest(seed)
      for (const statement of build(manifest, weights, trace)) {
        if (statement.kind !== 'product' && statement.kind !== 'extremum') continue
        const size = STAGE_FORMS[statement.kind]
        assert.is(statement.forms.length % size, 0)
        assert.is(statement.ends.length, statement.kind === 'extremum' ? statement.forms.length : 0)
        for (let i = size - 1; i < statement.ends.length; i += size) assert.ok(statement.ends[i])
        const limbs = limbsOf(manifest, trace)
        const values = statement.forms.map((form) => formValue(form, limbs))
        const closes = (staged: bigint[]): boolean => {
          const { terms, c } = foldStaged(statement, gamma)
          let sum = -c
          for (const { leaf, u } of terms)
            u.forEach((each, j) => {
              sum += each * BigInt(limbs(leaf)[j]!)
            })
          let power = 1n
          for (const value of staged) {
            power = mod(power * gamma)
            sum += power * value
          }
          if (statement.kind === 'product')
            for (let d = 0; d < staged.length; d += 2) sum += staged[d]! * staged[d + 1]!
          return mod(sum) === 0n
        }
        assert.ok(closes(values))
        // Also a slot that the statement leaves unused is tied to its form, which is zero.
        for (const at of [0, values.length - 1])
          assert.is(closes(values.map((value, i) => (i === at ? value + 1n : value))), false)
        folded++
      }
    }),
    { numRuns: 40 },
  )
  assert.ok(folded > 20)
})

test('changes that cancel in a plain sum fail, within a tile and at the same place of two tiles', () => {
  let tried = 0
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace, int } = honest(seed)
      const statements = build(manifest, weights, trace)
      for (const { output } of manifest.ops.filter((op) => op.kind === 'linear' || op.kind === 'product')) {
        const { rem } = trace.tensors[output]!
        if (rem === null) continue
        const up = int(0, rem.length - 1)
        const down = up + 64 < rem.length && int(0, 1) === 0 ? up + 64 : (up + 1) % rem.length
        if (up === down || rem[up] === 65_535 || rem[down] === 0) continue
        const other = rem.slice()
        other[up]!++
        other[down]!--
        const tensors = trace.tensors.map((tensor, id) => (id === output ? { ...tensor!, rem: other } : tensor))
        assert.is(holds(statements, limbsOf(manifest, { tensors })), false)
        tried++
      }
    }),
    { numRuns: 60 },
  )
  assert.ok(tried > 40)
})

test('changing one result of a table fails; a served value off by τ passes and by τ + 1 fails', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace, int } = honest(seed)
      const statements = build(manifest, weights, trace)
      const swap = (tensor: number, tree: 0 | 3, element: number, value: number) => (ref: LeafRef) => {
        const out = limbsOf(manifest, trace)(ref).slice()
        if (key(ref) === key({ tensor, tree, index: Math.floor(element / 64) })) out[element % 64] = value
        return out
      }
      for (const { output } of manifest.ops.filter(({ kind }) => kind === 'table')) {
        const element = int(0, elementCount(manifest.tensors[output]!.shape) - 1)
        const value = trace.tensors[output]!.value[element]! + 32_768
        assert.is(holds(statements, swap(output, 0, element, (value + int(1, 65_535)) % 65_536)), false)
      }
      const { tensor: id, tolerance } = manifest.outputs[0]!
      const tensor = resolveTensor(manifest, id)
      const element = int(0, elementCount(manifest.tensors[tensor]!.shape) - 1)
      const limb = trace.tensors[tensor]!.value[element]! + 32_768
      const away = (by: number): number => (limb + by > 65_535 ? limb - by : limb + by)
      assert.is(holds(statements, swap(tensor, 3, element, away(tolerance.quanta))), true)
      assert.is(holds(statements, swap(tensor, 3, element, away(tolerance.quanta + 1))), false)
    }),
    { numRuns: 60 },
  )
})

test('one weight bit changed fails against the trace of the true weights', () => {
  let tried = 0
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace, int } = honest(seed)
      for (const op of manifest.ops) {
        const weight = op.kind === 'linear' ? op.terms[0]!.weight : 1
        if (typeof weight === 'number') continue
        const other = weights.slice()
        const at = weight.offset + 4 * int(0, weight.count - 1) + int(0, 3)
        other[at]! ^= 1 << int(0, 7)
        const again = evaluate(
          manifest,
          other,
          manifest.inputs.map((input) => trace.tensors[input.tensor]!.value as Int16Array),
        )
        // A weight that only ever meets zeros and padding has no meaning to change.
        if (sameAccumulators(again, trace, op.output)) continue
        assert.is(holds(build(manifest, other, trace), limbsOf(manifest, trace)), false)
        tried++
      }
    }),
    { numRuns: 200 },
  )
  assert.ok(tried > 40)
})

const sameAccumulators = (a: Trace, b: Trace, tensor: number): boolean =>
  ['pre', 'rem'].every(
    (part) => String(a.tensors[tensor]![part as 'pre']) === String(b.tensors[tensor]![part as 'pre']),
  )

test('a skipped table fails, though everything after it is consistent', () => {
  let tried = 0
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, inputs } = honest(seed)
      const skipped = manifest.ops.findIndex(({ kind }) => kind === 'table')
      if (skipped < 0) return
      const identity = Array.from({ length: 65 }, (_, i) => 1024 * i - 32_768)
      const ops = manifest.ops.map((op, i) => (i === skipped ? { ...(op as TableOp), knots: identity } : op))
      const without = evaluate({ ...manifest, ops }, weights, inputs)
      const { input, knots } = manifest.ops[skipped] as TableOp
      const x = without.tensors[resolveTensor(manifest, input)]!.value
      if (x.every((value) => tableAt(knots, value) === value)) return
      const trace = withServed(manifest, without, traceOutputs(manifest, without))
      assert.is(holds(build(manifest, weights, trace), limbsOf(manifest, trace)), false)
      tried++
    }),
    { numRuns: 250 },
  )
  assert.ok(tried > 20)
})

test('hiding a saturated tile, or flagging another one, fails unless the pairs really are there', () => {
  let hidden = 0
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace } = honest(seed)
      const flags = flagsOf(manifest, trace)
      for (const { op, tile } of allTiles(manifest)) {
        const target = manifest.ops[op]!
        if (!saturates(manifest, target)) continue
        const leaf = tileLeaf(target, tile)
        const { first, end } = tileRange(manifest, target, tile)
        const { pre, value } = trace.tensors[target.output]!
        // Where another tile of the leaf saturated, this one's values are its results either way.
        if (flags(target.output, leaf) && !value.subarray(first, end).some((y, i) => y !== pre![first + i])) continue
        const lie = (tensor: number, t: number): boolean =>
          flags(tensor, t) !== (tensor === target.output && t === leaf)
        const statements = buildStatements(manifest, weights, [{ op, tile }], lie, RHO)
        assert.is(holds(statements, limbsOf(manifest, trace)), false)
        if (flags(target.output, leaf)) hidden++
        return
      }
    }),
    { numRuns: 80 },
  )
  assert.ok(hidden > 5)
})

test('statements come by op, relation before clamps, tolerance last, and are the same twice', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, trace } = honest(seed)
      const statements = build(manifest, weights, trace)
      assert.equal(statements, build(manifest, weights, trace))
      const ops = statements.map(({ op }) => op)
      const tolerances = ops.filter((op) => op < 0).length
      assert.ok(ops.slice(ops.length - tolerances).every((op) => op === -1))
      const rest = ops.slice(0, ops.length - tolerances)
      assert.equal(
        rest,
        [...rest].sort((a, b) => a - b),
      )
      statements.forEach((statement, i) => {
        if (statement.kind !== 'pointwise') assert.not.equal(statements[i - 1]?.op, statement.op)
      })
    }),
    { numRuns: 30 },
  )
})

test('selections and challenges that make no sense are refused', () => {
  const { manifest, weights, trace } = honest(3)
  const flags = flagsOf(manifest, trace)
  const refused = (selected: { op: number; tile: number }[], rho: bigint, code: string): void =>
    assert.throws(
      () => buildStatements(manifest, weights, selected, flags, rho),
      (error: { code?: string }) => error.code === code,
    )
  refused([{ op: 99, tile: 0 }], RHO, 'BAD_SELECTION')
  refused([{ op: 0, tile: 10_000 }], RHO, 'BAD_SELECTION')
  refused([{ op: 0, tile: -1 }], RHO, 'BAD_SELECTION')
  refused(
    [
      { op: 0, tile: 0 },
      { op: 0, tile: 0 },
    ],
    RHO,
    'BAD_SELECTION',
  )
  refused([], 0n, 'BAD_CHALLENGE')
  refused([], FIELD_PRIME, 'BAD_CHALLENGE')
})

test.run()
