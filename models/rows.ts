import type { Attribute, Graph, GraphNode } from './onnx.ts'
import { elementCount } from './tiling.ts'

/**
 * Whether the rows of a batch never touch each other. A model is only meant for one row, so nothing else keeps a graph from averaging
 * over the batch, or from copying one row to all: whoever made such a model would read other people's inputs out of a shared run.
 * So each node is followed by a rule that keeps axis 0 apart, and a node without one ends it.
 */

/** A tensor that the graph computes: axis 0 holds the rows. */
type Rows = { rank: number }
/** What is the same for every run; `data` is null where only the shape is known. */
type Fixed = { dims: number[]; data: ArrayLike<number> | null }
/** Shapes of computed tensors for one row, by name, from the lowering. */
export type RowShapes = ReadonlyMap<string, number[]>
type Known = { constants: Map<string, Fixed>; rows: Map<string, Rows>; shapes: RowShapes }
/** The outputs' ranks, or null where rows might mix. */
type Rule = (node: GraphNode, known: Known) => number | null

const integerOf = (node: GraphNode, name: string): number | null => {
  const value: Attribute | undefined = node.attributes.get(name)
  return typeof value === 'number' ? value : null
}
const listOf = (node: GraphNode, name: string): number[] | null => {
  const value = node.attributes.get(name)
  return Array.isArray(value) && value.every((each) => typeof each === 'number') ? (value as number[]) : null
}
const given = (node: GraphNode): string[] => node.inputs.filter((name) => name !== '')
const restConstant = (node: GraphNode, { constants }: Known): boolean =>
  node.inputs.slice(1).every((name) => name === '' || constants.has(name))
const firstRank = (node: GraphNode, { rows }: Known): number | null => rows.get(node.inputs[0] ?? '')?.rank ?? null
const numbers = (name: string | undefined, { constants }: Known): number[] | null => {
  const data = constants.get(name ?? '')?.data ?? null
  return data === null ? null : Array.from(data)
}
/** Axes counted from the front; null when the first is among them or one is out of range. */
function innerAxes(axes: number[], rank: number): number[] | null {
  const front = axes.map((axis) => (axis < 0 ? axis + rank : axis))
  return front.every((axis) => axis > 0 && axis < rank) ? front : null
}
const onAxis = (node: GraphNode, rank: number, fallback: number): boolean =>
  innerAxes([integerOf(node, 'axis') ?? fallback], rank) !== null
/** A constant that says the same to every row of a tensor of this rank. */
const broadcasts = ({ dims }: Fixed, rank: number): boolean =>
  dims.length < rank || (dims.length === rank && dims[0] === 1)

const elementwise: Rule = (node, known) => {
  const ranks = given(node).flatMap((name) => known.rows.get(name)?.rank ?? [])
  const rank = Math.max(...ranks)
  if (ranks.some((each) => each !== rank)) return null
  const apart = given(node).every((name) => {
    const constant = known.constants.get(name)
    return constant === undefined ? known.rows.has(name) : broadcasts(constant, rank)
  })
  return apart ? rank : null
}

/** Axis 0 is the batch by the operator's own definition. */
const batched: Rule = (node, known) => {
  const rank = firstRank(node, known)
  return rank !== null && rank >= 3 && restConstant(node, known) ? rank : null
}

const alongAxis =
  (fallback: number): Rule =>
  (node, known) => {
    const rank = firstRank(node, known)
    return rank !== null && restConstant(node, known) && onAxis(node, rank, fallback) ? rank : null
  }

const reduction: Rule = (node, known) => {
  const rank = firstRank(node, known)
  if (rank === null) return null
  const axes = listOf(node, 'axes') ?? numbers(node.inputs[1], known)
  if (axes === null || axes.length === 0 || innerAxes(axes, rank) === null) return null
  return (integerOf(node, 'keepdims') ?? 1) === 1 ? rank : rank - axes.length
}

const extremeIndex: Rule = (node, known) => {
  const rank = firstRank(node, known)
  if (rank === null || !onAxis(node, rank, 0)) return null
  return (integerOf(node, 'keepdims') ?? 1) === 1 ? rank : rank - 1
}

const matMul: Rule = ({ inputs: [left = '', right = ''] }, { constants, rows }) => {
  const [a, b] = [rows.get(left)?.rank, rows.get(right)?.rank]
  const [p, q] = [constants.get(left), constants.get(right)]
  if (a !== undefined && b !== undefined) return a === b && a >= 3 ? a : null
  if (a !== undefined && q !== undefined) {
    if (q.dims.length === 1) return a >= 2 ? a - 1 : null
    return a >= 2 && (q.dims.length === 2 || (a >= 3 && broadcasts(q, a))) ? a : null
  }
  if (b !== undefined && p !== undefined && b >= 3)
    return p.dims.length === 2 || (p.dims.length > 2 && broadcasts(p, b)) ? b : null
  return null
}

const gemm: Rule = (node, { constants, rows }) => {
  const [a = '', b = '', c = ''] = node.inputs
  const bias = c === '' ? null : constants.get(c)
  const fits = rows.get(a)?.rank === 2 && constants.has(b) && bias !== undefined
  return fits && (integerOf(node, 'transA') ?? 0) === 0 && (bias === null || broadcasts(bias, 2)) ? 2 : null
}

const RULES: Record<string, Rule> = {
  Transpose(node, known) {
    const rank = firstRank(node, known)
    return rank !== null && listOf(node, 'perm')?.[0] === 0 ? rank : null
  },
  Flatten: (node, known) => (firstRank(node, known) !== null && (integerOf(node, 'axis') ?? 1) === 1 ? 2 : null),
  Reshape(node, known) {
    const shape = numbers(node.inputs[1], known)
    if (firstRank(node, known) === null || shape === null) return null
    // The number of rows is copied, so each keeps its own elements.
    if (shape[0] === 0 && (integerOf(node, 'allowzero') ?? 0) === 0) return shape.length
    // It follows from the rest, which must be all of a row and no more.
    const row = known.shapes.get(node.inputs[0]!)
    const rest = shape.slice(1)
    const exact = row?.[0] === 1 && rest.every((dim) => dim > 0) && elementCount(rest) === elementCount(row)
    return shape[0] === -1 && exact ? shape.length : null
  },
  Concat(node, { rows }) {
    const ranks = node.inputs.map((name) => rows.get(name)?.rank ?? null)
    const [rank = null] = ranks
    return rank !== null && ranks.every((each) => each === rank) && onAxis(node, rank, 0) ? rank : null
  },
  Slice(node, known) {
    const rank = firstRank(node, known)
    const axes = numbers(node.inputs[3], known)
    return rank !== null && axes !== null && restConstant(node, known) && innerAxes(axes, rank) ? rank : null
  },
  Split: alongAxis(0),
  Squeeze(node, known) {
    const rank = firstRank(node, known)
    const axes = numbers(node.inputs[1], known)
    return rank !== null && axes !== null && innerAxes(axes, rank) ? rank - axes.length : null
  },
  Unsqueeze(node, known) {
    const rank = firstRank(node, known)
    const axes = numbers(node.inputs[1], known)
    if (rank === null || axes === null) return null
    return innerAxes(axes, rank + axes.length) ? rank + axes.length : null
  },
  Gather(node, known) {
    const rank = firstRank(node, known)
    const indices = known.constants.get(node.inputs[1] ?? '')
    return rank !== null && indices !== undefined && onAxis(node, rank, 0) ? rank - 1 + indices.dims.length : null
  },
  Pad(node, known) {
    const rank = firstRank(node, known)
    const pads = listOf(node, 'pads') ?? numbers(node.inputs[1], known)
    if (rank === null || pads === null || pads.length !== 2 * rank || !restConstant(node, known)) return null
    return pads[0] === 0 && pads[rank] === 0 && node.inputs.length <= 3 ? rank : null
  },
  LayerNormalization: alongAxis(-1),
  Softmax: alongAxis(-1),
  LogSoftmax: alongAxis(-1),
  BatchNormalization(node, known) {
    const rank = firstRank(node, known)
    const apart = rank !== null && restConstant(node, known) && (integerOf(node, 'training_mode') ?? 0) === 0
    return apart ? rank : null
  },
  MatMul: matMul,
  Gemm: gemm,
}

/** By one scale for all, or one for each place on an inner axis. Scales that are computed from the input are another operator. */
const scaled: Rule = (node, known) => {
  const rank = firstRank(node, known)
  const scale = known.constants.get(node.inputs[1] ?? '')
  if (rank === null || scale === undefined || !restConstant(node, known) || scale.dims.length > 1) return null
  return elementCount(scale.dims) === 1 || onAxis(node, rank, 1) ? rank : null
}
RULES.QuantizeLinear = scaled
RULES.DequantizeLinear = scaled

/** Operators that keep the shape of their first input, of constants too: as quantised weights are stored. */
const KEEPS_SHAPE = new Set(['QuantizeLinear', 'DequantizeLinear', 'Cast', 'Identity'])

for (const operator of [
  ...['Conv', 'ConvTranspose', 'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool', 'LpPool'],
  ...['InstanceNormalization', 'LRN', 'DepthToSpace', 'SpaceToDepth'],
])
  RULES[operator] = batched
for (const operator of [
  ...['Abs', 'Add', 'Cast', 'Ceil', 'Celu', 'Clip', 'Div', 'Elu', 'Equal', 'Erf', 'Exp', 'Floor', 'Gelu', 'Greater'],
  ...[
    'GreaterOrEqual',
    'HardSigmoid',
    'HardSwish',
    'Identity',
    'LeakyRelu',
    'Less',
    'LessOrEqual',
    'Log',
    'Max',
    'Min',
  ],
  ...['Mish', 'Mul', 'Neg', 'PRelu', 'Pow', 'Reciprocal', 'Relu', 'Round', 'Selu', 'Sigmoid', 'Sign', 'Softplus'],
  ...['Softsign', 'Sqrt', 'Sub', 'Sum', 'Tanh', 'ThresholdedRelu', 'Where'],
])
  RULES[operator] = elementwise
for (const operator of ['Max', 'Mean', 'Min', 'Prod', 'Sum', 'SumSquare', 'L1', 'L2', 'LogSum', 'LogSumExp'])
  RULES[`Reduce${operator}`] = reduction
for (const operator of ['ArgMax', 'ArgMin']) RULES[operator] = extremeIndex

/**
 * True when every input and output leaves its first dimension open and nothing in between mixes what lies along it.
 * @param shapes of the graph's tensors for one row, from the lowering
 */
export function rowsApart(graph: Graph, shapes: RowShapes): boolean {
  const open = [...graph.inputs, ...graph.outputs].every(({ dims }) => dims.length > 0 && dims[0] === null)
  if (!open) return false
  const known: Known = {
    constants: new Map<string, Fixed>(graph.constants),
    shapes,
    rows: new Map(graph.inputs.map(({ name, dims }) => [name, { rank: dims.length }])),
  }
  for (const node of graph.nodes) {
    const first = known.constants.get(node.inputs[0] ?? '')
    if (node.domain === '' && KEEPS_SHAPE.has(node.operator) && first && restConstant(node, known)) {
      for (const output of node.outputs) known.constants.set(output, { dims: first.dims, data: null })
      continue
    }
    const rule = node.domain === '' && Object.hasOwn(RULES, node.operator) ? RULES[node.operator]! : null
    if (rule === null || node.omitted !== undefined || !node.inputs.some((name) => known.rows.has(name))) return false
    const rank = rule(node, known)
    if (rank === null || rank < 1) return false
    for (const output of node.outputs) if (output !== '') known.rows.set(output, { rank })
  }
  return graph.outputs.every(({ name }) => known.rows.has(name))
}
