import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS } from '../protocol/statement.ts'
import type { ConvOp, GemmOp, LinearOp, Manifest, PoolOp } from './manifest.ts'
import { elementCount, leavesFor, resolveTensor, tensorOf } from './tiling.ts'
import { type OpWeights, opWeights } from './weights.ts'

/** What the canonical evaluation leaves behind for one tensor that is not a view. */
export type TensorTrace = {
  value: Int16Array
  /** Dropped limb of each accumulator, for outputs of linear ops. */
  rem: Uint16Array | null
  /** Accumulators without the dropped limb, before clamping, for outputs of linear ops. */
  pre: Int32Array | null
  /** Per tile: 1 where an element saturated, for outputs of linear ops. */
  flagged: Uint8Array | null
  /** The served output, quantised, where this tensor is a graph output and `withServed` has set it. */
  served: Int16Array | null
}

/** By tensor id; null for views. */
export type Trace = { tensors: (TensorTrace | null)[] }

/** Value of table `knots` at the signed 16-bit input `x` (DESIGN §5.1). */
export function tableAt(knots: readonly number[], x: number): number {
  const u = x + 32_768
  const i = u >> 10
  const f = u & 1023
  const low = knots[i]!
  return low + Math.floor(((knots[i + 1]! - low) * f + 512) / 1024)
}

function convolve(op: ConvOp, { w, b }: OpWeights, x: Int16Array, inShape: number[], outShape: number[]): Float64Array {
  const [channels, height, width] = inShape as [number, number, number]
  const [outChannels, outHeight, outWidth] = outShape as [number, number, number]
  const [kh, kw] = op.kernel
  const perGroup = channels / op.groups
  const outPerGroup = outChannels / op.groups
  const acc = new Float64Array(outChannels * outHeight * outWidth)
  for (let oc = 0; oc < outChannels; oc++) {
    const firstChannel = Math.floor(oc / outPerGroup) * perGroup
    const plane = acc.subarray(oc * outHeight * outWidth, (oc + 1) * outHeight * outWidth).fill(b[oc]!)
    for (let tap = 0; tap < perGroup * kh * kw; tap++) {
      const weight = w[oc * perGroup * kh * kw + tap]!
      if (weight === 0) continue
      const channel = firstChannel + Math.floor(tap / (kh * kw))
      const dy = (Math.floor(tap / kw) % kh) * op.dilations[0] - op.pads[0]
      const dx = (tap % kw) * op.dilations[1] - op.pads[1]
      for (let oy = 0; oy < outHeight; oy++) {
        const iy = oy * op.strides[0] + dy
        if (iy < 0 || iy >= height) continue
        const row = (channel * height + iy) * width
        for (let ox = 0; ox < outWidth; ox++) {
          const ix = ox * op.strides[1] + dx
          if (ix >= 0 && ix < width) plane[oy * outWidth + ox]! += weight * x[row + ix]!
        }
      }
    }
  }
  return acc
}

function multiply(_op: GemmOp, { w, b }: OpWeights, x: Int16Array): Float64Array {
  const columns = b.length
  const depth = w.length / columns
  const rows = x.length / depth
  const acc = new Float64Array(rows * columns)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      let sum = b[column]!
      for (let k = 0; k < depth; k++) sum += w[column * depth + k]! * x[row * depth + k]!
      acc[row * columns + column] = sum
    }
  return acc
}

/** Average pooling is a convolution in which each channel sees itself only, with one weight. */
function pool(op: PoolOp, { b }: OpWeights, x: Int16Array, inShape: number[], outShape: number[]): Float64Array {
  const channels = outShape[0]!
  const taps = op.kernel[0] * op.kernel[1]
  const depthwise: ConvOp = {
    ...op,
    kind: 'conv',
    weights: { offset: 0, count: taps * channels },
    biases: { offset: 0, count: channels },
    dilations: [1, 1],
    groups: channels,
  }
  const w = new Int32Array(taps * channels).fill(op.weight)
  return convolve(depthwise, { w, b: new Float64Array(channels).fill(b[0]!) }, x, inShape, outShape)
}

function accumulate(manifest: Manifest, op: LinearOp, weights: Uint8Array, x: Int16Array): Float64Array {
  const inShape = tensorOf(manifest, op.input).shape
  const outShape = tensorOf(manifest, op.output).shape
  const values = opWeights(op, weights)
  switch (op.kind) {
    case 'conv':
      return convolve(op, values, x, inShape, outShape)
    case 'gemm':
      return multiply(op, values, x)
    case 'averagepool':
      return pool(op, values, x, inShape, outShape)
  }
}

/** Splits accumulators in value and remainder: requantising is dropping a limb. */
function requantise(acc: Float64Array): TensorTrace {
  const value = new Int16Array(acc.length)
  const rem = new Uint16Array(acc.length)
  const pre = new Int32Array(acc.length)
  const flagged = new Uint8Array(leavesFor(acc.length))
  for (let i = 0; i < acc.length; i++) {
    const high = Math.floor(acc[i]! / 65_536)
    pre[i] = high
    rem[i] = acc[i]! - high * 65_536
    const clamped = Math.min(32_767, Math.max(-32_768, high))
    value[i] = clamped
    if (clamped !== high) flagged[Math.floor(i / LEAF_LIMBS)] = 1
  }
  return { value, rem, pre, flagged, served: null }
}

const plain = (value: Int16Array): TensorTrace => ({ value, rem: null, pre: null, flagged: null, served: null })

/**
 * Canonical evaluation of a validated manifest on one input (DESIGN §5.1): the same bits on every machine.
 * All sums are integers below 2^47 in absolute value, so float64 holds them exactly and their order does not matter.
 * @param inputs one array per graph input, at the input tensor's exponent, row-major, batch axis left out
 * Throws `INPUT_SHAPE` when an input has the wrong number of elements.
 */
export function evaluate(manifest: Manifest, weights: Uint8Array, inputs: Int16Array[]): Trace {
  const tensors: (TensorTrace | null)[] = manifest.tensors.map(() => null)
  if (inputs.length !== manifest.inputs.length)
    throw new SinterError('INPUT_SHAPE', `the model has ${manifest.inputs.length} inputs, not ${inputs.length}`)
  manifest.inputs.forEach((input, i) => {
    const value = inputs[i]!
    if (value.length !== elementCount(input.shape))
      throw new SinterError(
        'INPUT_SHAPE',
        `input ${input.name} has ${elementCount(input.shape)} elements, not ${value.length}`,
      )
    tensors[input.tensor] = plain(Int16Array.from(value))
  })
  for (const op of manifest.ops) {
    const x = tensors[resolveTensor(manifest, op.input)]!.value
    tensors[op.output] =
      op.kind === 'table'
        ? plain(x.map((value) => tableAt(op.knots, value)))
        : requantise(accumulate(manifest, op, weights, x))
  }
  return { tensors }
}

/** The canonical outputs of a trace, in the order of the manifest's outputs. */
export function traceOutputs(manifest: Manifest, trace: Trace): Int16Array[] {
  return manifest.outputs.map((output) => trace.tensors[resolveTensor(manifest, output.tensor)]!.value)
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
