import { SinterError } from '../protocol/errors.ts'
import type { Constant, Graph, GraphNode } from './onnx.ts'
import { elementCount, windowOutputs } from './tiling.ts'

/** Lowering: an admitted ONNX graph to the few op kinds that have canonical semantics, still in real numbers. */

type Pair = [number, number]
type Pads = [number, number, number, number]

type PlanBase = { name: string; input: number; output: number }
export type PlanConv = PlanBase & {
  kind: 'conv'
  /** [output channel][input channel in group][kernel row][kernel column] */
  weights: Float64Array
  biases: Float64Array
  kernel: Pair
  strides: Pair
  pads: Pads
  dilations: Pair
  groups: number
}
/** `weights` is [output][input]. */
export type PlanGemm = PlanBase & { kind: 'gemm'; weights: Float64Array; biases: Float64Array }
export type PlanPool = PlanBase & { kind: 'averagepool'; kernel: Pair; strides: Pair; pads: Pads }
export type PlanTable = PlanBase & { kind: 'table'; function: string; apply: (x: number) => number }
export type PlanOp = PlanConv | PlanGemm | PlanPool | PlanTable

/** Shapes leave the batch axis out. */
export type PlanTensor = { name: string; shape: number[]; viewOf: number | null }
export type PlanEnd = { name: string; tensor: number; shape: number[] }
export type Plan = { inputs: PlanEnd[]; outputs: PlanEnd[]; tensors: PlanTensor[]; ops: PlanOp[] }

type Context = { graph: Graph; plan: Plan; ids: Map<string, number> }
type Lower = (context: Context, node: GraphNode) => void

const refuse = (code: string, node: GraphNode, message: string): never => {
  throw new SinterError(code, `node ${node.name} (${node.operator}): ${message}`, { detail: { node: node.name } })
}

const numberOf = (node: GraphNode, key: string, fallback: number): number => {
  const value = node.attributes.get(key) ?? fallback
  return typeof value === 'number' ? value : refuse('MODEL_ATTRIBUTE', node, `${key} is not a number`)
}

/** A list attribute with one positive integer (or zero, if allowed) per entry. */
function listOf(node: GraphNode, key: string, fallback: number[], least: number): number[] {
  const value = node.attributes.get(key) ?? fallback
  if (!Array.isArray(value) || value.length !== fallback.length)
    return refuse(
      'MODEL_ATTRIBUTE',
      node,
      `${key} does not have ${fallback.length} entries; windows are two-dimensional`,
    )
  if (value.some((entry) => entry < least || entry > 4096)) refuse('MODEL_ATTRIBUTE', node, `${key} is out of range`)
  return value
}

const expect = (node: GraphNode, key: string, fallback: number, wanted: number): void => {
  if (numberOf(node, key, fallback) !== wanted) refuse('MODEL_ATTRIBUTE', node, `${key} must be ${wanted}`)
}

function padsOf(node: GraphNode): Pads {
  const auto = node.attributes.get('auto_pad') ?? 'NOTSET'
  if (auto === 'VALID') return [0, 0, 0, 0]
  if (auto !== 'NOTSET') return refuse('MODEL_ATTRIBUTE', node, `auto_pad ${auto}; export explicit pads`)
  return listOf(node, 'pads', [0, 0, 0, 0], 0) as Pads
}

function inputOf({ ids, graph }: Context, node: GraphNode): number {
  const name = node.inputs[0] ?? ''
  if (graph.constants.has(name)) return refuse('MODEL_INPUT', node, `reads the constant ${name} as data`)
  return ids.get(name) ?? refuse('MODEL_MALFORMED', node, `reads ${name || 'nothing'}`)
}

function constantOf({ graph }: Context, node: GraphNode, index: number, dtype: Constant['dtype']): Constant {
  const name = node.inputs[index] ?? ''
  const constant = graph.constants.get(name)
  if (constant === undefined) return refuse('MODEL_INPUT', node, `input ${index} must be a constant inside the model`)
  if (constant.dtype !== dtype) return refuse('MODEL_DTYPE', node, `input ${index} must be ${dtype}`)
  return constant
}

const floats = (context: Context, node: GraphNode, index: number): { dims: number[]; data: Float32Array } => {
  const { dims, data } = constantOf(context, node, index, 'float32')
  return { dims, data: data as Float32Array }
}

function addTensor({ plan, ids }: Context, name: string, shape: number[], viewOf: number | null = null): number {
  const id = plan.tensors.push({ name, shape, viewOf }) - 1
  ids.set(name, id)
  return id
}

const output = (context: Context, node: GraphNode, shape: number[]): number =>
  addTensor(context, node.outputs[0]!, shape)

/** A bias per row; absent and scalar biases are spread out. */
function biasOf(context: Context, node: GraphNode, rows: number, factor: number): Float64Array {
  const out = new Float64Array(rows)
  if (!node.inputs[2]) return out
  const { dims, data } = floats(context, node, 2)
  const perRow = data.length === rows && (dims.at(-1) === rows || rows === 1)
  if (!perRow && data.length !== 1) refuse('MODEL_SHAPE', node, `its bias does not have ${rows} values`)
  return out.map((_, row) => factor * data[perRow ? row : 0]!)
}

/** The [channels, height, width] of an op's input and the extent of its windows. */
function windowed(
  context: Context,
  node: GraphNode,
  channels: number | null,
  kernel: number[],
  window: { strides: number[]; pads: number[]; dilations: number[] },
): number[] {
  const shape = context.plan.tensors[inputOf(context, node)]!.shape
  if (shape.length !== 3)
    refuse('MODEL_SHAPE', node, `needs [batch, channels, height, width], not rank ${shape.length + 1}`)
  const spatial = [0, 1].map((axis) =>
    windowOutputs(
      shape[axis + 1]!,
      window.pads[axis]!,
      window.pads[axis + 2]!,
      kernel[axis]!,
      window.strides[axis]!,
      window.dilations[axis]!,
    ),
  )
  if (spatial.some((size) => size < 1)) refuse('MODEL_SHAPE', node, 'its window is larger than the image')
  return [channels ?? shape[0]!, ...spatial]
}

const conv: Lower = (context, node) => {
  const { dims, data } = floats(context, node, 1)
  if (dims.length !== 4) refuse('MODEL_SHAPE', node, 'only two-dimensional convolutions are supported')
  const [rows, perGroup, ...kernel] = dims as [number, number, number, number]
  const groups = numberOf(node, 'group', 1)
  const input = inputOf(context, node)
  const channels = context.plan.tensors[input]!.shape[0]!
  if (groups < 1 || rows % groups !== 0 || channels !== perGroup * groups)
    refuse('MODEL_SHAPE', node, `its weights do not fit ${channels} input channels`)
  if (listOf(node, 'kernel_shape', kernel, 1).some((size, axis) => size !== kernel[axis]))
    refuse('MODEL_SHAPE', node, 'kernel_shape is not the shape of its weights')
  const window = {
    strides: listOf(node, 'strides', [1, 1], 1) as Pair,
    pads: padsOf(node),
    dilations: listOf(node, 'dilations', [1, 1], 1) as Pair,
  }
  const shape = windowed(context, node, rows, kernel, window)
  const weights = Float64Array.from(data)
  const biases = biasOf(context, node, rows, 1)
  const base = { name: node.name, input, output: output(context, node, shape) }
  context.plan.ops.push({ ...base, kind: 'conv', weights, biases, kernel: kernel as Pair, ...window, groups })
}

const gemm: Lower = (context, node) => {
  const input = inputOf(context, node)
  const { shape } = context.plan.tensors[input]!
  const { dims, data } = floats(context, node, 1)
  const plain = node.operator === 'MatMul'
  expect(node, 'transA', 0, 0)
  if (dims.length !== 2 || shape.length < 1 || (!plain && shape.length !== 1))
    refuse('MODEL_SHAPE', node, 'needs a matrix of weights and an input of fitting rank')
  const transposed = numberOf(node, 'transB', 0) !== 0
  const [depth, rows] = (transposed ? [dims[1], dims[0]] : dims) as Pair
  if (depth !== shape.at(-1)) refuse('MODEL_SHAPE', node, `its weights need ${depth} inputs, not ${shape.at(-1)}`)
  const alpha = numberOf(node, 'alpha', 1)
  const weights = new Float64Array(rows * depth)
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < depth; k++)
      weights[row * depth + k] = alpha * data[transposed ? row * depth + k : k * rows + row]!
  const biases = plain ? new Float64Array(rows) : biasOf(context, node, rows, numberOf(node, 'beta', 1))
  const base = { name: node.name, input, output: output(context, node, [...shape.slice(0, -1), rows]) }
  context.plan.ops.push({ ...base, kind: 'gemm', weights, biases })
}

const pool: Lower = (context, node) => {
  const input = inputOf(context, node)
  const { shape: inShape } = context.plan.tensors[input]!
  const global = node.operator === 'GlobalAveragePool'
  const kernel = (global ? inShape.slice(1) : listOf(node, 'kernel_shape', [0, 0], 1)) as Pair
  const strides = listOf(node, 'strides', [1, 1], 1) as Pair
  const pads = padsOf(node)
  expect(node, 'ceil_mode', 0, 0)
  if (listOf(node, 'dilations', [1, 1], 1).some((dilation) => dilation !== 1))
    refuse('MODEL_ATTRIBUTE', node, 'is dilated')
  if (pads.some((pad) => pad > 0)) expect(node, 'count_include_pad', 0, 1)
  const shape = windowed(context, node, null, kernel, { strides, pads, dilations: [1, 1] })
  const base = { name: node.name, input, output: output(context, node, shape) }
  context.plan.ops.push({ ...base, kind: 'averagepool', kernel, strides, pads })
}

const table =
  (make: (node: GraphNode) => (x: number) => number): Lower =>
  (context, node) => {
    const input = inputOf(context, node)
    const base = { name: node.name, input, output: output(context, node, context.plan.tensors[input]!.shape) }
    context.plan.ops.push({ ...base, kind: 'table', function: node.operator, apply: make(node) })
  }

function view(context: Context, node: GraphNode, shape: number[]): void {
  const input = inputOf(context, node)
  const source = context.plan.tensors[input]!
  if (elementCount(shape) !== elementCount(source.shape))
    refuse('MODEL_SHAPE', node, `cannot view [${source.shape}] as [${shape}]`)
  addTensor(context, node.outputs[0]!, shape, source.viewOf ?? input)
}

const flatten: Lower = (context, node) => {
  const { shape } = context.plan.tensors[inputOf(context, node)]!
  const axis = numberOf(node, 'axis', 1)
  if (axis !== 1 && axis !== -shape.length) refuse('MODEL_ATTRIBUTE', node, 'axis must be 1: the batch axis stays')
  view(context, node, [elementCount(shape)])
}

/** The first target dimension is the batch: 0 (copied where allowzero is not set), −1 (inferred) or 1. */
const reshape: Lower = (context, node) => {
  const { shape } = context.plan.tensors[inputOf(context, node)]!
  const [batch, ...rest] = constantOf(context, node, 1, 'int64').data as number[]
  const allowZero = numberOf(node, 'allowzero', 0) !== 0
  if (batch !== 1 && batch !== -1 && !(batch === 0 && !allowZero))
    refuse('MODEL_SHAPE', node, 'the first dimension of its target must be the batch')
  const target = rest.map((dim, axis) => (dim === 0 && !allowZero ? (shape[axis] ?? 0) : dim))
  const open = target.indexOf(-1)
  if (open >= 0 && batch !== -1) {
    target[open] = 1
    target[open] = elementCount(shape) / elementCount(target)
  }
  if (target.some((dim) => !Number.isInteger(dim) || dim < 1)) refuse('MODEL_SHAPE', node, 'its target is not a shape')
  view(context, node, target)
}

const LOWER: Record<GraphNode['operator'], Lower> = {
  AveragePool: pool,
  Conv: conv,
  Flatten: flatten,
  Gemm: gemm,
  GlobalAveragePool: pool,
  Identity: (context, node) => view(context, node, context.plan.tensors[inputOf(context, node)]!.shape),
  LeakyRelu: table((node) => {
    const slope = numberOf(node, 'alpha', 0.01)
    return (x) => (x < 0 ? slope * x : x)
  }),
  MatMul: gemm,
  Relu: table(() => (x) => Math.max(0, x)),
  Reshape: reshape,
  Sigmoid: table(() => (x) => 1 / (1 + Math.exp(-x))),
  Tanh: table(() => Math.tanh),
}

/**
 * Lowers an admitted graph for one input (batch 1). Throws the `MODEL_…` codes of the node it cannot express:
 * `MODEL_ATTRIBUTE`, `MODEL_SHAPE`, `MODEL_INPUT`, `MODEL_DTYPE`, `MODEL_MALFORMED`.
 */
export function lowerGraph(graph: Graph): Plan {
  const plan: Plan = { inputs: [], outputs: [], tensors: [], ops: [] }
  const context: Context = { graph, plan, ids: new Map() }
  for (const { name, dims } of graph.inputs) {
    if (dims[0] !== null && dims[0] !== 1)
      throw new SinterError('MODEL_SHAPE', `input ${name}: its first dimension must be a batch of 1 or of any size`)
    const shape = dims.slice(1) as number[]
    plan.inputs.push({ name, tensor: addTensor(context, name, shape), shape })
  }
  for (const node of graph.nodes) LOWER[node.operator](context, node)
  for (const { name, dims } of graph.outputs) {
    const tensor = context.ids.get(name)!
    const { shape } = plan.tensors[tensor]!
    if (dims.length !== shape.length + 1 || shape.some((dim, axis) => dim !== dims[axis + 1]))
      throw new SinterError('MODEL_SHAPE', `output ${name} is declared as [${dims}] but has shape [batch,${shape}]`)
    plan.outputs.push({ name, tensor, shape })
  }
  if (plan.ops.length === 0) throw new SinterError('MODEL_MALFORMED', 'the graph computes nothing')
  return plan
}
