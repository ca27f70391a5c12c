import onnxProto, { type onnx } from 'onnx-proto'
import { SinterError } from '../protocol/errors.ts'
import { scanModel } from './onnx-scan.ts'

/**
 * Admission of ONNX files (DESIGN §4): a model is read and judged before anything runs it. The only home of `onnx-proto`.
 */

/** Operators with a canonical meaning in this version. */
export const OPERATORS = [
  'AveragePool',
  'Conv',
  'Flatten',
  'Gemm',
  'GlobalAveragePool',
  'Identity',
  'LeakyRelu',
  'MatMul',
  'Relu',
  'Reshape',
  'Sigmoid',
  'Tanh',
] as const
export type Operator = (typeof OPERATORS)[number]

export const MODEL_LIMITS = {
  bytes: 512 * 2 ** 20,
  nodes: 10_000,
  rank: 8,
  elements: 2 ** 27,
  opset: [13, 22],
} as const

export type Attribute = number | number[] | string
export type GraphNode = {
  /** The node's own name, or its operator and position. */
  name: string
  operator: Operator
  inputs: string[]
  outputs: string[]
  attributes: Map<string, Attribute>
}
/** `null` stands for the batch dimension, which only the first one can be. */
export type GraphEnd = { name: string; dims: (number | null)[] }
export type Constant = { dims: number[]; dtype: 'float32' | 'int64'; data: Float32Array | number[] }

/** A plain description of a model's graph: nodes in topological order, float32 throughout, no subgraphs. */
export type Graph = {
  opset: number
  inputs: GraphEnd[]
  outputs: GraphEnd[]
  constants: Map<string, Constant>
  nodes: GraphNode[]
}

const FLOAT = 1
const INT64 = 7
const EXTERNAL = 1

const fail = (code: string, message: string, cause?: unknown): never => {
  throw new SinterError(code, message, { cause })
}

/** Integers of the wire are numbers, or Long objects beyond 32 bits. Those that are not safe integers are refused. */
function integer(value: unknown, what: string): number {
  const number = typeof value === 'number' ? value : Number(String(value))
  if (!Number.isSafeInteger(number)) fail('MODEL_MALFORMED', `${what} is not a usable integer`)
  return number
}

const nodeName = (node: onnx.INodeProto, index: number): string => node.name || `${node.opType || 'node'}_${index}`

function decode(bytes: Uint8Array): onnx.IModelProto {
  scanModel(bytes)
  try {
    return onnxProto.onnx.ModelProto.decode(bytes)
  } catch (cause) {
    return fail('MODEL_NOT_ONNX', 'the file is not an ONNX model', cause)
  }
}

function opsetOf(model: onnx.IModelProto): number {
  const imports = model.opsetImport ?? []
  if (integer(model.irVersion ?? 0, 'the format version') < 1 || imports.length === 0 || !model.graph)
    fail('MODEL_NOT_ONNX', 'the file is not an ONNX model: it has no version, operator set or graph')
  const main = imports.filter(({ domain }) => !domain || domain === 'ai.onnx')
  const version = main.length === 1 ? integer(main[0]!.version ?? 0, 'the operator set version') : 0
  const [first, last] = MODEL_LIMITS.opset
  if (version < first || version > last)
    fail('MODEL_OPSET', `the model needs operator set ${version}; ${first} to ${last} are supported`)
  return version
}

function readConstant(tensor: onnx.ITensorProto, what: string): Constant {
  if (tensor.dataLocation === EXTERNAL || tensor.externalData?.length)
    fail('MODEL_EXTERNAL_DATA', `${what} lies in another file; weights must be inside the model`)
  if (tensor.segment) fail('MODEL_MALFORMED', `${what} is stored in segments`)
  const dims = (tensor.dims ?? []).map((dim) => integer(dim, `a dimension of ${what}`))
  let elements = 1
  for (const dim of dims) {
    if (dim < 0) fail('MODEL_SHAPE', `${what} has a negative dimension`)
    elements *= dim
  }
  if (dims.length > MODEL_LIMITS.rank || elements > MODEL_LIMITS.elements) fail('MODEL_SHAPE', `${what} is too large`)
  const raw = tensor.rawData ?? new Uint8Array(0)
  const mismatch = (): never => fail('MODEL_SHAPE', `${what} does not hold as many values as its shape says`)
  switch (tensor.dataType) {
    case FLOAT: {
      const listed = tensor.floatData ?? []
      if (raw.length > 0 ? raw.length !== 4 * elements || listed.length > 0 : listed.length !== elements) mismatch()
      // The copy gives the alignment that a typed array asks for.
      const data = raw.length > 0 ? new Float32Array(new Uint8Array(raw).buffer) : Float32Array.from(listed)
      if (data.some((value) => !Number.isFinite(value)))
        fail('MODEL_VALUE', `${what} holds a number that is not finite`)
      return { dims, dtype: 'float32', data }
    }
    case INT64: {
      const listed = tensor.int64Data ?? []
      // Integer constants are shapes: a long one is no shape.
      if (elements > 64) fail('MODEL_DTYPE', `${what} is a long list of integers; weights must be float32`)
      if (raw.length > 0 ? raw.length !== 8 * elements || listed.length > 0 : listed.length !== elements) mismatch()
      const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
      const values = raw.length > 0 ? Array.from({ length: elements }, (_, i) => view.getBigInt64(8 * i, true)) : listed
      return { dims, dtype: 'int64', data: values.map((value) => integer(value, what)) }
    }
    default:
      return fail('MODEL_DTYPE', `${what} has element type ${tensor.dataType ?? 0}; float32 weights are supported`)
  }
}

function readEnd(info: onnx.IValueInfoProto, what: string): GraphEnd {
  const name = info.name || fail('MODEL_MALFORMED', `${what} has no name`)
  const type = info.type?.tensorType
  if (!type?.shape) fail('MODEL_SHAPE', `${what} ${name} is not a tensor with a known rank`)
  if (type!.elemType !== FLOAT) fail('MODEL_DTYPE', `${what} ${name} is not float32`)
  const dims = (type!.shape!.dim ?? []).map((dim, axis) => {
    const size =
      dim.dimParam || dim.dimValue === undefined || dim.dimValue === null
        ? null
        : integer(dim.dimValue, `a dimension of ${name}`)
    if (size === null && axis > 0)
      fail('MODEL_SHAPE', `${what} ${name}: only the first dimension, the batch, may be dynamic`)
    if (size !== null && (size < 1 || size > MODEL_LIMITS.elements))
      fail('MODEL_SHAPE', `${what} ${name} has an impossible dimension`)
    return size
  })
  if (dims.length < 1 || dims.length > MODEL_LIMITS.rank) fail('MODEL_SHAPE', `${what} ${name} has rank ${dims.length}`)
  return { name, dims }
}

function readAttributes(node: onnx.INodeProto, name: string): Map<string, Attribute> {
  const attributes = new Map<string, Attribute>()
  for (const attribute of node.attribute ?? []) {
    const key = attribute.name || fail('MODEL_MALFORMED', `node ${name} has an attribute without a name`)
    if (attributes.has(key)) fail('MODEL_MALFORMED', `node ${name} has attribute ${key} twice`)
    switch (attribute.type) {
      case 1:
        attributes.set(key, attribute.f ?? 0)
        break
      case 2:
        attributes.set(key, integer(attribute.i ?? 0, `attribute ${key} of node ${name}`))
        break
      case 3:
        attributes.set(key, new TextDecoder().decode(attribute.s ?? new Uint8Array(0)))
        break
      case 7:
        attributes.set(
          key,
          (attribute.ints ?? []).map((value) => integer(value, `attribute ${key} of node ${name}`)),
        )
        break
      default:
        fail('MODEL_ATTRIBUTE', `attribute ${key} of node ${name} has a kind that no supported operator uses`)
    }
  }
  return attributes
}

function readNode(node: onnx.INodeProto, index: number): GraphNode {
  const name = nodeName(node, index)
  const operator = OPERATORS.find((known) => known === node.opType)
  if (operator === undefined || (node.domain && node.domain !== 'ai.onnx')) {
    const full = node.domain ? `${node.domain}.${node.opType}` : node.opType
    throw new SinterError('MODEL_OPERATOR', `node ${name} uses operator ${full}, which has no canonical meaning yet`, {
      detail: { node: name, operator: full },
    })
  }
  const outputs = node.output ?? []
  if (outputs.length !== 1 || !outputs[0]) fail('MODEL_MALFORMED', `node ${name} does not have exactly one output`)
  return {
    name,
    operator,
    inputs: [...(node.input ?? [])],
    outputs: [...outputs],
    attributes: readAttributes(node, name),
  }
}

/** Orders nodes so that each comes after what it reads (Kahn's algorithm, stable in the file's order). */
function sortNodes(nodes: GraphNode[], known: Set<string>): GraphNode[] {
  const producer = new Map<string, number>()
  nodes.forEach((node, index) => {
    const output = node.outputs[0]!
    if (known.has(output) || producer.has(output)) fail('MODEL_MALFORMED', `${output} is produced twice`)
    producer.set(output, index)
  })
  const readers = nodes.map((): number[] => [])
  const waiting = nodes.map((node, index) => {
    let missing = 0
    for (const input of node.inputs) {
      const from = producer.get(input)
      if (from === undefined) {
        if (input !== '' && !known.has(input))
          fail('MODEL_MALFORMED', `node ${node.name} reads ${input}, which nothing produces`)
      } else {
        readers[from]!.push(index)
        missing++
      }
    }
    return missing
  })
  const ready = waiting.flatMap((missing, index) => (missing === 0 ? [index] : []))
  const sorted: GraphNode[] = []
  for (let at = 0; at < ready.length; at++) {
    sorted.push(nodes[ready[at]!]!)
    for (const reader of readers[ready[at]!]!) if (--waiting[reader]! === 0) ready.push(reader)
  }
  if (sorted.length !== nodes.length) fail('MODEL_CYCLE', 'the graph has a cycle')
  return sorted
}

/**
 * Reads and admits an ONNX model from untrusted bytes, in bounded time and memory.
 * @param options.maxBytes largest file to look at, in bytes. @default 512 MiB
 * Throws `MODEL_TOO_LARGE`, `MODEL_NOT_ONNX`, `MODEL_OPSET`, `MODEL_OPERATOR` (naming the node), `MODEL_EXTERNAL_DATA`,
 * `MODEL_FEATURE`, `MODEL_DTYPE`, `MODEL_SHAPE`, `MODEL_VALUE`, `MODEL_ATTRIBUTE`, `MODEL_CYCLE` or `MODEL_MALFORMED`.
 */
export function parseModel(bytes: Uint8Array, options: { maxBytes?: number } = {}): Graph {
  const maxBytes = options.maxBytes ?? MODEL_LIMITS.bytes
  if (bytes.length > maxBytes)
    fail('MODEL_TOO_LARGE', `the model has ${bytes.length} bytes; at most ${maxBytes} are taken`)
  if (bytes.length === 0) fail('MODEL_NOT_ONNX', 'the file is empty')
  const model = decode(bytes)
  const opset = opsetOf(model)
  const graph = model.graph!
  const protoNodes = graph.node ?? []
  if (protoNodes.length === 0) fail('MODEL_MALFORMED', 'the graph has no nodes')
  if (protoNodes.length > MODEL_LIMITS.nodes)
    fail('MODEL_TOO_LARGE', `the graph has more than ${MODEL_LIMITS.nodes} nodes`)
  if (graph.sparseInitializer?.length) fail('MODEL_FEATURE', 'sparse weights are not supported')

  const constants = new Map<string, Constant>()
  const addConstant = (name: string, tensor: onnx.ITensorProto): void => {
    if (constants.has(name)) fail('MODEL_MALFORMED', `constant ${name} is given twice`)
    constants.set(name, readConstant(tensor, `constant ${name}`))
  }
  for (const tensor of graph.initializer ?? [])
    addConstant(tensor.name || fail('MODEL_MALFORMED', 'a constant has no name'), tensor)
  const nodes: GraphNode[] = []
  protoNodes.forEach((node, index) => {
    const value = node.attribute?.find(({ name }) => name === 'value')?.t
    if (node.opType === 'Constant' && !node.domain && value && node.output?.length === 1)
      addConstant(node.output[0] || nodeName(node, index), value)
    else nodes.push(readNode(node, index))
  })
  // Old exporters list the weights among the inputs too.
  const inputs = (graph.input ?? [])
    .filter(({ name }) => !constants.has(name ?? ''))
    .map((info) => readEnd(info, 'input'))
  const outputs = (graph.output ?? []).map((info) => readEnd(info, 'output'))
  if (inputs.length === 0 || outputs.length === 0) fail('MODEL_MALFORMED', 'the graph has no inputs or no outputs')
  const known = new Set([...constants.keys(), ...inputs.map(({ name }) => name)])
  if (known.size !== constants.size + inputs.length) fail('MODEL_MALFORMED', 'two inputs share a name')
  const sorted = sortNodes(nodes, known)
  const produced = new Set(sorted.map((node) => node.outputs[0]!))
  for (const { name } of outputs)
    if (!produced.has(name)) fail('MODEL_MALFORMED', `output ${name} is not produced by any node`)
  return { opset, inputs, outputs, constants, nodes: sorted }
}
