import { SinterError } from '../protocol/errors.ts'
import { FOLD_BUDGET, foldNode, shapeConstant } from './fold.ts'
import { numberAttribute } from './fold-tensor.ts'
import { argMax } from './lower/argmax.ts'
import { type Context, type Lower, shapeOf, uncovered, type Value } from './lower/context.ts'
import { ELEMENTWISE } from './lower/elementwise.ts'
import { embed, outputTensor, readInputs } from './lower/ends.ts'
import { LAYOUT } from './lower/layout.ts'
import { maskableValues } from './lower/masks.ts'
import { MATRIX } from './lower/matrix.ts'
import { NORMALISE } from './lower/normalise.ts'
import { WINDOW } from './lower/pool.ts'
import { neededOps, pruned } from './lower/prune.ts'
import { QUANTISED } from './lower/quantised.ts'
import { REDUCE } from './lower/reduce.ts'
import { WHERE } from './lower/where.ts'
import { startWork } from './lower/work.ts'
import { MANIFEST_LIMITS, type Manifest } from './manifest.ts'
import { type Constant, type Graph, type GraphNode, parseModel } from './onnx.ts'
import { dtypeNumber } from './onnx-tensor.ts'
import { type Plan, type PlanOutput, planUnits } from './plan.ts'
import { elementCount } from './tiling.ts'

/**
 * Lowering: an admitted ONNX graph to the few op kinds that have canonical semantics, still in real numbers, for a batch of 1.
 * A node without such a meaning is named with its reason, and so is all that depends on it; the rest is lowered all the same.
 */

export type UncoveredNode = { node: string; operator: string; code: string; reason: string }

export type Lowered = {
  plan: Plan
  uncovered: UncoveredNode[]
  /** Multiply-adds of what is covered, including what only nodes that are not covered need. */
  units: number
  /** Shapes of the tensors that are computed, for one row, by their names in the graph. */
  shapes: Map<string, number[]>
}

export const fail = (code: string, message: string): never => {
  throw new SinterError(code, message)
}

const LOWER: Record<string, Lower> = {
  ...ELEMENTWISE,
  ...LAYOUT,
  ...MATRIX,
  ...NORMALISE,
  ...QUANTISED,
  ...REDUCE,
  ...WHERE,
  ...WINDOW,
  ArgMax: argMax,
}

/** Operators with a canonical meaning. */
export const OPERATORS: readonly string[] = Object.keys(LOWER).sort()

/** A node of which all inputs are known, or that asks for the shape of something. */
function folded(context: Context, node: GraphNode, inputs: (Value | null)[], budget: { elements: number }): boolean {
  const [first] = inputs
  if ((node.operator === 'Shape' || node.operator === 'Size') && first && first.kind !== 'constant') {
    const dims = first.kind === 'ids' ? first.dims : first.kind === 'activation' ? shapeOf(first.activation) : null
    if (dims === null) return false
    const constant: Constant =
      node.operator === 'Shape'
        ? shapeConstant(dims, node)
        : { dims: [], dtype: 'int64', data: Float64Array.of(elementCount(dims)) }
    context.values.set(node.outputs[0]!, { kind: 'constant', constant, tainted: first.kind === 'ids' })
    return true
  }
  if (inputs.some((value) => value !== null && value.kind !== 'constant')) return false
  const constants = inputs.map((value) => (value?.kind === 'constant' ? value.constant : null))
  const outputs = foldNode(node, constants, context.opset, budget)
  if (outputs === null) return uncovered(node, 'is not evaluated on constants')
  const tainted = inputs.some((value) => value?.kind === 'constant' && value.tainted)
  outputs.forEach((constant, i) => {
    if (node.outputs[i]) context.values.set(node.outputs[i]!, { kind: 'constant', constant, tainted })
  })
  return true
}

function lowerNode(context: Context, node: GraphNode, budget: { elements: number }): void {
  const inputs = node.inputs.map((name) => (name === '' ? null : (context.values.get(name) ?? null)))
  const missing = inputs.findIndex((value) => value?.kind === 'uncovered')
  if (missing >= 0) uncovered(node, (inputs[missing] as Value & { kind: 'uncovered' }).reason)
  if (node.inputs.every((name) => name === '') && LOWER[node.operator] !== undefined)
    uncovered(node, 'reads nothing', 'MODEL_MALFORMED')
  if (folded(context, node, inputs, budget)) return
  const [table, ids] = inputs
  if (table?.kind === 'ids' && node.domain === '' && keepsIntegers(node)) {
    context.values.set(node.outputs[0]!, table)
    return
  }
  if (node.operator === 'Gather' && node.domain === '' && table?.kind === 'constant' && ids?.kind === 'ids') {
    embed(context, node, ids)
    return
  }
  if (inputs.some((value) => value?.kind === 'ids')) uncovered(node, 'computes with the integers of an input')
  const lower = node.domain === '' && Object.hasOwn(LOWER, node.operator) ? LOWER[node.operator]! : null
  if (lower === null) {
    uncovered(node, `${node.domain === '' ? '' : `${node.domain} `}${node.operator} has no canonical meaning`)
    return
  }
  if (node.omitted !== undefined) uncovered(node, `has attributes that are not read: ${node.omitted}`)
  const levels = node.inputs.map((name) => context.quantised.get(name))
  const computes = levels.some((each, i) => each !== undefined && (i > 0 || !KEEPS_LEVELS.has(node.operator)))
  if (computes) uncovered(node, 'computes with quantised integers')
  lower(context, node)
  const [kept] = levels
  if (kept !== undefined && node.operator !== 'DequantizeLinear')
    for (const output of node.outputs) context.quantised.set(output, kept)
}

/** Operators that read the integers of a QuantizeLinear and leave them what they are, or turn them into numbers. */
const KEEPS_LEVELS = new Set([
  ...['DequantizeLinear', 'Expand', 'Flatten', 'Gather', 'Identity', 'MaxPool', 'Reshape', 'Slice', 'Split'],
  ...['Squeeze', 'Transpose', 'Unsqueeze'],
])

/** Whether a node gives the integers that it reads. */
const keepsIntegers = (node: GraphNode): boolean =>
  node.operator === 'Identity' || (node.operator === 'Cast' && INTEGERS.has(numberAttribute(node, 'to', 0)))

/** int32 and int64, as `TensorProto.DataType` has them. */
const INTEGERS = new Set([dtypeNumber('int32'), dtypeNumber('int64')])

/** What stops one node. A fault of ours on a stranger's graph must not stop more than that node either. */
function asRefusal(error: unknown): SinterError {
  if (!(error instanceof SinterError))
    return new SinterError('MODEL_INTERNAL', 'has a form that is not understood', { cause: error })
  if (!error.code.startsWith('MODEL_')) throw error
  return error
}

/** What the nodes so far have brought. */
type Held = { weights: number; elements: number }

/**
 * The same with what one more node brought. Throws `MODEL_TOO_LARGE` where weights or tensors are more than a manifest can have: a
 * graph may name one array a thousand times.
 */
function checkSize(
  { ops, tensors }: Plan,
  [firstOp, firstTensor]: readonly [number, number, number],
  node: GraphNode,
  held: Held,
): Held {
  const weights = ops.slice(firstOp).reduce((sum, op) => {
    if (op.kind !== 'linear') return sum
    const arrays = [op.bias, ...op.terms.map(({ weight }) => weight)]
    return sum + arrays.reduce<number>((all, each) => all + (typeof each === 'number' ? 0 : each.data.length), 0)
  }, held.weights)
  if (weights > MANIFEST_LIMITS.weightBytes / 4)
    fail('MODEL_TOO_LARGE', `node ${node.name} (${node.operator}): more weights than a manifest can hold`)
  const elements = tensors
    .slice(firstTensor)
    .reduce((sum, { shape, viewOf }) => sum + (viewOf === null ? elementCount(shape) : 0), held.elements)
  if (elements > MANIFEST_LIMITS.totalElements)
    fail('MODEL_TOO_LARGE', `node ${node.name} (${node.operator}): more activations than a manifest can hold`)
  return { weights, elements }
}

/** Whether numbers pass through half precision. Weights that are only stored in it, and made float32 before anything reads them, do not count. */
function computesInHalves({ inputs, nodes, constants }: Graph): boolean {
  const half = dtypeNumber('float16')
  const stored = (name: string): boolean => constants.get(name)?.dtype === 'float16'
  return (
    inputs.some(({ dtype }) => dtype === 'float16') ||
    nodes.some((node) =>
      node.operator === 'Cast' ? numberAttribute(node, 'to', 0) === half : node.inputs.some(stored),
    )
  )
}

/**
 * Lowers an admitted graph for one input (batch 1). Nodes that cannot be expressed are listed with their reasons and never throw.
 * @param options.whole whether it is of no use in part: the first node that cannot be expressed ends it then. @default false
 * Throws `MODEL_SHAPE` for an input without fixed dimensions, and the codes of `foldNode` for constants that have no value.
 */
export function lowerGraph(graph: Graph, { whole: wanted = false }: { whole?: boolean } = {}): Lowered {
  startWork()
  const readers = new Map<string, number>()
  for (const name of [...graph.nodes.flatMap((node) => node.inputs), ...graph.outputs.map((output) => output.name)])
    readers.set(name, (readers.get(name) ?? 0) + 1)
  const context: Context = {
    opset: graph.opset,
    plan: {
      inputs: [],
      outputs: graph.outputs.map(({ name }) => ({ name, tensor: 0, shape: [], argmax: null })),
      tensors: [],
      ops: [],
      halves: computesInHalves(graph),
      cuts: { inputs: [], outputs: [] },
    },
    values: new Map(
      [...graph.constants].map(([name, constant]) => [name, { kind: 'constant', constant, tainted: false }]),
    ),
    readers,
    maskable: maskableValues(graph),
    cuts: { inputs: [], outputs: [] },
    applied: new WeakMap(),
    quantised: new Map(),
  }
  readInputs(context, graph)
  const list: UncoveredNode[] = []
  const beyond: number[] = []
  const inputElements = context.plan.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
  let held: Held = { weights: 0, elements: inputElements }
  const budget = { elements: FOLD_BUDGET }
  for (const node of graph.nodes) {
    const mark = [context.plan.ops.length, context.plan.tensors.length, context.plan.inputs.length] as const
    try {
      lowerNode(context, node, budget)
      held = checkSize(context.plan, mark, node, held)
    } catch (thrown) {
      const error = asRefusal(thrown)
      const reason = String(error.detail?.reason ?? error.message)
      list.push({ node: node.name, operator: node.operator, code: error.code, reason })
      const after = reason.startsWith('after ') ? reason : `after ${node.name}`
      for (const output of node.outputs) context.values.set(output, { kind: 'uncovered', reason: after })
      context.plan.ops.length = mark[0]
      context.plan.tensors.length = mark[1]
      context.plan.inputs.length = mark[2]
      for (const name of node.inputs) {
        const value = context.values.get(name)
        if (value?.kind === 'activation') beyond.push(value.activation.ref.tensor)
      }
      if (wanted) return { plan: context.plan, uncovered: list, units: 0, shapes: new Map() }
    }
  }
  const taken = new Set<number>()
  const producers = new Map(
    graph.nodes.flatMap((node) => node.outputs.map((name): [string, GraphNode] => [name, node])),
  )
  context.plan.outputs = graph.outputs.flatMap(({ name, dims }): PlanOutput[] => {
    const value = context.values.get(name)
    const node = producers.get(name)!
    if (context.quantised.has(name) || (value?.kind !== 'activation' && value?.kind !== 'argmax')) {
      if (value?.kind !== 'uncovered')
        list.push({
          node: node.name,
          operator: node.operator,
          code: 'MODEL_UNCOVERED',
          reason: `output ${name} does not depend on numbers`,
        })
      return []
    }
    const shape = shapeOf(value.activation)
    if (shape[0] !== 1 || shape.length < 1) {
      list.push({
        node: node.name,
        operator: node.operator,
        code: 'MODEL_SHAPE',
        reason: `output ${name} has no batch axis`,
      })
      return []
    }
    let tensor: number
    try {
      tensor = outputTensor(context, node, value.activation, taken)
    } catch (thrown) {
      const { code, message } = asRefusal(thrown)
      list.push({ node: node.name, operator: node.operator, code, reason: `output ${name}: ${message}` })
      return []
    }
    if (value.kind === 'argmax') {
      context.cuts.outputs.push({ from: name, tensor: value.source, dims: shape })
      return [{ name: value.source, tensor, shape: shape.slice(1), argmax: { name, axis: value.axis - 1 } }]
    }
    if (
      dims.length !== shape.length ||
      shape.some((dim, axis) => axis > 0 && dims[axis] !== null && dim !== dims[axis])
    )
      fail('MODEL_SHAPE', `output ${name} is declared as [${dims}] but has shape [batch,${shape.slice(1)}]`)
    return [{ name, tensor, shape: shape.slice(1), argmax: null }]
  })
  const constants = new Map<string, Constant>()
  for (const [name, value] of context.values)
    if (value.kind === 'constant' && value.tainted) constants.set(name, value.constant)
  const batched = <T extends { dims: number[] }>(cut: T) => ({
    ...cut,
    dims: ['batch', ...cut.dims.slice(1)] as (number | string)[],
  })
  const { inputs, outputs } = context.cuts
  context.plan.cuts = { inputs: inputs.map(batched), outputs: outputs.map(batched), constants }
  const roots = [...context.plan.outputs.map(({ tensor }) => tensor), ...beyond]
  const units = planUnits(context.plan, neededOps(context.plan, roots).ops)
  const shapes = new Map<string, number[]>()
  for (const [name, value] of context.values)
    if (value.kind === 'activation') shapes.set(name, shapeOf(value.activation))
  return { plan: pruned(context.plan), uncovered: list, units, shapes }
}

/**
 * The plan of a graph of which every node is covered. Throws the code of the first node that is not (`MODEL_UNCOVERED`, or
 * what is wrong with it), naming it, and as `lowerGraph`.
 */
export const lowerWhole = (graph: Graph): Plan => whole(graph).plan

function whole(graph: Graph): Lowered {
  const lowered = lowerGraph(graph, { whole: true })
  const [first] = lowered.uncovered
  if (first !== undefined)
    throw new SinterError(first.code, `node ${first.node} (${first.operator}): ${first.reason}`, {
      detail: { node: first.node, operator: first.operator },
    })
  if (lowered.plan.ops.length === 0) fail('MODEL_MALFORMED', 'the graph computes nothing')
  return lowered
}

export type Admitted = { graph: Graph; shapes: Lowered['shapes'] }

/**
 * Reads a stranger's model and admits it: every node has a canonical meaning, and its inputs and outputs are those of the manifest
 * that names it. Gives the graph, and the shapes of its tensors for one row. Throws the codes of `parseModel` and `lowerWhole`, and `MODEL_ENDS`, naming the input or output.
 */
export function admitModel(bytes: Uint8Array, manifest: Pick<Manifest, 'inputs' | 'outputs'>): Admitted {
  const graph = parseModel(bytes)
  const { plan, shapes } = whole(graph)
  for (const side of ['inputs', 'outputs'] as const) {
    const what = side === 'inputs' ? 'input' : 'output'
    const found = new Map(plan[side].map(({ name, shape }): [string, number[]] => [name, shape]))
    for (const { name, shape } of manifest[side]) {
      const own = found.get(name) ?? fail('MODEL_ENDS', `the manifest's ${what} ${name} is none of the model's`)
      if (String(own) !== String(shape))
        fail('MODEL_ENDS', `${what} ${name} is [${own}] in the model, [${shape}] in the manifest`)
      found.delete(name)
    }
    for (const name of found.keys()) fail('MODEL_ENDS', `the model's ${what} ${name} is not in the manifest`)
  }
  return { graph, shapes }
}
