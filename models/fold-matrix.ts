import {
  axisOf,
  broadcastShapes,
  broadcastStrides,
  type Fold,
  input,
  made,
  numberAttribute,
  refuse,
  spread,
  tooLarge,
  walk,
} from './fold-tensor.ts'
import type { Constant, GraphNode } from './onnx.ts'
import { RANGES } from './onnx-tensor.ts'
import { elementCount } from './tiling.ts'

/** Operators that sum over an axis of constants: small matrix products, such as a cell's first step of zeros has, and softmax. */

/** Multiply-adds of the largest product that is folded: a node must not cost more than what it reads and gives is counted as. */
const PRODUCT_WORK = 2 ** 20

const rangeOf = (count: number): Float64Array => Float64Array.from({ length: count }, (_, i) => i)

function checkFloat(node: GraphNode, constants: Constant[]): void {
  const [{ dtype }] = constants as [Constant]
  if (RANGES[dtype] !== undefined) refuse('MODEL_DTYPE', node, `does not take ${dtype}`)
  if (constants.some((each) => each.dtype !== dtype)) refuse('MODEL_DTYPE', node, 'its inputs have different types')
}

/** a · b of matrices, batches broadcast; null where that is too much work. */
function times(node: GraphNode, a: Constant, b: Constant): Constant | null {
  checkFloat(node, [a, b])
  const [rows, depth] = a.dims.slice(-2) as [number, number]
  const columns = b.dims.at(-1)!
  const lead = broadcastShapes([a.dims.slice(0, -2), b.dims.slice(0, -2)])
  if (lead === null || b.dims.at(-2) !== depth)
    return refuse('MODEL_SHAPE', node, `its shapes [${a.dims}] and [${b.dims}] do not fit`)
  const dims = [...lead, rows, columns]
  if (tooLarge(dims) || elementCount(dims) * depth > PRODUCT_WORK) return null
  // Where the matrix of each batch begins.
  const firsts = (dimsOf: number[]) => {
    const count = elementCount(dimsOf.slice(0, -2))
    return walk(rangeOf(count), lead, broadcastStrides(dimsOf.slice(0, -2), lead))
  }
  const [left, right] = [firsts(a.dims), firsts(b.dims)]
  const out = new Float64Array(elementCount(dims))
  for (let at = 0; at < out.length; at++) {
    const column = at % columns
    const row = Math.floor(at / columns) % rows
    const batch = Math.floor(at / (columns * rows))
    let sum = 0
    for (let k = 0; k < depth; k++)
      sum += a.data[(left[batch]! * rows + row) * depth + k]! * b.data[(right[batch]! * depth + k) * columns + column]!
    out[at] = sum
  }
  return made(node, dims, a.dtype, out)
}

const matmul: Fold = (call) => {
  const [a, b] = [input(call, 0), input(call, 1)]
  if (a.dims.length === 0 || b.dims.length === 0) refuse('MODEL_SHAPE', call.node, 'multiplies a scalar')
  const [row, column] = [a.dims.length === 1, b.dims.length === 1]
  const product = times(
    call.node,
    row ? { ...a, dims: [1, ...a.dims] } : a,
    column ? { ...b, dims: [...b.dims, 1] } : b,
  )
  if (product === null) return null
  const { dims } = product
  return {
    ...product,
    dims: [...dims.slice(0, -2), ...(row ? [] : [dims.at(-2)!]), ...(column ? [] : [dims.at(-1)!])],
  }
}

const swapped = ({ dims, dtype, data }: Constant): Constant => {
  const [rows, columns] = dims as [number, number]
  return { dims: [columns, rows], dtype, data: walk(data, [columns, rows], [1, columns]) }
}

const gemm: Fold = (call) => {
  const { node } = call
  const [a, b] = [0, 1].map((index) => {
    const each = input(call, index)
    if (each.dims.length !== 2) refuse('MODEL_SHAPE', node, `input ${index} is no matrix`)
    if (tooLarge(each.dims)) return null
    return numberAttribute(node, index === 0 ? 'transA' : 'transB', 0) === 0 ? each : swapped(each)
  }) as [Constant | null, Constant | null]
  const product = a && b && times(node, a, b)
  if (product === null) return null
  const added = call.inputs[2] ?? null
  if (added !== null && String(broadcastShapes([added.dims, product.dims])) !== String(product.dims))
    refuse('MODEL_SHAPE', node, `cannot add [${added.dims}] to [${product.dims}]`)
  const c = added === null ? null : spread(added, product.dims)
  const [alpha, beta] = [numberAttribute(node, 'alpha', 1), numberAttribute(node, 'beta', 1)]
  const values = Float64Array.from(product.data, (x, i) => alpha * x + (c === null ? 0 : beta * c.data[i]!))
  return made(node, product.dims, product.dtype, values)
}

const softmax: Fold = (call) => {
  const constant = input(call, 0)
  const { dims, dtype, data } = constant
  if (tooLarge(dims)) return null
  checkFloat(call.node, [constant])
  const axis = axisOf(call.node, numberAttribute(call.node, 'axis', -1), dims.length)
  const inner = elementCount(dims.slice(axis + 1))
  const extent = dims[axis]!
  const out = new Float64Array(data.length)
  for (let lane = 0; lane < data.length / Math.max(1, extent); lane++) {
    const first = Math.floor(lane / inner) * inner * extent + (lane % inner)
    let [most, sum] = [-Infinity, 0]
    for (let i = 0; i < extent; i++) most = Math.max(most, data[first + i * inner]!)
    for (let i = 0; i < extent; i++) sum += out[first + i * inner] = Math.exp(data[first + i * inner]! - most)
    for (let i = 0; i < extent; i++) out[first + i * inner]! /= sum
  }
  return made(call.node, dims, dtype, out)
}

export const MATRIX_FOLDS: Record<string, Fold> = { Gemm: gemm, MatMul: matmul, Softmax: softmax }
