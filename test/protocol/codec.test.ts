import type { DescMessage } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, utf8 } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import * as wire from '../../protocol/gen/sinter_pb.js'
import { MAX_FIELDS } from '../../protocol/limits.ts'

const SCHEMAS = Object.entries(wire).filter(([name]) => name.endsWith('Schema')) as [string, DescMessage][]

const amount = fc.uint8Array({ minLength: 16, maxLength: 16 })
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const u32 = fc.nat(2 ** 32 - 1)
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const envelope = fc.record({ payload: fc.uint8Array(), signature: fc.uint8Array() })
const tensor = fc.record({ name: text, type: text, shape: fc.array(u32), data: fc.uint8Array() })
const opening = fc.record({ leaf: bytes32, path: fc.array(bytes32, { maxLength: 4 }) })

/** Arbitrary messages of the types that have most structure. */
const MESSAGES: Record<string, [DescMessage, fc.Arbitrary<Record<string, unknown>>]> = {
  offer: [
    wire.OfferSchema,
    fc.record({
      manifest: fc.uint8Array(),
      hardwareClass: text,
      memoryMib: u32,
      priceCeiling: amount,
      jobs: u64,
      deadlineMs: u64,
      policy: text,
      addresses: fc.array(text, { maxLength: 9 }),
      nonce: fc.uint8Array(),
    }),
  ],
  receipt: [
    wire.ReceiptSchema,
    fc.record({ session: bytes32, seq: u64, shapes: fc.array(fc.record({ dims: fc.array(u32) })), price: amount }),
  ],
  request: [
    wire.JobFrameSchema,
    fc.record({
      frame: fc.record({
        case: fc.constant('request'),
        value: fc.record({ seq: u64, jobKey: bytes32, inputs: fc.array(tensor, { maxLength: 3 }) }),
      }),
    }),
  ],
  attestation: [
    wire.AttestationSchema,
    fc.record({
      batch: bytes32,
      jobs: fc.array(
        fc.record({
          receipt: envelope,
          voucher: fc.uint8Array(),
          index: u32,
          sumPath: fc.array(fc.record({ hash: bytes32, sum: amount }), { maxLength: 3 }),
          leaves: fc.array(opening, { maxLength: 3 }),
          concede: fc.boolean(),
        }),
        { maxLength: 3 },
      ),
    }),
  ],
}

for (const [name, [schema, arbitrary]] of Object.entries(MESSAGES))
  test(`${name}: what is encoded decodes to the same message and the same bytes`, () => {
    fc.assert(
      fc.property(arbitrary, (init) => {
        const bytes = encode(schema, init)
        const message = decode(schema, bytes)
        assert.ok(message)
        assert.equal(encode(schema, message), bytes)
      }),
      { numRuns: 60 },
    )
  })

test('random bytes decode to null or to the message they encode, for every type', () => {
  for (const [name, schema] of SCHEMAS)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const message = decode(schema, bytes)
        if (message !== null) assert.equal(encode(schema, message), bytes, name)
      }),
      { numRuns: 200 },
    )
})

/** A length-delimited field by hand: its tag, its length padded to some bytes beyond the shortest form, its content. */
function field(number: number, content: Uint8Array, padding = 0): Uint8Array {
  const length: number[] = []
  for (let rest = content.length; rest > 0; rest >>>= 7) length.push(rest & 127)
  for (let i = 0; i < padding; i++) length.push(0)
  return concat(
    Uint8Array.of(8 * number + 2, ...length.map((each, i) => (i < length.length - 1 ? each | 128 : each))),
    content,
  )
}

for (const size of [4095, 4096, 70_000])
  test(`a request with an input of ${size} bytes decodes from its canonical encoding alone`, () => {
    const data = new Uint8Array(size).map((_, i) => i * 7)
    const jobKey = field(2, new Uint8Array(32).fill(3))
    const shape = field(3, Uint8Array.of(1, 5))
    const built = (tensor: Uint8Array, padding = [0, 0], after: Uint8Array = new Uint8Array()): Uint8Array =>
      field(3, concat(jobKey, field(3, tensor, padding[0]), after), padding[1])
    const name = field(1, utf8('x'))
    const bytes = built(concat(name, shape, field(4, data)))
    const message = decode(wire.JobFrameSchema, bytes)
    assert.ok(message?.frame.case === 'request')
    const value = { jobKey: new Uint8Array(32).fill(3), inputs: [{ name: 'x', shape: [1, 5], data }] }
    assert.equal(bytes, encode(wire.JobFrameSchema, { frame: { case: 'request', value } }))
    assert.equal(message.frame.value.inputs[0]!.data, data)
    const carry = field(4, field(1, utf8('x')))
    assert.ok(decode(wire.JobFrameSchema, built(concat(name, shape, field(4, data)), [0, 0], carry)))
    for (const [what, other] of [
      ['data with a long length', built(concat(name, shape, field(4, data, 1)))],
      ['a tensor with a long length', built(concat(name, shape, field(4, data)), [1, 0])],
      ['a request with a long length', built(concat(name, shape, field(4, data)), [0, 1])],
      ['a short field with a long length', built(concat(field(1, utf8('x'), 1), shape, field(4, data)))],
      ['fields out of order', built(concat(name, field(4, data), shape))],
      ['data twice', built(concat(name, shape, field(4, data), field(4, data)))],
      ['a default spelled out', built(concat(name, field(2, new Uint8Array()), shape, field(4, data)))],
      ['an unknown field', built(concat(name, shape, field(4, data), field(9, data)))],
      ['data cut short', bytes.subarray(0, -1)],
      ['two frames', concat(bytes, bytes)],
      ['a field behind it out of order', built(concat(name, shape, field(4, data)), [0, 0], jobKey)],
    ] as const)
      assert.is(decode(wire.JobFrameSchema, other), null, what)
  })

const envelopeInit = { payload: Uint8Array.of(1), signature: Uint8Array.of(2) }
/** One message of each kind that travels on a stream. */
const STREAMED: [string, DescMessage, Record<string, unknown>][] = [
  ['bid reply', wire.BidReplySchema, { taken: true, code: 'A' }],
  ['pulse answer', wire.PulseAnswerSchema, { slot: 1n, leaf: new Uint8Array(32) }],
  ['pulse reply', wire.PulseReplySchema, { taken: true, path: [new Uint8Array(32)] }],
  ['attestation query', wire.AttestationQuerySchema, { batch: new Uint8Array(32) }],
  ['assignment', wire.JobFrameSchema, { frame: { case: 'assignment', value: envelopeInit } }],
  ['accepted', wire.JobFrameSchema, { frame: { case: 'accepted', value: { seq: 1n, head: Uint8Array.of(1) } } }],
  [
    'request',
    wire.JobFrameSchema,
    { frame: { case: 'request', value: { seq: 1n, inputs: [{ name: 'a', shape: [1] }] } } },
  ],
  ['result', wire.JobFrameSchema, { frame: { case: 'result', value: { seq: 1n, executionUs: 5 } } }],
  ['input statement', wire.JobFrameSchema, { frame: { case: 'inputStatement', value: envelopeInit } }],
  ['receipt', wire.JobFrameSchema, { frame: { case: 'receipt', value: envelopeInit } }],
  ['voucher', wire.JobFrameSchema, { frame: { case: 'voucher', value: { seq: 1n, receipt: Uint8Array.of(1) } } }],
  ['failure', wire.JobFrameSchema, { frame: { case: 'failure', value: { seq: 1n, code: 'A', message: 'b' } } }],
]

for (const [name, schema, init] of STREAMED)
  test(`${name}: cut short, longer, doubled or with an unknown field it is no message`, () => {
    const bytes = encode(schema, init)
    assert.ok(decode(schema, bytes))
    // Shorter by whole fields it may be another message, never this one.
    for (let length = 0; length < bytes.length; length++) {
      const message = decode(schema, bytes.subarray(0, length))
      if (message !== null) assert.is(encode(schema, message).length, length)
    }
    assert.is(decode(schema, Uint8Array.of(...bytes, 0)), null)
    assert.is(decode(schema, Uint8Array.of(...bytes, ...bytes)), null)
    assert.is(decode(schema, Uint8Array.of(...bytes, 0x98, 0x06, 1)), null)
  })

test('a frame that holds two things is refused', () => {
  const frame = (part: string, value: object): Uint8Array =>
    encode(wire.JobFrameSchema, { frame: { case: part, value } as never })
  const both = Uint8Array.of(...frame('receipt', envelopeInit), ...frame('failure', { seq: 1n, code: 'A' }))
  assert.is(decode(wire.JobFrameSchema, both), null)
})

test('the empty message decodes for every type', () => {
  for (const [name, schema] of SCHEMAS) assert.ok(decode(schema, new Uint8Array()), name)
})

/** `count` empty sub-messages under a field number: two bytes each on the wire. */
const empties = (tag: number, count: number): Uint8Array => {
  const bytes = new Uint8Array(2 * count)
  for (let i = 0; i < count; i++) bytes[2 * i] = tag
  return bytes
}

const delimited = (tag: number, content: Uint8Array): Uint8Array => {
  const length: number[] = []
  for (let rest = content.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest > 127 ? (rest % 128) + 128 : rest)
    if (rest <= 127) break
  }
  const out = new Uint8Array(1 + length.length + content.length)
  out.set([tag, ...length])
  out.set(content, 1 + length.length)
  return out
}

test('a message of MAX_FIELDS fields is read, one of more is refused before anything is built', () => {
  assert.ok(decode(wire.AttestationSchema, empties(0x12, MAX_FIELDS)))
  assert.is(decode(wire.AttestationSchema, empties(0x12, MAX_FIELDS + 1)), null)
  // Nested: the request's own field and the frame's count too.
  assert.ok(decode(wire.JobFrameSchema, delimited(0x1a, empties(0x1a, MAX_FIELDS - 1))))
  assert.is(decode(wire.JobFrameSchema, delimited(0x1a, empties(0x1a, MAX_FIELDS))), null)
})

test('elements of packed lists count as fields', () => {
  const dims = (count: number): Uint8Array => delimited(0x0a, new Uint8Array(count).fill(1))
  assert.ok(decode(wire.ShapeSchema, dims(MAX_FIELDS - 1)))
  assert.is(decode(wire.ShapeSchema, dims(MAX_FIELDS)), null)
})

test.run()
