import { numberAttribute, textAttribute } from '../fold-tensor.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { PlanArray } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { toAffine, toRef, toScaled } from './apply.ts'
import { activationAt, affineUnary, type Lower, plain, setActivation, uncovered } from './context.ts'
import { conv, convTranspose } from './convolution.ts'
import { addTensor, emitLinear, pushOp } from './emit.ts'
import { loopsOfAxis, stridesOver } from './frame.ts'
import { maximum } from './reduce.ts'
import { loop, numbersOver, operandOf, range } from './ref.ts'
import {
  imageFrame,
  leavesOf,
  listOf,
  spatialAxes,
  type Window,
  windowOf,
  windowPositions,
  windowRef,
} from './window.ts'

/** Means and maxima of windows. */

const averagePool: Lower = (context, node) => {
  const { ref, scale, shift } = toAffine(context, node, activationAt(context, node, 0))
  const spatial = ref.shape.slice(2)
  const kernel = listOf(
    node,
    'kernel_shape',
    spatial.map(() => 0),
    1,
  )
  const window = windowOf(node, spatial, kernel)
  const looks = window.out.reduce((sum, count, axis) => sum + count * kernel[axis]!, 0)
  if (elementCount(kernel) > MANIFEST_LIMITS.taps || looks > MANIFEST_LIMITS.tensorElements)
    uncovered(node, `a window of [${kernel}] is too large`, 'MODEL_SHAPE')
  const counted = numberAttribute(node, 'count_include_pad', 0) !== 0
  const auto = textAttribute(node, 'auto_pad', 'NOTSET')
  const pads =
    auto === 'NOTSET'
      ? listOf(
          node,
          'pads',
          kernel.flatMap(() => [0, 0]),
          0,
        )
      : null
  // Elements that a window divides by, per axis and position; those that lie in the pads count where that is asked for.
  const counts = window.out.map((count, axis) =>
    range(count).map((o) => {
      const start = o * window.strides[axis]! - window.before[axis]!
      const end = counted
        ? spatial[axis]! + (pads === null ? Number.POSITIVE_INFINITY : pads[axis + kernel.length]!)
        : spatial[axis]!
      const begin = counted ? -window.before[axis]! : 0
      // Taps from the first that is not before the beginning to the first that is not before the end.
      const tapAt = (place: number): number =>
        Math.min(kernel[axis]!, Math.max(0, Math.ceil((place - start) / window.dilations[axis]!)))
      return tapAt(end) - tapAt(begin)
    }),
  )
  const full = elementCount(kernel)
  const even = counts.every((each, axis) => each.every((count) => count === kernel[axis]))
  const leaves = leavesOf(window, spatial)
  const source =
    shift !== 0 && spatialAxes(ref).some(leaves)
      ? toScaled(context, node, plain(ref, affineUnary(scale, shift)))
      : { ref, scale }
  const left = source.ref === ref ? shift : 0
  const fitted = windowRef(context, node, source.ref, spatialAxes(ref), leaves)
  const shape = [ref.shape[0]!, ref.shape[1]!, ...window.out]
  const frame = imageFrame(shape, fitted, fitted.factors[1]!)
  const outer = frame.order.length
  const loops = outer + kernel.length
  const positions = [
    ...loopsOfAxis(frame, 0).map(loop),
    ...loopsOfAxis(frame, 1).map(loop),
    ...windowPositions(fitted, frame, window, outer),
  ]
  let weight: number | PlanArray = source.scale / full
  if (!even) {
    const data = numbersOver(window.out).map((_, flat) => {
      let rest = flat
      let count = 1
      for (let axis = kernel.length - 1; axis >= 0; axis--) {
        count *= counts[axis]![rest % window.out[axis]!]!
        rest = Math.floor(rest / window.out[axis]!)
      }
      return source.scale / count
    })
    const steps = window.out.flatMap((_, axis) =>
      loopsOfAxis(frame, axis + 2).map((index): [number, number] => [index, elementCount(window.out.slice(axis + 1))]),
    )
    weight = { data, strides: stridesOver(loops, steps) }
  }
  const term = { ...operandOf(fitted, positions, loops), reduce: kernel, weight }
  setActivation(context, node, emitLinear(context, node.name, node.outputs[0]!, frame, [term], left))
}

const maxPool: Lower = (context, node) => {
  if (node.outputs[1]) uncovered(node, 'gives the indices of its maxima')
  const found = toAffine(context, node, activationAt(context, node, 0))
  const { ref, scale, shift } =
    found.scale > 0
      ? found
      : { ref: toRef(context, node, plain(found.ref, affineUnary(found.scale, found.shift))), scale: 1, shift: 0 }
  const spatial = ref.shape.slice(2)
  const kernel = listOf(
    node,
    'kernel_shape',
    spatial.map(() => 0),
    1,
  )
  const window = windowOf(node, spatial, kernel)
  if (kernel.some((size) => size > 64)) uncovered(node, 'has a window of more than 64 on one axis')
  // Windows of more than 64 elements go axis by axis.
  const passes =
    elementCount(kernel) <= 64 ? [kernel.map(() => true)] : kernel.map((_, axis) => kernel.map((_, i) => i === axis))
  let source = ref
  passes.forEach((taken, pass) => {
    const each: Window = {
      kernel: kernel.map((size, axis) => (taken[axis] ? size : 1)),
      strides: window.strides.map((stride, axis) => (taken[axis] ? stride : 1)),
      dilations: window.dilations,
      before: window.before.map((pad, axis) => (taken[axis] ? pad : 0)),
      out: window.out.map((count, axis) => (taken[axis] ? count : source.shape[axis + 2]!)),
    }
    const fitted = windowRef(context, node, source, spatialAxes(source), leavesOf(each, source.shape.slice(2)))
    const frame = imageFrame([ref.shape[0]!, ref.shape[1]!, ...each.out], fitted, fitted.factors[1]!)
    const outer = frame.order.length
    const positions = [
      ...loopsOfAxis(frame, 0).map(loop),
      ...loopsOfAxis(frame, 1).map(loop),
      ...windowPositions(fitted, frame, each, outer),
    ]
    const last = pass === passes.length - 1
    const out = addTensor(context, last ? node.outputs[0]! : `${node.outputs[0]}/axis${pass}`, frame, {
      grid: { kind: 'same', as: fitted.tensor },
    })
    pushOp(context, {
      kind: 'extremum',
      name: last ? node.name : `${node.name}/axis${pass}`,
      output: out.tensor,
      input: operandOf(fitted, positions, outer + each.kernel.length),
      reduce: each.kernel,
    })
    source = out
  })
  setActivation(context, node, plain(source, affineUnary(scale, shift)))
}

const globalMaxPool: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  setActivation(
    context,
    node,
    maximum(context, node, activation, (rank) => range(rank - 2).map((axis) => axis + 2), true),
  )
}

export const WINDOW: Record<string, Lower> = {
  AveragePool: averagePool,
  Conv: conv,
  ConvTranspose: convTranspose,
  GlobalMaxPool: globalMaxPool,
  MaxPool: maxPool,
}
