import { SinterError } from '../protocol/errors.ts'
import { halfValue } from './half.ts'
import type { Constant, DType, TensorProto } from './onnx.ts'

/** Reading the constants of an ONNX file: every element type that has an exact place in a float64, and none other. */

/** Elements that may still be read, and the largest rank. */
export type ConstantBudget = { elements: number; rank: number }

/** Constants of at most this many elements may hold infinities: masks do, weights do not. */
const INFINITE_ELEMENTS = 2 ** 20
/** `TensorProto.DataLocation.EXTERNAL`. */
const EXTERNAL = 1

export const fail = (code: string, message: string, cause?: unknown): never => {
  throw new SinterError(code, message, { cause })
}

const numberOf = (value: unknown): number => (typeof value === 'number' ? value : Number(String(value)))

/** Integers of the wire are numbers, or Long objects beyond 32 bits. Those that are not safe integers are refused. */
export function integer(value: unknown, what: string): number {
  const number = numberOf(value)
  if (!Number.isSafeInteger(number)) fail('MODEL_MALFORMED', `${what} is not a usable integer`)
  return number
}

/**
 * An int64 as data. Exporters write the ends of the int64 range for "to the end" (Slice); no index is that large, so
 * values of at least 2^62 in size become ±(2^53 − 1). Others beyond 2^53 would lose digits and are refused.
 */
export function clampedInteger(value: unknown, what: string): number {
  const number = numberOf(value)
  if (Number.isSafeInteger(number)) return number
  if (!(Math.abs(number) >= 2 ** 62)) fail('MODEL_VALUE', `${what} holds an integer beyond 2^53`)
  return Math.sign(number) * Number.MAX_SAFE_INTEGER
}

type ListField = 'floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data'
type Storage = {
  dtype: DType
  /** Bytes of an element in raw data. */
  size: number
  read: (view: DataView, at: number) => number
  /** Where the values stand when they are not raw. */
  list: ListField
  /** Range of an integer type. */
  range?: [least: number, most: number]
}

function readInt64(view: DataView, at: number): number {
  const value = view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
  return Number.isSafeInteger(value) ? value : clampedInteger(value, 'a constant')
}

/** By number in `TensorProto.DataType`. */
const STORAGE: Readonly<Record<number, Storage>> = {
  1: { dtype: 'float32', size: 4, read: (view, at) => view.getFloat32(at, true), list: 'floatData' },
  2: { dtype: 'uint8', size: 1, read: (view, at) => view.getUint8(at), list: 'int32Data', range: [0, 255] },
  3: { dtype: 'int8', size: 1, read: (view, at) => view.getInt8(at), list: 'int32Data', range: [-128, 127] },
  4: { dtype: 'uint16', size: 2, read: (view, at) => view.getUint16(at, true), list: 'int32Data', range: [0, 65535] },
  5: {
    dtype: 'int16',
    size: 2,
    read: (view, at) => view.getInt16(at, true),
    list: 'int32Data',
    range: [-32768, 32767],
  },
  6: {
    dtype: 'int32',
    size: 4,
    read: (view, at) => view.getInt32(at, true),
    list: 'int32Data',
    range: [-(2 ** 31), 2 ** 31 - 1],
  },
  7: {
    dtype: 'int64',
    size: 8,
    read: readInt64,
    list: 'int64Data',
    range: [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  },
  9: { dtype: 'bool', size: 1, read: (view, at) => view.getUint8(at), list: 'int32Data', range: [0, 1] },
  10: { dtype: 'float16', size: 2, read: (view, at) => halfValue(view.getUint16(at, true)), list: 'int32Data' },
  11: { dtype: 'float64', size: 8, read: (view, at) => view.getFloat64(at, true), list: 'doubleData' },
  12: {
    dtype: 'uint32',
    size: 4,
    read: (view, at) => view.getUint32(at, true),
    list: 'uint64Data',
    range: [0, 2 ** 32 - 1],
  },
}

/** Range of an integer type, or undefined for the others. */
export const RANGES = Object.fromEntries(Object.values(STORAGE).map(({ dtype, range }) => [dtype, range])) as Readonly<
  Record<DType, [number, number] | undefined>
>

/** Number of a type in `TensorProto.DataType`. */
export const dtypeNumber = (dtype: DType): number =>
  Number(Object.keys(STORAGE).find((number) => STORAGE[Number(number)]!.dtype === dtype))

/** The element type of a number in `TensorProto.DataType`. Throws `MODEL_DTYPE`. */
export function dtypeOf(number: number, what: string): DType {
  const storage = Object.hasOwn(STORAGE, number) ? STORAGE[number] : undefined
  return storage?.dtype ?? fail('MODEL_DTYPE', `${what} has element type ${number}, which is not supported`)
}

/** An array of the kind that holds this type's values exactly. */
export const emptyData = (dtype: DType, elements: number): Float32Array | Float64Array =>
  dtype === 'float32' || dtype === 'float16' ? new Float32Array(elements) : new Float64Array(elements)

export const isExternal = (tensor: TensorProto): boolean =>
  tensor.dataLocation === EXTERNAL || (tensor.externalData?.length ?? 0) > 0

function readDims(tensor: TensorProto, what: string, budget: ConstantBudget): { dims: number[]; elements: number } {
  const dims = (tensor.dims ?? []).map((dim) => integer(dim, `a dimension of ${what}`))
  let elements = 1
  for (const dim of dims) {
    if (dim < 0) fail('MODEL_SHAPE', `${what} has a negative dimension`)
    elements *= dim
  }
  if (dims.length > budget.rank || elements > budget.elements) fail('MODEL_SHAPE', `${what} is too large`)
  return { dims, elements }
}

function readData(tensor: TensorProto, storage: Storage, elements: number, what: string): Constant['data'] {
  const raw = tensor.rawData ?? new Uint8Array(0)
  const listed = tensor[storage.list] ?? []
  if (raw.length > 0 ? raw.length !== storage.size * elements || listed.length > 0 : listed.length !== elements)
    fail('MODEL_SHAPE', `${what} does not hold as many values as its shape says`)
  // The copy gives the alignment that a typed array asks for.
  if (storage.dtype === 'float32' && raw.length > 0) return new Float32Array(new Uint8Array(raw).buffer)
  const data = emptyData(storage.dtype, elements)
  if (raw.length > 0) {
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
    for (let i = 0; i < elements; i++) data[i] = storage.read(view, i * storage.size)
  } else if (storage.dtype === 'float16') for (let i = 0; i < elements; i++) data[i] = halfValue(numberOf(listed[i]))
  else if (storage.list.startsWith('int') || storage.list === 'uint64Data')
    for (let i = 0; i < elements; i++) data[i] = clampedInteger(listed[i], what)
  else for (let i = 0; i < elements; i++) data[i] = numberOf(listed[i])
  return data
}

function checkValues(data: Constant['data'], range: Storage['range'], what: string): void {
  const endless = Number.POSITIVE_INFINITY
  const small = data.length <= INFINITE_ELEMENTS
  const [least, most] = range ?? (small ? [-endless, endless] : [-Number.MAX_VALUE, Number.MAX_VALUE])
  // NaN fails both comparisons.
  for (let i = 0; i < data.length; i++)
    if (!(data[i]! >= least && data[i]! <= most))
      fail('MODEL_VALUE', `${what} holds ${data[i]}, which is no value for it`)
}

/**
 * The value of a tensor message; its elements are taken off the budget.
 * Throws `MODEL_EXTERNAL_DATA`, `MODEL_MALFORMED`, `MODEL_DTYPE`, `MODEL_SHAPE` or `MODEL_VALUE`.
 */
export function readConstant(tensor: TensorProto, what: string, budget: ConstantBudget): Constant {
  if (isExternal(tensor)) fail('MODEL_EXTERNAL_DATA', `${what} lies in another file; weights must be inside the model`)
  if (tensor.segment) fail('MODEL_MALFORMED', `${what} is stored in segments`)
  const dtype = dtypeOf(tensor.dataType ?? 0, what)
  const { dims, elements } = readDims(tensor, what, budget)
  const storage = STORAGE[tensor.dataType!]!
  const data = readData(tensor, storage, elements, what)
  checkValues(data, storage.range, what)
  budget.elements -= elements
  return { dims, dtype, data }
}
