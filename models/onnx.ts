import onnxProto, { type onnx } from 'onnx-proto'
import { scanModel } from './onnx-scan.ts'
import { type ConstantBudget, clampedInteger, dtypeOf, fail, integer, readConstant } from './onnx-tensor.ts'

/**
 * Admission of ONNX files (DESIGN §4): a model is read and judged before anything runs it. The only home of `onnx-proto`.
 * Any operator is admitted here; which of them have a canonical meaning is for the lowering to say.
 */

export const MODEL_LIMITS = {
  bytes: 512 * 2 ** 20,
  nodes: 10_000,
  rank: 8,
  /** Of one tensor, and of all constants together. */
  elements: 2 ** 27,
  opset: [13, 22],
} as const

export type DType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'bool'

/**
 * Values are exact: float32 and float16 in a Float32Array, everything else (integers, bool as 0 and 1, float64) in a
 * Float64Array. An int64 of at least 2^62 in size means "to the end" where slices use it, and stands as ±(2^53 − 1).
 */
export type Constant = { dims: number[]; dtype: DType; data: Float32Array | Float64Array }

export type Attribute = number | number[] | string | string[] | Constant

export type GraphNode = {
  /** The node's own name, or its operator and position. */
  name: string
  operator: string
  /** '' for the operators of ONNX itself. */
  domain: string
  /** '' stands for one that is left out; so in `outputs`. */
  inputs: string[]
  outputs: string[]
  attributes: Map<string, Attribute>
  /** Names of attributes that have no `Attribute` form and were left out: subgraphs, types, sparse tensors, tensor lists. */
  omitted?: string[]
}

/** `null` stands for a dimension that the model leaves open. */
export type GraphEnd = { name: string; dtype: DType; dims: (number | null)[] }

/** A plain description of a model's graph, its nodes in topological order. */
export type Graph = {
  opset: number
  inputs: GraphEnd[]
  outputs: GraphEnd[]
  constants: Map<string, Constant>
  nodes: GraphNode[]
}

/** The messages of an ONNX file, for those who edit one. */
export type ModelProto = onnx.IModelProto
export type GraphProto = onnx.IGraphProto
export type NodeProto = onnx.INodeProto
export type TensorProto = onnx.ITensorProto
export type ValueInfoProto = onnx.IValueInfoProto

/** Numbers of `AttributeProto.AttributeType`. */
const ATTRIBUTE = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7, strings: 8 } as const
/** Graphs, types, sparse tensors and lists of tensors (ONNX 1.10). */
const UNREAD_ATTRIBUTES = [5, 9, 10, 11, 12, 13, 14]

const nodeName = (node: NodeProto, index: number): string => node.name || `${node.opType || 'node'}_${index}`
const domainOf = (domain: string | null | undefined): string => (domain === 'ai.onnx' ? '' : (domain ?? ''))
const text = (bytes: Uint8Array | null | undefined): string => new TextDecoder().decode(bytes ?? new Uint8Array(0))

/**
 * Decodes an ONNX file after the checks that make decoding safe; the graph inside is not judged.
 * Throws `MODEL_TOO_LARGE`, `MODEL_NOT_ONNX` or `MODEL_FEATURE`.
 */
export function decodeModel(bytes: Uint8Array, maxBytes: number = MODEL_LIMITS.bytes): ModelProto {
  if (bytes.length > maxBytes)
    fail('MODEL_TOO_LARGE', `the model has ${bytes.length} bytes; at most ${maxBytes} are taken`)
  if (bytes.length === 0) fail('MODEL_NOT_ONNX', 'the file is empty')
  scanModel(bytes)
  try {
    return onnxProto.onnx.ModelProto.decode(bytes)
  } catch (cause) {
    return fail('MODEL_NOT_ONNX', 'the file is not an ONNX model', cause)
  }
}

/** The bytes of a model. Fields that ONNX added after 1.10 (device and metadata notes) are not kept. */
export const encodeModel = (model: ModelProto): Uint8Array =>
  new Uint8Array(onnxProto.onnx.ModelProto.encode(model).finish())

function opsetOf(model: ModelProto): number {
  const imports = model.opsetImport ?? []
  if (integer(model.irVersion ?? 0, 'the format version') < 1 || imports.length === 0 || !model.graph)
    fail('MODEL_NOT_ONNX', 'the file is not an ONNX model: it has no version, operator set or graph')
  const main = imports.filter(({ domain }) => domainOf(domain) === '')
  const [first, last] = MODEL_LIMITS.opset
  // A graph of other domains only, such as a tree of ai.onnx.ml, names no operator set of ONNX's own.
  if (main.length === 0 && (model.graph!.node ?? []).every(({ domain }) => domainOf(domain) !== '')) return last
  // Some exporters say the same twice.
  const [version = 0, ...others] = new Set(main.map((each) => integer(each.version ?? 0, 'the operator set version')))
  if (others.length > 0) fail('MODEL_OPSET', `the model needs the operator sets ${[version, ...others]} at once`)
  if (version < first || version > last)
    fail('MODEL_OPSET', `the model needs operator set ${version}; ${first} to ${last} are supported`)
  return version
}

function readEnd(info: onnx.IValueInfoProto, what: string): GraphEnd {
  const name = info.name || fail('MODEL_MALFORMED', `${what} has no name`)
  const type = info.type?.tensorType
  if (!type?.shape) fail('MODEL_SHAPE', `${what} ${name} is not a tensor with a known rank`)
  const dtype = dtypeOf(type!.elemType ?? 0, `${what} ${name}`)
  const dims = (type!.shape!.dim ?? []).map((dim) => {
    if (dim.dimParam || dim.dimValue === undefined || dim.dimValue === null) return null
    const size = integer(dim.dimValue, `a dimension of ${name}`)
    if (size < 1 || size > MODEL_LIMITS.elements) fail('MODEL_SHAPE', `${what} ${name} has an impossible dimension`)
    return size
  })
  if (dims.length > MODEL_LIMITS.rank) fail('MODEL_SHAPE', `${what} ${name} has rank ${dims.length}`)
  const elements = dims.reduce<number>((product, dim) => product * (dim ?? 1), 1)
  if (elements > MODEL_LIMITS.elements) fail('MODEL_SHAPE', `${what} ${name} is too large`)
  return { name, dtype, dims }
}

/** The value of an attribute, or null for a kind that `Attribute` does not hold. */
function attributeValue(attribute: onnx.IAttributeProto, what: string, budget: ConstantBudget): Attribute | null {
  const real = (value: number): number =>
    Number.isNaN(value) ? fail('MODEL_ATTRIBUTE', `${what} is not a number`) : value
  switch (attribute.type) {
    case ATTRIBUTE.float:
      return real(attribute.f ?? 0)
    case ATTRIBUTE.int:
      return clampedInteger(attribute.i ?? 0, what)
    case ATTRIBUTE.string:
      return text(attribute.s)
    case ATTRIBUTE.tensor:
      return readConstant(attribute.t ?? fail('MODEL_MALFORMED', `${what} has no value`), what, budget)
    case ATTRIBUTE.floats:
      return (attribute.floats ?? []).map(real)
    case ATTRIBUTE.ints:
      return (attribute.ints ?? []).map((value) => clampedInteger(value, what))
    case ATTRIBUTE.strings:
      return (attribute.strings ?? []).map(text)
    default:
      if (UNREAD_ATTRIBUTES.includes(attribute.type as number)) return null
      return fail('MODEL_ATTRIBUTE', `${what} has a kind that ONNX does not know`)
  }
}

function readNode(node: NodeProto, index: number, budget: ConstantBudget): GraphNode {
  const name = nodeName(node, index)
  const operator = node.opType || fail('MODEL_MALFORMED', `node ${name} has no operator`)
  const attributes = new Map<string, Attribute>()
  const omitted = new Set<string>()
  for (const attribute of node.attribute ?? []) {
    const key = attribute.name || fail('MODEL_MALFORMED', `node ${name} has an attribute without a name`)
    if (attributes.has(key) || omitted.has(key)) fail('MODEL_MALFORMED', `node ${name} has attribute ${key} twice`)
    const value = attributeValue(attribute, `attribute ${key} of node ${name}`, budget)
    if (value === null) omitted.add(key)
    else attributes.set(key, value)
  }
  const outputs = [...(node.output ?? [])]
  if (!outputs.some((output) => output !== '')) fail('MODEL_MALFORMED', `node ${name} has no output`)
  const base = { name, operator, domain: domainOf(node.domain), inputs: [...(node.input ?? [])], outputs, attributes }
  return omitted.size === 0 ? base : { ...base, omitted: [...omitted] }
}

/** Each form of a Constant node: the attribute that holds it, and how it reads. Texts and sparse tensors have no form here. */
const CONSTANT_FORMS: Record<string, (value: Attribute) => Constant> = {
  value: (value) => value as Constant,
  value_float: (value) => ({ dims: [], dtype: 'float32', data: Float32Array.of(value as number) }),
  value_floats: (value) => ({
    dims: [(value as number[]).length],
    dtype: 'float32',
    data: Float32Array.from(value as number[]),
  }),
  value_int: (value) => ({ dims: [], dtype: 'int64', data: Float64Array.of(value as number) }),
  value_ints: (value) => ({
    dims: [(value as number[]).length],
    dtype: 'int64',
    data: Float64Array.from(value as number[]),
  }),
}
const CONSTANT_TYPES: Record<string, number> = {
  value: ATTRIBUTE.tensor,
  value_float: ATTRIBUTE.float,
  value_floats: ATTRIBUTE.floats,
  value_int: ATTRIBUTE.int,
  value_ints: ATTRIBUTE.ints,
}

/** The value of a Constant node. */
function constantNode(node: NodeProto, index: number, budget: ConstantBudget): Constant {
  const name = nodeName(node, index)
  const [attribute, ...more] = node.attribute ?? []
  if (attribute === undefined || more.length > 0 || node.output?.length !== 1 || node.input?.length)
    return fail('MODEL_MALFORMED', `node ${name} is not a constant with one value`)
  const key = attribute.name ?? ''
  if (key === 'sparse_value') return fail('MODEL_FEATURE', `node ${name} is a sparse constant`)
  if (key === 'value_string' || key === 'value_strings') return fail('MODEL_DTYPE', `node ${name} is a text`)
  if (!Object.hasOwn(CONSTANT_FORMS, key) || attribute.type !== CONSTANT_TYPES[key])
    return fail('MODEL_ATTRIBUTE', `node ${name} has no constant in its attribute ${key}`)
  return CONSTANT_FORMS[key]!(attributeValue(attribute, `node ${name}`, budget)!)
}

/** Orders nodes so that each comes after what it reads (Kahn's algorithm, stable in the file's order). */
function sortNodes(nodes: GraphNode[], known: Set<string>): GraphNode[] {
  const producer = new Map<string, number>()
  nodes.forEach((node, index) => {
    for (const output of node.outputs) {
      if (output === '') continue
      if (known.has(output) || producer.has(output)) fail('MODEL_MALFORMED', `${output} is produced twice`)
      producer.set(output, index)
    }
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
 * Throws `MODEL_TOO_LARGE`, `MODEL_NOT_ONNX`, `MODEL_OPSET`, `MODEL_EXTERNAL_DATA`, `MODEL_FEATURE`, `MODEL_DTYPE`,
 * `MODEL_SHAPE`, `MODEL_VALUE`, `MODEL_ATTRIBUTE`, `MODEL_CYCLE` or `MODEL_MALFORMED`.
 */
export function parseModel(bytes: Uint8Array, options: { maxBytes?: number } = {}): Graph {
  const model = decodeModel(bytes, options.maxBytes)
  const opset = opsetOf(model)
  const graph = model.graph!
  const protoNodes = graph.node ?? []
  if (protoNodes.length === 0) fail('MODEL_MALFORMED', 'the graph has no nodes')
  if (protoNodes.length > MODEL_LIMITS.nodes)
    fail('MODEL_TOO_LARGE', `the graph has more than ${MODEL_LIMITS.nodes} nodes`)
  if (graph.sparseInitializer?.length) fail('MODEL_FEATURE', 'sparse weights are not supported')

  const budget: ConstantBudget = { elements: MODEL_LIMITS.elements, rank: MODEL_LIMITS.rank }
  const constants = new Map<string, Constant>()
  const addConstant = (name: string, constant: Constant): void => {
    if (constants.has(name)) fail('MODEL_MALFORMED', `constant ${name} is given twice`)
    constants.set(name, constant)
  }
  for (const tensor of graph.initializer ?? []) {
    const name = tensor.name || fail('MODEL_MALFORMED', 'a constant has no name')
    addConstant(name, readConstant(tensor, `constant ${name}`, budget))
  }
  const nodes: GraphNode[] = []
  protoNodes.forEach((node, index) => {
    if (node.opType === 'Constant' && domainOf(node.domain) === '') {
      const constant = constantNode(node, index, budget)
      addConstant(node.output![0] || fail('MODEL_MALFORMED', 'a constant has no name'), constant)
    } else nodes.push(readNode(node, index, budget))
  })
  // Old exporters list the weights among the inputs too.
  const inputs = (graph.input ?? [])
    .filter(({ name }) => !constants.has(name ?? ''))
    .map((info) => readEnd(info, 'input'))
  const outputs = (graph.output ?? []).map((info) => readEnd(info, 'output'))
  if (inputs.length === 0 || outputs.length === 0) fail('MODEL_MALFORMED', 'the graph has no inputs or no outputs')
  const known = new Set([...constants.keys(), ...inputs.map(({ name }) => name)])
  if (known.size !== constants.size + inputs.length) fail('MODEL_MALFORMED', 'two inputs share a name')
  if (new Set(outputs.map(({ name }) => name)).size !== outputs.length)
    fail('MODEL_MALFORMED', 'two outputs share a name')
  const sorted = sortNodes(nodes, known)
  const produced = new Set(sorted.flatMap((node) => node.outputs))
  for (const { name } of outputs)
    if (!produced.has(name)) fail('MODEL_MALFORMED', `output ${name} is not produced by any node`)
  return { opset, inputs, outputs, constants, nodes: sorted }
}
