import { type Body, functionBody } from './assembler.ts'
import { AT, LANES, LIMB, LIMBS, limbAt, MASK, MOST, P, SCALAR } from './numbers.ts'

/** (element): lays the 32 bytes of every lane at address `from` out as limbs. */
export function read(): Body {
  const body = functionBody(2)
  const [element, from] = [0, 1]
  for (let lane = 0; lane < LANES; lane++) {
    const word = (k: number): Body => body.get(from).at('i64.load', SCALAR * (MOST - 1) * lane + 8 * k)
    for (let k = 0; k < LIMBS; k++) {
      const bit = Number(LIMB) * k
      const [at, shift] = [Math.floor(bit / 64), bit % 64]
      body.get(element)
      word(at).i64(BigInt(shift)).op('i64.shr_u')
      if (at < 3 && shift + Number(LIMB) > 64)
        word(at + 1)
          .i64(BigInt(64 - shift))
          .op('i64.shl', 'i64.or')
      body.i64(MASK).op('i64.and', 'f64.convert_i64_u')
      body.at('f64.store', limbAt(k, lane >> 1) + 8 * (lane & 1))
    }
  }
  return body
}

/** (element): writes the least non-negative residue of every lane to AT.out, 32 bytes each. */
export function write(): Body {
  const body = functionBody(1)
  const limbs = Array.from({ length: LIMBS }, () => body.local('i64'))
  const less = Array.from({ length: LIMBS }, () => body.local('i64'))
  const [borrow, small] = [body.local('i64'), body.local('i64')]
  const shift = BigInt(LIMB)
  for (let lane = 0; lane < LANES; lane++) {
    body.i64(0n).set(borrow)
    for (let k = 0; k < LIMBS; k++) {
      body
        .get(0)
        .at('f64.load', limbAt(k, lane >> 1) + 8 * (lane & 1))
        .op('i64.trunc_f64_u')
        .tee(limbs[k]!)
      body.i64(P[k]!).op('i64.sub').get(borrow).op('i64.add').tee(less[k]!)
      body.i64(shift).op('i64.shr_s').set(borrow)
      if (k < LIMBS - 1) body.get(less[k]!).i64(MASK).op('i64.and').set(less[k]!)
    }
    // All ones where the number was below p already.
    body
      .get(less[LIMBS - 1]!)
      .i64(63n)
      .op('i64.shr_s')
      .set(small)
    for (let k = 0; k < LIMBS; k++) {
      body.get(limbs[k]!, less[k]!).op('i64.sub').get(small).op('i64.and').get(less[k]!).op('i64.add').set(limbs[k]!)
    }
    for (let word = 0; word < 4; word++) {
      body.i32(0).i64(0n)
      for (let k = 0; k < LIMBS; k++) {
        const bit = Number(LIMB) * k - 64 * word
        if (bit >= 64 || bit + Number(LIMB) <= 0) continue
        body
          .get(limbs[k]!)
          .i64(BigInt(Math.abs(bit)))
          .op(bit < 0 ? 'i64.shr_u' : 'i64.shl', 'i64.or')
      }
      body.at('i64.store', AT.out + SCALAR * lane + 8 * word)
    }
  }
  return body
}
