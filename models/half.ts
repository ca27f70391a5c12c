import { roundTiesToEven } from './quantise.ts'

/** Half precision, IEEE 754. */

/** The value of a half from its bits. */
export function halfValue(bits: number): number {
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  const size =
    exponent === 31
      ? fraction === 0
        ? Number.POSITIVE_INFINITY
        : Number.NaN
      : exponent === 0
        ? fraction * 2 ** -24
        : (1024 + fraction) * 2 ** (exponent - 25)
  return bits & 0x8000 ? -size : size
}

/** The nearest half-precision number (ties to even). */
export function roundHalf(value: number): number {
  const size = Math.abs(value)
  if (!(size > 0) || size === Number.POSITIVE_INFINITY) return value
  if (size >= 65520) return Math.sign(value) * Number.POSITIVE_INFINITY
  const quantum = 2 ** (Math.max(-14, Math.floor(Math.log2(size))) - 10)
  return Math.sign(value) * roundTiesToEven(size / quantum) * quantum
}

/** The bits of the half nearest to a value. */
export function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  if (Number.isNaN(value)) return 0x7e00
  const size = Math.abs(roundHalf(value))
  if (size === Number.POSITIVE_INFINITY) return sign | 0x7c00
  if (size < 2 ** -14) return sign | (size * 2 ** 24)
  const exponent = Math.floor(Math.log2(size))
  return sign | ((exponent + 15) << 10) | (size * 2 ** (10 - exponent) - 1024)
}
