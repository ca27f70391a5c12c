import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, tableAt, traceOutputs, withServed } from '../../models/canonical.ts'
import { oracle } from '../../models/oracle.ts'
import { tableRange, validateManifest } from '../../models/validate.ts'
import { randomModel } from './random-model.ts'

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

test('the evaluator agrees with the BigInt oracle on random graphs, saturated or not', () => {
  let flagged = 0
  let kinds = ''
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
        if (want.rem === null) {
          assert.is(got.rem, null)
          return
        }
        assert.equal(Array.from(got.rem!, BigInt), want.rem)
        assert.equal(Array.from(got.pre!, BigInt), want.pre)
        got.flagged!.forEach((flag, tile) => {
          const tiled = want.pre!.slice(64 * tile, 64 * tile + 64)
          assert.is(
            flag === 1,
            tiled.some((pre) => pre < -32768n || pre > 32767n),
          )
          flagged += flag
        })
      })
      kinds += manifest.ops.map(({ kind }) => kind[0]).join('')
    }),
    { numRuns: 300 },
  )
  assert.ok(flagged > 50, 'the random graphs saturate')
  for (const kind of ['c', 'g', 'a', 't']) assert.ok(kinds.includes(kind), `op kind ${kind} occurs`)
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
