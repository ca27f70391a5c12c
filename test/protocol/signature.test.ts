/** Recovery with a guess gives what recovery without one gives. */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as page from '../../protocol/curve.browser.ts'
import * as curve from '../../protocol/curve.ts'
import { addressOf, addressOfKey, publicKeyOf, recoverSigner, signDigest } from '../../protocol/signature.ts'

const keyOf = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const people = [1, 2, 3].map((n) => ({ key: keyOf(n), address: addressOf(publicKeyOf(keyOf(n))) }))
const digestOf = (n: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => (n * 31 + i * 7) % 256)
const ORDER = secp256k1.Point.Fn.ORDER

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

test('a page signs and recovers to the same bytes as Node', () => {
  fc.assert(
    fc.property(fc.nat(2), bytes(32), (by, digest) => {
      const { key, address } = people[by]!
      const made = curve.sign(digest, key)
      assert.equal(page.sign(digest, key), made)
      const point = curve.recover(digest, made.signature, made.parity)
      assert.equal(page.recover(digest, made.signature, made.parity, address), point)
      assert.is(point && addressOf(point), address)
    }),
    { numRuns: 60 },
  )
})

test('and what nobody signed, r and s at their borders among it', () => {
  const border = [0n, 1n, ORDER - 1n, ORDER, 2n ** 256n - 1n, secp256k1.Point.Fp.ORDER - ORDER]
  const word = fc.oneof(
    bytes(32),
    fc.constantFrom(...border).map((x) => Uint8Array.from(Buffer.from(x.toString(16).padStart(64, '0'), 'hex'))),
  )
  let found = 0
  fc.assert(
    fc.property(word, word, word, fc.nat(1), (digest, r, s, parity) => {
      const signature = Uint8Array.of(...r, ...s)
      const point = curve.recover(digest, signature, parity)
      if (point !== null) found++
      assert.equal(page.recover(digest, signature, parity), point)
    }),
    { numRuns: 400 },
  )
  assert.ok(found > 20 && found < 380, `${found}`)
})

test('for whoever signed and whoever was expected, as often as you like', () => {
  fc.assert(
    fc.property(fc.nat(2), fc.nat(2), fc.nat(255), (by, guess, n) => {
      const digest = digestOf(n)
      const signature = signDigest(digest, people[by]!.key)
      const plain = recoverSigner(digest, signature)
      assert.is(plain?.address, people[by]!.address)
      assert.equal(recoverSigner(digest, signature, people[guess]!.address), plain)
    }),
    { numRuns: 60 },
  )
})

test('a signature that is changed is nobody’s whom one expects, also of a known signer', () => {
  const [{ key, address }] = people as [(typeof people)[0]]
  const digest = digestOf(5)
  const good = signDigest(digest, key)
  for (let i = 0; i < 5; i++) assert.is(recoverSigner(digest, good, address)?.address, address)
  for (let at = 0; at < 65; at++) {
    const bad = good.slice()
    bad[at]! ^= 1
    const guessed = recoverSigner(digest, bad, address)
    assert.equal(guessed, recoverSigner(digest, bad))
    assert.is.not(guessed?.address, address, `byte ${at}`)
  }
  const other = digestOf(6)
  assert.is.not(recoverSigner(other, good, address)?.address, address)
  // The other half of s signs the same thing under the other parity; a signature has one form.
  const s = BigInt(`0x${Buffer.from(good.subarray(32, 64)).toString('hex')}`)
  const high = good.slice()
  high.set(Buffer.from((ORDER - s).toString(16).padStart(64, '0'), 'hex'), 32)
  high[64]! ^= 1
  assert.is(recoverSigner(digest, high, address), null)
  // What is given out is the caller's: changing it changes nobody's memory.
  recoverSigner(digest, good, address)!.key.fill(0)
  assert.equal(recoverSigner(digest, good, address)!.key, publicKeyOf(key))
})

test('a digest beyond the order of the curve is reduced alike', () => {
  const [{ key, address }] = people as [(typeof people)[0]]
  const digest = new Uint8Array(32).fill(255)
  const signature = signDigest(digest, key)
  for (let i = 0; i < 5; i++) assert.is(recoverSigner(digest, signature, address)?.address, address)
  assert.is(recoverSigner(digest, signature)?.address, address)
})

test('the address of a key is that of its public key, every time', () => {
  for (const { key, address } of people) for (let i = 0; i < 2; i++) assert.is(addressOfKey(key), address)
})

test.run()
