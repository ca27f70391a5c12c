import type { Constant } from '../onnx.ts'
import type { PlanArray } from '../plan.ts'
import { flatSteps, loop, operandOf, type Position, plainFactors, type Ref, range } from './ref.ts'
import { spend } from './work.ts'

/** The loops of an op over its output, and how views and constants are read in them. */

/** The loops over an op's output: one for each axis of the output's tensor. */
export type Frame = {
  shape: number[]
  factors: number[][]
  /** The variable behind each axis of the tensor. */
  order: number[]
  /** The loop of each variable. */
  loopOf: number[]
}

export function frameOf(shape: number[], factors = plainFactors(shape), order = range(factors.flat().length)): Frame {
  const loopOf: number[] = []
  order.forEach((variable, position) => {
    if (variable >= 0) loopOf[variable] = position
  })
  return { shape, factors, order, loopOf }
}

/** Loops of the variables of one logical axis. */
export function loopsOfAxis({ factors, loopOf }: Frame, axis: number): number[] {
  const first = factors.slice(0, axis).flat().length
  return factors[axis]!.map((_, i) => loopOf[first + i]!)
}

/** A list of strides over loops from those that are not 0. */
export function stridesOver(loops: number, steps: [number, number][]): number[] {
  const out = new Array<number>(loops).fill(0)
  for (const [index, stride] of steps) out[index]! += stride
  return out
}

/** Row-major order of a view's own memory, for what is computed from it element by element. */
export function orderLike(ref: Ref): number[] {
  const steps = flatSteps(ref).map((step) => (step === 0 ? Number.POSITIVE_INFINITY : Math.abs(step)))
  return range(steps.length).sort((a, b) => (steps[a] === steps[b] ? a - b : steps[b]! - steps[a]!))
}

/** Positions of a view's variables in a frame that it was aligned with. */
function alignedPositions(ref: Ref, frame: Frame): Position[] {
  return ref.factors.flatMap((extents, axis) => (extents.length === 0 ? [] : loopsOfAxis(frame, axis).map(loop)))
}

export const alignedOperand = (ref: Ref, frame: Frame) =>
  operandOf(ref, alignedPositions(ref, frame), frame.order.length)

/** A constant spread over a frame's loops. */
export function alignedArray(constant: Constant, frame: Frame): PlanArray {
  const lead = frame.shape.length - constant.dims.length
  const steps: [number, number][] = []
  let stride = 1
  for (let axis = constant.dims.length - 1; axis >= 0; axis--) {
    if (constant.dims[axis] === 1) continue
    const loops = loopsOfAxis(frame, axis + lead)
    const extents = frame.factors[axis + lead]!
    for (let i = loops.length - 1; i >= 0; i--) {
      steps.push([loops[i]!, stride])
      stride *= extents[i]!
    }
  }
  spend(constant.data.length)
  return { data: Float64Array.from(constant.data), strides: stridesOver(frame.order.length, steps) }
}

export const extentsOf = ({ factors, order }: Frame): number[] => {
  const flat = factors.flat()
  return order.map((variable) => flat[variable] ?? 1)
}
