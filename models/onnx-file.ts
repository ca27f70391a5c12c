import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { dirname, join, posix, sep, win32 } from 'node:path'
import { SinterError } from '../protocol/errors.ts'
import { decodeModel, encodeModel, type GraphProto, MODEL_LIMITS, type TensorProto } from './onnx.ts'
import { isExternal } from './onnx-tensor.ts'

/**
 * Reading an ONNX file from disk. A model may keep its weights in files beside it; they are taken in, so that one file with one
 * hash is what is published. Nothing outside the model's own folder is ever read.
 */

const refuse = (code: string, message: string, cause?: unknown): never => {
  throw new SinterError(code, message, { cause })
}

/** Reads part of a regular file, whose size was judged before; a file that changes meanwhile is refused. */
function readPart(path: string, offset: number, length: number, code: string): Uint8Array {
  const bytes = new Uint8Array(length)
  const file = openSync(path, 'r')
  try {
    if (!fstatSync(file).isFile()) refuse(code, `${path} is not a file`)
    for (let at = 0; at < length; ) {
      const count = readSync(file, bytes, at, Math.min(length - at, 2 ** 30), offset + at)
      if (count === 0) refuse(code, `${path} became shorter while it was read`)
      at += count
    }
  } finally {
    closeSync(file)
  }
  return bytes
}

function* tensorsOf(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer ?? []
  for (const { values, indices } of graph.sparseInitializer ?? []) {
    if (values) yield values
    if (indices) yield indices
  }
  for (const { t, tensors, g, graphs } of (graph.node ?? []).flatMap(({ attribute }) => attribute ?? [])) {
    if (t) yield t
    yield* tensors ?? []
    for (const inner of [...(g ? [g] : []), ...(graphs ?? [])]) yield* tensorsOf(inner)
  }
}

type Part = { tensor: TensorProto; path: string; offset: number; length: number }

/** Where a tensor's data lies: a range of a regular file inside the folder. Throws `MODEL_EXTERNAL_DATA`. */
function locate(tensor: TensorProto, folder: string): Part {
  const what = `the data of ${tensor.name || 'a tensor'}`
  const outside = (why: string, cause?: unknown): never => refuse('MODEL_EXTERNAL_DATA', `${what} ${why}`, cause)
  const entries = new Map((tensor.externalData ?? []).map(({ key, value }) => [key ?? '', value ?? '']))
  if (entries.size !== tensor.externalData?.length) outside('is described twice')
  const location = entries.get('location') ?? ''
  // Judged for every platform alike: a model that one machine reads, all do.
  const plain = location !== '' && !/[\\\0]|^[a-z]:/i.test(location)
  if (!plain || posix.isAbsolute(location) || win32.isAbsolute(location) || location.split('/').includes('..'))
    outside('lies outside of the folder of the model')
  const number = (key: string): number | undefined => {
    const value = entries.get(key)
    if (value === undefined) return undefined
    return /^\d{1,15}$/.test(value) ? Number(value) : outside(`has the ${key} ${value.slice(0, 40)}`)
  }
  try {
    const path = realpathSync(join(folder, location))
    // [refuse] Links that lead out of the folder.
    if (!path.startsWith(folder.endsWith(sep) ? folder : folder + sep))
      outside('lies outside of the folder of the model')
    const stat = statSync(path)
    const offset = number('offset') ?? 0
    const length = number('length') ?? stat.size - offset
    if (!stat.isFile() || length < 0 || offset + length > stat.size) outside(`does not lie whole in ${location}`)
    return { tensor, path, offset, length }
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    return outside(`is missing: ${location} cannot be read`, cause)
  }
}

function fileSize(path: string): number {
  try {
    const stat = statSync(path)
    return stat.isFile() ? stat.size : refuse('FILE_UNREADABLE', `${path} is not a file`)
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    return refuse('FILE_UNREADABLE', `cannot read ${path}`, cause)
  }
}

/**
 * The bytes of a model file, with the data of files beside it taken in. Sizes are judged before anything is read.
 * @param options.maxBytes most bytes of all files together. @default 512 MiB
 * Throws `FILE_UNREADABLE` when there is no such file, `MODEL_TOO_LARGE`, `MODEL_EXTERNAL_DATA`, and the codes of `decodeModel`.
 */
export function readModelFile(path: string, options: { maxBytes?: number } = {}): Uint8Array {
  const maxBytes = options.maxBytes ?? MODEL_LIMITS.bytes
  const room = (size: number): number =>
    size <= maxBytes ? size : refuse('MODEL_TOO_LARGE', `the model has ${size} bytes; at most ${maxBytes} are taken`)
  const size = room(fileSize(path))
  const bytes = readPart(path, 0, size, 'FILE_UNREADABLE')
  const model = decodeModel(bytes, maxBytes)
  const external = [...(model.graph ? tensorsOf(model.graph) : [])].filter(isExternal)
  if (external.length === 0) return bytes
  const folder = realpathSync(dirname(path))
  const parts = external.map((tensor) => locate(tensor, folder))
  room(parts.reduce((sum, { length }) => sum + length, size))
  for (const { tensor, path: source, offset, length } of parts) {
    tensor.rawData = readPart(source, offset, length, 'MODEL_EXTERNAL_DATA')
    tensor.externalData = []
    tensor.dataLocation = 0
  }
  return encodeModel(model)
}
