import { FIELD_PRIME } from '../../protocol/field.ts'

/**
 * Poseidon over BN254's scalars as circomlib has it, for several hashes at once: a WebAssembly module of fused multiply-adds.
 *
 * A number is five limbs of 51 bits, held as doubles, two numbers to a vector. The product of two limbs, at most 2^102, comes exactly from two
 * fused multiply-adds: added to 2^103 it is rounded to multiples of 2^51, which are its high half, and what that leaves is its low half, between
 * -2^50 and 2^50. Both are read off the bits of the doubles and summed as integers (N. Emmart, "Faster modular exponentiation using double
 * precision floating point arithmetic on the GPU", ARITH 2018). Montgomery's R is 2^306, one limb more than a number has: a reduced result is then
 * below p + 2^210 whatever is reduced, up to seventeen products of numbers below 2^255, and sums of two may be multiplied as they are.
 * The order of rounds and the constants are circomlibjs's optimised ones.
 */

export const LIMB = 51n
export const LIMBS = 5
/** Limbs that a reduction clears. */
export const STEPS = 6
export const R = 1n << (LIMB * BigInt(STEPS))
export const MASK = (1n << LIMB) - 1n
/** Vectors worked on side by side: reducing is one chain of dependent steps, so a processor does two in the time of one. */
export const WIDTH = 2
/** Hashes of one call. */
export const LANES = 2 * WIDTH

/** Full rounds before the partial ones, and after. */
export const HALF_FULL = 4
const bitsOf = (value: number): bigint => new BigInt64Array(Float64Array.of(value).buffer)[0]!
/** What a product is added to first: a double there is a multiple of 2^51. */
export const HIGH = 2 ** 103
export const HIGH_BITS = bitsOf(HIGH)
/** Low halves lie around it, where a double is an integer. */
export const LOW = 1.5 * 2 ** 52
export const LOW_BITS = bitsOf(LOW)
/** Above it the low bits of a double are an integer below 2^52. */
export const UNIT = 2 ** 52
export const UNIT_BITS = bitsOf(UNIT)
/** Added to a column before it is shifted, so that it is not negative, and taken from the next one. */
export const LIFT = 1n << 62n
export const LIFT_CARRY = LIFT >> LIMB

/** 51 bits each, the lowest first. */
export const limbsOf = (value: bigint): bigint[] =>
  Array.from({ length: LIMBS }, (_, k) => (value >> (LIMB * BigInt(k))) & MASK)
export const P = limbsOf(FIELD_PRIME)

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n]
  while (a > 1n) [a, b, x, y] = [b % a, a, y - (b / a) * x, x]
  return ((x % modulus) + modulus) % modulus
}
/** -1/p, by which a column is multiplied to find what clears it. */
export const P_INVERSE = (1n << LIMB) - inverse(FIELD_PRIME, 1n << LIMB)

export const VECTOR = 16
export const SCALAR = 32
/** Bytes of a number in every lane, limb by limb. */
export const ELEMENT = VECTOR * WIDTH * LIMBS
/** Bytes of a constant, the same in every lane. */
export const CONSTANT = 8 * LIMBS
/** Elements of the widest state. */
export const MOST = 17

/** What lies where. */
export const AT = (() => {
  let next = 0
  const take = (bytes: number): number => {
    next += bytes
    return next - bytes
  }
  return {
    /** What the module tells: where inputs and hashes are, then for each of COUNTS the number, where its table is, and its partial rounds. */
    head: take(64),
    /** Vectors, the same in both halves: the prime's limbs as doubles and as integers, and single numbers. */
    prime: take(VECTOR * LIMBS),
    primeBits: take(VECTOR * LIMBS),
    inverse: take(VECTOR),
    mask: take(VECTOR),
    high: take(VECTOR),
    both: take(VECTOR),
    unit: take(VECTOR),
    unitBits: take(VECTOR),
    lift: take(VECTOR),
    liftCarry: take(VECTOR),
    /** Elements. */
    rSquared: take(ELEMENT),
    one: take(ELEMENT),
    square: take(ELEMENT),
    fourth: take(ELEMENT),
    sum: take(ELEMENT),
    states: [take(ELEMENT * MOST), take(ELEMENT * MOST)] as const,
    /** Little-endian integers of 32 bytes: sixteen for each lane, and its hash. */
    inputs: take(SCALAR * (MOST - 1) * LANES),
    out: take(SCALAR * LANES),
    tables: next,
  }
})()
/** Limb k of an element, vector v. */
export const limbAt = (k: number, v: number): number => VECTOR * (WIDTH * k + v)
export const vectors = Array.from({ length: WIDTH }, (_, v) => v)
