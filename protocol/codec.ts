import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { equalBytes } from './bytes.ts'

/** Bytes of a message: fields in order, defaults left out. */
export function encode<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, init))
}

/**
 * The message, or null when the bytes are not its canonical encoding: undecodable, unknown fields, fields out of order,
 * defaults spelled out. One encoding per message, so an id names one message. Callers bound the length beforehand.
 */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> | null {
  try {
    const message = fromBinary(schema, bytes, { readUnknownFields: false })
    return equalBytes(toBinary(schema, message), bytes) ? message : null
  } catch {
    return null
  }
}
