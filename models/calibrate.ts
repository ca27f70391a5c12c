import { toHex } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { sha256 } from '../protocol/hash.ts'
import { evaluate, traceOutputs } from './canonical.ts'
import { fileCid } from './cid.ts'
import { lowerGraph, type Plan, type PlanConv, type PlanGemm, type PlanTable } from './lower.ts'
import { type FileRef, MANIFEST_VERSION, type Manifest, manifestBytes, type Op, parseManifest } from './manifest.ts'
import { parseModel } from './onnx.ts'
import { dequantise, quantise, roundTiesToEven } from './quantise.ts'
import { evaluatePlan } from './reference.ts'
import { countWork, elementCount } from './tiling.ts'
import { ACCUMULATOR_LIMIT, tableRange, validateManifest } from './validate.ts'
import { ROUNDING, weightsWriter } from './weights.ts'

/** Highest exponent ever chosen; a tensor of zeros would otherwise have none. */
const MAX_EXPONENT = 30
const MIN_EXPONENT = -32

export type CalibrationOptions = {
  /** File-name-like name of the model: letters, digits, dot, dash, underscore. */
  name: string
  /** The ONNX file. */
  model: Uint8Array
  /** Real inputs, one array per graph input and sample, without the batch axis. */
  samples: Float32Array[][]
  /** A tensor's range in the samples times this must be representable. @default 2 */
  headroom?: number
  /** τ is the largest deviation seen in the samples times this, rounded up, plus one quantum. @default 4 */
  margin?: number
}

/** The name, and shape without the batch axis, of each of a model's inputs. Throws the `MODEL_…` codes. */
export function modelInputs(model: Uint8Array): { name: string; shape: number[] }[] {
  return lowerGraph(parseModel(model)).inputs.map(({ name, shape }) => ({ name, shape }))
}

/**
 * Calibration samples from a file: float32 little-endian, sample after sample, each with all inputs in graph order.
 * Throws `CALIBRATION_SAMPLES` when the file is empty or not a whole number of samples.
 */
export function readSamples(bytes: Uint8Array, shapes: number[][]): Float32Array[][] {
  const sizes = shapes.map(elementCount)
  const perSample = 4 * sizes.reduce((sum, size) => sum + size, 0)
  if (bytes.length === 0 || bytes.length % perSample !== 0)
    throw new SinterError('CALIBRATION_SAMPLES', `calibration data must be a multiple of ${perSample} bytes`)
  const values = new Float32Array(new Uint8Array(bytes).buffer)
  const samples: Float32Array[][] = []
  for (let at = 0; at < values.length; )
    samples.push(
      sizes.map((size) => {
        at += size
        return values.slice(at - size, at)
      }),
    )
  return samples
}

/** The largest exponent at which `range` with headroom fits 16 signed bits. */
function exponentFor(range: number, headroom: number): number {
  let exponent = MAX_EXPONENT
  while (exponent > MIN_EXPONENT && range * headroom * 2 ** exponent > 32_767) exponent--
  return exponent
}

function checkSamples(plan: Plan, samples: Float32Array[][]): void {
  if (samples.length === 0) throw new SinterError('CALIBRATION_SAMPLES', 'calibration needs at least one sample')
  samples.forEach((sample, i) => {
    const fits = sample.length === plan.inputs.length
    if (!fits || sample.some((values, j) => values.length !== elementCount(plan.inputs[j]!.shape)))
      throw new SinterError('CALIBRATION_SAMPLES', `sample ${i} does not have the shape of the model's inputs`)
    if (sample.some((values) => values.some((value) => !Number.isFinite(value))))
      throw new SinterError('CALIBRATION_SAMPLES', `sample ${i} holds a number that is not finite`)
  })
}

/** Largest absolute value of each tensor over the samples. */
function ranges(plan: Plan, samples: Float32Array[][]): number[] {
  const out = plan.tensors.map(() => 0)
  for (const sample of samples)
    evaluatePlan(plan, sample).forEach((values, id) => {
      for (const value of values) out[id] = Math.max(out[id]!, Math.abs(value))
    })
  return out
}

/** Integer weights and biases at output exponent `ey`, or null where a weight or a row's accumulator is out of bounds. */
function integers(op: PlanConv | PlanGemm, ex: number, ey: number): { w: number[]; b: number[] } | null {
  const w = Array.from(op.weights, (weight) => roundTiesToEven(weight * 2 ** (16 + ey - ex)))
  const b = Array.from(op.biases, (bias) => roundTiesToEven(bias * 2 ** (16 + ey)) + ROUNDING)
  const taps = w.length / b.length
  const fits = b.every((bias, row) => {
    let sum = Math.abs(bias)
    for (let tap = row * taps; tap < (row + 1) * taps; tap++) {
      if (Math.abs(w[tap]!) >= 2 ** 31) return false
      sum += Math.abs(w[tap]!) * 32_768
    }
    return sum < ACCUMULATOR_LIMIT
  })
  return fits ? { w, b } : null
}

/** The finest table of a function whose results stay inside 16 signed bits over the whole input range. */
function tabulate(op: PlanTable, ex: number): { exponent: number; knots: number[] } {
  const values = Array.from({ length: 65 }, (_, i) => op.apply((1024 * i - 32_768) * 2 ** -ex))
  for (let exponent = MAX_EXPONENT; exponent >= MIN_EXPONENT; exponent--) {
    const knots = values.map((value) => roundTiesToEven(value * 2 ** exponent) + 0)
    const { min, max } = tableRange(knots)
    if (min >= -32_768 && max <= 32_767 && knots.every((knot) => Math.abs(knot) <= 65_536)) return { exponent, knots }
  }
  throw new SinterError('CALIBRATION_RANGE', `${op.name}: no exponent fits the results of ${op.function}`)
}

/** Chooses exponents in graph order and writes each op in integers. */
function quantisePlan(
  plan: Plan,
  range: number[],
  headroom: number,
): { exponents: number[]; ops: Op[]; weights: Uint8Array } {
  const exponents = plan.tensors.map((_, id) => exponentFor(range[id]!, headroom))
  const exponentOf = (id: number): number => exponents[plan.tensors[id]!.viewOf ?? id]!
  const writer = weightsWriter()
  const ops = plan.ops.map((op): Op => {
    const ex = exponentOf(op.input)
    const { name, input, output } = op
    if (op.kind === 'table') {
      const { exponent, knots } = tabulate(op, ex)
      exponents[output] = exponent
      return { kind: 'table', name, input, output, function: op.function, knots }
    }
    for (; exponents[output]! >= MIN_EXPONENT; exponents[output]!--) {
      const ey = exponents[output]!
      if (op.kind === 'averagepool') {
        const taps = op.kernel[0] * op.kernel[1]
        const weight = roundTiesToEven(2 ** (16 + ey - ex) / taps)
        if (weight >= 2 ** 31 || taps * weight * 32_768 + ROUNDING >= ACCUMULATOR_LIMIT) continue
        const { kernel, strides, pads } = op
        return { kind: 'averagepool', name, input, output, kernel, strides, pads, weight }
      }
      const found = integers(op, ex, ey)
      if (found === null) continue
      const slices = { weights: writer.weights(found.w), biases: writer.biases(found.b) }
      if (op.kind === 'gemm') return { kind: 'gemm', name, input, output, ...slices }
      const { kernel, strides, pads, dilations, groups } = op
      return { kind: 'conv', name, input, output, ...slices, kernel, strides, pads, dilations, groups }
    }
    throw new SinterError('CALIBRATION_RANGE', `${name}: no exponent keeps its accumulators below 2^47 − 2^31`)
  })
  return { exponents: plan.tensors.map((_, id) => exponentOf(id)), ops, weights: writer.finish() }
}

const fileRef = async (bytes: Uint8Array): Promise<FileRef> => ({
  cid: await fileCid(bytes),
  sha256: toHex(sha256(bytes)).slice(2),
  bytes: bytes.length,
})

/** Per output, the largest distance in quanta between the real-valued and the canonical result, over the samples. */
function deviations(plan: Plan, manifest: Manifest, weights: Uint8Array, samples: Float32Array[][]): number[] {
  const worst = plan.outputs.map(() => 0)
  for (const sample of samples) {
    const inputs = sample.map((values, i) => quantise(values, manifest.tensors[manifest.inputs[i]!.tensor]!.exponent))
    const real = evaluatePlan(
      plan,
      inputs.map((values, i) => dequantise(values, manifest.tensors[manifest.inputs[i]!.tensor]!.exponent)),
    )
    traceOutputs(manifest, evaluate(manifest, weights, inputs)).forEach((canonical, i) => {
      const { tensor } = plan.outputs[i]!
      const scale = 2 ** manifest.tensors[tensor]!.exponent
      canonical.forEach((value, j) => {
        worst[i] = Math.max(worst[i]!, Math.abs(real[tensor]![j]! * scale - value))
      })
    })
  }
  return worst
}

/**
 * Makes a model's manifest and weights file: admits and lowers the ONNX graph, chooses exponents from the samples'
 * ranges with headroom, rounds weights and tables, and measures τ. The same inputs give the same bytes.
 * Throws the `MODEL_…` codes of `parseModel` and `lowerGraph`, `CALIBRATION_SAMPLES`, `CALIBRATION_RANGE`, and the codes
 * of `validateManifest` for a graph beyond its limits.
 */
export async function buildManifest(options: CalibrationOptions): Promise<{ manifest: Manifest; weights: Uint8Array }> {
  const { name, model, samples, headroom = 2, margin = 4 } = options
  const plan = lowerGraph(parseModel(model))
  checkSamples(plan, samples)
  const { exponents, ops, weights } = quantisePlan(plan, ranges(plan, samples), headroom)
  const untested = { quanta: 0, deviationMilli: 0, margin, samples: samples.length }
  const draft: Manifest = {
    version: MANIFEST_VERSION,
    name,
    model: await fileRef(model),
    weights: await fileRef(weights),
    inputs: plan.inputs,
    outputs: plan.outputs.map((output) => ({ ...output, tolerance: untested })),
    tensors: plan.tensors.map((tensor, id) => ({ ...tensor, exponent: exponents[id]! })),
    ops,
    units: 0,
    tiles: 0,
    layers: 0,
    coverage: 1_000_000,
  }
  const sized = { ...draft, ...countWork(draft) }
  validateManifest(sized, weights)
  const worst = deviations(plan, sized, weights, samples)
  const manifest: Manifest = {
    ...sized,
    outputs: sized.outputs.map((output, i) => ({
      ...output,
      tolerance: {
        quanta: Math.ceil(worst[i]! * margin) + 1,
        deviationMilli: Math.ceil(worst[i]! * 1000),
        margin,
        samples: samples.length,
      },
    })),
  }
  // Through the parser, so that what is published is known to be readable.
  return { manifest: parseManifest(manifestBytes(manifest)), weights }
}
