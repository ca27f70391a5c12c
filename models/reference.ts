import { forEachPoint, indicesOf, type Reader, stridedIndex, stridesOf } from './access.ts'
import { arrayFactor, contract, operandFactor } from './contract.ts'
import { roundHalf } from './half.ts'
import { multiply } from './multiply.ts'
import type { Plan, PlanArray, PlanExtremum, PlanOp, PlanOperand } from './plan.ts'
import { roundTiesToEven } from './quantise.ts'
import { elementCount } from './tiling.ts'

/**
 * A lowered graph in float64, for calibration: what range each tensor has, and how far the canonical meaning strays from
 * the real-valued one. The loops are those of the canonical evaluation, so calibrating twice, anywhere, gives the same
 * manifest; ONNX Runtime's float32 differs from one processor to the next.
 */

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** Finds an operand's elements, as `Reader` does for a manifest. */
export function planReader(plan: Plan, operand: PlanOperand, loops: number[]): Reader {
  const tensor = plan.tensors[operand.tensor]!
  const strides = stridesOf(tensor.shape)
  return {
    tensor: tensor.viewOf ?? operand.tensor,
    zero: 0,
    loops,
    axes: operand.axes.map(({ coefs, offset, divisor, table }, i) => ({
      coefs: Float64Array.from(coefs),
      offset,
      divisor,
      table,
      dim: tensor.shape[i]!,
      stride: strides[i]!,
    })),
  }
}

function spread(array: number | PlanArray, shape: number[]): Float64Array {
  const out = new Float64Array(elementCount(shape))
  if (typeof array === 'number') return out.fill(array)
  const point = new Float64Array(shape.length)
  let at = 0
  forEachPoint(shape, range(shape.length), point, () => {
    out[at++] = array.data[stridedIndex(array, point)]!
  })
  return out
}

type Read = (tensor: number) => Float64Array

/** The nearest level, or its neighbour where the number is within `near` of the middle between them. */
function levelOf(x: number, near: number): number {
  const level = roundTiesToEven(x)
  const over = x - level
  return Math.abs(over) > 0.5 - near ? level + Math.sign(over) : level
}

function accumulate(
  plan: Plan,
  op: Extract<PlanOp, { kind: 'linear' | 'product' }>,
  read: Read,
  near: number,
): Float64Array {
  const { shape } = plan.tensors[op.output]!
  const acc = spread(op.bias, shape)
  const run = (steps: ReturnType<typeof contract>): void => {
    let step = steps.next()
    while (!step.done) step = steps.next(multiply(...step.value))
  }
  const side = (operand: PlanOperand, loops: number[]) => {
    const reader = planReader(plan, operand, loops)
    return operandFactor(reader, read(reader.tensor))
  }
  if (op.kind === 'product') {
    const loops = [...shape, ...op.reduce]
    run(contract(side(op.a, loops), side(op.b, loops), loops, shape.length, 1, acc))
    return acc
  }
  for (const term of op.terms) {
    const loops = [...shape, ...term.reduce]
    const { weight } = term
    const factor = arrayFactor(
      typeof weight === 'number' ? weight : { values: weight.data, strides: weight.strides },
      loops,
    )
    run(contract(side(term, loops), factor, loops, shape.length, 1, acc))
  }
  const { grid } = plan.tensors[op.output]!
  // A quantised tensor of the model itself: its rounding is part of what the model means.
  if (grid.kind === 'fixed' && grid.levels !== null) {
    const { scale } = grid
    const { low, high } = grid.levels
    for (let i = 0; i < acc.length; i++) acc[i] = Math.min(high, Math.max(low, levelOf(acc[i]! / scale, near))) * scale
  }
  return acc
}

/** Values of an operand that is read once for each output element. */
function values(plan: Plan, output: number, operand: PlanOperand, read: Read): Float64Array {
  const { shape } = plan.tensors[output]!
  const reader = planReader(plan, operand, shape)
  return operandFactor(reader, read(reader.tensor)).gather(range(shape.length), new Float64Array(shape.length))
}

function largest(plan: Plan, op: PlanExtremum, read: Read): Float64Array {
  const { shape } = plan.tensors[op.output]!
  const loops = [...shape, ...op.reduce]
  const reader = planReader(plan, op.input, loops)
  const x = read(reader.tensor)
  const out = new Float64Array(elementCount(shape)).fill(-Infinity)
  const at = new Int32Array(out.length)
  const point = new Float64Array(loops.length)
  forEachPoint(loops, range(loops.length).slice(shape.length), point, () => {
    indicesOf(reader, range(shape.length), point, at)
    for (let i = 0; i < out.length; i++) if (at[i]! >= 0 && x[at[i]!]! > out[i]!) out[i] = x[at[i]!]!
  })
  return out
}

/** A number in half precision; one that is too large for it stands in no tensor of the model's own. */
function halfOf(x: number): number {
  const half = roundHalf(x)
  return Number.isFinite(half) ? half : x
}

export type KernelFaults = {
  /**
   * Where a model rounds to levels of its own, what is closer than this to the middle of two, in levels, takes the other one: as a
   * kernel may whose sums are a little off. @default 0
   */
  near?: number
  /** Rounds what each op gives to half precision. @default false */
  halves?: boolean
}

/** Values of every tensor (views included, sharing their source's array) for one input. */
export function evaluatePlan(
  plan: Plan,
  inputs: ArrayLike<number>[],
  { near = 0, halves = false }: KernelFaults = {},
): Float64Array[] {
  const tensors: Float64Array[] = plan.tensors.map(() => new Float64Array(0))
  plan.inputs.forEach(({ tensor }, i) => {
    tensors[tensor] = Float64Array.from(inputs[i]!)
  })
  const read: Read = (id) => tensors[plan.tensors[id]!.viewOf ?? id]!
  for (const op of plan.ops) {
    switch (op.kind) {
      case 'linear':
      case 'product':
        tensors[op.output] = accumulate(plan, op, read, near)
        break
      case 'table':
        tensors[op.output] = read(op.input).map((x) => op.apply(x))
        break
      case 'extremum':
        tensors[op.output] = largest(plan, op, read)
        break
      case 'divide': {
        const b = values(plan, op.output, op.b, read)
        const a = op.a === null ? null : values(plan, op.output, op.a, read)
        tensors[op.output] = b.map((each, i) => (op.weight * (a === null ? 1 : a[i]!)) / each)
        break
      }
      case 'root':
        tensors[op.output] = values(plan, op.output, op.input, read).map((x) => Math.sqrt(Math.max(0, x)))
        break
    }
    if (halves) tensors[op.output] = tensors[op.output]!.map(halfOf)
  }
  return plan.tensors.map((_, id) => read(id))
}
