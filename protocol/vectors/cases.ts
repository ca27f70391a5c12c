/** Parts of the vectors of message rules: sequences of messages, each with the verdict that an implementation must give. */
import type { MessageInitShape } from '@bufbuild/protobuf'
import { type Hex, toHex, u32, utf8 } from '../bytes.ts'
import { encode } from '../codec.ts'
import { type SIGNED, type SignedType, seal } from '../envelope.ts'
import { EnvelopeSchema } from '../gen/sinter_pb.js'
import { hash } from '../hash.ts'
import { type Address, addressOf, publicKeyOf } from '../signature.ts'

export type Expectation = 'accept' | `ignore ${string}` | `reject ${string}`
/** Bytes of a message, or so many zero bytes where only the length matters. */
export type Bytes = Hex | { zeros: number }
/** `context` holds what changed in the case's context since the step before, for good. */
export type Step = { name: string; bytes: Bytes; context?: Record<string, unknown>; expect: Expectation }
/** One receiver, and what it gets in this order. It remembers ids, commitments and receipts that it accepted. */
export type Case = { rule: string; name: string; context: Record<string, unknown>; steps: Step[] }

export const bytes = (label: string, index = 0): Uint8Array => hash('vector', utf8(label), u32(index))
export const hex = (label: string, index = 0): Hex => toHex(bytes(label, index))

export type Person = { key: Uint8Array; address: Address; publicKey: Uint8Array }

export function person(name: string): Person {
  const key = bytes(`key/${name}`)
  const publicKey = publicKeyOf(key)
  return { key, publicKey, address: addressOf(publicKey) }
}

export const NETWORK_ID = bytes('network')
export const OTHER_NETWORK_ID = bytes('network', 1)
/** Clock of the receivers, in unix milliseconds. */
export const NOW_MS = 1_800_000_000_000
export const CHAIN_ID = 31337

/** Addresses that stand for contracts. */
export const contract = (name: string): Address => toHex(bytes(`contract/${name}`).subarray(0, 20))

/** Bytes of a sealed message's envelope, as it stands in a frame. */
export function envelope<T extends SignedType>(
  type: T,
  key: Uint8Array,
  init: MessageInitShape<(typeof SIGNED)[T]>,
  network = NETWORK_ID,
): Hex {
  return toHex(encode(EnvelopeSchema, seal(type, network, key, init).envelope))
}

type SealedEnvelope = { payload: Uint8Array; signature: Uint8Array }

const raw = (payload: Uint8Array, signature: Uint8Array): Hex => toHex(encode(EnvelopeSchema, { payload, signature }))

/** 65 bytes with s replaced by n − s and v flipped: a valid signature in its other form. */
export function otherForm(signature: Uint8Array): Uint8Array {
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
  const s = order - BigInt(toHex(signature.subarray(32, 64)))
  const out = Uint8Array.from(signature)
  out.set(Uint8Array.from(Buffer.from(s.toString(16).padStart(64, '0'), 'hex')), 32)
  out[64] = 1 - out[64]!
  return out
}

/** The ways in which any envelope can be broken, whatever is in it. None of them may be accepted. */
export function brokenEnvelopes({ payload, signature }: SealedEnvelope): Step[] {
  const whole = encode(EnvelopeSchema, { payload, signature })
  const step = (name: string, content: Hex, code: string): Step => ({ name, bytes: content, expect: `reject ${code}` })
  const last = Uint8Array.from(signature)
  last[64] = 2
  return [
    step('nothing at all', '0x', 'SIGNATURE_INVALID'),
    step('an envelope cut short', toHex(whole.subarray(0, whole.length - 1)), 'ENVELOPE_MALFORMED'),
    step('an envelope with a byte too many', toHex(Uint8Array.of(...whole, 0)), 'ENVELOPE_MALFORMED'),
    step('an envelope with an unknown field', toHex(Uint8Array.of(...whole, 0x18, 1)), 'ENVELOPE_MALFORMED'),
    step(
      'an envelope with its signature twice',
      toHex(Uint8Array.of(...whole, 0x12, 65, ...signature)),
      'ENVELOPE_MALFORMED',
    ),
    step(
      'a payload with an unknown field',
      raw(Uint8Array.of(...payload, 0x98, 0x06, 1), signature),
      'PAYLOAD_MALFORMED',
    ),
    step('a payload cut short', raw(payload.subarray(0, payload.length - 1), signature), 'PAYLOAD_MALFORMED'),
    step('a signature without its last byte', raw(payload, signature.subarray(0, 64)), 'SIGNATURE_INVALID'),
    step('a signature with s in the upper half', raw(payload, otherForm(signature)), 'SIGNATURE_INVALID'),
    step('a signature with v = 2', raw(payload, last), 'SIGNATURE_INVALID'),
    step('a signature of zeros', raw(payload, new Uint8Array(65)), 'SIGNATURE_INVALID'),
  ]
}
