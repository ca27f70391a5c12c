import { integersAttribute, numberAttribute, textAttribute } from '../fold-tensor.ts'
import type { GraphNode } from '../onnx.ts'
import { type Context, uncovered } from './context.ts'
import { copyRef } from './emit.ts'
import { type Frame, frameOf, loopsOfAxis } from './frame.ts'
import { affine, isExact, type Position, plainFactors, type Ref, range } from './ref.ts'

/** Windows that slide over one or more axes. Results lie channels last. */

export type Window = { kernel: number[]; strides: number[]; dilations: number[]; before: number[]; out: number[] }

export function listOf(node: GraphNode, key: string, fallback: number[], least: number): number[] {
  const value = integersAttribute(node, key) ?? fallback
  if (value.length !== fallback.length || value.some((entry) => entry < least || entry > 2 ** 20))
    return uncovered(
      node,
      `${key} [${value}] does not fit ${fallback.length} numbers from ${least} up`,
      'MODEL_ATTRIBUTE',
    )
  return value
}

/** Window positions per axis, from pads or `auto_pad`. */
export function windowOf(node: GraphNode, spatial: number[], kernel: number[]): Window {
  const strides = listOf(
    node,
    'strides',
    kernel.map(() => 1),
    1,
  )
  const dilations = listOf(
    node,
    'dilations',
    kernel.map(() => 1),
    1,
  )
  const pads = listOf(
    node,
    'pads',
    kernel.flatMap(() => [0, 0]),
    0,
  )
  const auto = textAttribute(node, 'auto_pad', 'NOTSET')
  const ceil = numberAttribute(node, 'ceil_mode', 0) !== 0
  const before: number[] = []
  const out = kernel.map((size, axis) => {
    const reach = dilations[axis]! * (size - 1) + 1
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const count = Math.ceil(spatial[axis]! / strides[axis]!)
      const total = Math.max(0, (count - 1) * strides[axis]! + reach - spatial[axis]!)
      before.push(auto === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2))
      return count
    }
    const [first, last] = auto === 'VALID' ? [0, 0] : [pads[axis]!, pads[axis + kernel.length]!]
    before.push(first)
    const steps = (spatial[axis]! + first + last - reach) / strides[axis]!
    let count = Math.floor(steps) + 1
    // A window that begins in the pads after the end is left out.
    if (ceil && Math.ceil(steps) + 1 > count && Math.ceil(steps) * strides[axis]! < spatial[axis]! + first) count++
    return count
  })
  if (out.some((count) => count < 1)) uncovered(node, 'its window is larger than what it slides over', 'MODEL_SHAPE')
  return { kernel, strides, dilations, before, out }
}

/** A view whose named axes a window can slide over: one variable each, and exact where the window leaves it. */
export function windowRef(
  context: Context,
  node: GraphNode,
  ref: Ref,
  axes: number[],
  leaves: (axis: number) => boolean,
): Ref {
  const fits = axes.every((axis) => (leaves(axis) ? isExact(ref, axis) : ref.factors[axis]!.length <= 1))
  return fits ? ref : copyRef(context, node, ref, { keep: axes })
}

/** The frame of a result [batch, channels, …]: channels last, and the variables of the input's batch. */
export function imageFrame(shape: number[], ref: Ref, channels = plainFactors([shape[1]!])[0]!): Frame {
  const factors = [ref.factors[0]!, channels, ...plainFactors(shape.slice(2))]
  const count = factors.map((each) => each.length)
  const all = range(factors.flat().length)
  const batch = all.slice(0, count[0])
  const channel = all.slice(count[0]!, count[0]! + count[1]!)
  return frameOf(shape, factors, [...batch, ...all.slice(count[0]! + count[1]!), ...channel])
}

export const leavesOf = (window: Window, spatial: number[]) => (axis: number) => {
  const at = axis - 2
  const last =
    (window.out[at]! - 1) * window.strides[at]! - window.before[at]! + (window.kernel[at]! - 1) * window.dilations[at]!
  return window.before[at]! > 0 || last >= spatial[at]!
}

export const spatialAxes = (ref: Ref): number[] => range(ref.shape.length - 2).map((axis) => axis + 2)

/** Positions along the windows' axes that the view has a variable for; the loops of the kernel begin at `first`. */
export const windowPositions = (ref: Ref, frame: Frame, window: Window, first: number): Position[] =>
  window.kernel.flatMap((_, axis) =>
    ref.factors[axis + 2]!.map(() =>
      affine(
        [
          ...loopsOfAxis(frame, axis + 2).map((index): [number, number] => [index, window.strides[axis]!]),
          [first + axis, window.dilations[axis]!],
        ],
        -window.before[axis]!,
      ),
    ),
  )
