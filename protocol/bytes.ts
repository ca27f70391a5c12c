import { SinterError } from './errors.ts'

/** `0x`-prefixed lower-case hex, the form viem and the contracts' ABI use. */
export type Hex = `0x${string}`

export const U128_MAX = (1n << 128n) - 1n

export function toHex(bytes: Uint8Array): Hex {
  let out = '0x'
  for (const byte of bytes) out += byte.toString(16).padStart(2, '0')
  return out as Hex
}

/** Bytes of a hex string, with or without `0x`. Throws `BAD_HEX`. */
export function fromHex(hex: string): Uint8Array {
  const digits = hex.startsWith('0x') ? hex.slice(2) : hex
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) throw new SinterError('BAD_HEX', 'not a hex string')
  const out = new Uint8Array(digits.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return out
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Big-endian, fixed width. Throws `BAD_INTEGER` when the value does not fit in `width` bytes. */
export function bigintToBytes(value: bigint, width: number): Uint8Array {
  if (value < 0n || value >> BigInt(8 * width) !== 0n)
    throw new SinterError('BAD_INTEGER', `integer does not fit in ${width} bytes`)
  const out = new Uint8Array(width)
  let rest = value
  for (let i = width - 1; i >= 0; i--) {
    out[i] = Number(rest & 255n)
    rest >>= 8n
  }
  return out
}

export function bytesToBigint(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let value = 0n
  let at = 0
  for (; at < bytes.length % 8; at++) value = (value << 8n) | BigInt(bytes[at]!)
  for (; at < bytes.length; at += 8) value = (value << 64n) | view.getBigUint64(at)
  return value
}

export function u32(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw new SinterError('BAD_INTEGER', 'integer does not fit in 4 bytes')
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}
export const u64 = (value: bigint): Uint8Array => bigintToBytes(value, 8)
/** Amounts travel as 16 bytes big-endian, in base units (10^-18 token). */
export const u128 = (value: bigint): Uint8Array => bigintToBytes(value, 16)

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
