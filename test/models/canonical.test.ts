import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, evaluateStream, tableAt, traceOutputs, withServed } from '../../models/canonical.ts'
import type { Multiply } from '../../models/multiply.ts'
import { oracle } from '../../models/oracle.ts'
import { tableRange, validateManifest } from '../../models/validate.ts'
import { randomModel } from './random-model.ts'

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

/** A 16-bit pair of limbs as one number, where there is one. */
const joined = (low: Uint16Array | null, high: Uint16Array | null): bigint[] | null =>
  low === null ? null : Array.from(low, (limb, i) => BigInt(limb) + 65_536n * BigInt(high?.[i] ?? 0))

test('the evaluator agrees with the BigInt oracle on random graphs, saturated or not', () => {
  let flagged = 0
  const kinds = new Set<string>()
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, weights, inputs } = randomModel(seed)
      validateManifest(manifest, weights)
      const trace = evaluate(manifest, weights, inputs)
      const expected = oracle(manifest, weights, inputs)
      manifest.tensors.forEach(({ viewOf }, id) => {
        const got = trace.tensors[id]!
        const want = expected[id]!
        if (viewOf !== null) {
          assert.is(got, null)
          return
        }
        assert.equal(Array.from(got.value, BigInt), want.value)
        assert.equal(joined(got.rem, got.remHigh), want.rem)
        assert.equal(joined(got.slack, got.slackHigh), want.slack)
        assert.equal(got.pre === null ? null : Array.from(got.pre, BigInt), want.pre)
        got.flagged?.forEach((flag, leaf) => {
          const inside = want.pre!.slice(64 * leaf, 64 * leaf + 64)
          assert.is(
            flag === 1,
            inside.some((pre) => pre < -32768n || pre > 32767n),
          )
          flagged += flag
        })
      })
      for (const { kind } of manifest.ops) kinds.add(kind)
    }),
    { numRuns: 300 },
  )
  assert.ok(flagged > 50, 'the random graphs saturate')
  assert.equal([...kinds].sort(), ['divide', 'extremum', 'linear', 'product', 'root', 'table'])
})

test('a stream gives the same tensors as the whole trace, with another multiplier too, and forgets what nobody reads again', async () => {
  for (let seed = 0; seed < 60; seed++) {
    const { manifest, weights, inputs } = randomModel(seed)
    const trace = evaluate(manifest, weights, inputs)
    const seen = new Set<number>()
    const naive: Multiply = (x, w, rows, columns, depth) =>
      Float64Array.from({ length: rows * columns }, (_, at) => {
        let sum = 0
        for (let k = depth - 1; k >= 0; k--)
          sum += x[Math.floor(at / columns) * depth + k]! * w[(at % columns) * depth + k]!
        return sum
      })
    const outputs = await evaluateStream(manifest, weights, inputs, {
      multiply: async (...request) => naive(...request),
      onTensor(tensor, each) {
        seen.add(tensor)
        assert.equal(each, trace.tensors[tensor])
      },
    })
    assert.equal(outputs, traceOutputs(manifest, trace))
    assert.is(seen.size, trace.tensors.filter((tensor) => tensor !== null).length)
  }
})

test('a table gives what its formula says at all 65,536 inputs, and its range is that of two points per segment', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -65_536, max: 65_536 }), { minLength: 65, maxLength: 65 }), (knots) => {
      let min = Infinity
      let max = -Infinity
      for (let u = 0; u < 65_536; u++) {
        const y = tableAt(knots, u - 32_768)
        min = Math.min(min, y)
        max = Math.max(max, y)
      }
      assert.equal(tableRange(knots), { min, max })
    }),
    { numRuns: 30 },
  )
})

test('the Relu table is Relu', () => {
  const knots = Array.from({ length: 65 }, (_, i) => Math.max(0, 1024 * i - 32_768))
  for (let x = -32_768; x < 32_768; x++) assert.is(tableAt(knots, x), Math.max(0, x))
})

test('evaluation is a function of its input: the same bits twice, and the caller keeps its array', () => {
  const { manifest, weights, inputs } = randomModel(7)
  const before = inputs[0]!.slice()
  assert.equal(evaluate(manifest, weights, inputs), evaluate(manifest, weights, inputs))
  assert.equal(inputs[0], before)
})

test('wrong inputs and outputs are refused', () => {
  const { manifest, weights, inputs } = randomModel(11)
  const code = (run: () => unknown, wanted: string): void =>
    assert.throws(run, (error: { code?: string }) => error.code === wanted)
  code(() => evaluate(manifest, weights, []), 'INPUT_SHAPE')
  code(() => evaluate(manifest, weights, [inputs[0]!.slice(1)]), 'INPUT_SHAPE')
  const trace = evaluate(manifest, weights, inputs)
  code(() => withServed(manifest, trace, []), 'OUTPUT_SHAPE')
  code(() => withServed(manifest, trace, [new Int16Array(100_000)]), 'OUTPUT_SHAPE')
  const served = withServed(manifest, trace, traceOutputs(manifest, trace))
  assert.is(
    trace.tensors.some((tensor) => tensor?.served),
    false,
  )
  assert.is(served.tensors.filter((tensor) => tensor?.served).length, 1)
})

test.run()
