import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
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
import { type Address, addressOf, recoverPublicKey, signDigest } from './signature.ts'

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

/** A signed message that decoded and whose signer is known. `id` is unique to type, network and content. */
export type Opened<T extends SignedType> = {
  message: Payload<T>
  payload: Uint8Array
  signature: Uint8Array
  id: Uint8Array
  signer: Address
  signerKey: Uint8Array
}

export type OpenFailure = 'ENVELOPE_MALFORMED' | 'PAYLOAD_MALFORMED' | 'SIGNATURE_INVALID'

/** Id of a signed message, and the digest its signature covers: the type and the network are bound, so nothing replays across them. */
export function messageId(type: SignedType, networkId: Uint8Array, payload: Uint8Array): Uint8Array {
  return hash(`envelope/${type}`, networkId, payload)
}

export function seal<T extends SignedType>(
  type: T,
  networkId: Uint8Array,
  privateKey: Uint8Array,
  init: MessageInitShape<(typeof SIGNED)[T]>,
): { envelope: { payload: Uint8Array; signature: Uint8Array }; bytes: Uint8Array; id: Uint8Array } {
  const payload = encode(SIGNED[type] as DescMessage, init as MessageInitShape<DescMessage>)
  const id = messageId(type, networkId, payload)
  const envelope = { payload, signature: signDigest(id, privateKey) }
  return { envelope, bytes: encode(EnvelopeSchema, envelope), id }
}

/** Opens an envelope that was itself a field of a message. */
export function openEnvelope<T extends SignedType>(
  type: T,
  networkId: Uint8Array,
  envelope: Pick<Envelope, 'payload' | 'signature'>,
): Opened<T> | OpenFailure {
  const message = decode(SIGNED[type] as DescMessage, envelope.payload) as Payload<T> | null
  if (message === null) return 'PAYLOAD_MALFORMED'
  const id = messageId(type, networkId, envelope.payload)
  const signerKey = recoverPublicKey(id, envelope.signature)
  if (signerKey === null) return 'SIGNATURE_INVALID'
  const { payload, signature } = envelope
  return { message, payload, signature, id, signer: addressOf(signerKey), signerKey }
}

/** Opens the bytes of an envelope. The caller has bounded their length. */
export function open<T extends SignedType>(type: T, networkId: Uint8Array, bytes: Uint8Array): Opened<T> | OpenFailure {
  const envelope = decode(EnvelopeSchema, bytes)
  return envelope === null ? 'ENVELOPE_MALFORMED' : openEnvelope(type, networkId, envelope)
}
