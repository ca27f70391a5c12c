import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf'
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { concat, equalBytes } from './bytes.ts'
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

/** Bytes of content from which on a field is not encoded again to be compared: for 4 MB that takes some 30 ms and 16 MB. */
const LARGE = 4096
const STAND_IN = Uint8Array.of(1)

/**
 * The same message with one byte in place of every large content of a bytes field. It is canonical if and only if the message is: what
 * such a content is makes no difference to how it is encoded, and of its length prefix, which falls out of the comparison, the form is
 * looked at here. Throws like the reader on bytes that are no message, and for a prefix not in its shortest form.
 */
function hollow(schema: DescMessage, bytes: Uint8Array): Uint8Array {
  if (bytes.length < LARGE) return bytes
  const reader = new BinaryReader(bytes)
  const parts: Uint8Array[] = []
  let kept = 0
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag()
    if (wire !== WireType.LengthDelimited) {
      reader.skip(wire)
      continue
    }
    const prefix = reader.pos
    const content = reader.bytes()
    if (content.length < LARGE) continue
    const field = schema.fields.find((each) => each.number === number)!
    const message = messageOf(field)
    const isBytes = 'scalar' in field && field.scalar === ScalarType.BYTES
    const inner = message !== undefined ? hollow(message, content) : isBytes ? STAND_IN : content
    if (inner === content) continue
    const length = new BinaryWriter().uint32(content.length).finish()
    if (!equalBytes(length, bytes.subarray(prefix, reader.pos - content.length)))
      throw new Error('a length is not in its shortest form')
    parts.push(bytes.subarray(kept, prefix), new BinaryWriter().bytes(inner).finish())
    kept = reader.pos
  }
  return parts.length === 0 ? bytes : concat(...parts, bytes.subarray(kept))
}

/**
 * The message, or null when the bytes are not its canonical encoding: undecodable, unknown fields, fields out of order,
 * defaults spelled out, more than MAX_FIELDS fields. One encoding per message, so an id names one message. Callers bound the
 * length beforehand.
 */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> | null {
  try {
    if (countFields(schema, bytes, MAX_FIELDS) < 0) return null
    const read = (from: Uint8Array) => fromBinary(schema, from, { readUnknownFields: false })
    const message = read(bytes)
    const compared = hollow(schema, bytes)
    return equalBytes(toBinary(schema, compared === bytes ? message : read(compared)), compared) ? message : null
  } catch {
    return null
  }
}
