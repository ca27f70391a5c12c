import { SinterError } from '../protocol/errors.ts'
import {
  type Constant,
  type DType,
  decodeModel,
  encodeModel,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './onnx.ts'
import { dtypeNumber } from './onnx-tensor.ts'

/**
 * Cutting a model at its ends: what lies before a value that becomes an input, and after a value that becomes an output,
 * is taken out of the file. So the published file holds no embedding look-up and no trailing ArgMax, which the consumer does.
 */

/**
 * `from` is the graph's end as it stands, `tensor` the value that takes its place, with these dimensions.
 * `dtype`: @default what the graph says of the value, or float32
 */
export type Cut = { from: string; tensor: string; dims: (number | string)[]; dtype?: DType }
export type Cuts = {
  inputs: Cut[]
  outputs: Cut[]
  /** Values that are known, such as shapes of a removed input: where the model still needs them they become initialisers. */
  constants?: ReadonlyMap<string, Constant>
}

const fail = (message: string): never => {
  throw new SinterError('MODEL_CUT', `the model cannot be cut: ${message}`)
}

const end = ({ tensor, dims, dtype = 'float32' }: Cut): ValueInfoProto => ({
  name: tensor,
  type: {
    tensorType: {
      elemType: dtypeNumber(dtype),
      shape: { dim: dims.map((dim) => (typeof dim === 'string' ? { dimParam: dim } : { dimValue: dim })) },
    },
  },
})

/** The float type of a value: what the graph says, or that of the weights it is computed with. */
function typeOf(graph: GraphProto, name: string): DType {
  const told = graph.valueInfo?.find((info) => info.name === name)?.type?.tensorType?.elemType
  const producer = graph.node?.find(({ output }) => output?.includes(name))
  const weights = (graph.initializer ?? []).filter((tensor) => producer?.input?.includes(tensor.name ?? ''))
  const types = [told, ...weights.map(({ dataType }) => dataType)]
  return FLOATS.find((dtype) => types.includes(dtypeNumber(dtype))) ?? 'float32'
}

const FLOATS: DType[] = ['float16', 'float64', 'float32']

/** Names that a node reads, those that its subgraphs capture included. */
function readsOf(node: NodeProto): string[] {
  const inner = (graph: GraphProto): string[] => [
    ...(graph.node ?? []).flatMap(readsOf),
    ...(graph.output ?? []).map(({ name }) => name ?? ''),
  ]
  const captured = (node.attribute ?? []).flatMap(({ g, graphs }) =>
    [...(g ? [g] : []), ...(graphs ?? [])].flatMap(inner),
  )
  return [...(node.input ?? []), ...captured]
}

/** Ends with each cut put in the place of the one it replaces, the others kept; a value stands once. */
function replaced(ends: ValueInfoProto[], cuts: Cut[], what: string): ValueInfoProto[] {
  for (const { from } of cuts) if (!ends.some(({ name }) => name === from)) fail(`it has no ${what} ${from}`)
  // Later ones of a name take the place of earlier ones.
  const all = ends.flatMap((each) => {
    const here = cuts.filter(({ from }) => from === each.name)
    return here.length > 0 ? here.map(end) : [each]
  })
  return [...new Map(all.map((each) => [each.name ?? '', each])).values()]
}

function initialiser(name: string, { dims, dtype, data }: Constant): TensorProto {
  const base = { name, dims, dataType: dtypeNumber(dtype) }
  if (dtype === 'float32') return { ...base, rawData: new Uint8Array(Float32Array.from(data).buffer) }
  if (dtype === 'float64') return { ...base, rawData: new Uint8Array(Float64Array.from(data).buffer) }
  if (dtype === 'int64') return { ...base, rawData: new Uint8Array(BigInt64Array.from(data, BigInt).buffer) }
  if (dtype === 'float16') return fail(`the known value ${name} is float16`)
  if (dtype === 'uint32') return { ...base, uint64Data: Array.from(data) }
  return { ...base, int32Data: Array.from(data) }
}

/** The nodes that the outputs depend on, and the names that those read. */
function living(
  nodes: NodeProto[],
  outputs: string[],
  given: ReadonlySet<string>,
): { alive: Set<NodeProto>; read: Set<string> } {
  const producers = new Map(
    nodes.flatMap((node) => (node.output ?? []).map((name): [string, NodeProto] => [name, node])),
  )
  const alive = new Set<NodeProto>()
  const read = new Set(outputs)
  // The set grows while it is walked.
  for (const name of read) {
    const node = given.has(name) ? undefined : producers.get(name)
    if (name === '' || node === undefined || alive.has(node)) continue
    alive.add(node)
    for (const input of readsOf(node)) read.add(input)
  }
  return { alive, read }
}

/**
 * The model with its ends replaced; nodes and initialisers that no output needs any longer are dropped. Without cuts the
 * bytes come back as they are. Throws `MODEL_CUT` when a removed input is still needed or an end does not exist, and the codes of
 * `decodeModel`.
 */
export function cutModel(bytes: Uint8Array, cuts: Cuts): Uint8Array {
  if (cuts.inputs.length === 0 && cuts.outputs.length === 0) return bytes
  const model = decodeModel(bytes)
  const graph = model.graph ?? fail('it has no graph')
  const nodes = graph.node ?? []
  const produced = new Set(nodes.flatMap((node) => node.output ?? []))
  for (const { tensor } of [...cuts.inputs, ...cuts.outputs])
    if (tensor === '' || !produced.has(tensor)) fail(`no node produces ${tensor || 'a value without a name'}`)
  const inputs = replaced(graph.input ?? [], cuts.inputs, 'input')
  const typed = cuts.outputs.map((cut) => ({ ...cut, dtype: cut.dtype ?? typeOf(graph, cut.tensor) }))
  const outputs = replaced(graph.output ?? [], typed, 'output')
  const inputNames = new Set(inputs.map(({ name }) => name ?? ''))
  const outputNames = outputs.map(({ name }) => name ?? '')
  if (outputNames.some((name) => inputNames.has(name))) fail('nothing is left between its ends')

  const known = cuts.constants ?? new Map<string, Constant>()
  const computed = [...known].filter(
    ([name]) => produced.has(name) && !inputNames.has(name) && !outputNames.includes(name),
  )
  const values = new Map(computed)
  const { alive, read } = living(nodes, outputNames, new Set([...inputNames, ...values.keys()]))
  for (const { from } of cuts.inputs) if (read.has(from) && !inputNames.has(from)) fail(`input ${from} is still needed`)
  for (const node of alive)
    for (const name of node.output ?? [])
      if (inputNames.has(name) || values.has(name)) fail(`${name} comes from a node that also gives what is needed`)

  const kept = (graph.initializer ?? []).filter(({ name }) => read.has(name ?? ''))
  const dropped = new Set((graph.initializer ?? []).flatMap(({ name }) => (name && !read.has(name) ? [name] : [])))
  const left = nodes.filter((node) => alive.has(node))
  const inside = new Set(left.flatMap((node) => node.output ?? []))
  model.graph = {
    ...graph,
    node: left,
    initializer: [
      ...kept,
      ...[...values].filter(([name]) => read.has(name)).map(([name, value]) => initialiser(name, value)),
    ],
    // Old exporters list the weights among the inputs too.
    input: inputs.filter(({ name }) => !dropped.has(name ?? '')),
    output: outputs,
    valueInfo: (graph.valueInfo ?? []).filter(
      ({ name }) => inside.has(name ?? '') && !outputNames.includes(name ?? ''),
    ),
    quantizationAnnotation: (graph.quantizationAnnotation ?? []).filter(({ tensorName }) => read.has(tensorName ?? '')),
  }
  return encodeModel(model)
}
