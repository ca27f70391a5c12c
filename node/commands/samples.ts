import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { readSamples } from '../../models/calibrate.ts'
import { elementCount } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { readInput } from './options.ts'

/** Inputs of jobs and calibration samples from files: JSON, NumPy arrays, or float32 as it is. */

/** An input as its user has it: shape without the batch axis. */
export type Wanted = { name: string; shape: number[] }

/** One array per wanted input. */
export type Sample = Float32Array[]

const fail = (file: string, what: string, cause?: unknown): never => {
  throw new SinterError('INPUT_FILE', `${file}: ${what}`, { cause })
}

/** Numbers of nested lists, in order. */
function flat(value: unknown, file: string, out: number[]): number[] {
  if (typeof value === 'number') out.push(value)
  else if (Array.isArray(value)) for (const each of value) flat(each, file, out)
  else fail(file, `holds ${value === null ? 'null' : typeof value} where a number is expected`)
  return out
}

function sampleOf(value: unknown, wanted: Wanted[], file: string): Sample {
  const [only] = wanted
  const named =
    Array.isArray(value) && only !== undefined && wanted.length === 1
      ? { [only.name]: value }
      : value !== null && typeof value === 'object' && !Array.isArray(value)
        ? (value as Record<string, unknown>)
        : fail(file, `each entry must be an object with ${wanted.map(({ name }) => name).join(', ')}`)
  for (const name of Object.keys(named))
    if (!wanted.some((each) => each.name === name)) fail(file, `the model has no input ${name}`)
  return wanted.map(({ name, shape }) => {
    if (!Object.hasOwn(named, name)) fail(file, `input ${name} is missing`)
    const values = flat(named[name], file, [])
    if (values.length !== elementCount(shape)) fail(file, `${name} has ${values.length} numbers, not [${shape}]`)
    return Float32Array.from(values)
  })
}

/**
 * Jobs of a JSON file: a list with an entry for each, which is the input's numbers (nested as they like), or an object with the
 * numbers of each input by name.
 * Throws `INPUT_FILE`.
 */
export function samplesOfJson(bytes: Uint8Array, wanted: Wanted[], file: string): Sample[] {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    return fail(file, 'is not JSON', cause)
  }
  if (!Array.isArray(json) || json.length === 0) return fail(file, 'must hold a list with an entry for each sample')
  return json.map((each) => sampleOf(each, wanted, file))
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

type Typed = { new (buffer: ArrayBuffer): ArrayLike<number | bigint>; BYTES_PER_ELEMENT: number }
const NPY_TYPES: Record<string, Typed> = {
  '<f4': Float32Array,
  '<f8': Float64Array,
  '<i8': BigInt64Array,
  '<i4': Int32Array,
  '<i2': Int16Array,
  '|i1': Int8Array,
  '|u1': Uint8Array,
  '<u2': Uint16Array,
}

/**
 * A NumPy array (format 1 to 3, row-major, little-endian numbers): one sample of the shape, or several along a first axis.
 * Throws `INPUT_FILE`.
 */
export function samplesOfNpy(bytes: Uint8Array, shape: number[], file: string): Float32Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || latin1(bytes.subarray(0, 6)) !== '\x93NUMPY') return fail(file, 'is not a NumPy array')
  const long = bytes[6]! > 1
  const start = long ? 12 : 10
  const end = start + (long ? view.getUint32(8, true) : view.getUint16(8, true))
  const header = latin1(bytes.subarray(start, Math.min(end, start + 4096)))
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? ''
  const listed = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1]
  const make = Object.hasOwn(NPY_TYPES, type) ? NPY_TYPES[type]! : fail(file, `holds ${type || 'no numbers'}`)
  if (listed === undefined || !/'fortran_order':\s*False/.test(header)) return fail(file, 'is not row-major')
  const dims = listed.split(',').flatMap((each) => (each.trim() === '' ? [] : [Number(each)]))
  const size = elementCount(shape)
  const total = elementCount(dims)
  const fits =
    [dims, dims.slice(1)].some((each) => String(each) === String(shape)) || String(dims) === String([1, ...shape])
  if (!fits) return fail(file, `has shape [${dims}], not [${shape}] or several of it`)
  if (bytes.length !== end + total * make.BYTES_PER_ELEMENT) return fail(file, 'is cut short or too long')
  const values = Float32Array.from(new make(new Uint8Array(bytes.subarray(end)).buffer) as ArrayLike<number>, Number)
  return Array.from({ length: total / size }, (_, i) => values.slice(i * size, (i + 1) * size))
}

function samplesOfFile(file: string, wanted: Wanted[]): Sample[] {
  const bytes = readInput(file)
  if (file.endsWith('.json')) return samplesOfJson(bytes, wanted, file)
  if (!file.endsWith('.npy'))
    return readSamples(
      bytes,
      wanted.map(({ shape }) => shape),
    )
  const [only] = wanted
  if (only === undefined || wanted.length > 1)
    return fail(file, `the model has ${wanted.length} inputs: give a folder with an array for each, ${names(wanted)}`)
  return samplesOfNpy(bytes, only.shape, file).map((values) => [values])
}

const names = (wanted: Wanted[]): string => wanted.map(({ name }) => `${name}.npy`).join(', ')

/**
 * Samples of a file (`.json` and `.npy` by their name, else float32 little-endian, sample after sample), or of all files of a
 * folder in the order of their names. A folder may hold an array for each input, named after it.
 * Throws `FILE_UNREADABLE`, `INPUT_FILE`, `CALIBRATION_SAMPLES`.
 */
export function samplesOf(path: string, wanted: Wanted[]): Sample[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (!isFolder) return samplesOfFile(path, wanted)
  const files = readdirSync(path, { withFileTypes: true })
    .filter((each) => !each.isDirectory() && !each.name.startsWith('.'))
    .map(({ name }) => name)
    .sort()
  if (files.length === 0) return fail(path, 'is empty')
  const apart = wanted.map(({ name }) => `${name}.npy`)
  if (!apart.every((name) => files.includes(name)))
    return files.flatMap((name) => samplesOfFile(join(path, name), wanted))
  const columns = wanted.map(({ shape }, i) => samplesOfNpy(readInput(join(path, apart[i]!)), shape, apart[i]!))
  if (columns.some(({ length }) => length !== columns[0]!.length))
    return fail(path, 'its arrays have different lengths')
  return columns[0]!.map((_, i) => columns.map((column) => column[i]!))
}
