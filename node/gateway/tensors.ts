import { SinterError } from '../../protocol/errors.ts'
import { floatsOf, toWire } from '../jobs/tensors.ts'
import { parseJson } from './body.ts'

/**
 * Tensors of the Open Inference Protocol v2 (KServe, `rest_predict_v2`, and Triton's binary tensor extension). Models of this
 * network are float32, and take whole numbers where they begin in an embedding and give them where they end in an ArgMax: so FP32, INT32 and INT64
 * are read, FP32 and INT64 written. Other datatypes are known by name to be refused by name.
 */
export const DATATYPES = [
  ...['BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64'],
  ...['FP16', 'BF16', 'FP32', 'FP64', 'BYTES'],
] as const

export type Parameters = Record<string, string | number | boolean>

/** Bytes of an element of what is read. */
const SIZES = { FP32: 4, INT32: 4, INT64: 8 } as const
export type Datatype = keyof typeof SIZES

/** Whole numbers beyond 2^53 are rounded: no embedding has as many rows. */
export type InputTensor = { name: string; shape: number[]; datatype: Datatype; data: Float32Array | Float64Array }
export type OutputTensor =
  | { name: string; shape: number[]; datatype: 'FP32'; data: Float32Array }
  | { name: string; shape: number[]; datatype: 'INT64'; data: number[] }
export type RequestedOutput = { name: string; binary: boolean }

export type InferRequest = {
  id: string | undefined
  inputs: InputTensor[]
  /** null: all of them. */
  outputs: RequestedOutput[] | null
  /** Whether outputs that are not listed are wanted as bytes (`binary_data_output`). */
  binaryOutput: boolean
}

const MAX_TENSORS = 64
const MAX_DIMS = 8
/** Elements of one tensor: what 256 MiB hold. */
const MAX_ELEMENTS = 2 ** 26

const bad = (message: string): SinterError => new SinterError('GATEWAY_REQUEST', message)
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function parametersOf(value: unknown, where: string): Parameters {
  if (value === undefined) return {}
  if (!isObject(value)) throw bad(`${where}: parameters must be an object`)
  return value as Parameters
}

function flag(parameters: Parameters, name: string, where: string): boolean | undefined {
  const value = parameters[name]
  if (value !== undefined && typeof value !== 'boolean') throw bad(`${where}: ${name} must be true or false`)
  return value
}

function textOf(value: unknown, where: string): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > 256) throw bad(`${where} must be a short text`)
  return value
}

function shapeOf(value: unknown, where: string): number[] {
  if (!Array.isArray(value) || value.length > MAX_DIMS)
    throw bad(`${where}: shape must be a list of at most ${MAX_DIMS}`)
  if (!value.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) throw bad(`${where}: shape must hold whole numbers`)
  const shape = value as number[]
  const count = shape.reduce((product, dim) => product * dim, 1)
  if (count > MAX_ELEMENTS) throw bad(`${where}: [${shape}] has more than ${MAX_ELEMENTS} elements`)
  return shape
}

const elements = (shape: number[]): number => shape.reduce((product, dim) => product * dim, 1)

/** Numbers nested in any way, row-major: the protocol allows flat lists and lists that follow the shape. */
function numbersOf(data: unknown, count: number, datatype: Datatype, where: string): InputTensor['data'] {
  const out = datatype === 'FP32' ? new Float32Array(count) : new Float64Array(count)
  let at = 0
  const walk = (value: unknown, depth: number): void => {
    if (!Array.isArray(value)) throw bad(`${where}: data must be a list`)
    if (depth > MAX_DIMS) throw bad(`${where}: data is nested more than ${MAX_DIMS} deep`)
    for (const each of value) {
      if (typeof each !== 'number') {
        walk(each, depth + 1)
        continue
      }
      if (at === count) throw bad(`${where}: data has more than the ${count} elements of its shape`)
      if (datatype !== 'FP32' && !Number.isInteger(each)) throw bad(`${where}: ${each} is no ${datatype}`)
      out[at++] = each
    }
  }
  walk(data, 1)
  if (at !== count) throw bad(`${where}: data has ${at} elements, its shape ${count}`)
  return out
}

function elementsOf(bytes: Uint8Array, datatype: Datatype): InputTensor['data'] {
  if (datatype === 'FP32') return floatsOf(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Float64Array.from({ length: bytes.length / SIZES[datatype] }, (_, i) =>
    datatype === 'INT32' ? view.getInt32(4 * i, true) : Number(view.getBigInt64(8 * i, true)),
  )
}

function bytesOf(output: OutputTensor): Uint8Array {
  if (output.datatype === 'FP32') return toWire(output.name, output.shape, output.data).data
  const bytes = new Uint8Array(SIZES.INT64 * output.data.length)
  const view = new DataView(bytes.buffer)
  output.data.forEach((value, i) => {
    view.setBigInt64(8 * i, BigInt(value), true)
  })
  return bytes
}

/**
 * Decodes an infer request: JSON alone, or JSON of `headerLength` bytes and the tensors' little-endian bytes behind it in the order
 * of the inputs that have a `binary_data_size`. Throws `GATEWAY_REQUEST` (a 400) with what is wrong.
 */
export function decodeInfer(body: Uint8Array, headerLength: number | null): InferRequest {
  if (headerLength !== null && headerLength > body.length)
    throw bad(`the header is said to have ${headerLength} bytes, the body has ${body.length}`)
  const json = headerLength === null ? body : body.subarray(0, headerLength)
  let at = headerLength ?? body.length
  const value = parseJson(json)
  if (!isObject(value)) throw bad('the request must be a JSON object')
  if (value.id !== undefined && typeof value.id !== 'string') throw bad('id must be a text')
  const parameters = parametersOf(value.parameters, 'request')
  if (!Array.isArray(value.inputs) || value.inputs.length === 0) throw bad('the request has no inputs')
  if (value.inputs.length > MAX_TENSORS) throw bad(`a request has at most ${MAX_TENSORS} inputs`)
  const inputs = value.inputs.map((each: unknown, i) => {
    if (!isObject(each)) throw bad(`input ${i} must be an object`)
    const name = textOf(each.name, `the name of input ${i}`)
    const where = `input '${name}'`
    const shape = shapeOf(each.shape, where)
    if (!(DATATYPES as readonly unknown[]).includes(each.datatype)) throw bad(`${where}: unknown datatype`)
    if (!Object.hasOwn(SIZES, each.datatype as string))
      throw bad(`${where}: the datatype is ${each.datatype as string}, models have FP32 or INT64`)
    const datatype = each.datatype as Datatype
    const count = elements(shape)
    const size = parametersOf(each.parameters, where).binary_data_size
    if (size === undefined) return { name, shape, datatype, data: numbersOf(each.data, count, datatype, where) }
    if (each.data !== undefined) throw bad(`${where} has both data and binary_data_size`)
    if (headerLength === null)
      throw bad(`${where} has binary_data_size and the request no Inference-Header-Content-Length`)
    const whole = SIZES[datatype] * count
    if (size !== whole) throw bad(`${where}: binary_data_size is ${size}, its shape has ${whole} bytes`)
    if (at + whole > body.length) throw bad(`${where}: the body ends before its data does`)
    const data = elementsOf(body.subarray(at, at + whole), datatype)
    at += whole
    return { name, shape, datatype, data }
  })
  if (at !== body.length) throw bad(`${body.length - at} bytes are left after the last input`)
  if (new Set(inputs.map(({ name }) => name)).size < inputs.length) throw bad('two inputs have one name')
  const binaryOutput = flag(parameters, 'binary_data_output', 'request') ?? false
  let outputs: RequestedOutput[] | null = null
  if (value.outputs !== undefined) {
    if (!Array.isArray(value.outputs) || value.outputs.length > MAX_TENSORS) throw bad('outputs must be a list')
    if (value.outputs.length > 0)
      outputs = value.outputs.map((each: unknown, i) => {
        if (!isObject(each)) throw bad(`output ${i} must be an object`)
        const name = textOf(each.name, `the name of output ${i}`)
        const own = parametersOf(each.parameters, `output '${name}'`)
        if (own.classification !== undefined) throw bad(`output '${name}': the classification extension is not offered`)
        return { name, binary: flag(own, 'binary_data', `output '${name}'`) ?? binaryOutput }
      })
  }
  return { id: value.id as string | undefined, inputs, outputs, binaryOutput }
}

export type InferResponse = {
  model: string
  version: string
  id: string | undefined
  parameters: Parameters
  outputs: (OutputTensor & { binary: boolean })[]
}

/** Encodes an answer of finite values. `headerLength` is null when no output goes as bytes, and the body is all JSON then. */
export function encodeInfer(response: InferResponse): { body: Uint8Array; headerLength: number | null } {
  const parts: Uint8Array[] = []
  const outputs = response.outputs.map(({ binary, ...output }) => {
    const { name, datatype, shape, data } = output
    const common = { name, datatype, shape }
    if (!binary) return { ...common, data: Array.from(data) }
    const bytes = bytesOf(output)
    parts.push(bytes)
    return { ...common, parameters: { binary_data_size: bytes.length } }
  })
  const header = new TextEncoder().encode(
    JSON.stringify({
      model_name: response.model,
      model_version: response.version,
      ...(response.id === undefined ? {} : { id: response.id }),
      parameters: response.parameters,
      outputs,
    }),
  )
  if (parts.length === 0) return { body: header, headerLength: null }
  return { body: new Uint8Array(Buffer.concat([header, ...parts])), headerLength: header.length }
}
