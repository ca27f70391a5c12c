import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { equalBytes } from './bytes.ts'
import { MAX_FIELDS } from './limits.ts'

/** Bytes of a message: fields in order, defaults left out. */
export function encode<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, init))
}

/** The message type of a field that holds messages, alone or in a list. */
function messageOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === 'message' || field.fieldKind === 'list' ? field.message : undefined
}

/**
 * How many fields of `budget` are left after those of a message, negative when it has more or one that the schema does not know.
 * Looks at tags and lengths only: nothing is built yet. Throws like the reader on bytes that are no message.
 */
export function countFields(schema: DescMessage, bytes: Uint8Array, budget: number): number {
  const reader = new BinaryReader(bytes)
  let left = budget
  while (reader.pos < reader.len && left >= 0) {
    const [number, wire] = reader.tag()
    const field = schema.fields.find((each) => each.number === number)
    if (field === undefined) return -1
    left--
    if (wire !== WireType.LengthDelimited) {
      reader.skip(wire)
      continue
    }
    const content = reader.bytes()
    const message = messageOf(field)
    if (message !== undefined) left = countFields(message, content, left)
    // A packed list has an element wherever a varint ends.
    else if (field.fieldKind === 'list' && field.packed) for (const byte of content) if (byte < 128) left--
  }
  return left
}

/**
 * The message, or null when the bytes are not its canonical encoding: undecodable, unknown fields, fields out of order,
 * defaults spelled out, more than MAX_FIELDS fields. One encoding per message, so an id names one message. Callers bound the
 * length beforehand.
 */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> | null {
  try {
    if (countFields(schema, bytes, MAX_FIELDS) < 0) return null
    const message = fromBinary(schema, bytes, { readUnknownFields: false })
    return equalBytes(toBinary(schema, message), bytes) ? message : null
  } catch {
    return null
  }
}
