import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { fromHex } from './bytes.ts'
import { decode, encode } from './codec.ts'
import {
  AssignmentSchema,
  AttestationSchema,
  BidSchema,
  type Envelope,
  EnvelopeSchema,
  InputStatementSchema,
  OfferSchema,
  ReceiptSchema,
  VoteMessageSchema,
} from './gen/sinter_pb.js'
import { hash } from './hash.ts'
import { type Address, addressOfKey, recoverSigner, signDigest } from './signature.ts'

/** Every signed message type and its schema; the name is the signature's domain. */
export const SIGNED = {
  offer: OfferSchema,
  bid: BidSchema,
  assignment: AssignmentSchema,
  input: InputStatementSchema,
  receipt: ReceiptSchema,
  attestation: AttestationSchema,
  vote: VoteMessageSchema,
} as const

export type SignedType = keyof typeof SIGNED
export type Payload<T extends SignedType> = MessageShape<(typeof SIGNED)[T]>

/** A signed message that decoded and whose signer is known. `id` is unique to type, network, content and signer. */
export type Opened<T extends SignedType> = {
  message: Payload<T>
  payload: Uint8Array
  signature: Uint8Array
  id: Uint8Array
  signer: Address
  signerKey: Uint8Array
}

export type OpenFailure = 'ENVELOPE_MALFORMED' | 'PAYLOAD_MALFORMED' | 'SIGNATURE_INVALID'

/** What the signature of a message covers: type and network are bound, so nothing replays across them. 32 bytes. */
export function signingDigest(type: SignedType, networkId: Uint8Array, payload: Uint8Array): Uint8Array {
  return hash(`envelope/${type}`, networkId, payload)
}

/**
 * Id of a signed message, 32 bytes. The signer is part of it: a copy of somebody's payload under another signature is another
 * message, so it cannot have the first one dropped as already seen.
 */
export function messageId(digest: Uint8Array, signer: Address): Uint8Array {
  return hash('message', digest, fromHex(signer))
}

export function seal<T extends SignedType>(
  type: T,
  networkId: Uint8Array,
  privateKey: Uint8Array,
  init: MessageInitShape<(typeof SIGNED)[T]>,
): { envelope: { payload: Uint8Array; signature: Uint8Array }; bytes: Uint8Array; id: Uint8Array } {
  const payload = encode(SIGNED[type] as DescMessage, init as MessageInitShape<DescMessage>)
  const digest = signingDigest(type, networkId, payload)
  const envelope = { payload, signature: signDigest(digest, privateKey) }
  const id = messageId(digest, addressOfKey(privateKey))
  return { envelope, bytes: encode(EnvelopeSchema, envelope), id }
}

/** Opens an envelope that was itself a field of a message. `expected` is who probably signed it: faster then, and no other answer. */
export function openEnvelope<T extends SignedType>(
  type: T,
  networkId: Uint8Array,
  envelope: Pick<Envelope, 'payload' | 'signature'>,
  expected?: Address,
): Opened<T> | OpenFailure {
  const message = decode(SIGNED[type] as DescMessage, envelope.payload) as Payload<T> | null
  if (message === null) return 'PAYLOAD_MALFORMED'
  const digest = signingDigest(type, networkId, envelope.payload)
  const recovered = recoverSigner(digest, envelope.signature, expected)
  if (recovered === null) return 'SIGNATURE_INVALID'
  const { address: signer, key: signerKey } = recovered
  const { payload, signature } = envelope
  return { message, payload, signature, id: messageId(digest, signer), signer, signerKey }
}

/** Opens the bytes of an envelope. The caller has bounded their length. */
export function open<T extends SignedType>(type: T, networkId: Uint8Array, bytes: Uint8Array): Opened<T> | OpenFailure {
  const envelope = decode(EnvelopeSchema, bytes)
  return envelope === null ? 'ENVELOPE_MALFORMED' : openEnvelope(type, networkId, envelope)
}
