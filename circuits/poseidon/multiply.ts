import { type Body, functionBody } from './assembler.ts'
import {
  AT,
  CONSTANT,
  ELEMENT,
  HIGH_BITS,
  LIFT,
  LIFT_CARRY,
  LIMB,
  LIMBS,
  LOW_BITS,
  limbAt,
  STEPS,
  UNIT_BITS,
  VECTOR,
  vectors,
} from './numbers.ts'

/** What a column holds too much once `rows` limbs were multiplied with a number's: the bits that make integers of doubles. */
function bias(column: number, rows: number): bigint {
  let sum = 0n
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < LIMBS; j++) {
      if (i + j === column) sum += LOW_BITS
      if (i + j + 1 === column) sum += HIGH_BITS
    }
  return sum
}

type Kind = {
  /** What the second operand is: a number in every lane, or a constant. */
  by: 'element' | 'constant'
  /**
   * What more is: how many products are summed, of elements and constants that follow one another; or where the number is that is added
   * after the reduction.
   */
  more: 'nothing' | 'terms' | 'constant' | 'element'
}

/**
 * (out, a, b, more): out = a·b/R mod p in every lane. The result is below p + 2^210, with a constant added below twice that, and with an element
 * added p is taken away once where it can be.
 */
export function multiply({ by, more: last }: Kind): Body {
  const body = functionBody(4)
  const [out, a, b, more] = [0, 1, 2, 3]
  const columns = vectors.map(() => Array.from({ length: 2 * LIMBS + 1 }, () => body.local('v128')))
  const [left, right, high, rest] = [body.local('v128'), body.local('v128'), body.local('v128'), body.local('v128')]
  const constant = (address: number): Body => body.i32(0).at('v128.load', address)
  const addTo = (column: number): Body => body.get(column).op('i64x2.add').set(column)

  /** Adds the product of `left` and `right` to columns k and k + 1. */
  function product(sums: number[], k: number): void {
    body.get(left, right, high).op('f64x2.relaxed_madd').tee(rest)
    addTo(sums[k + 1]!)
    constant(AT.both).get(rest).op('f64x2.sub').set(rest)
    body.get(left, right, rest).op('f64x2.relaxed_madd')
    addTo(sums[k]!)
  }

  function begin(): void {
    for (let k = 0; k <= 2 * LIMBS; k++) {
      let start = -bias(k, STEPS)
      if (k < 2 * LIMBS) start += LIFT
      if (k > 0) start -= LIFT_CARRY
      if (last === 'element' && k >= STEPS) start -= UNIT_BITS
      if (last === 'terms')
        body.i64(start).get(more).op('i64.extend_i32_u').i64(bias(k, LIMBS)).op('i64.mul', 'i64.sub')
      else body.i64(start - bias(k, LIMBS))
      body.op('i64x2.splat')
      for (const v of vectors) body.tee(columns[v]![k]!)
      body.op('drop')
    }
    constant(AT.high).set(high)
  }

  function accumulate(): void {
    for (const v of vectors)
      for (let i = 0; i < LIMBS; i++) {
        body.get(a).at('v128.load', limbAt(i, v)).set(left)
        for (let j = 0; j < LIMBS; j++) {
          if (by === 'element') body.get(b).at('v128.load', limbAt(j, v)).set(right)
          else
            body
              .get(b)
              .at('v128.load64_splat', 8 * j)
              .set(right)
          product(columns[v]!, i + j)
        }
      }
  }

  /** Moves what is above a column's limb to the next one. */
  function carry(sums: number[], k: number): void {
    body.get(sums[k]!).i32(Number(LIMB)).op('i64x2.shr_u')
    addTo(sums[k + 1]!)
  }
  const masked = (): Body => constant(AT.mask).op('v128.and')
  const toDouble = (): Body => {
    constant(AT.unitBits).op('i64x2.add')
    return constant(AT.unit).op('f64x2.sub')
  }

  /** Adds a multiple of p that clears the lowest column, six times. */
  function reduce(): void {
    for (let step = 0; step < STEPS; step++)
      for (const v of vectors) {
        const sums = columns[v]!
        body.get(sums[step]!)
        constant(AT.inverse).op('i64x2.mul')
        masked()
        toDouble().set(left)
        for (let j = 0; j < LIMBS; j++) {
          constant(AT.prime + VECTOR * j).set(right)
          product(sums, step + j)
        }
        carry(sums, step)
      }
  }

  function addMore(sums: number[], v: number): void {
    for (const [k, sum] of sums.entries()) {
      if (last === 'constant')
        body
          .get(more)
          .at('i64.load', 8 * k)
          .op('i64x2.splat')
      else {
        body.get(more).at('v128.load', limbAt(k, v))
        constant(AT.unit).op('f64x2.add')
      }
      addTo(sum)
    }
  }

  function normalise(sums: number[], lifted: boolean): void {
    for (let k = 0; k < LIMBS - 1; k++) {
      if (!lifted) {
        body.get(sums[k]!)
        constant(AT.lift).op('i64x2.add').set(sums[k]!)
      }
      carry(sums, k)
      if (!lifted) {
        body.get(sums[k + 1]!)
        constant(AT.liftCarry)
          .op('i64x2.sub')
          .set(sums[k + 1]!)
      }
      body.get(sums[k]!)
      masked().set(sums[k]!)
    }
  }

  /** Takes p away where the top limb is above p's: what that misses is below 2^204. */
  function takePrime(sums: number[]): void {
    const top = LIMBS - 1
    body.get(sums[top]!)
    constant(AT.primeBits + VECTOR * top)
      .op('i64x2.gt_s')
      .set(rest)
    for (const [k, sum] of sums.entries()) {
      body.get(sum)
      constant(AT.primeBits + VECTOR * k)
        .get(rest)
        .op('v128.and', 'i64x2.sub')
        .set(sum)
    }
    normalise(sums, false)
  }

  begin()
  if (last !== 'terms') accumulate()
  else
    body.repeat(more, () => {
      accumulate()
      body.get(a).i32(ELEMENT).op('i32.add').set(a)
      body.get(b).i32(CONSTANT).op('i32.add').set(b)
    })
  reduce()
  for (const v of vectors) {
    const sums = columns[v]!.slice(STEPS)
    if (last === 'constant' || last === 'element') addMore(sums, v)
    normalise(sums, true)
    if (last === 'element') takePrime(sums)
    for (const [k, sum] of sums.entries()) {
      body.get(out).get(sum)
      toDouble().at('v128.store', limbAt(k, v))
    }
  }
  return body
}
