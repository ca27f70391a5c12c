import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { privateKeyToAccount } from 'viem/accounts'
import { toHex, u128 } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { messageId, open, openEnvelope, SIGNED, type SignedType, seal, signingDigest } from '../../protocol/envelope.ts'
import { EnvelopeSchema } from '../../protocol/gen/sinter_pb.js'
import { hash } from '../../protocol/hash.ts'
import { addressOf, publicKeyOf, recoverAddress, recoverPublicKey, signDigest } from '../../protocol/signature.ts'
import { brokenEnvelopes, NETWORK_ID, OTHER_NETWORK_ID, otherForm, person } from '../../protocol/vectors/cases.ts'

const author = person('author')
const bid = {
  offer: hash('offer'),
  price: u128(5n),
  expectedLatencyMs: 1,
  warm: true,
  expiryMs: 9n,
  executionProvider: 'cpu',
}
const sealed = seal('bid', NETWORK_ID, author.key, bid)

const opened = (bytes: Uint8Array, type: SignedType = 'bid', network = NETWORK_ID) => {
  const result = open(type, network, bytes)
  if (typeof result === 'string') throw new Error(result)
  return result
}

test('what was sealed opens, with its signer', () => {
  const { message, payload, signature, id, signer, signerKey } = opened(sealed.bytes)
  assert.equal((message as { price: Uint8Array }).price, u128(5n))
  assert.is(signer, author.address)
  assert.equal(signerKey, author.publicKey)
  assert.equal(id, sealed.id)
  assert.equal({ payload, signature }, sealed.envelope)
  assert.equal(openEnvelope('bid', NETWORK_ID, sealed.envelope), opened(sealed.bytes))
})

test('every type seals and opens', () => {
  for (const type of Object.keys(SIGNED) as SignedType[]) {
    const { bytes, id } = seal(type, NETWORK_ID, author.key, {})
    assert.equal(opened(bytes, type).id, id, type)
  }
})

test('a signature names another signer under every other type and network', () => {
  assert.is.not(opened(sealed.bytes, 'bid', OTHER_NETWORK_ID).signer, author.address)
  const empty = seal('bid', NETWORK_ID, author.key, {})
  for (const type of Object.keys(SIGNED) as SignedType[]) {
    const result = opened(empty.bytes, type)
    assert.is(result.signer === author.address, type === 'bid', type)
  }
})

test('digests are unique to type, network and payload; ids to the signer besides', () => {
  const digests = [
    signingDigest('bid', NETWORK_ID, sealed.envelope.payload),
    signingDigest('offer', NETWORK_ID, sealed.envelope.payload),
    signingDigest('bid', OTHER_NETWORK_ID, sealed.envelope.payload),
    signingDigest('bid', NETWORK_ID, new Uint8Array()),
  ]
  assert.is(new Set(digests.map(toHex)).size, 4)
  const copy = seal('bid', NETWORK_ID, person('copier').key, bid)
  assert.equal(copy.envelope.payload, sealed.envelope.payload)
  assert.not.equal(copy.id, sealed.id)
  assert.equal(messageId(digests[0]!, author.address), sealed.id)
})

test('every broken form is refused with its code', () => {
  for (const { name, bytes, expect } of brokenEnvelopes(sealed.envelope)) {
    const raw = Uint8Array.from(Buffer.from((bytes as string).slice(2), 'hex'))
    assert.is(`reject ${String(open('bid', NETWORK_ID, raw))}`, expect, name)
  }
})

test('every single flipped bit of an envelope changes the signer or is refused', () => {
  for (let at = 0; at < sealed.bytes.length; at++) {
    const bytes = Uint8Array.from(sealed.bytes)
    bytes[at]! ^= 1 << (at % 8)
    const result = open('bid', NETWORK_ID, bytes)
    assert.ok(typeof result === 'string' || result.signer !== author.address, `byte ${at}`)
  }
})

test('a message has one encoding', () => {
  const { payload } = sealed.envelope
  const refused: [string, Uint8Array][] = [
    ['a default spelled out', Uint8Array.of(...payload, 0x20, 0)],
    ['a field twice', Uint8Array.of(...payload, 0x28, 9)],
    [
      'fields out of order',
      Uint8Array.of(0x28, 9, ...payload.subarray(0, payload.length - 7), ...payload.subarray(-5)),
    ],
    [
      'a varint with a zero too many',
      Uint8Array.of(...payload.subarray(0, -5), 0x28, 0x89, 0, ...payload.subarray(-5)),
    ],
    ['a field number that nobody knows', Uint8Array.of(...payload, 0x3a, 0)],
    ['a field of another wire type', Uint8Array.of(0x08, 1)],
    ['a group', Uint8Array.of(0x0b, 0x0c)],
    ['text that is no UTF-8', Uint8Array.of(0x32, 2, 0xc3, 0x28)],
  ]
  assert.ok(decode(SIGNED.bid, payload))
  for (const [name, bytes] of refused) assert.is(decode(SIGNED.bid, bytes), null, name)
})

test('signatures are Ethereum’s: the same address as viem gives the key', () => {
  const account = privateKeyToAccount(toHex(author.key))
  assert.is(author.address, account.address.toLowerCase())
  const digest = hash('digest')
  const signature = signDigest(digest, author.key)
  assert.is(recoverAddress(digest, signature), author.address)
  assert.equal(recoverPublicKey(digest, signature), author.publicKey)
  assert.is(addressOf(publicKeyOf(author.key)), author.address)
})

test('a signature has one form', () => {
  const digest = hash('digest')
  const signature = signDigest(digest, author.key)
  assert.equal(signature, signDigest(digest, author.key), 'deterministic')
  assert.is(recoverAddress(digest, otherForm(signature)), null, 'high s')
  for (const v of [2, 3, 27, 28, 255]) {
    const other = Uint8Array.from(signature)
    other[64] = v
    assert.is(recoverAddress(digest, other), null, `v = ${v}`)
  }
  for (const length of [0, 64, 66]) assert.is(recoverAddress(digest, new Uint8Array(length)), null)
})

test('an envelope is itself canonical', () => {
  const { payload, signature } = sealed.envelope
  const bytes = encode(EnvelopeSchema, { payload, signature })
  assert.equal(bytes, sealed.bytes)
  // A length in two bytes where one is enough.
  const longer = Uint8Array.of(0x0a, payload.length + 128, 0, ...payload, ...bytes.subarray(2 + payload.length))
  assert.is(open('bid', NETWORK_ID, longer), 'ENVELOPE_MALFORMED')
})

test.run()
