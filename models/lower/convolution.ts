import { integersAttribute, numberAttribute, textAttribute } from '../fold-tensor.ts'
import type { GraphNode } from '../onnx.ts'
import type { PlanArray } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { toScaled } from './apply.ts'
import {
  activationAt,
  type Context,
  constantAt,
  type Lower,
  requiredConstant,
  setActivation,
  uncovered,
} from './context.ts'
import { copyRef, emitLinear } from './emit.ts'
import { type Frame, loopsOfAxis, stridesOver } from './frame.ts'
import { affine, isExact, loop, operandOf, type Position, type Ref } from './ref.ts'
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
import { spend } from './work.ts'

/** Convolutions: weights given as [row][channel in group][kernel…]. */

/** Input channels per group as a position: the loops of the output channel and of the channel inside its group. */
function channelPosition(rows: number, groups: number, perGroup: number, rowLoops: number[], inner: number): Position {
  const rowsPerGroup = rows / groups
  const loops: [number, number][] = [...rowLoops.map((index): [number, number] => [index, perGroup]), [inner, 1]]
  if (rowsPerGroup === 1) return affine(loops)
  const table = Int32Array.from(
    { length: rows * perGroup },
    (_, n) => Math.floor(Math.floor(n / perGroup) / rowsPerGroup) * perGroup + (n % perGroup),
  )
  return { ...affine(loops), table }
}

/** Weights given as [row][channel in group][kernel…]. */
function convolve(
  context: Context,
  node: GraphNode,
  source: { ref: Ref; scale: number },
  rows: number,
  groups: number,
  perGroup: number,
  weights: Float64Array,
  window: Window,
  positionsOf: (source: Ref, frame: Frame, first: number) => Position[],
): void {
  const { scale } = source
  let { ref } = source
  if (groups > 1 && !isExact(ref, 1)) ref = copyRef(context, node, ref, { keep: [1, ...spatialAxes(ref)] })
  const shape = [ref.shape[0]!, rows, ...window.out]
  const frame = imageFrame(shape, ref)
  const outer = frame.order.length
  const channels = groups > 1 ? [perGroup] : ref.factors[1]!
  const reduce = [...channels, ...window.kernel]
  const loops = outer + reduce.length
  const positions: Position[] = [
    ...loopsOfAxis(frame, 0).map(loop),
    ...(groups > 1
      ? [channelPosition(rows, groups, perGroup, loopsOfAxis(frame, 1), outer)]
      : channels.map((_, i) => loop(outer + i))),
    ...positionsOf(ref, frame, outer + channels.length),
  ]
  const steps: [number, number][] = []
  let step = 1
  for (let i = reduce.length - 1; i >= 0; i--) {
    steps.push([outer + i, step])
    step *= reduce[i]!
  }
  for (const index of loopsOfAxis(frame, 1)) steps.push([index, step])
  const bias = constantAt(context, node, 2)
  if (bias !== null && bias.data.length !== rows)
    uncovered(node, `its bias does not have ${rows} values`, 'MODEL_SHAPE')
  const biases: number | PlanArray =
    bias === null
      ? 0
      : {
          data: Float64Array.from(bias.data),
          strides: stridesOver(
            outer,
            loopsOfAxis(frame, 1).map((index) => [index, 1]),
          ),
        }
  const term = {
    ...operandOf(ref, positions, loops),
    reduce,
    weight: { data: scale === 1 ? weights : weights.map((w) => w * scale), strides: stridesOver(loops, steps) },
  }
  setActivation(context, node, emitLinear(context, node.name, node.outputs[0]!, frame, [term], biases))
}

export const conv: Lower = (context, node) => {
  const { dims, data } = requiredConstant(context, node, 1)
  const { ref, scale } = toScaled(context, node, activationAt(context, node, 0))
  const [rows, perGroup, ...kernel] = dims as [number, number, ...number[]]
  const groups = numberAttribute(node, 'group', 1)
  const spatial = ref.shape.slice(2)
  if (kernel.length === 0 || ref.shape.length !== dims.length || groups < 1 || rows % groups !== 0)
    uncovered(node, `weights [${dims}] do not fit an input of [${ref.shape}]`, 'MODEL_SHAPE')
  if (ref.shape[1] !== perGroup * groups)
    uncovered(node, `its weights do not fit ${ref.shape[1]} input channels`, 'MODEL_SHAPE')
  if (listOf(node, 'kernel_shape', kernel, 1).some((size, axis) => size !== kernel[axis]))
    uncovered(node, 'kernel_shape is not the shape of its weights', 'MODEL_SHAPE')
  const window = windowOf(node, spatial, kernel)
  spend(data.length)
  const fitted = windowRef(context, node, ref, spatialAxes(ref), leavesOf(window, spatial))
  convolve(
    context,
    node,
    { ref: fitted, scale },
    rows,
    groups,
    perGroup,
    Float64Array.from(data),
    window,
    (source, frame, first) => windowPositions(source, frame, window, first),
  )
}

/** Output position o takes input i where o = i·stride − pad + k·dilation: i = (o + pad − k·dilation) / stride. */
export const convTranspose: Lower = (context, node) => {
  const { dims, data } = requiredConstant(context, node, 1)
  const { ref, scale } = toScaled(context, node, activationAt(context, node, 0))
  const [channels, rowsPerGroup, ...kernel] = dims as [number, number, ...number[]]
  const groups = numberAttribute(node, 'group', 1)
  const rows = rowsPerGroup * groups
  const spatial = ref.shape.slice(2)
  const fits = ref.shape.length === dims.length && ref.shape[1] === channels && groups >= 1 && channels % groups === 0
  if (kernel.length === 0 || !fits)
    uncovered(node, `weights [${dims}] do not fit an input of [${ref.shape}]`, 'MODEL_SHAPE')
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
  const extra = listOf(
    node,
    'output_padding',
    kernel.map(() => 0),
    0,
  )
  const pads = listOf(
    node,
    'pads',
    kernel.flatMap(() => [0, 0]),
    0,
  )
  const given = integersAttribute(node, 'output_shape')?.slice(-kernel.length) ?? null
  const auto = textAttribute(node, 'auto_pad', 'NOTSET')
  const before: number[] = []
  const out = kernel.map((size, axis) => {
    const full = strides[axis]! * (spatial[axis]! - 1) + extra[axis]! + (size - 1) * dilations[axis]! + 1
    const same = auto === 'SAME_UPPER' || auto === 'SAME_LOWER'
    const wanted = given?.[axis] ?? (same ? spatial[axis]! * strides[axis]! : null)
    if (wanted === null) {
      const [first, last] = auto === 'VALID' ? [0, 0] : [pads[axis]!, pads[axis + kernel.length]!]
      before.push(first)
      return full - first - last
    }
    const total = full - wanted
    before.push(auto === 'SAME_UPPER' ? Math.floor(total / 2) : total - Math.floor(total / 2))
    return wanted
  })
  if (out.some((count) => count < 1)) uncovered(node, 'its result has no extent')
  const perGroup = channels / groups
  const taps = elementCount(kernel)
  spend(data.length)
  const weights = new Float64Array(rows * perGroup * taps)
  for (let row = 0, at = 0; row < rows; row++)
    for (let c = 0; c < perGroup; c++) {
      const from = ((Math.floor(row / rowsPerGroup) * perGroup + c) * rowsPerGroup + (row % rowsPerGroup)) * taps
      for (let tap = 0; tap < taps; tap++) weights[at++] = data[from + tap]!
    }
  const window: Window = { kernel, strides, dilations, before, out }
  const fitted = windowRef(context, node, ref, spatialAxes(ref), () => true)
  convolve(context, node, { ref: fitted, scale }, rows, groups, perGroup, weights, window, (_, frame, first) =>
    kernel.map((_, axis) =>
      affine(
        [
          ...loopsOfAxis(frame, axis + 2).map((index): [number, number] => [index, 1]),
          [first + axis, -dilations[axis]!],
        ],
        before[axis]!,
        strides[axis]!,
      ),
    ),
  )
}
