import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { hash } from '../../protocol/hash.ts'
import { jobKeyDigest, tensorsDigest } from '../../protocol/rules/input.ts'

const image = { name: 'image', type: 'float32', shape: [1, 2], data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }

test('the digest of tensors is the one lifecycle.md writes down', () => {
  const data = Uint8Array.from(createHash('sha256').update(image.data).digest())
  const shape = Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2)
  const tensor = hash('tensor', utf8('image'), utf8('float32'), shape, data)
  assert.equal(tensorsDigest([image]), hash('tensors', tensor))
  assert.equal(jobKeyDigest(image.data), hash('job-key', image.data))
})

test('it binds name, type, shape, bytes, number and order of the tensors', () => {
  const digests = [
    [image],
    [{ ...image, name: 'image2' }],
    [{ ...image, type: 'float16' }],
    [{ ...image, shape: [2, 1] }],
    [{ ...image, shape: [2] }],
    [{ ...image, data: image.data.subarray(0, 7) }],
    [{ ...image, data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 9) }],
    [{ ...image, name: 'imagef', type: 'loat32' }],
    [],
    [image, image],
    [image, { ...image, name: 'b' }],
    [{ ...image, name: 'b' }, image],
  ].map((tensors) => toHex(tensorsDigest(tensors)))
  assert.is(new Set(digests).size, digests.length)
})

test.run()
