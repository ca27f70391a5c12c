import onnxProto, { type onnx } from 'onnx-proto'

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

/** Numbers that look random and are the same every time. */
export function numbers(count: number, scale = 1, seed = 1): number[] {
  let state = seed
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.fround(((state >>> 8) / 2 ** 23 - 1) * scale)
  })
}
