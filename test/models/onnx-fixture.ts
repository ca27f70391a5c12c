import onnxProto, { type onnx } from 'onnx-proto'
import type { Constant, DType } from '../../models/onnx.ts'
import { dtypeNumber } from '../../models/onnx-tensor.ts'

/** Small ONNX files for tests, one operator or a few at a time. */

const { onnx: proto } = onnxProto

export type FixtureNode = {
  op: string
  inputs: string[]
  output: string
  attributes?: Record<string, number | number[] | string | { float: number }>
  domain?: string
  name?: string
}

export type Fixture = {
  nodes: FixtureNode[]
  input?: (number | string)[]
  output?: (number | string)[]
  floats?: Record<string, { dims: number[]; data: number[] }>
  ints?: Record<string, number[]>
  opset?: number
  edit?: (model: onnx.IModelProto) => void
}

const FLOAT = 1
const INT64 = 7

function attribute(name: string, value: number | number[] | string | { float: number }): onnx.IAttributeProto {
  if (typeof value === 'number') return { name, type: 2, i: value }
  if (typeof value === 'string') return { name, type: 3, s: new TextEncoder().encode(value) }
  if (Array.isArray(value)) return { name, type: 7, ints: value }
  return { name, type: 1, f: value.float }
}

const end = (name: string, dims: (number | string)[]): onnx.IValueInfoProto => ({
  name,
  type: {
    tensorType: {
      elemType: FLOAT,
      shape: { dim: dims.map((dim) => (typeof dim === 'string' ? { dimParam: dim } : { dimValue: dim })) },
    },
  },
})

/** Bytes of a model with input `x` and output `y`; `edit` may still change the message. */
export function onnxModel(fixture: Fixture): Uint8Array {
  const { floats = {}, ints = {}, input = ['n', 4], output = ['n', 4] } = fixture
  const model: onnx.IModelProto = {
    irVersion: 8,
    producerName: 'fixture',
    opsetImport: [{ domain: '', version: fixture.opset ?? 18 }],
    graph: {
      name: 'graph',
      node: fixture.nodes.map(({ op, inputs, output: out, attributes = {}, domain = '', name = '' }) => ({
        name,
        opType: op,
        domain,
        input: inputs,
        output: [out],
        attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
      })),
      initializer: [
        ...Object.entries(floats).map(([name, { dims, data }]) => ({
          name,
          dims,
          dataType: FLOAT,
          rawData: new Uint8Array(Float32Array.from(data).buffer),
        })),
        ...Object.entries(ints).map(([name, data]) => ({
          name,
          dims: [data.length],
          dataType: INT64,
          rawData: new Uint8Array(BigInt64Array.from(data, BigInt).buffer),
        })),
      ],
      input: [end('x', input)],
      output: [end('y', output)],
    },
  }
  fixture.edit?.(model)
  return new Uint8Array(proto.ModelProto.encode(model).finish())
}

/** An attribute of any kind that `Attribute` holds; a number list is of integers unless it is `{ floats }`. */
export type FixtureAttribute =
  | number
  | number[]
  | string
  | string[]
  | { float: number }
  | { floats: number[] }
  | Constant

function attributeProto(name: string, value: FixtureAttribute): onnx.IAttributeProto {
  if (Array.isArray(value) && typeof value[0] === 'string')
    return { name, type: 8, strings: (value as string[]).map((each) => new TextEncoder().encode(each)) }
  if (typeof value !== 'object' || Array.isArray(value)) return attribute(name, value as number | number[] | string)
  if ('float' in value) return attribute(name, value)
  if ('floats' in value) return { name, type: 6, floats: value.floats }
  return { name, type: 4, t: tensorProto('', value) }
}

/** The bits of an IEEE 754 half that holds the value exactly. */
function halfBits(value: number): number {
  const size = Math.abs(value)
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  if (size === Number.POSITIVE_INFINITY) return sign | 0x7c00
  if (size < 2 ** -14) return sign | (size * 2 ** 24)
  const exponent = Math.floor(Math.log2(size))
  return sign | ((exponent + 15) << 10) | (size * 2 ** (10 - exponent) - 1024)
}

/** Raw bytes of a constant, as ONNX stores them. */
export function rawData({ dtype, data }: Constant): Uint8Array {
  const values = Array.from(data)
  const arrays: Record<DType, () => ArrayBufferView<ArrayBuffer>> = {
    bool: () => Uint8Array.from(values),
    float16: () => Uint16Array.from(values, halfBits),
    float32: () => Float32Array.from(values),
    float64: () => Float64Array.from(values),
    int8: () => Int8Array.from(values),
    int16: () => Int16Array.from(values),
    int32: () => Int32Array.from(values),
    int64: () => BigInt64Array.from(values, BigInt),
    uint8: () => Uint8Array.from(values),
    uint16: () => Uint16Array.from(values),
    uint32: () => Uint32Array.from(values),
  }
  return new Uint8Array(arrays[dtype]().buffer)
}

export const tensorProto = (name: string, constant: Constant): onnx.ITensorProto => ({
  name,
  dims: constant.dims,
  dataType: dtypeNumber(constant.dtype),
  rawData: rawData(constant),
})

export const constant = (dtype: DType, dims: number[], values: number[]): Constant => ({
  dims,
  dtype,
  data: dtype === 'float32' || dtype === 'float16' ? Float32Array.from(values) : Float64Array.from(values),
})

export type GraphFixture = {
  nodes: {
    op: string
    inputs: string[]
    outputs: string[]
    attributes?: Record<string, FixtureAttribute>
    domain?: string
    name?: string
  }[]
  /** No dimensions: of unknown rank. */
  inputs: Record<string, { dtype?: DType; dims?: (number | string)[] }>
  outputs: Record<string, { dtype?: DType; dims?: (number | string)[] }>
  constants?: Record<string, Constant>
  opset?: number
  edit?: (model: onnx.IModelProto) => void
}

/** Bytes of a model with any inputs, outputs and element types. */
export function onnxGraph(fixture: GraphFixture): Uint8Array {
  const ends = (all: GraphFixture['inputs']): onnx.IValueInfoProto[] =>
    Object.entries(all).map(([name, { dtype = 'float32', dims }]) => {
      const info = end(name, dims ?? [])
      info.type!.tensorType!.elemType = dtypeNumber(dtype)
      if (dims === undefined) delete info.type!.tensorType!.shape
      return info
    })
  const model: onnx.IModelProto = {
    irVersion: 8,
    producerName: 'fixture',
    opsetImport: [{ domain: '', version: fixture.opset ?? 18 }],
    graph: {
      name: 'graph',
      node: fixture.nodes.map(({ op, inputs, outputs, attributes = {}, domain = '', name = '' }) => ({
        name,
        opType: op,
        domain,
        input: inputs,
        output: outputs,
        attribute: Object.entries(attributes).map(([key, value]) => attributeProto(key, value)),
      })),
      initializer: Object.entries(fixture.constants ?? {}).map(([name, value]) => tensorProto(name, value)),
      input: ends(fixture.inputs),
      output: ends(fixture.outputs),
    },
  }
  fixture.edit?.(model)
  return new Uint8Array(proto.ModelProto.encode(model).finish())
}

/** Numbers that look random and are the same every time. */
export function numbers(count: number, scale = 1, seed = 1): number[] {
  let state = seed
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.fround(((state >>> 8) / 2 ** 23 - 1) * scale)
  })
}
