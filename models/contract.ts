import {
  dependsOn,
  forEachPoint,
  indicesOf,
  int32Slice,
  int64Slice,
  pointsOf,
  type Reader,
  readerOf,
  stepAlong,
  stridedIndex,
  stridesOf,
} from './access.ts'
import { planContraction } from './contraction.ts'
import type { LinearOp, Manifest, ProductOp } from './manifest.ts'
import type { Multiply } from './multiply.ts'
import { elementCount, tensorOf } from './tiling.ts'

/** What an op is evaluated in: the manifest, the weights file and the tensors computed so far. */
export type Evaluation = {
  manifest: Manifest
  weights: Uint8Array
  /** Values of a (resolved) tensor. */
  read(tensor: number): Int16Array | Int32Array
}

export type Steps = Generator<Parameters<Multiply>, Float64Array, Float64Array>

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** One factor of a contraction: an operand of the graph or an array of weights. Where nothing is, the value is 0. */
export type Factor = {
  dependsOn(loop: number): boolean
  /** Distance between neighbours along a loop; null where it varies. */
  step(loop: number): number | null
  /** Values at all points of the named loops, row-major, the other coordinates as in `point`. */
  gather(dims: number[], point: Float64Array): Float64Array
}

export function operandFactor(reader: Reader, x: ArrayLike<number>): Factor {
  return {
    dependsOn: (loop) => dependsOn(reader, loop),
    step: (loop) => stepAlong(reader, loop),
    gather(dims, point) {
      const at = new Int32Array(pointsOf(reader.loops, dims))
      indicesOf(reader, dims, point, at)
      const out = new Float64Array(at.length)
      const { zero } = reader
      for (let i = 0; i < out.length; i++) if (at[i]! >= 0) out[i] = x[at[i]!]! - zero
      return out
    },
  }
}

/** Numbers read at Σ strides·loop, or one number everywhere. */
export function arrayFactor(
  weight: number | { values: ArrayLike<number>; strides: number[] },
  loops: number[],
): Factor {
  if (typeof weight === 'number')
    return {
      dependsOn: () => false,
      step: () => 0,
      gather: (dims) => new Float64Array(pointsOf(loops, dims)).fill(weight),
    }
  const { values } = weight
  return {
    dependsOn: (loop) => weight.strides[loop] !== 0,
    step: (loop) => weight.strides[loop]!,
    gather(dims, point) {
      const out = new Float64Array(pointsOf(loops, dims))
      const inner = dims.at(-1)
      if (inner === undefined) {
        out[0] = values[stridedIndex(weight, point)]!
        return out
      }
      const step = weight.strides[inner]!
      let at = 0
      forEachPoint(loops, dims.slice(0, -1), point, () => {
        const saved = point[inner]!
        point[inner] = 0
        let from = stridedIndex(weight, point)
        point[inner] = saved
        for (let j = 0; j < loops[inner]!; j++, from += step) out[at++] = values[from]!
      })
      return out
    },
  }
}

/**
 * Adds scale · Σ x·w over the reduced loops to `acc`, one accumulator per point of the first `rank` loops. Loops on which
 * only one factor depends become rows and columns of a matrix product; those on which both do are gone through one by one.
 */
export function* contract(
  x: Factor,
  w: Factor,
  loops: number[],
  rank: number,
  scale: number,
  acc: Float64Array,
): Generator<Parameters<Multiply>, void, Float64Array> {
  const plan = planContraction(x.dependsOn, w.dependsOn, loops, rank)
  const { both, columns, rows, columnCount, depth } = plan
  // Neighbours in memory last: what is gathered then are long runs.
  const reduced = plan.reduced.toSorted((a, b) => Math.abs(x.step(b) ?? 0) - Math.abs(x.step(a) ?? 0))
  const strides = stridesOf(loops.slice(0, rank))
  const point = new Float64Array(loops.length)
  const offset = (dims: number[]): number => dims.reduce((sum, dim) => sum + strides[dim]! * point[dim]!, 0)
  const offsets = (dims: number[]): Int32Array => {
    const out = new Int32Array(pointsOf(loops, dims))
    let at = 0
    forEachPoint(loops, dims, point, () => {
      out[at++] = offset(dims)
    })
    return out
  }
  if (plan.kind === 'scaled') {
    // One weight for many elements: nothing to multiply as a matrix.
    const places = offsets(rows)
    forEachPoint(loops, [...both, ...reduced], point, () => {
      const weight = scale * w.gather([], point)[0]!
      if (weight === 0) return
      const base = offset(both)
      const values = x.gather(rows, point)
      for (let i = 0; i < places.length; i++) acc[base + places[i]!]! += weight * values[i]!
    })
    return
  }
  if (plan.kind === 'paired') {
    // Both factors move with every output: element by element, one point of the reduced loops after the other.
    forEachPoint(loops, reduced, point, () => {
      const a = x.gather(both, point)
      const b = w.gather(both, point)
      for (let i = 0; i < acc.length; i++) acc[i]! += scale * a[i]! * b[i]!
    })
    return
  }
  const columnPlaces = offsets(columns)
  const { turns, block } = plan
  const blockPlaces = offsets(block)
  const points: Float64Array[] = []
  let lastBoth = ''
  let matrix: Float64Array | null = null
  forEachPoint(loops, [...both, ...turns], point, () => points.push(point.slice()))
  for (const at of points) {
    point.set(at)
    const key = both.map((dim) => point[dim]).join()
    if (matrix === null || key !== lastBoth) {
      matrix = w.gather([...columns, ...reduced], point)
      lastBoth = key
    }
    const base = offset([...both, ...turns])
    const left = x.gather([...block, ...reduced], point)
    const product = yield [left, matrix, blockPlaces.length, columnCount, depth]
    for (let i = 0, p = 0; i < blockPlaces.length; i++)
      for (let j = 0; j < columnCount; j++) acc[base + blockPlaces[i]! + columnPlaces[j]!]! += scale * product[p++]!
  }
}

function biases(bias: LinearOp['bias'], file: Uint8Array, shape: number[]): Float64Array {
  const out = new Float64Array(elementCount(shape))
  if (typeof bias === 'number') return out.fill(bias)
  const values = int64Slice(file, bias)
  let at = 0
  const point = new Float64Array(shape.length)
  forEachPoint(shape, range(0, shape.length), point, () => {
    out[at++] = values[stridedIndex(bias, point)]!
  })
  return out
}

/** Accumulators of a linear op, before any limb is dropped. */
export function* accumulateLinear({ manifest, weights, read }: Evaluation, op: LinearOp): Steps {
  const { shape } = tensorOf(manifest, op.output)
  const acc = biases(op.bias, weights, shape)
  for (const term of op.terms) {
    const loops = [...shape, ...term.reduce]
    const reader = readerOf(manifest, weights, term, loops)
    const x = operandFactor(reader, read(reader.tensor))
    yield* contract(
      x,
      arrayFactor(
        typeof term.weight === 'number' ? term.weight : { ...term.weight, values: int32Slice(weights, term.weight) },
        loops,
      ),
      loops,
      shape.length,
      1,
      acc,
    )
  }
  return acc
}

/** Accumulators of a product of two activations. */
export function* accumulateProduct({ manifest, weights, read }: Evaluation, op: ProductOp): Steps {
  const { shape } = tensorOf(manifest, op.output)
  const acc = new Float64Array(elementCount(shape)).fill(op.bias)
  const loops = [...shape, ...op.reduce]
  const factor = (operand: ProductOp['a']): Factor => {
    const reader = readerOf(manifest, weights, operand, loops)
    return operandFactor(reader, read(reader.tensor))
  }
  yield* contract(factor(op.a), factor(op.b), loops, shape.length, op.weight, acc)
  return acc
}
