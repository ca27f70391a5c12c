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

test('what is dequantised quantises to itself at every exponent', () => {
  fc.assert(
    fc.property(fc.int16Array({ maxLength: 50 }), fc.integer({ min: -64, max: 64 }), (values, exponent) => {
      assert.equal(quantise(dequantise(values, exponent), exponent), values)
    }),
  )
})

test.run()
