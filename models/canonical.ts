import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS } from '../protocol/statement.ts'
import { indicesOf, readerOf } from './access.ts'
import { accumulateLinear, accumulateProduct, type Evaluation } from './contract.ts'
import type { DivideOp, ExtremumOp, Manifest, Op, RootOp } from './manifest.ts'
import { type Multiply, multiply as multiplyHere } from './multiply.ts'
import { elementCount, inputsOf, leavesFor, resolveTensor, tensorOf } from './tiling.ts'

/** What the canonical evaluation leaves behind for one tensor that is not a view; null where the op has no such tree. */
export type TensorTrace = {
  value: Int16Array | Int32Array
  /** Dropped limbs of each accumulator, or the remainder of a division or root. */
  rem: Uint16Array | null
  remHigh: Uint16Array | null
  /** Distance of a remainder from its bound. */
  slack: Uint16Array | null
  slackHigh: Uint16Array | null
  /** Results before clamping. */
  pre: Int32Array | null
  /** Per leaf: 1 where an element saturated. */
  flagged: Uint8Array | null
  /** The served output, quantised, where this tensor is a graph output and `withServed` has set it. */
  served: Int16Array | null
}

/** By tensor id; null for views. */
export type Trace = { tensors: (TensorTrace | null)[] }

/** A root s in [1, 2^16] is stored as s − ROOT_OFFSET; readers take it with `zero` = −ROOT_OFFSET. */
export const ROOT_OFFSET = 32_769

const EMPTY: Omit<TensorTrace, 'value'> = {
  rem: null,
  remHigh: null,
  slack: null,
  slackHigh: null,
  pre: null,
  flagged: null,
  served: null,
}

/** Value of table `knots` at the signed 16-bit input `x` (DESIGN §5.1). */
export function tableAt(knots: readonly number[], x: number): number {
  const u = x + 32_768
  const i = u >> 10
  const f = u & 1023
  const low = knots[i]!
  return low + Math.floor(((knots[i + 1]! - low) * f + 512) / 1024)
}

/** Clamps results to 16 bits and notes which leaves hold one that had to be. */
function clamp(pre: Int32Array): { value: Int16Array; flagged: Uint8Array } {
  const value = new Int16Array(pre.length)
  const flagged = new Uint8Array(leavesFor(pre.length))
  for (let i = 0; i < pre.length; i++) {
    const high = pre[i]!
    const clamped = high > 32_767 ? 32_767 : Math.max(high, -32_768)
    value[i] = clamped
    if (clamped !== high) flagged[Math.floor(i / LEAF_LIMBS)] = 1
  }
  return { value, flagged }
}

/** Splits accumulators in value and dropped limbs: requantising is dropping limbs. */
function requantise(acc: Float64Array, drop: 0 | 1 | 2, bits: 16 | 32): TensorTrace {
  const unit = 65_536 ** drop
  const pre = new Int32Array(acc.length)
  const rem = drop >= 1 ? new Uint16Array(acc.length) : null
  const remHigh = drop === 2 ? new Uint16Array(acc.length) : null
  for (let i = 0; i < acc.length; i++) {
    const high = Math.floor(acc[i]! / unit)
    pre[i] = high
    const rest = acc[i]! - high * unit
    if (rem !== null) rem[i] = rest % 65_536
    if (remHigh !== null) remHigh[i] = Math.floor(rest / 65_536)
  }
  return bits === 32 ? { ...EMPTY, value: pre, rem, remHigh } : { ...EMPTY, ...clamp(pre), pre, rem, remHigh }
}

/** Two limbs of each number in [0, 2^32). */
function limbs(values: Float64Array): [Uint16Array, Uint16Array] {
  return [Uint16Array.from(values, (x) => x % 65_536), Uint16Array.from(values, (x) => Math.floor(x / 65_536))]
}

const outputLoops = (manifest: Manifest, op: Op): { shape: number[]; dims: number[]; elements: number } => {
  const { shape } = tensorOf(manifest, op.output)
  return { shape, dims: shape.map((_, axis) => axis), elements: elementCount(shape) }
}

function largest({ manifest, weights, read }: Evaluation, op: ExtremumOp): TensorTrace {
  const { shape, dims, elements } = outputLoops(manifest, op)
  const loops = [...shape, ...op.reduce]
  const reader = readerOf(manifest, weights, op.input, loops)
  const x = read(reader.tensor)
  const least = x instanceof Int16Array ? -32_768 : -(2 ** 31)
  const value = (x instanceof Int16Array ? new Int16Array(elements) : new Int32Array(elements)).fill(least)
  const point = new Float64Array(loops.length)
  const at = new Int32Array(elements)
  for (let tap = 0; tap < elementCount(op.reduce); tap++) {
    unravelInto(op.reduce, tap, point, shape.length)
    indicesOf(reader, dims, point, at)
    for (let i = 0; i < elements; i++) if (at[i]! >= 0 && x[at[i]!]! > value[i]!) value[i] = x[at[i]!]!
  }
  return { ...EMPTY, value }
}

function unravelInto(extents: number[], index: number, point: Float64Array, from: number): void {
  let rest = index
  for (let i = extents.length - 1; i >= 0; i--) {
    point[from + i] = rest % extents[i]!
    rest = Math.floor(rest / extents[i]!)
  }
}

/** x − zero of an operand that is read once for each output element. */
function operandValues(
  { manifest, weights, read }: Evaluation,
  op: DivideOp | RootOp,
  side: DivideOp['a'],
): Float64Array {
  const { shape, dims, elements } = outputLoops(manifest, op)
  const reader = readerOf(manifest, weights, side, shape)
  const x = read(reader.tensor)
  const at = new Int32Array(elements)
  indicesOf(reader, dims, new Float64Array(shape.length), at)
  return Float64Array.from(at, (index) => x[index]! - side.zero)
}

function quotient(evaluation: Evaluation, op: DivideOp): TensorTrace {
  const a = operandValues(evaluation, op, op.a)
  const b = operandValues(evaluation, op, op.b)
  const pre = new Int32Array(a.length)
  const rest = new Float64Array(a.length)
  for (let i = 0; i < a.length; i++) {
    const n = op.weight * a[i]! + op.bias
    const q = Math.floor(n / b[i]!)
    pre[i] = q
    rest[i] = n - q * b[i]!
  }
  const [rem, remHigh] = limbs(rest)
  const [slack, slackHigh] = limbs(rest.map((r, i) => b[i]! - 1 - r))
  const wide = tensorOf(evaluation.manifest, op.b.tensor).bits === 32
  return {
    ...EMPTY,
    ...clamp(pre),
    pre,
    rem,
    slack,
    remHigh: wide ? remHigh : null,
    slackHigh: wide ? slackHigh : null,
  }
}

/** ⌊√v⌋ for an integer v in [1, 2^32]; float64's root of such a number is never off by more than its last bit. */
function integerRoot(v: number): number {
  const s = Math.floor(Math.sqrt(v))
  return s * s > v ? s - 1 : (s + 1) * (s + 1) <= v ? s + 1 : s
}

function root(evaluation: Evaluation, op: RootOp): TensorTrace {
  const v = operandValues(evaluation, op, op.input)
  const s = v.map(integerRoot)
  const [rem, remHigh] = limbs(v.map((each, i) => each - s[i]! * s[i]!))
  const [slack, slackHigh] = limbs(v.map((each, i) => 2 * s[i]! - (each - s[i]! * s[i]!)))
  return { ...EMPTY, value: Int16Array.from(s, (each) => each - ROOT_OFFSET), rem, remHigh, slack, slackHigh }
}

/** One op. What it asks to have multiplied comes out as requests, so that the caller chooses who multiplies. */
function* evaluateOp(evaluation: Evaluation, op: Op): Generator<Parameters<Multiply>, TensorTrace, Float64Array> {
  const { manifest, read } = evaluation
  const { bits } = tensorOf(manifest, op.output)
  switch (op.kind) {
    case 'linear':
      return requantise(yield* accumulateLinear(evaluation, op), op.drop, bits)
    case 'product':
      return requantise(yield* accumulateProduct(evaluation, op), op.drop, bits)
    case 'table':
      return {
        ...EMPTY,
        value: Int16Array.from(read(resolveTensor(manifest, op.input)), (value) => tableAt(op.knots, value)),
      }
    case 'extremum':
      return largest(evaluation, op)
    case 'divide':
      return quotient(evaluation, op)
    case 'root':
      return root(evaluation, op)
  }
}

function inputTraces(manifest: Manifest, inputs: Int16Array[]): TensorTrace[] {
  if (inputs.length !== manifest.inputs.length)
    throw new SinterError('INPUT_SHAPE', `the model has ${manifest.inputs.length} inputs, not ${inputs.length}`)
  return manifest.inputs.map((input, i) => {
    const value = inputs[i]!
    if (value.length !== elementCount(input.shape))
      throw new SinterError(
        'INPUT_SHAPE',
        `input ${input.name} has ${elementCount(input.shape)} elements, not ${value.length}`,
      )
    return { ...EMPTY, value: Int16Array.from(value) }
  })
}

const evaluationOf = (manifest: Manifest, weights: Uint8Array, tensors: (TensorTrace | null)[]): Evaluation => ({
  manifest,
  weights,
  read: (tensor) => tensors[tensor]!.value,
})

/**
 * Canonical evaluation of a validated manifest on one input (DESIGN §5.1): the same bits on every machine.
 * All sums are integers below 2^53 in absolute value, so float64 holds them exactly and their order does not matter.
 * @param inputs one array per graph input, at the input tensor's exponent, row-major, batch axis left out
 * Throws `INPUT_SHAPE` when an input has the wrong number of elements.
 */
export function evaluate(manifest: Manifest, weights: Uint8Array, inputs: Int16Array[]): Trace {
  const tensors: (TensorTrace | null)[] = manifest.tensors.map(() => null)
  inputTraces(manifest, inputs).forEach((trace, i) => {
    tensors[manifest.inputs[i]!.tensor] = trace
  })
  const evaluation = evaluationOf(manifest, weights, tensors)
  for (const op of manifest.ops) {
    const steps = evaluateOp(evaluation, op)
    let step = steps.next()
    while (!step.done) step = steps.next(multiplyHere(...step.value))
    tensors[op.output] = step.value
  }
  return { tensors }
}

export type StreamOptions = {
  /** Who multiplies matrices. @default plain loops in this process */
  multiply?: (...request: Parameters<Multiply>) => Float64Array | Promise<Float64Array>
  /** Called with each tensor once it is computed, in the order of inputs and ops; the next op waits for it. */
  onTensor(tensor: number, trace: TensorTrace): void | Promise<void>
}

/**
 * The same evaluation, tensor by tensor: each is given up after its last reader, so memory is bounded by the tensors that
 * are alive at once and not by the trace. Gives the canonical outputs, in the manifest's order.
 */
export async function evaluateStream(
  manifest: Manifest,
  weights: Uint8Array,
  inputs: Int16Array[],
  { multiply = multiplyHere, onTensor }: StreamOptions,
): Promise<Int16Array[]> {
  const tensors: (TensorTrace | null)[] = manifest.tensors.map(() => null)
  const lastReader = new Map<number, number>()
  manifest.ops.forEach((op, i) => {
    for (const input of inputsOf(op)) lastReader.set(resolveTensor(manifest, input), i)
  })
  for (const output of manifest.outputs) lastReader.set(resolveTensor(manifest, output.tensor), Infinity)
  const evaluation = evaluationOf(manifest, weights, tensors)
  const keep = async (tensor: number, trace: TensorTrace): Promise<void> => {
    tensors[tensor] = { ...EMPTY, value: trace.value }
    await onTensor(tensor, trace)
  }
  for (const [i, trace] of inputTraces(manifest, inputs).entries()) await keep(manifest.inputs[i]!.tensor, trace)
  for (const [i, op] of manifest.ops.entries()) {
    const steps = evaluateOp(evaluation, op)
    let step = steps.next()
    while (!step.done) step = steps.next(await multiply(...step.value))
    await keep(op.output, step.value)
    if (!lastReader.has(op.output)) tensors[op.output] = null
    for (const input of inputsOf(op)) {
      const tensor = resolveTensor(manifest, input)
      if (lastReader.get(tensor) === i) tensors[tensor] = null
    }
  }
  return manifest.outputs.map((output) => tensors[resolveTensor(manifest, output.tensor)]!.value as Int16Array)
}

/** The canonical outputs of a trace, in the order of the manifest's outputs; outputs always have 16 bits. */
export function traceOutputs(manifest: Manifest, trace: Trace): Int16Array[] {
  return manifest.outputs.map((output) => trace.tensors[resolveTensor(manifest, output.tensor)]!.value as Int16Array)
}

/**
 * The trace with the quantised served outputs beside the canonical ones (tree `served`).
 * @param outputs one array per graph output, at the output tensor's exponent. Throws `OUTPUT_SHAPE`.
 */
export function withServed(manifest: Manifest, trace: Trace, outputs: Int16Array[]): Trace {
  if (outputs.length !== manifest.outputs.length)
    throw new SinterError('OUTPUT_SHAPE', `the model has ${manifest.outputs.length} outputs, not ${outputs.length}`)
  const tensors = [...trace.tensors]
  manifest.outputs.forEach((output, i) => {
    const id = resolveTensor(manifest, output.tensor)
    const tensor = tensors[id]!
    const served = outputs[i]!
    if (served.length !== tensor.value.length)
      throw new SinterError(
        'OUTPUT_SHAPE',
        `output ${output.name} has ${tensor.value.length} elements, not ${served.length}`,
      )
    tensors[id] = { ...tensor, served }
  })
  return { tensors }
}
