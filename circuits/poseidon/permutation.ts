import { type Body, functionBody } from './assembler.ts'
import { AT, CONSTANT, ELEMENT, HALF_FULL, SCALAR, VECTOR } from './numbers.ts'

/** Functions by their place in the module. */
export const CALL = { times: 0, timesPlus: 1, dot: 2, addTimes: 3, read: 4, write: 5, power: 6, round: 7, hash: 8 }

/** (x, c): x to the fifth power, and the constant at c added. */
export function power(): Body {
  const body = functionBody(2)
  const [x, c] = [0, 1]
  body.i32(AT.square).get(x, x).i32(0).call(CALL.times)
  body.i32(AT.fourth).i32(AT.square).i32(AT.square).i32(0).call(CALL.times)
  return body.get(x).i32(AT.fourth).get(x, c).call(CALL.timesPlus)
}

/** (from, to, c, m, t): a full round over t elements, with constants at c and the matrix at m, row by row. */
export function fullRound(): Body {
  const body = functionBody(5)
  const [from, to, c, m, t] = [0, 1, 2, 3, 4]
  const [x, left] = [body.local('i32'), body.local('i32')]
  const step = (local: number, bytes: number): Body => body.get(local).i32(bytes).op('i32.add').set(local)
  body.get(from).set(x).get(t).set(left)
  body.repeat(left, () => {
    body.get(x, c).call(CALL.power)
    step(x, ELEMENT)
    step(c, CONSTANT)
  })
  body.get(t).set(left)
  body.repeat(left, () => {
    body.get(to, from, m, t).call(CALL.dot)
    step(to, ELEMENT)
    body.get(m).get(t).i32(CONSTANT).op('i32.mul', 'i32.add').set(m)
  })
  return body
}

/** (tables, t, partial): hashes t - 1 elements of AT.inputs in every lane to AT.out. */
export function hash(): Body {
  const body = functionBody(3)
  const [tables, t, partial] = [0, 1, 2]
  const [m, first, c, x, left, from] = Array.from({ length: 6 }, () => body.local('i32')) as [
    ...[number, number, number, number, number, number],
  ]
  const [even, odd] = AT.states
  const step = (local: number, bytes: number): Body => body.get(local).i32(bytes).op('i32.add').set(local)
  /** A local grows by so many constants for each element. */
  const skip = (local: number, each: () => Body): Body => {
    body.get(local)
    each().i32(CONSTANT).op('i32.mul', 'i32.add')
    return body.set(local)
  }
  const square = (): Body => body.get(t, t).op('i32.mul')

  // The tables: the matrix, the one before the partial rounds, then constants in their order.
  body.get(tables).set(m).get(tables).set(first)
  skip(first, square)
  body.get(first).set(c)
  skip(c, square)

  // The capacity is zero.
  for (let k = 0; k < ELEMENT; k += 8)
    body
      .i32(0)
      .i64(0n)
      .at('i64.store', even + k)
  body
    .i32(even + ELEMENT)
    .set(x)
    .i32(AT.inputs)
    .set(from)
    .get(t)
    .i32(1)
    .op('i32.sub')
    .set(left)
  body.repeat(left, () => {
    body.get(x, from).call(CALL.read)
    step(x, ELEMENT)
    step(from, SCALAR)
  })
  body.i32(even).set(x).get(t).set(left)
  body.repeat(left, () => {
    body.get(x, x).i32(AT.rSquared).get(c).call(CALL.timesPlus)
    step(x, ELEMENT)
    step(c, CONSTANT)
  })
  const states = [even, odd]
  for (let round = 0; round < HALF_FULL; round++) {
    const matrix = round === HALF_FULL - 1 ? first : m
    body
      .i32(states[round % 2]!)
      .i32(states[(round + 1) % 2]!)
      .get(c, matrix, t)
      .call(CALL.round)
    skip(c, () => body.get(t))
  }
  body.repeat(partial, () => {
    body.i32(even).get(c).call(CALL.power)
    step(c, CONSTANT)
    body.i32(AT.sum).i32(even).get(c, t).call(CALL.dot)
    skip(c, () => body.get(t))
    body
      .i32(even + ELEMENT)
      .set(x)
      .get(t)
      .i32(1)
      .op('i32.sub')
      .set(left)
    body.repeat(left, () => {
      body.get(x).i32(even).get(c, x).call(CALL.addTimes)
      step(x, ELEMENT)
      step(c, CONSTANT)
    })
    for (let k = 0; k < ELEMENT; k += VECTOR)
      body
        .i32(0)
        .i32(0)
        .at('v128.load', AT.sum + k)
        .at('v128.store', even + k)
  })
  for (let round = 0; round < HALF_FULL - 1; round++) {
    body
      .i32(states[round % 2]!)
      .i32(states[(round + 1) % 2]!)
      .get(c, m, t)
      .call(CALL.round)
    skip(c, () => body.get(t))
  }
  // Of the last round one element is needed.
  body.i32(odd).set(x).get(t).set(left)
  body.repeat(left, () => {
    body.get(x, c).call(CALL.power)
    step(x, ELEMENT)
    step(c, CONSTANT)
  })
  body.i32(AT.sum).i32(odd).get(m, t).call(CALL.dot)
  body.i32(AT.sum).i32(AT.sum).i32(AT.one).i32(0).call(CALL.times)
  return body.i32(AT.sum).call(CALL.write)
}
