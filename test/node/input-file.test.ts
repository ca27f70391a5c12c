import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readInputFile, readNpy } from '../../node/client/input-file.ts'
import { SinterError } from '../../protocol/errors.ts'

/** A file as numpy.save writes it. */
function npy(descr: string, shape: string, data: Uint8Array, order = 'False'): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape}), }`.padEnd(117)
  const head = Uint8Array.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length + 1, 0])
  return new Uint8Array(Buffer.concat([head, Buffer.from(`${header}\n`), data]))
}
const bytes = (values: Float32Array | Float64Array): Uint8Array => new Uint8Array(values.buffer)
const refused = (work: () => unknown, words: RegExp): void =>
  assert.throws(
    work,
    (error: unknown) => error instanceof SinterError && error.code === 'INPUT_FILE' && words.test(error.message),
  )

test('arrays of NumPy are read with their shape', () => {
  const { shape, data } = readNpy('a.npy', npy('<f4', '2, 3', bytes(Float32Array.of(1, 2, 3, 4, 5, -6))))
  assert.equal(
    [shape, [...data]],
    [
      [2, 3],
      [1, 2, 3, 4, 5, -6],
    ],
  )
  assert.equal([...readNpy('a.npy', npy('<f8', '2,', bytes(Float64Array.of(0.5, 7)))).data], [0.5, 7])
  assert.equal([...readNpy('a.npy', npy('|u1', '3,', Uint8Array.of(0, 128, 255))).data], [0, 128, 255])
  const integers = BigInt64Array.of(-5n, 30_522n)
  assert.equal([...readNpy('a.npy', npy('<i8', '2,', new Uint8Array(integers.buffer))).data], [-5, 30_522])
})

test('other files are refused with the reason', () => {
  const one = bytes(Float32Array.of(1))
  refused(() => readNpy('a.npy', npy('<f4', '2,', one)), /shape/)
  refused(() => readNpy('a.npy', npy('>f4', '1,', one)), />f4/)
  refused(() => readNpy('a.npy', npy('|O', '1,', one)), /\|O/)
  refused(() => readNpy('a.npy', npy('<f4', '1,', one, 'True')), /row-major/)
  refused(() => readNpy('a.npy', npy('<f4', '99999999, 99999999', one)), /shape/)
  refused(() => readNpy('a.npy', new Uint8Array(40)), /NumPy/)
  const fourth = npy('<f4', '1,', one)
  fourth[6] = 4
  refused(() => readNpy('a.npy', fourth), /version 4/)
  refused(() => readInputFile('a.json', Buffer.from('{'), ['x']), /JSON/)
  refused(() => readInputFile('a.json', Buffer.from('3'), ['x']), /list/)
  refused(() => readInputFile('a.npy', npy('<f4', '1,', one), ['x', 'y']), /2 inputs/)
})

test('whatever comes, it is read or refused with a code', () => {
  const good = npy('<f4', '1, 2', bytes(Float32Array.of(1, 2)))
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, length) => {
      const changed = good.slice(0, length)
      if (at < length) changed[at] = value
      try {
        readNpy('a.npy', changed)
      } catch (error) {
        if (!(error instanceof SinterError)) throw error
      }
    }),
    { numRuns: 2_000 },
  )
})

test.run()
