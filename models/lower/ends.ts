import { numberAttribute } from '../fold-tensor.ts'
import { fail } from '../lower.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { Graph, GraphNode } from '../onnx.ts'
import type { Grid } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { toRef } from './apply.ts'
import {
  type Activation,
  type Context,
  plain,
  requiredConstant,
  resolveAxis,
  setActivation,
  uncovered,
  type Value,
} from './context.ts'
import { emitLinear, gridOf } from './emit.ts'
import { alignedOperand, frameOf } from './frame.ts'
import { isRowMajor, plainFactors, type Ref, wholeRef } from './ref.ts'

/** Inputs and outputs of a graph, and what of it is the consumer's: embeddings. */

/** Rows of a constant by the integers of a graph input. */
export function embed(context: Context, node: GraphNode, ids: Value & { kind: 'ids' }): void {
  const table = requiredConstant(context, node, 0)
  if (resolveAxis(node, numberAttribute(node, 'axis', 0), table.dims.length) !== 0 || table.dims.length !== 2)
    uncovered(node, 'looks integers up in something else than the rows of a matrix')
  if (table.data.length > 2 ** 26) uncovered(node, 'looks up in more than 2^26 numbers')
  const [rows, width] = table.dims as [number, number]
  const dims = [...ids.dims, width]
  if (elementCount(dims) > MANIFEST_LIMITS.tensorElements)
    uncovered(node, `would give [${dims}], more than ${MANIFEST_LIMITS.tensorElements} elements`, 'MODEL_SHAPE')
  const tensor = context.plan.tensors.length
  const name = node.outputs[0]!
  context.plan.tensors.push({ name, shape: dims.slice(1), bits: 16, grid: { kind: 'free' }, viewOf: null })
  context.plan.inputs.push({
    name,
    tensor,
    shape: dims.slice(1),
    lookup: { name: ids.name, shape: ids.dims.slice(1), rows, table: table.data },
  })
  context.cuts.inputs.push({ from: ids.name, tensor: name, dims, dtype: table.dtype })
  setActivation(context, node, plain(inputRef(tensor, dims)))
}

function inputRef(tensor: number, dims: number[]): Ref {
  let variable = 0
  return wholeRef(
    tensor,
    dims,
    plainFactors(dims),
    dims.slice(1).map((dim) => (dim > 1 ? variable++ : -1)),
  )
}

/** Whether a tensor's integers are its numbers times a power of two, and nothing else. */
const isPowerOfTwo = (grid: Grid): boolean =>
  grid.kind === 'free' ||
  (grid.kind === 'fixed' && grid.levels === null && grid.offset === 0 && Number.isInteger(Math.log2(grid.scale)))

/** The tensor of a graph output: the result of an op, row-major, batch left out, at a power-of-two scale. */
export function outputTensor(context: Context, node: GraphNode, activation: Activation, taken: Set<number>): number {
  const { plan } = context
  const ref = toRef(context, node, activation)
  const shape = ref.shape.slice(1)
  const whole = isRowMajor(ref)
  const tensor = plan.tensors[ref.tensor]!
  const root = tensor.viewOf ?? ref.tensor
  const fits =
    whole &&
    isPowerOfTwo(gridOf(context, ref.tensor)) &&
    plan.ops.some(({ output }) => output === root) &&
    !taken.has(root)
  let from = ref.tensor
  if (!fits) {
    const frame = frameOf(ref.shape, ref.factors)
    const terms = [{ ...alignedOperand(ref, frame), reduce: [], weight: 1 }]
    from = emitLinear(context, `${node.name}/output`, `${node.outputs[0]}/output`, frame, terms, 0, {
      grid: gridOf(context, ref.tensor).kind === 'free' ? { kind: 'same', as: ref.tensor } : { kind: 'free' },
    }).ref.tensor
  }
  const source = plan.tensors[from]!
  taken.add(source.viewOf ?? from)
  if (String(source.shape) === String(shape)) return from
  plan.tensors.push({
    name: `${source.name}/view`,
    shape,
    bits: 16,
    grid: { kind: 'same', as: source.viewOf ?? from },
    viewOf: source.viewOf ?? from,
  })
  return plan.tensors.length - 1
}

export function readInputs(context: Context, graph: Graph): void {
  for (const { name, dtype, dims } of graph.inputs) {
    if (dims.length === 0 || (dims[0] !== null && dims[0] !== 1))
      fail('MODEL_SHAPE', `input ${name}: its first dimension must be a batch of 1 or of any size`)
    const open = dims.findIndex((dim, axis) => axis > 0 && dim === null)
    if (open > 0) fail('MODEL_SHAPE', `input ${name}: its dimension ${open} is left open; export it with a fixed size`)
    const shape = [1, ...(dims.slice(1) as number[])]
    if (!(elementCount(shape) <= MANIFEST_LIMITS.tensorElements))
      fail('MODEL_SHAPE', `input ${name}: [${shape}] has more than ${MANIFEST_LIMITS.tensorElements} elements`)
    if (dtype === 'float32' || dtype === 'float64' || dtype === 'float16') {
      const tensor = context.plan.tensors.length
      context.plan.tensors.push({ name, shape: shape.slice(1), bits: 16, grid: { kind: 'free' }, viewOf: null })
      context.plan.inputs.push({ name, tensor, shape: shape.slice(1), lookup: null })
      context.values.set(name, { kind: 'activation', activation: plain(inputRef(tensor, shape)) })
    } else if (dtype === 'int64' || dtype === 'int32') context.values.set(name, { kind: 'ids', name, dims: shape })
    else context.values.set(name, { kind: 'uncovered', reason: `input ${name} is ${dtype}` })
  }
}
