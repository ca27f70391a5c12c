import { axesOf, integersAttribute, numberAttribute, textAttribute } from '../fold-tensor.ts'
import { MANIFEST_LIMITS } from '../manifest.ts'
import type { GraphNode } from '../onnx.ts'
import type { PlanArray, PlanTerm } from '../plan.ts'
import { elementCount } from '../tiling.ts'
import { toAffine } from './apply.ts'
import {
  type Activation,
  activationAt,
  type Context,
  constantAt,
  type Lower,
  setActivation,
  shapeOf,
  uncovered,
} from './context.ts'
import { emitLinear, exactRef } from './emit.ts'
import { frameOf, loopsOfAxis, orderLike, stridesOver } from './frame.ts'
import { gathered } from './gather.ts'
import { affine, loop, numbersOver, operandOf, type Position, plainFactors, range } from './ref.ts'

/** Resizing: to the nearest neighbour, or between two neighbours on each axis. */

/** What an output position takes on one axis: an index for each position, and how much it counts. */
type Corner = { table: number[]; weight: number[] }

type Axis = { from: number; to: number; scale: number }

const { fround } = Math

/** Where on the input's axis an output position lies, in float32 at every step as runtimes have it: at a tie the last bit decides. */
function coordinates(node: GraphNode, { from, to, scale }: Axis): number[] {
  const transform = textAttribute(node, 'coordinate_transformation_mode', 'half_pixel')
  const halfPixel = (x: number): number => fround(fround((x + 0.5) / scale) - 0.5)
  const source = (x: number): number => {
    switch (transform) {
      case 'asymmetric':
        return fround(x / scale)
      case 'half_pixel':
        return halfPixel(x)
      case 'half_pixel_symmetric': {
        const adjustment = fround(to / fround(scale * from))
        const offset = fround((from / 2) * fround(1 - adjustment))
        return fround(fround(offset + fround((x + 0.5) / scale)) - 0.5)
      }
      case 'pytorch_half_pixel':
        return to > 1 ? halfPixel(x) : 0
      case 'align_corners':
        return to > 1 ? fround((x * (from - 1)) / (to - 1)) : 0
      default:
        return uncovered(node, `has coordinates of kind ${transform}`)
    }
  }
  return range(to).map(source)
}

const inside = (index: number, extent: number): number => Math.min(extent - 1, Math.max(0, index))

function nearest(node: GraphNode, axis: Axis): Corner[] {
  const rounding = textAttribute(node, 'nearest_mode', 'round_prefer_floor')
  const round = (x: number): number => {
    switch (rounding) {
      case 'floor':
        return Math.floor(x)
      case 'ceil':
        return Math.ceil(x)
      case 'round_prefer_ceil':
        return Math.floor(x + 0.5)
      case 'round_prefer_floor':
        return Math.ceil(x - 0.5)
      default:
        return uncovered(node, `rounds by ${rounding}`)
    }
  }
  const table = coordinates(node, axis).map((x) => inside(round(x), axis.from))
  return [{ table, weight: table.map(() => 1) }]
}

function linear(node: GraphNode, axis: Axis): Corner[] {
  if (numberAttribute(node, 'antialias', 0) !== 0 && axis.to < axis.from) uncovered(node, 'smooths while it shrinks')
  const places = coordinates(node, axis).map((x) => inside(x, axis.from))
  const low = places.map(Math.floor)
  const over = places.map((x, i) => x - low[i]!)
  return [
    { table: low, weight: over.map((part) => 1 - part) },
    { table: low.map((index) => inside(index + 1, axis.from)), weight: over },
  ]
}

/** A weighted sum of copies, one for each choice of a corner on every axis: one linear op. */
function blended(context: Context, node: GraphNode, activation: Activation, corners: (Corner[] | null)[]): Activation {
  const found = toAffine(context, node, activation)
  const moved = range(corners.length).filter((axis) => corners[axis] !== null)
  const ref = exactRef(context, node, found.ref, moved)
  const lengthOf = (axis: number): number | undefined => corners[axis]?.[0]?.table.length
  const shape = ref.shape.map((dim, axis) => lengthOf(axis) ?? dim)
  const factors = ref.factors.map((extents, axis) => (corners[axis] ? plainFactors([shape[axis]!])[0]! : extents))
  const variables = factors.flat().length
  const kept = orderLike(ref)
  const frame = frameOf(shape, factors, variables === kept.length ? kept : range(variables))
  const outer = frame.order.length
  const dims = moved.map((axis) => shape[axis]!)
  const strides = stridesOver(
    outer,
    moved.flatMap((axis, at) =>
      loopsOfAxis(frame, axis).map((index): [number, number] => [index, elementCount(dims.slice(at + 1))]),
    ),
  )
  const choices = moved.reduce<Corner[][]>(
    (before, axis) => before.flatMap((chosen) => corners[axis]!.map((corner) => [...chosen, corner])),
    [[]],
  )
  if (elementCount(dims) * choices.length > MANIFEST_LIMITS.tensorElements)
    uncovered(node, `would have ${choices.length} weights for each of [${dims}]`, 'MODEL_SHAPE')
  const terms = choices.map((chosen): PlanTerm => {
    const positions = ref.factors.flatMap((extents, axis): Position[] => {
      const loops = loopsOfAxis(frame, axis)
      const at = moved.indexOf(axis)
      if (at < 0) return extents.map((_, i) => loop(loops[i]!))
      const along = affine(loops.map((index): [number, number] => [index, 1]))
      return [{ ...along, table: Int32Array.from(chosen[at]!.table) }]
    })
    const weight: PlanArray = {
      strides,
      data: numbersOver(dims).map((_, flat) => {
        let rest = flat
        let product = found.scale
        for (let at = dims.length - 1; at >= 0; at--) {
          product *= chosen[at]!.weight[rest % dims[at]!]!
          rest = Math.floor(rest / dims[at]!)
        }
        return product
      }),
    }
    return { ...operandOf(ref, positions, outer), reduce: [], weight }
  })
  // The weights of a position add up to 1, so that a shift stays what it is.
  return emitLinear(context, node.name, node.outputs[0]!, frame, terms, found.shift)
}

const MODES: Record<string, (node: GraphNode, axis: Axis) => Corner[]> = { nearest, linear }

export const resize: Lower = (context, node) => {
  const activation = activationAt(context, node, 0)
  const shape = shapeOf(activation)
  const mode = textAttribute(node, 'mode', 'nearest')
  const cornersOf = Object.hasOwn(MODES, mode) ? MODES[mode]! : uncovered(node, `interpolates (${mode})`)
  const axes = axesOf(node, integersAttribute(node, 'axes') ?? range(shape.length), shape.length)
  const scales = constantAt(context, node, 2)
  const sizes = constantAt(context, node, 3)
  if (textAttribute(node, 'keep_aspect_ratio_policy', 'stretch') !== 'stretch')
    uncovered(node, 'keeps the aspect ratio')
  const corners: (Corner[] | null)[] = shape.map(() => null)
  axes.forEach((axis, i) => {
    const from = shape[axis]!
    const given = sizes !== null && sizes.data.length > 0 ? sizes.data[i]! : null
    const scale = fround(given === null ? (scales?.data[i] ?? uncovered(node, 'has no scales')) : given / from)
    const to = given ?? Math.floor(fround(from * scale))
    if (!(to >= 1)) uncovered(node, 'leaves nothing')
    if (to !== from || scale !== 1) corners[axis] = cornersOf(node, { from, to, scale })
  })
  const resized = corners.filter((each) => each !== null)
  if (resized.length === 0) setActivation(context, node, activation)
  else if (mode === 'nearest') {
    const tables = corners.map((each) => (each === null ? null : each[0]!.table))
    setActivation(context, node, gathered(context, node, activation, tables, null))
  } else {
    if (resized.length > 3) uncovered(node, 'interpolates along more than three axes')
    setActivation(context, node, blended(context, node, activation, corners))
  }
}
