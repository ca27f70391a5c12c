import { SCALAR_BYTES } from './scalars.ts'

/**
 * Sums of scalar multiples of points that never change, as a verification key's are. Every base is kept with its multiples by 2^(10 j),
 * so that a sum needs one set of buckets (Pippenger's, over signed digits) for all windows and no doublings; and buckets are added up in
 * affine coordinates, pair by pair, with one inversion for all pairs of a round. A third of the time of the curve library's own
 * `multiExpAffine` for 653 points. Nothing here is secret: its time depends on the scalars.
 */

const FIELD_BYTES = 32
const AFFINE_BYTES = 2 * FIELD_BYTES
const JACOBIAN_BYTES = 3 * FIELD_BYTES
/** A base's multiple is kept as x, y and −y. */
const ENTRY_BYTES = 3 * FIELD_BYTES

const WINDOW_BITS = 10
/** Of scalars below 2^254, with room for the last carry. */
const WINDOWS = 26
/** Digits are from −512 to 511. */
const BUCKETS = 2 ** (WINDOW_BITS - 1)
const PAGE_BYTES = 65_536

type Op1 = (a: number, out: number) => void
type Op2 = (a: number, b: number, out: number) => void
type Exports = Record<'f1m_mul' | 'f1m_sub' | 'g1m_add' | 'g1m_addMixed', Op2> &
  Record<'f1m_square' | 'f1m_neg' | 'f1m_copy' | 'g1m_double' | 'g1m_doubleAffine' | 'g1m_toAffine', Op1> &
  Record<'g1m_toJacobian', Op1> & {
    f1m_isZero(a: number): number
    f1m_eq(a: number, b: number): number
    /** Zeros stay zeros. */
    f1m_batchInverse(from: number, step: number, count: number, to: number, toStep: number): void
    g1m_batchToAffine(from: number, count: number, to: number): void
    g1m_zero(out: number): void
  }

/** Σ scalar·base as a Jacobian point; scalars in [0, 2^254), little-endian, 32 bytes each, one for each base. */
export type FixedBases = (scalars: Uint8Array) => Uint8Array

/** Addresses of points, by coordinate, in the order of their buckets; how many each bucket has. */
type Sorted = { x: Int32Array; y: Int32Array; counts: Int32Array }

/**
 * @param code the curve library's whole module; it is instantiated with memory of its own
 * @param bases affine points other than zero, 64 bytes each in the library's form
 */
export function prepareBases(code: BufferSource, bases: Uint8Array): FixedBases {
  const count = bases.length / AFFINE_BYTES
  const entries = count * WINDOWS
  const memory = new WebAssembly.Memory({ initial: 32 })
  const g = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } }).exports as unknown as Exports

  // The first word says where free memory begins; the library's own scratch is taken from behind what is taken here.
  let free = Math.ceil(new Uint32Array(memory.buffer, 0, 1)[0]! / 8) * 8
  const take = (bytes: number): number => {
    const at = free
    free += bytes
    return at
  }
  const table = take(entries * ENTRY_BYTES)
  const sums = take(Math.max(entries * AFFINE_BYTES, WINDOWS * (JACOBIAN_BYTES + AFFINE_BYTES)))
  const differences = take((entries / 2) * FIELD_BYTES)
  const inverses = take((entries / 2) * FIELD_BYTES)
  const [slope, other, point] = [take(FIELD_BYTES), take(FIELD_BYTES), take(JACOBIAN_BYTES)]
  const [running, total] = [take(JACOBIAN_BYTES), take(JACOBIAN_BYTES)]
  const scratch = (entries + 2 * WINDOWS) * FIELD_BYTES
  memory.grow(Math.ceil(Math.max(0, free + scratch - memory.buffer.byteLength) / PAGE_BYTES))
  new Uint32Array(memory.buffer, 0, 1)[0] = free
  const bytes = new Uint8Array(memory.buffer)

  fillTable()

  /** 2^(10 j)·base for every base and window: first as Jacobian points, where the sums will be. */
  function fillTable(): void {
    for (let i = 0; i < count; i++) {
      bytes.set(bases.subarray(AFFINE_BYTES * i, AFFINE_BYTES * (i + 1)), point)
      g.g1m_toJacobian(point, running)
      for (let j = 0; j < WINDOWS; j++) {
        bytes.copyWithin(sums + JACOBIAN_BYTES * j, running, running + JACOBIAN_BYTES)
        for (let k = 0; k < WINDOW_BITS; k++) g.g1m_double(running, running)
      }
      const affine = sums + JACOBIAN_BYTES * WINDOWS
      g.g1m_batchToAffine(sums, WINDOWS, affine)
      for (let j = 0; j < WINDOWS; j++) {
        const to = table + ENTRY_BYTES * (i * WINDOWS + j)
        bytes.copyWithin(to, affine + AFFINE_BYTES * j, affine + AFFINE_BYTES * (j + 1))
        g.f1m_neg(to + FIELD_BYTES, to + AFFINE_BYTES)
      }
    }
  }

  /** The table's entries that these scalars ask for, sorted by digit. */
  function sort(scalars: Uint8Array): Sorted {
    const digits = new Int16Array(entries)
    const counts = new Int32Array(BUCKETS + 1)
    const padded = new Uint8Array(SCALAR_BYTES + 3)
    for (let i = 0; i < count; i++) {
      padded.set(scalars.subarray(SCALAR_BYTES * i, SCALAR_BYTES * (i + 1)))
      let carry = 0
      for (let j = 0; j < WINDOWS; j++) {
        const bit = WINDOW_BITS * j
        const at = bit >> 3
        const word = padded[at]! | (padded[at + 1]! << 8) | (padded[at + 2]! << 16)
        let digit = ((word >> (bit & 7)) & (2 ** WINDOW_BITS - 1)) + carry
        carry = digit >= BUCKETS ? 1 : 0
        digit -= carry * 2 ** WINDOW_BITS
        digits[i * WINDOWS + j] = digit
        if (digit !== 0) counts[Math.abs(digit)]!++
      }
    }
    const next = new Int32Array(BUCKETS + 1)
    for (let bucket = 2; bucket <= BUCKETS; bucket++) next[bucket] = next[bucket - 1]! + counts[bucket - 1]!
    const size = next[BUCKETS]! + counts[BUCKETS]!
    const [x, y] = [new Int32Array(size), new Int32Array(size)]
    for (let i = 0; i < entries; i++) {
      const digit = digits[i]!
      if (digit === 0) continue
      const place = next[Math.abs(digit)]!++
      x[place] = table + ENTRY_BYTES * i
      y[place] = x[place]! + (digit > 0 ? FIELD_BYTES : AFFINE_BYTES)
    }
    return { x, y, counts }
  }

  /** Two points of one x: their double, or null where they cancel. */
  function addAlike(y1: number, y2: number, x: number, to: number): boolean {
    if (g.f1m_eq(y1, y2) === 0) return false
    g.f1m_copy(x, point)
    g.f1m_copy(y1, point + FIELD_BYTES)
    g.g1m_doubleAffine(point, running)
    g.g1m_toAffine(running, to)
    return true
  }

  /** The sum of two points of different x, from the inverse of the difference. */
  function addPair(x1: number, y1: number, x2: number, y2: number, inverse: number, to: number): void {
    g.f1m_sub(y2, y1, slope)
    g.f1m_mul(slope, inverse, slope)
    g.f1m_square(slope, other)
    g.f1m_sub(other, x1, other)
    g.f1m_sub(other, x2, to)
    g.f1m_sub(x1, to, other)
    g.f1m_mul(other, slope, other)
    g.f1m_sub(other, y1, to + FIELD_BYTES)
  }

  /** Adds up each bucket's points in pairs until it has one or none. */
  function addUp(sorted: Sorted): Sorted {
    let { x, y, counts } = sorted
    let at = sums
    for (;;) {
      let pairs = 0
      for (let bucket = 1, from = 0; bucket <= BUCKETS; from += counts[bucket++]!)
        for (let k = 0; k + 1 < counts[bucket]!; k += 2)
          g.f1m_sub(x[from + k + 1]!, x[from + k]!, differences + FIELD_BYTES * pairs++)
      if (pairs === 0) return { x, y, counts }
      g.f1m_batchInverse(differences, FIELD_BYTES, pairs, inverses, FIELD_BYTES)
      const left = new Int32Array(BUCKETS + 1)
      const [nextX, nextY] = [new Int32Array(x.length - pairs), new Int32Array(x.length - pairs)]
      let place = 0
      let pair = 0
      for (let bucket = 1, from = 0; bucket <= BUCKETS; from += counts[bucket++]!) {
        const first = place
        const size = counts[bucket]!
        for (let k = 0; k < size; k += 2) {
          const [x1, y1] = [x[from + k]!, y[from + k]!]
          if (k + 1 === size) {
            nextX[place] = x1
            nextY[place++] = y1
            continue
          }
          const [x2, y2] = [x[from + k + 1]!, y[from + k + 1]!]
          const offset = FIELD_BYTES * pair++
          if (g.f1m_isZero(differences + offset) === 0) addPair(x1, y1, x2, y2, inverses + offset, at)
          else if (!addAlike(y1, y2, x1, at)) continue
          nextX[place] = at
          nextY[place++] = at + FIELD_BYTES
          at += AFFINE_BYTES
        }
        left[bucket] = place - first
      }
      ;({ x, y, counts } = { x: nextX.subarray(0, place), y: nextY.subarray(0, place), counts: left })
    }
  }

  return (scalars) => {
    const { x, y, counts } = addUp(sort(scalars))
    g.g1m_zero(running)
    g.g1m_zero(total)
    // Σ d·S_d is the sum of all partial sums from the largest digit down.
    for (let bucket = BUCKETS, last = x.length - 1; bucket >= 1; bucket--) {
      if (counts[bucket]! > 0) {
        g.f1m_copy(x[last]!, point)
        g.f1m_copy(y[last--]!, point + FIELD_BYTES)
        g.g1m_addMixed(running, point, running)
      }
      g.g1m_add(total, running, total)
    }
    return bytes.slice(total, total + JACOBIAN_BYTES)
  }
}
