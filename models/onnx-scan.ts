import { SinterError } from '../protocol/errors.ts'

/**
 * A walk over the protobuf wire format before the real decoder sees the file. Decoding costs far more memory than the
 * bytes (an empty message of 2 bytes becomes an object, a packed integer of 1 byte a boxed 64-bit one), and the decoder
 * does not compare a field's wire type with its schema. So types, fields, array elements, texts and depth are checked first, in
 * constant memory; what passes is read by the decoder exactly as it was read here.
 */
export const SCAN_LIMITS = { fields: 400_000, numbers: 2 ** 24, integers: 2_000_000, text: 2 ** 24, depth: 16 } as const

/** int: varint · ints, floats, doubles: packed or repeated · float: fixed 32 bits · bytes: raw data · text · refused · or a message's name. */
type Kind = 'int' | 'ints' | 'float' | 'floats' | 'doubles' | 'bytes' | 'text' | 'refused' | Message
type Message =
  | 'model'
  | 'graph'
  | 'node'
  | 'attribute'
  | 'tensor'
  | 'segment'
  | 'sparse'
  | 'valueInfo'
  | 'type'
  | 'typeOfTensor'
  | 'typeOfElement'
  | 'typeOfMap'
  | 'shape'
  | 'dimension'
  | 'opset'
  | 'entry'
  | 'annotation'

/** onnx.proto of ONNX 1.10, the version `onnx-proto` decodes: field number to kind. Fields added later are skipped by both. */
const SCHEMA: Record<Message, Readonly<Record<number, Kind>>> = {
  model: {
    1: 'int',
    2: 'text',
    3: 'text',
    4: 'text',
    5: 'int',
    6: 'text',
    7: 'graph',
    8: 'opset',
    14: 'entry',
    20: 'refused',
    25: 'refused',
  },
  graph: {
    1: 'node',
    2: 'text',
    5: 'tensor',
    10: 'text',
    11: 'valueInfo',
    12: 'valueInfo',
    13: 'valueInfo',
    14: 'annotation',
    15: 'sparse',
  },
  node: { 1: 'text', 2: 'text', 3: 'text', 4: 'text', 5: 'attribute', 6: 'text', 7: 'text' },
  attribute: {
    1: 'text',
    2: 'float',
    3: 'int',
    4: 'text',
    5: 'tensor',
    6: 'graph',
    7: 'floats',
    8: 'ints',
    9: 'text',
    10: 'tensor',
    11: 'graph',
    13: 'text',
    14: 'type',
    15: 'type',
    20: 'int',
    21: 'text',
    22: 'sparse',
    23: 'sparse',
  },
  tensor: {
    1: 'ints',
    2: 'int',
    3: 'segment',
    4: 'floats',
    5: 'ints',
    6: 'text',
    7: 'ints',
    8: 'text',
    9: 'bytes',
    10: 'doubles',
    11: 'ints',
    12: 'text',
    13: 'entry',
    14: 'int',
  },
  segment: { 1: 'int', 2: 'int' },
  sparse: { 1: 'tensor', 2: 'tensor', 3: 'ints' },
  valueInfo: { 1: 'text', 2: 'type', 3: 'text' },
  type: { 1: 'typeOfTensor', 4: 'typeOfElement', 5: 'typeOfMap', 6: 'text', 8: 'typeOfTensor', 9: 'typeOfElement' },
  typeOfTensor: { 1: 'int', 2: 'shape' },
  typeOfElement: { 1: 'type' },
  typeOfMap: { 1: 'int', 2: 'type' },
  shape: { 1: 'dimension' },
  dimension: { 1: 'int', 2: 'text', 3: 'text' },
  opset: { 1: 'text', 2: 'int' },
  entry: { 1: 'text', 2: 'text' },
  annotation: { 1: 'text', 2: 'entry' },
}

const VARINT = 0
const FIXED64 = 1
const DELIMITED = 2
const FIXED32 = 5

type Reader = { bytes: Uint8Array; at: number; end: number }
type Counts = { fields: number; numbers: number; integers: number; text: number }

const notOnnx = (message: string): never => {
  throw new SinterError('MODEL_NOT_ONNX', `the file is not an ONNX model: ${message}`)
}

/** A varint as a float64, exact below 2^53; only tags and lengths are used, and those are range-checked. */
function varint(reader: Reader): number {
  let value = 0
  for (let shift = 0; shift < 10; shift++) {
    if (reader.at >= reader.end) notOnnx('it ends inside a number')
    const byte = reader.bytes[reader.at++]!
    value += (byte & 127) * 2 ** (7 * shift)
    if (byte < 128) return value
  }
  return notOnnx('a number is longer than 10 bytes')
}

function skip(reader: Reader, bytes: number): void {
  if (bytes > reader.end - reader.at) notOnnx('a field is longer than the message around it')
  reader.at += bytes
}

/** Whether the decoder reads a field of this kind with this wire type in step with the wire. */
function wireFits(kind: Kind, wire: number): boolean {
  switch (kind) {
    case 'int':
      return wire === VARINT
    case 'float':
      return wire === FIXED32
    case 'ints':
      return wire === VARINT || wire === DELIMITED
    case 'floats':
      return wire === FIXED32 || wire === DELIMITED
    case 'doubles':
      return wire === FIXED64 || wire === DELIMITED
    default:
      return wire === DELIMITED
  }
}

function count(counts: Counts, kind: Kind | undefined, length: number): void {
  if (kind === 'floats') counts.numbers += length / 4
  if (kind === 'doubles') counts.numbers += length / 8
  if (kind === 'ints') counts.integers += length
  if (counts.numbers > SCAN_LIMITS.numbers || counts.integers > SCAN_LIMITS.integers)
    throw new SinterError('MODEL_TOO_LARGE', 'the model stores too many numbers outside of raw data')
  if (kind === 'text') counts.text += length
  if (counts.text > SCAN_LIMITS.text)
    throw new SinterError('MODEL_TOO_LARGE', `the model has more than ${SCAN_LIMITS.text} bytes of names and texts`)
}

function scanMessage(reader: Reader, message: Message, depth: number, counts: Counts): void {
  if (depth > SCAN_LIMITS.depth) throw new SinterError('MODEL_TOO_LARGE', 'the model nests messages too deeply')
  while (reader.at < reader.end) {
    const tag = varint(reader)
    const field = Math.floor(tag / 8)
    const wire = tag % 8
    if (field === 0 || field >= 2 ** 29) notOnnx('it has a field with an impossible number')
    if (++counts.fields > SCAN_LIMITS.fields)
      throw new SinterError('MODEL_TOO_LARGE', `the model has more than ${SCAN_LIMITS.fields} fields`)
    const kind = SCHEMA[message][field]
    if (kind === 'refused')
      throw new SinterError('MODEL_FEATURE', 'models with functions or training graphs are not supported')
    if (kind !== undefined && !wireFits(kind, wire)) notOnnx(`field ${field} of a ${message} has the wrong wire type`)
    if (wire === VARINT) varint(reader)
    else if (wire === FIXED64) skip(reader, 8)
    else if (wire === FIXED32) skip(reader, 4)
    else if (wire === DELIMITED) {
      const length = varint(reader)
      const start = reader.at
      skip(reader, length)
      count(counts, kind, length)
      if (kind !== undefined && kind in SCHEMA)
        scanMessage({ bytes: reader.bytes, at: start, end: reader.at }, kind as Message, depth + 1, counts)
    } else notOnnx('it has a field of an unknown kind')
  }
}

/** Walks an ONNX file. Throws `MODEL_NOT_ONNX`, `MODEL_TOO_LARGE` or `MODEL_FEATURE`; returns when it is safe to decode. */
export function scanModel(bytes: Uint8Array): void {
  scanMessage({ bytes, at: 0, end: bytes.length }, 'model', 0, { fields: 0, numbers: 0, integers: 0, text: 0 })
}
