import { SinterError } from '../protocol/errors.ts'

/** Nearest integer, ties to even. Exact for every finite float64. */
export function roundTiesToEven(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  if (rest < 0.5) return floor
  if (rest > 0.5) return floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

/** Beside it float64 has no fractions, and the sum of it and a small number is rounded ties to even. */
const ROUND = 1.5 * 2 ** 52

/**
 * Real numbers to 16-bit integers at exponent e (a means a·2^-e): ties to even, saturating, so ±∞ become the ends.
 * @param code error code for a NaN, `INPUT_NAN` unless the values are a model's output
 */
export function quantise(
  values: ArrayLike<number>,
  exponent: number,
  code: 'INPUT_NAN' | 'OUTPUT_NAN' = 'INPUT_NAN',
): Int16Array {
  const scale = 2 ** exponent
  const count = values.length
  const out = new Int16Array(count)
  for (let i = 0; i < count; i++) {
    const value = values[i]! * scale
    if (Number.isNaN(value)) throw new SinterError(code, `value ${i} is not a number`)
    // The ends are integers, so it makes no difference that they cut before the rounding.
    out[i] = value >= 32_767 ? 32_767 : value <= -32_768 ? -32_768 : value + ROUND - ROUND
  }
  return out
}

/** The real numbers that 16-bit integers at exponent e mean; exact in float32 for |e| ≤ 64. */
export function dequantise(values: Int16Array, exponent: number): Float32Array {
  const scale = 2 ** -exponent
  const count = values.length
  const out = new Float32Array(count)
  for (let i = 0; i < count; i++) out[i] = values[i]! * scale
  return out
}
