import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { dequantise, quantise, roundTiesToEven } from '../../models/quantise.ts'

test('ties go to even', () => {
  assert.equal(
    [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.499, 0.501, -0.501].map((x) => roundTiesToEven(x) + 0),
    [0, 2, 2, 0, -2, -2, 0, 1, -1],
  )
  assert.equal(quantise([0.5 / 256, 1.5 / 256, -2.5 / 256], 8), Int16Array.of(0, 2, -2))
})

test('values out of range saturate, infinities included; the last good values do not', () => {
  assert.equal(
    quantise([127.99609375, 128, 1e30, Infinity, -128, -128.1, -Infinity], 8),
    Int16Array.of(32_767, 32_767, 32_767, 32_767, -32_768, -32_768, -32_768),
  )
})

test('a NaN is refused', () => {
  assert.throws(
    () => quantise([0, NaN], 8),
    (error: { code?: string }) => error.code === 'INPUT_NAN',
  )
  assert.throws(
    () => quantise([NaN], 8, 'OUTPUT_NAN'),
    (error: { code?: string }) => error.code === 'OUTPUT_NAN',
  )
})

test('every number goes to the nearest integer, ties to even, or to an end', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true }), fc.integer({ min: -64, max: 64 }), (value, exponent) => {
      const exact = roundTiesToEven(value * 2 ** exponent)
      assert.is(quantise([value], exponent)[0], Math.min(32_767, Math.max(-32_768, exact)) + 0)
    }),
  )
  fc.assert(
    fc.property(fc.integer({ min: -140_000, max: 140_000 }), (quarter) => {
      const exact = Math.min(32_767, Math.max(-32_768, roundTiesToEven(quarter / 4)))
      assert.is(quantise([quarter / 4], 0)[0], exact + 0)
    }),
  )
})

test('what is dequantised quantises to itself at every exponent', () => {
  fc.assert(
    fc.property(fc.int16Array({ maxLength: 50 }), fc.integer({ min: -64, max: 64 }), (values, exponent) => {
      assert.equal(quantise(dequantise(values, exponent), exponent), values)
    }),
  )
})

test.run()
