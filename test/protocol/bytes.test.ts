import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  bigintToBytes,
  bytesToBigint,
  concat,
  equalBytes,
  fromHex,
  toHex,
  u32,
  u64,
  u128,
} from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import { FIELD_PRIME, hashTo248, hashToField, mod } from '../../protocol/field.ts'
import { hash } from '../../protocol/hash.ts'

const codeOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    return errorCode(error)
  }
  return 'NONE'
}

test('hex and back, with or without 0x; other text is refused', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.equal(fromHex(toHex(bytes)), bytes)
      assert.equal(fromHex(toHex(bytes).slice(2).toUpperCase()), bytes)
    }),
  )
  for (const text of ['0x1', 'zz', '0x0g', ' 00', '0x0x00'])
    assert.is(
      codeOf(() => fromHex(text)),
      'BAD_HEX',
      text,
    )
})

test('integers have a fixed width, big-endian, and do not wrap', () => {
  assert.equal(u32(0x01020304), Uint8Array.of(1, 2, 3, 4))
  assert.equal(u32(0xfffefdfc), Uint8Array.of(255, 254, 253, 252))
  for (const value of [-1, 2 ** 32, 0.5, Number.NaN])
    assert.is(
      codeOf(() => u32(value)),
      'BAD_INTEGER',
    )
  assert.is(u64(2n ** 64n - 1n).length, 8)
  assert.is(bytesToBigint(u128(2n ** 128n - 1n)), 2n ** 128n - 1n)
  assert.is(bytesToBigint(new Uint8Array()), 0n)
  for (const [value, width] of [
    [256n, 1],
    [2n ** 32n, 4],
    [2n ** 128n, 16],
    [-1n, 4],
    [1n, 0],
  ] as const)
    assert.is(
      codeOf(() => bigintToBytes(value, width)),
      'BAD_INTEGER',
    )
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), (value) => {
      assert.is(bytesToBigint(bigintToBytes(value, 32)), value)
    }),
  )
})

test('equal bytes have equal length and content', () => {
  assert.ok(equalBytes(Uint8Array.of(1, 2), concat(Uint8Array.of(1), Uint8Array.of(2))))
  assert.not(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)))
  assert.not(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0)))
})

test('hash(domain, parts) is SHA-256 over domain, a zero and parts with their lengths', () => {
  const expected = createHash('sha256')
    .update('sinter/1/test')
    .update(Buffer.from([0]))
    .update(Buffer.from([0, 0, 0, 2, 7, 8]))
    .update(Buffer.from([0, 0, 0, 0]))
    .digest('hex')
  assert.is(toHex(hash('test', Uint8Array.of(7, 8), new Uint8Array())), `0x${expected}`)
})

test('no other list of parts and no other domain has the same hash', () => {
  const one = Uint8Array.of(1)
  const all = [
    hash('a', one, one),
    hash('a', Uint8Array.of(1, 1)),
    hash('a', one),
    hash('a', one, one, new Uint8Array()),
    hash('a', new Uint8Array(), one, one),
    hash('b', one, one),
    hash('a'),
  ].map(toHex)
  assert.is(new Set(all).size, all.length)
})

test('hashes become field elements below r, and integers below 2^248', () => {
  for (let i = 0; i < 200; i++) {
    const element = hashToField('test', u32(i))
    assert.ok(element >= 0n && element < FIELD_PRIME)
    assert.ok(hashTo248('test', u32(i)) < 2n ** 248n)
  }
  assert.is(mod(-1n), FIELD_PRIME - 1n)
  assert.is(mod(FIELD_PRIME), 0n)
  assert.is(mod(-FIELD_PRIME), 0n)
})

test.run()
