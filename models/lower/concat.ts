import { numberAttribute } from '../fold-tensor.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { Constant } from '../onnx.ts'
import type { PlanArray, PlanTerm } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { toScaled } from './apply.ts'
import { activationAt, type Lower, plain, resolveAxis, setActivation, shapeOf, uncovered, valueAt } from './context.ts'
import { alignRefs, copyRef, emitLinear } from './emit.ts'
import { frameOf, loopsOfAxis, orderLike, stridesOver } from './frame.ts'
import { affine, isExact, loop, numbersOver, operandOf, type Position, range } from './ref.ts'

/** Joining activations and constants. */

/** Joins activations and constants along an axis: a term for each, shifted; constants are the bias. */
export const concat: Lower = (context, node) => {
  const parts = node.inputs.map((_, i) => {
    const value = valueAt(context, node, i)
    if (value?.kind === 'constant') return { constant: value.constant, found: null, dims: value.constant.dims }
    const activation = activationAt(context, node, i)
    return { constant: null, found: toScaled(context, node, activation), dims: shapeOf(activation) }
  })
  if (parts.length > 64) uncovered(node, 'joins more than 64 tensors')
  const rank = parts[0]!.dims.length
  const axis = resolveAxis(node, numberAttribute(node, 'axis', 0), rank)
  if (parts.some(({ dims }) => dims.length !== rank)) uncovered(node, 'joins tensors of different ranks', 'MODEL_SHAPE')
  const off = (dims: number[]): string => String(dims.filter((_, each) => each !== axis))
  if (parts.some(({ dims }) => off(dims) !== off(parts[0]!.dims)))
    uncovered(node, `joins tensors of [${parts.map(({ dims }) => dims).join('] and [')}]`, 'MODEL_SHAPE')
  const starts: number[] = []
  const total = parts.reduce((sum, { dims }) => {
    starts.push(sum)
    return sum + dims[axis]!
  }, 0)
  if (total * parts.length > MANIFEST_LIMITS.tensorElements)
    uncovered(node, `joins ${total} elements along an axis`, 'MODEL_SHAPE')
  const live = parts.flatMap(({ found }, i) =>
    found === null ? [] : [{ ...found, start: starts[i]!, extent: parts[i]!.dims[axis]! }],
  )
  // Off the axis all have one shape; along it each has its place.
  const ready = live.map((each) => ({
    ...each,
    ref: each.ref.factors[axis]!.length <= 1 ? each.ref : copyRef(context, node, each.ref),
  }))
  const { refs, frame: shared } = alignRefs(
    context,
    node,
    ready.map(({ ref }) => ref),
    [],
    (_, each) => each === axis,
  )
  const shape = shared.shape.map((dim, each) => (each === axis ? total : dim))
  const factors = shared.factors.map((extents, each) => (each === axis ? [total] : extents))
  const first = factors.slice(0, axis).flat().length
  const widest = refs.reduce((a, b) => (elementCount(b.shape) > elementCount(a.shape) ? b : a))
  const like = widest.factors.flat().length === factors.flat().length ? orderLike(widest) : range(factors.flat().length)
  const frame = frameOf(shape, factors, like)
  const outer = frame.order.length
  const along = frame.loopOf[first]!
  const terms = ready.map(({ scale, start, extent }, i): PlanTerm => {
    const fitted = refs[i]!
    const positions = fitted.factors.flatMap((extents, at): Position[] =>
      at === axis
        ? extent === 1
          ? []
          : [affine([[along, 1]], -start)]
        : extents.length === 0
          ? []
          : loopsOfAxis(frame, at).map(loop),
    )
    // Beyond an axis that is whole there is nothing; beyond a part of one the rest is weighted away.
    const weight: number | PlanArray = isExact(fitted, axis)
      ? scale
      : {
          data: Float64Array.from({ length: total }, (_, at) => (at >= start && at < start + extent ? scale : 0)),
          strides: stridesOver(outer, [[along, 1]]),
        }
    return { ...operandOf(fitted, positions, outer), reduce: [], weight }
  })
  const constants = parts.some(({ constant }) => constant !== null)
  const bias = constants ? joinedBias(parts, starts, shape, axis, factors, frame.loopOf, outer) : 0
  const joined = emitLinear(context, node.name, node.outputs[0]!, frame, terms, bias)
  joined.writer!.disjoint = true
  setActivation(context, node, plain(joined.ref))
}

function joinedBias(
  parts: { constant: Constant | null; dims: number[] }[],
  starts: number[],
  shape: number[],
  axis: number,
  factors: number[][],
  loopOf: number[],
  loops: number,
): PlanArray {
  const data = numbersOver(shape)
  const inner = elementCount(shape.slice(axis + 1))
  parts.forEach(({ constant, dims }, i) => {
    if (constant === null) return
    const run = dims[axis]! * inner
    for (let outer = 0; outer < constant.data.length / run; outer++)
      data.set(constant.data.subarray(outer * run, (outer + 1) * run), (outer * shape[axis]! + starts[i]!) * inner)
  })
  const extents = factors.flat()
  const steps = extents.map((_, variable): [number, number] => [
    loopOf[variable]!,
    elementCount(extents.slice(variable + 1)),
  ])
  return { data, strides: stridesOver(loops, steps) }
}
