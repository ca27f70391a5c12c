import { reshapeTarget, sliceSpan } from '../fold.ts'
import { axesOf, integersAttribute, numberAttribute, textAttribute } from '../fold-tensor.ts'
import type { GraphNode } from '../onnx.ts'
import { elementCount } from '../tiling.ts'
import { concat } from './concat.ts'
import {
  type Activation,
  activationAt,
  type Context,
  integersAt,
  type Lower,
  resolveAxis,
  setActivation,
  shapeOf,
  uncovered,
} from './context.ts'
import { gather, gatherND, pad, tile } from './gather.ts'
import { expanded, type Ref, range, reshaped, sliced, transposed } from './ref.ts'
import { resize } from './resize.ts'
import { viewed } from './view.ts'

/** Operators that only move elements. Most become part of the view. */

const view =
  (change: (ref: Ref, node: GraphNode, context: Context) => Ref | null): Lower =>
  (context, node) =>
    setActivation(
      context,
      node,
      viewed(context, node, activationAt(context, node, 0), (ref) => change(ref, node, context)),
    )

const same: Lower = (context, node) => setActivation(context, node, activationAt(context, node, 0))

const FLOATS = [1, 10, 11, 16]

const cast: Lower = (context, node) => {
  if (!FLOATS.includes(numberAttribute(node, 'to', 0))) uncovered(node, 'makes integers of numbers')
  same(context, node)
}

const listed = (context: Context, node: GraphNode): number[] | null =>
  integersAttribute(node, 'axes') ?? integersAt(context, node, 1)

const squeeze = view((ref, node, context) => {
  const given = listed(context, node)
  const axes =
    given === null
      ? range(ref.shape.length).filter((axis) => ref.shape[axis] === 1)
      : axesOf(node, given, ref.shape.length)
  if (axes.some((axis) => ref.shape[axis] !== 1)) return uncovered(node, `cannot squeeze [${ref.shape}]`)
  return {
    ...ref,
    shape: ref.shape.filter((_, axis) => !axes.includes(axis)),
    factors: ref.factors.filter((_, axis) => !axes.includes(axis)),
  }
})

const unsqueeze = view((ref, node, context) => {
  const given = listed(context, node) ?? uncovered(node, 'names no axes')
  const rank = ref.shape.length + given.length
  const axes = axesOf(node, given, rank)
  const shape = [...ref.shape]
  const factors = [...ref.factors]
  return {
    ...ref,
    shape: range(rank).map((axis) => (axes.includes(axis) ? 1 : shape.shift()!)),
    factors: range(rank).map((axis) => (axes.includes(axis) ? [] : factors.shift()!)),
  }
})

const flatten = view((ref, node) => {
  const rank = ref.shape.length
  const given = numberAttribute(node, 'axis', 1)
  const axis = given === rank ? rank : resolveAxis(node, given, rank)
  return reshaped(ref, [elementCount(ref.shape.slice(0, axis)), elementCount(ref.shape.slice(axis))])
})

const reshape = view((ref, node, context) => {
  const wanted = integersAt(context, node, 1) ?? uncovered(node, 'has no target')
  return reshaped(ref, reshapeTarget(node, ref.shape, wanted))
})

const transpose = view((ref, node) => {
  const order = integersAttribute(node, 'perm') ?? range(ref.shape.length).reverse()
  if (order.length !== ref.shape.length)
    uncovered(node, `perm [${order}] does not order ${ref.shape.length} axes`, 'MODEL_ATTRIBUTE')
  return transposed(ref, axesOf(node, order, ref.shape.length))
})

const expand = view((ref, node, context) => {
  const wanted = integersAt(context, node, 1) ?? uncovered(node, 'has no target')
  const rank = Math.max(wanted.length, ref.shape.length)
  const shape = range(rank).map((axis) =>
    Math.max(wanted[axis - rank + wanted.length] ?? 1, ref.shape[axis - rank + ref.shape.length] ?? 1),
  )
  return expanded(ref, shape)
})

const slice = view((ref, node, context) => {
  const starts = integersAt(context, node, 1) ?? uncovered(node, 'has no starts')
  const ends = integersAt(context, node, 2) ?? uncovered(node, 'has no ends')
  const axes = axesOf(node, integersAt(context, node, 3) ?? range(starts.length), ref.shape.length)
  const steps = integersAt(context, node, 4) ?? starts.map(() => 1)
  if ([ends, axes, steps].some(({ length }) => length !== starts.length))
    uncovered(node, 'its starts, ends, axes and steps differ in number', 'MODEL_SHAPE')
  if (steps.includes(0)) uncovered(node, 'has a step of 0', 'MODEL_ATTRIBUTE')
  let out: Ref | null = ref
  axes.forEach((axis, i) => {
    const { first, count } = sliceSpan(ref.shape[axis]!, starts[i]!, ends[i]!, steps[i]!)
    if (count === 0) uncovered(node, 'leaves nothing')
    out = out && sliced(out, axis, first, steps[i]!, count)
  })
  return out
})

const split: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const shape = shapeOf(activation)
  const axis = resolveAxis(node, numberAttribute(node, 'axis', 0), shape.length)
  const parts = node.outputs.length
  const equal = Math.ceil(shape[axis]! / parts)
  const lengths =
    integersAt(context, node, 1) ??
    range(parts).map((part) => Math.min(equal, Math.max(0, shape[axis]! - part * equal)))
  let start = 0
  lengths.forEach((length, part) => {
    if (length < 1) uncovered(node, 'has an empty part')
    const first = start
    start += length
    setActivation(
      context,
      node,
      viewed(context, node, activation, (ref) => sliced(ref, axis, first, 1, length)),
      part,
    )
  })
  if (start !== shape[axis]) uncovered(node, `does not split ${shape[axis]} evenly`)
}

/** The axes of an image, and the edge of the blocks that it is cut into or made of. */
function blocksOf(node: GraphNode, activation: Activation, divides: (image: number[], block: number) => boolean) {
  const image = shapeOf(activation)
  const block = numberAttribute(node, 'blocksize', 0)
  if (image.length !== 4 || block < 1 || !divides(image, block))
    uncovered(node, `cannot make blocks of ${block} with [${image}]`, 'MODEL_SHAPE')
  return [...image, block] as [number, number, number, number, number]
}

const depthToSpace: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const [batch, channels, height, width, block] = blocksOf(
    node,
    activation,
    ([, depth], each) => depth! % each ** 2 === 0,
  )
  const depth = channels / block ** 2
  const columnFirst = textAttribute(node, 'mode', 'DCR') === 'CRD'
  const cut = columnFirst ? [batch, depth, block, block, height, width] : [batch, block, block, depth, height, width]
  const order = columnFirst ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]
  setActivation(
    context,
    node,
    viewed(context, node, activation, (ref) => {
      const apart = reshaped(ref, cut)
      return apart && reshaped(transposed(apart, order), [batch, depth, height * block, width * block])
    }),
  )
}

const spaceToDepth: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const [batch, channels, height, width, block] = blocksOf(
    node,
    activation,
    ([, , rows, columns], each) => rows! % each === 0 && columns! % each === 0,
  )
  setActivation(
    context,
    node,
    viewed(context, node, activation, (ref) => {
      const apart = reshaped(ref, [batch, channels, height / block, block, width / block, block])
      return (
        apart &&
        reshaped(transposed(apart, [0, 3, 5, 1, 2, 4]), [batch, channels * block ** 2, height / block, width / block])
      )
    }),
  )
}

export const LAYOUT: Record<string, Lower> = {
  Cast: cast,
  Concat: concat,
  DepthToSpace: depthToSpace,
  Dropout: (context, node) => {
    if (node.outputs[1] && context.readers.has(node.outputs[1])) uncovered(node, 'gives its mask')
    same(context, node)
  },
  Expand: expand,
  Flatten: flatten,
  Gather: gather,
  GatherND: gatherND,
  Identity: same,
  Pad: pad,
  Reshape: reshape,
  Resize: resize,
  Slice: slice,
  SpaceToDepth: spaceToDepth,
  Split: split,
  Squeeze: squeeze,
  Tile: tile,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
}
