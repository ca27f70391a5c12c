import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { readSamples } from '../../models/calibrate.ts'
import { elementCount } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { readNpy } from '../client/input-file.ts'
import { isImage, parseImage, readImage } from './image.ts'
import { DEFAULT_IMAGE, readInput } from './options.ts'

/** Inputs of jobs and calibration samples from files: JSON, NumPy arrays, pictures, or float32 as it is. */

/** An input as its user has it: shape without the batch axis. */
export type Wanted = { name: string; shape: number[] }

/** One array per wanted input. */
export type Sample = Float32Array[]

const fail = (file: string, what: string, cause?: unknown): never => {
  throw new SinterError('INPUT_FILE', `${file}: ${what}`, { cause })
}

/** Lists inside lists; tensors have at most eight axes. */
const DEEPEST = 16

/** Numbers of nested lists, in order. */
function flat(value: unknown, file: string, out: number[], depth = 0): number[] {
  if (depth > DEEPEST) fail(file, `nests more than ${DEEPEST} lists`)
  if (typeof value === 'number') out.push(value)
  else if (Array.isArray(value)) for (const each of value) flat(each, file, out, depth + 1)
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
 * numbers of each input by name. One job may stand by itself: an object, or a list of nothing but numbers.
 * Throws `INPUT_FILE`.
 */
export function samplesOfJson(bytes: Uint8Array, wanted: Wanted[], file: string): Sample[] {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    return fail(file, 'is not JSON', cause)
  }
  const one = Array.isArray(json) ? typeof json[0] === 'number' : typeof json === 'object' && json !== null
  if (one) return [sampleOf(json, wanted, file)]
  if (!Array.isArray(json) || json.length === 0) return fail(file, 'must hold a list with an entry for each sample')
  return json.map((each) => sampleOf(each, wanted, file))
}

/** A NumPy array (`readNpy`): one sample of the shape, or several along a first axis. Throws `INPUT_FILE`. */
export function samplesOfNpy(bytes: Uint8Array, shape: number[], file: string): Float32Array[] {
  const { shape: dims, data } = readNpy(file, bytes)
  const fits =
    [dims, dims.slice(1)].some((each) => String(each) === String(shape)) || String(dims) === String([1, ...shape])
  if (!fits) return fail(file, `has shape [${dims}], not [${shape}] or several of it`)
  const size = elementCount(shape)
  return Array.from({ length: data.length / size }, (_, i) => data.slice(i * size, (i + 1) * size))
}

async function samplesOfFile(file: string, wanted: Wanted[], image: string): Promise<Sample[]> {
  const bytes = readInput(file)
  if (file.endsWith('.json')) return samplesOfJson(bytes, wanted, file)
  if (isImage(file)) {
    const [only] = wanted
    if (only === undefined || wanted.length > 1)
      return fail(file, `is one picture, the model has ${wanted.length} inputs`)
    return [[await readImage(file, bytes, only.shape, parseImage(image))]]
  }
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

const SAMPLE_FILE = /\.(npy|json|bin|f32|raw)$/i

const names = (wanted: Wanted[]): string => wanted.map(({ name }) => `${name}.npy`).join(', ')

/**
 * Samples of a file (`.json`, `.npy` and pictures by their name, else float32 little-endian, sample after sample), or of all files of a
 * folder in the order of their names, which say what they are there. A folder may hold an array for each input, named after it. `image` is how pictures become numbers.
 * Throws `FILE_UNREADABLE`, `INPUT_FILE`, `CALIBRATION_SAMPLES`, and what `readImage` and `parseImage` throw.
 */
export async function samplesOf(path: string, wanted: Wanted[], image: string = DEFAULT_IMAGE): Promise<Sample[]> {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (!isFolder) return samplesOfFile(path, wanted, image)
  const files = readdirSync(path, { withFileTypes: true })
    .filter((each) => !each.isDirectory() && !each.name.startsWith('.'))
    .map(({ name }) => name)
    .sort()
  if (files.length === 0) return fail(path, 'is empty')
  // A note that lies beside the samples must not be read as numbers.
  const other = files.find((name) => !SAMPLE_FILE.test(name) && !isImage(name))
  if (other !== undefined)
    fail(join(path, other), 'is no sample by its name: .npy, .json, a picture, or .bin, .f32 or .raw of float32')
  const apart = wanted.map(({ name }) => `${name}.npy`)
  if (!apart.every((name) => files.includes(name))) {
    const samples: Sample[] = []
    for (const name of files) samples.push(...(await samplesOfFile(join(path, name), wanted, image)))
    return samples
  }
  const columns = wanted.map(({ shape }, i) => samplesOfNpy(readInput(join(path, apart[i]!)), shape, apart[i]!))
  if (columns.some(({ length }) => length !== columns[0]!.length))
    return fail(path, 'its arrays have different lengths')
  return columns[0]!.map((_, i) => columns.map((column) => column[i]!))
}
