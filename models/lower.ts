import { SinterError } from '../protocol/errors.ts'
import { FOLD_BUDGET, foldNode, shapeConstant } from './fold.ts'
import { globalMax, instanceNorm, layerNorm, matMul, maxPool, reduceMax, softmax } from './lower/attention.ts'
import {
  type Activation,
  addTensor,
  type Context,
  force,
  layoutOf,
  materialise,
  pending,
  Uncovered,
  uncovered,
} from './lower/context.ts'
import { arithmetic, power, UNARY, unary, where } from './lower/elementwise.ts'
import { conv, convTranspose, gemm } from './lower/linear.ts'
import { averagePool, batchNorm, globalAverage, reduce } from './lower/reduce.ts'
import * as shape from './lower/shape.ts'
import { type Graph, type GraphNode, parseModel } from './onnx.ts'
import type { Plan, PlanLookup } from './plan.ts'

/** Lowering: an ONNX graph to the few op kinds that have canonical semantics, still in real numbers and for a batch of 1. */

type Lower = (context: Context, node: GraphNode) => Activation[]

const same: Lower = (context, node) => [pending(context, node, 0)]

const FLOATS = new Set([1, 10, 11])

const cast: Lower = (context, node) =>
  FLOATS.has(Number(node.attributes.get('to'))) ? same(context, node) : uncovered('casts an activation to integers')

const LOWER: Record<string, Lower> = {
  ...Object.fromEntries(Object.keys(UNARY).map((operator) => [operator, unary])),
  Add: arithmetic,
  AveragePool: averagePool,
  BatchNormalization: batchNorm,
  Cast: cast,
  Concat: shape.concat,
  Conv: conv,
  ConvTranspose: convTranspose,
  Div: arithmetic,
  Dropout: same,
  Expand: shape.expand,
  Flatten: shape.flatten,
  Gather: shape.gather,
  Gemm: gemm,
  GlobalAveragePool: globalAverage,
  GlobalMaxPool: globalMax,
  Identity: same,
  InstanceNormalization: instanceNorm,
  LayerNormalization: layerNorm,
  MatMul: matMul,
  MaxPool: maxPool,
  Mul: arithmetic,
  Pad: shape.pad,
  Pow: power,
  ReduceMax: reduceMax,
  ReduceMean: reduce(true),
  ReduceSum: reduce(false),
  Reshape: shape.reshape,
  Resize: shape.resize,
  Slice: shape.slice,
  Softmax: softmax,
  Split: shape.split,
  Squeeze: shape.squeeze,
  Sub: arithmetic,
  Transpose: shape.transpose,
  Unsqueeze: shape.unsqueeze,
  Upsample: shape.resize,
  Where: where,
}

/** Operators with a canonical meaning. */
export const OPERATORS: readonly string[] = Object.keys(LOWER).sort()

/** A node without canonical meaning, and why. */
export type UncoveredNode = { node: string; operator: string; code: string; reason: string }

export type Lowered = { plan: Plan; uncovered: UncoveredNode[] }

/** Integer inputs, by name, with their shapes (batch 1). */
type Ids = Map<string, number[]>

/** The input of a graph of this name, as its own tensor with the shape that travels. */
function addInput(context: Context, name: string, sizes: number[], lookup: PlanLookup | null): Activation {
  const { plan } = context
  const activation = addTensor(context, name, sizes)
  // The tensor keeps the axes of size 1 that the input has: what travels has its shape.
  plan.tensors[activation.tensor]!.shape = withoutBatch(sizes)
  activation.axes = withoutBatch(sizes).map((_, i) => ({
    coefs: sizes.map((__, j) => (j === i + 1 ? 1 : 0)),
    offset: 0,
  }))
  plan.inputs.push({ name, tensor: activation.tensor, shape: withoutBatch(sizes), lookup })
  return activation
}

/**
 * An embedding of integers that the consumer holds: it looks the rows up in the public table itself, and the canonical graph
 * begins behind the node. Null for any other node.
 */
function lookUp(context: Context, node: GraphNode, ids: Ids): Activation[] | null {
  const shape = ids.get(node.inputs[1] ?? '')
  const table = context.values.get(node.inputs[0] ?? '')
  if (node.operator !== 'Gather' || shape === undefined || table?.kind !== 'constant') return null
  const { dims, data } = table.constant
  if (dims.length !== 2 || (node.attributes.get('axis') ?? 0) !== 0) return uncovered('looks integers up in no matrix')
  if (context.plan.inputs.some(({ lookup }) => lookup?.name === node.inputs[1]))
    return uncovered('looks integers up a second time')
  const [rows, width] = dims as [number, number]
  const lookup = { name: node.inputs[1]!, shape: withoutBatch(shape), rows, values: data }
  return [addInput(context, node.outputs[0]!, [...shape, width], lookup)]
}

function lowerNode(
  context: Context,
  node: GraphNode,
  opset: number,
  budget: { elements: number },
  ids: Ids,
): Activation[] | null {
  const embedded = lookUp(context, node, ids)
  if (embedded !== null) return embedded
  const inputs = node.inputs.map((name) => {
    const value = context.values.get(name)
    return value?.kind === 'constant' ? value.constant : null
  })
  const known = (index: number): boolean => node.inputs[index] === '' || inputs[index] !== null
  if (node.operator === 'Shape' && node.domain === '') {
    const of = context.values.get(node.inputs[0]!)
    const dims = of === undefined ? ids.get(node.inputs[0]!)! : of.kind === 'activation' ? of.shape : of.constant.dims
    context.values.set(node.outputs[0]!, { kind: 'constant', constant: shapeConstant(dims, node) })
    return null
  }
  if (node.inputs.every((_, index) => known(index))) {
    const folded = foldNode(node, inputs, opset, budget)
    if (folded !== null) {
      folded.forEach((constant, i) => {
        if (node.outputs[i]) context.values.set(node.outputs[i]!, { kind: 'constant', constant })
      })
      return null
    }
  }
  const lower = node.domain === '' && Object.hasOwn(LOWER, node.operator) ? LOWER[node.operator] : undefined
  if (lower === undefined || node.omitted?.length) return uncovered('this operator has no canonical meaning')
  return lower(context, node)
}

/** An output as it travels: its own op's result, 16 bits, row-major, the batch axis left out. */
function finish(context: Context, value: Activation): Activation {
  const { plan } = context
  const applied = force(context, value)
  const order = layoutOf(applied)
  const { bits, viewOf, scale } = plan.tensors[applied.tensor]!
  const plain =
    order?.every((axis, i) => i === 0 || order[i - 1]! < axis) &&
    bits === 16 &&
    viewOf === null &&
    (scale.kind === 'calibrated' || (scale.kind === 'fixed' && scale.zero === 0)) &&
    plan.ops.some(({ output }) => output === applied.tensor) &&
    !plan.outputs.some(({ tensor }) => tensor === applied.tensor)
  return plain ? applied : materialise(context, applied)
}

/** The shape of a graph input or output as the manifest states it: without the batch axis. */
const withoutBatch = (dims: number[]): number[] => dims.slice(1)

/**
 * Lowers a graph for one input (batch 1). What has no canonical meaning is listed with its reason; the plan is complete
 * only when nothing is. Throws the `MODEL_…` codes of the node that makes no sense.
 */
export function lowerGraph(graph: Graph): Lowered {
  const plan: Plan = { inputs: [], outputs: [], tensors: [], ops: [] }
  const context: Context = { graph, plan, values: new Map() }
  const missing: UncoveredNode[] = []
  const unknown = new Set<string>()
  const ids: Ids = new Map()
  for (const [name, constant] of graph.constants) context.values.set(name, { kind: 'constant', constant })
  for (const { name, dims, dtype } of graph.inputs) {
    if (dims.length < 1 || (dims[0] !== null && dims[0] !== 1))
      throw new SinterError('MODEL_SHAPE', `input ${name}: its first dimension must be a batch of 1 or of any size`)
    if (dims.slice(1).some((dim) => dim === null))
      throw new SinterError('MODEL_SHAPE', `input ${name}: only the first dimension, the batch, may be dynamic`)
    const sizes = dims.map((dim) => dim ?? 1)
    if (dtype === 'int64' || dtype === 'int32') {
      ids.set(name, sizes)
      continue
    }
    if (dtype !== 'float32') {
      unknown.add(name)
      missing.push({ node: name, operator: 'input', code: 'MODEL_DTYPE', reason: `the input is ${dtype}, not float32` })
      continue
    }
    context.values.set(name, addInput(context, name, sizes, null))
  }
  const budget = { elements: FOLD_BUDGET }
  for (const node of graph.nodes) {
    const embeds = node.operator === 'Gather' || node.operator === 'Shape'
    const blocked = node.inputs.find((name) => unknown.has(name) || (!embeds && ids.has(name)))
    const give = (code: string, reason: string): void => {
      missing.push({ node: node.name, operator: node.operator, code, reason })
      for (const name of node.outputs) unknown.add(name)
    }
    if (blocked !== undefined) {
      give('MODEL_AFTER', `reads ${blocked}, which is not covered`)
      continue
    }
    try {
      lowerNode(context, node, graph.opset, budget, ids)?.forEach((value, i) => {
        if (node.outputs[i]) context.values.set(node.outputs[i]!, value)
      })
      for (const name of node.outputs) if (name !== '' && !context.values.has(name)) unknown.add(name)
    } catch (error) {
      if (!(error instanceof Uncovered)) throw error
      give(error.code, error.message)
    }
  }
  for (const { name, dims } of graph.outputs) {
    const value = context.values.get(name)
    if (value === undefined) continue
    if (value.kind === 'constant')
      throw new SinterError('MODEL_MALFORMED', `output ${name} does not depend on any input`)
    const activation = finish(context, value)
    const sizes = withoutBatch(value.shape)
    if (dims.length !== value.shape.length || sizes.some((size, i) => dims[i + 1] !== null && dims[i + 1] !== size))
      throw new SinterError('MODEL_SHAPE', `output ${name} is declared as [${dims}] but has shape [${value.shape}]`)
    if (value.shape[0] !== 1) throw new SinterError('MODEL_SHAPE', `output ${name} has no batch axis`)
    // A view with the shape that travels, axes of size 1 included.
    const source = plan.tensors[activation.tensor]!
    const tensor =
      String(source.shape) === String(sizes)
        ? activation.tensor
        : plan.tensors.push({ ...source, name, shape: sizes, viewOf: activation.tensor }) - 1
    plan.outputs.push({ name, tensor, shape: sizes })
  }
  if (missing.length === 0 && plan.ops.length === 0)
    throw new SinterError('MODEL_MALFORMED', 'the graph computes nothing')
  return { plan, uncovered: missing }
}

/** A complete plan. Throws `MODEL_OPERATOR` or the code of the first node that is not covered, naming it. */
export function lowerWhole(graph: Graph): Plan {
  const { plan, uncovered: missing } = lowerGraph(graph)
  const [first] = missing
  if (first !== undefined)
    throw new SinterError(first.code, `node ${first.node} (${first.operator}): ${first.reason}`, {
      detail: { node: first.node, operator: first.operator, uncovered: missing.length },
    })
  return plan
}

/** Reads a stranger's model and admits it: every node has a canonical meaning. Throws the codes of `parseModel` and `lowerWhole`. */
export function admitModel(bytes: Uint8Array): void {
  lowerWhole(parseModel(bytes))
}
