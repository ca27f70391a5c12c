import { extname } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'
import type { Inputs, TensorLike } from './values.ts'

const bad = (file: string, why: string, cause?: unknown): SinterError =>
  new SinterError('INPUT_FILE', `${file} ${why}`, { cause })

/** Little-endian readers of NumPy's type names. */
const READERS: Record<string, { bytes: number; read(view: DataView, at: number): number }> = {
  '<f4': { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  '<f8': { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
  '|u1': { bytes: 1, read: (view, at) => view.getUint8(at) },
  '|i1': { bytes: 1, read: (view, at) => view.getInt8(at) },
  '<u2': { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  '<i2': { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  '<i4': { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  '<i8': { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
}
/** Bytes of a header that are looked at: one of an array of numbers has less than a hundred. */
const HEADER_BYTES = 4096

/**
 * A NumPy array file (format 1 to 3, row-major, little-endian numbers) as float32 values.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Throws `INPUT_FILE`.
 */
export function readNpy(file: string, bytes: Uint8Array): { shape: number[]; data: Float32Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || view.getUint32(0) !== 0x934e554d || view.getUint16(4) !== 0x5059)
    throw bad(file, 'is no NumPy array file')
  const major = bytes[6]!
  if (major < 1 || major > 3) throw bad(file, `has format version ${major}, which is not read`)
  const start = major === 1 ? 10 : 12
  const end = start + (major === 1 ? view.getUint16(8, true) : view.getUint32(8, true))
  if (end > bytes.length) throw bad(file, 'ends within its header')
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, Math.min(end, start + HEADER_BYTES)))
  const type = /'descr':\s*'([^']+)'/.exec(header)?.[1] ?? ''
  const reader = Object.hasOwn(READERS, type) ? READERS[type] : undefined
  if (reader === undefined)
    throw bad(file, `holds ${type || 'an unnamed type'}; read are ${Object.keys(READERS).join(', ')}`)
  if (!/'fortran_order':\s*False/.test(header)) throw bad(file, 'is not in row-major order')
  const shape = (/'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1] ?? '?')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .map(Number)
  const count = shape.reduce((product, dim) => product * dim, 1)
  if (!Number.isSafeInteger(count)) throw bad(file, `has a shape that is not read: [${shape}]`)
  // Nothing is allocated before the file turns out to hold as much.
  if (bytes.length - end !== count * reader.bytes)
    throw bad(file, `has ${bytes.length - end} bytes of data where its shape [${shape}] has ${count * reader.bytes}`)
  const data = new Float32Array(count)
  for (let i = 0; i < count; i++) data[i] = reader.read(view, end + i * reader.bytes)
  return { shape, data }
}

/**
 * The inputs of one job in a file: `.npy` for a model with one input; `.json` with a (nested) list for one input, or an object of them
 * by name. Throws `INPUT_FILE`.
 */
export function readInputFile(file: string, bytes: Uint8Array, inputs: string[]): Inputs {
  if (extname(file) === '.npy') {
    if (inputs.length !== 1) throw bad(file, `holds one array, the model has ${inputs.length} inputs: use JSON by name`)
    return { [inputs[0]!]: readNpy(file, bytes).data }
  }
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw bad(file, 'is not JSON', cause)
  }
  if (typeof value !== 'object' || value === null)
    throw bad(file, 'must hold a list, or an object of lists by input name')
  return value as TensorLike | Record<string, TensorLike>
}
