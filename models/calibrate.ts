import { toHex } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { sha256 } from '../protocol/hash.ts'
import { evaluate, traceOutputs } from './canonical.ts'
import { type Channelled, channelTensors, withChannels } from './channels.ts'
import { fileCid } from './cid.ts'
import { cutModel } from './cut.ts'
import { type GivenInput, givenInputs } from './lookup.ts'
import { lowerWhole } from './lower.ts'
import {
  type FileRef,
  MANIFEST_LIMITS,
  MANIFEST_VERSION,
  type Manifest,
  manifestBytes,
  parseManifest,
} from './manifest.ts'
import { parseModel } from './onnx.ts'
import { type Plan, planTaps, planUnits } from './plan.ts'
import { dequantise, quantise } from './quantise.ts'
import { quantisePlan } from './quantise-plan.ts'
import { evaluatePlan, type KernelFaults } from './reference.ts'
import type { Range } from './tables.ts'
import { countWork, elementCount } from './tiling.ts'
import { validateManifest } from './validate.ts'

export type CalibrationOptions = {
  /** File-name-like name of the model: letters, digits, dot, dash, underscore. */
  name: string
  /** The ONNX file. */
  model: Uint8Array
  /** Real inputs, one array per graph input and sample, without the batch axis. */
  samples: Float32Array[][]
  /** A tensor's range in the samples times this must be representable. @default 2 */
  headroom?: number
  /**
   * τ is the largest deviation seen in the samples times this, rounded up, plus one quantum.
   * @default 4, or 2 where the model quantises itself: then a deviation is a number of its levels, and every level that could
   * have been rounded the other way is so rounded when it is measured
   */
  margin?: number
  /** Whether channels that only relations read have exponents of their own. @default true */
  channels?: boolean
}

/**
 * Each of a model's inputs as its user gives it, shapes without the batch axis: integers below `rows` where they are looked up.
 * Throws the `MODEL_…` codes.
 */
export function modelInputs(model: Uint8Array): GivenInput[] {
  return givenInputs(lowerWhole(parseModel(model)))
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

function checkSamples(plan: Plan, samples: Float32Array[][]): void {
  if (samples.length === 0) throw new SinterError('CALIBRATION_SAMPLES', 'calibration needs at least one sample')
  const sizes = givenInputs(plan).map(({ shape }) => elementCount(shape))
  samples.forEach((sample, i) => {
    if (sample.length !== sizes.length || sample.some((values, j) => values.length !== sizes[j]))
      throw new SinterError('CALIBRATION_SAMPLES', `sample ${i} does not have the shape of the model's inputs`)
    if (sample.some((values) => values.some((value) => !Number.isFinite(value))))
      throw new SinterError('CALIBRATION_SAMPLES', `sample ${i} holds a number that is not finite`)
  })
}

/** Samples as the canonical graph takes them: rows in place of the integers that name them. */
function lookedUp(plan: Plan, samples: Float32Array[][]): Float32Array[][] {
  const given = givenInputs(plan).map(({ name }) => name)
  return samples.map((sample, i) =>
    plan.inputs.map(({ name, lookup, shape }) => {
      const values = sample[given.indexOf(lookup?.name ?? name)]!
      if (lookup === null) return values
      const width = shape.at(-1)!
      const out = new Float32Array(values.length * width)
      values.forEach((id, n) => {
        if (!Number.isInteger(id) || id < 0 || id >= lookup.rows)
          throw new SinterError('CALIBRATION_SAMPLES', `sample ${i} holds ${id}, which is none of ${lookup.rows} rows`)
        out.set(lookup.table.subarray(id * width, (id + 1) * width), n * width)
      })
      return out
    }),
  )
}

/** [refuse] What no manifest can say, before anything is evaluated: it would not end, or only to be refused. */
function checkPlan(plan: Plan): void {
  const units = planUnits(plan, plan.ops)
  if (units > MANIFEST_LIMITS.multiplyAdds)
    throw new SinterError('WORK_COUNT', `${units} multiply-adds are more than ${MANIFEST_LIMITS.multiplyAdds}`)
  if (plan.ops.length > MANIFEST_LIMITS.ops || plan.tensors.length > MANIFEST_LIMITS.tensors)
    throw new SinterError(
      'MODEL_TOO_LARGE',
      `the model becomes ${plan.ops.length} ops and ${plan.tensors.length} tensors; a manifest holds ${MANIFEST_LIMITS.ops} and ${MANIFEST_LIMITS.tensors}`,
    )
  for (const op of plan.ops) {
    const taps = planTaps(op)
    if (taps > MANIFEST_LIMITS.taps)
      throw new SinterError(
        'SHAPE',
        `op ${op.name} has ${taps} taps for each element; at most ${MANIFEST_LIMITS.taps} are taken`,
      )
  }
}

/** Range of each tensor over the samples, and sizes of the channels of some; what a mask has made endless is left out. */
function rangesOf(
  plan: Plan,
  samples: Float32Array[][],
  channels: Channelled[],
): { ranges: Range[]; sizes: Float64Array[] } {
  const out = plan.tensors.map((): Range => ({ low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY }))
  const sizes = channels.map(({ count }) => new Float64Array(count))
  for (const sample of samples) {
    const all = evaluatePlan(plan, sample)
    all.forEach((values, id) => {
      const range = out[id]!
      for (const value of values) {
        if (!Number.isFinite(value)) continue
        if (value < range.low) range.low = value
        if (value > range.high) range.high = value
      }
    })
    channels.forEach(({ tensor, count }, i) => {
      const size = sizes[i]!
      all[tensor]!.forEach((value, at) => {
        if (Number.isFinite(value)) size[at % count] = Math.max(size[at % count]!, Math.abs(value))
      })
    })
  }
  return { ranges: out.map((range) => (range.low <= range.high ? range : { low: 0, high: 0 })), sizes }
}

const fileRef = async (bytes: Uint8Array): Promise<FileRef> => ({
  cid: await fileCid(bytes),
  sha256: toHex(sha256(bytes)).slice(2),
  bytes: bytes.length,
})

/** Share of a level within which another kernel, or a table, may round to the neighbour. */
const NEAR = 1 / 64

/** Whether the model rounds to levels of its own. */
const hasLevels = ({ tensors }: Plan): boolean =>
  tensors.some(({ grid }) => grid.kind === 'fixed' && grid.levels !== null)

type Deviation = { worst: number; relative: number; decisions: number }

const largestAt = (values: ArrayLike<number>): number => {
  let at = 0
  for (let i = 1; i < values.length; i++) if (values[i]! > values[at]!) at = i
  return at
}

/**
 * Per output, the largest distance in quanta between the real-valued and the canonical result, over the samples. A level that
 * flips moves an output by far more than rounding does, and seldom: so levels that are near are flipped here too. A model in half
 * precision is served with its rounding.
 */
function deviations(plan: Plan, manifest: Manifest, weights: Uint8Array, samples: Float32Array[][]): Deviation[] {
  const seen = plan.outputs.map(() => ({ worst: 0, off: 0, size: 0, decisions: 0 }))
  const kernels: KernelFaults[] = [
    {},
    ...(hasLevels(plan) ? [{ near: NEAR }] : []),
    ...(plan.halves ? [{ halves: true }] : []),
  ]
  for (const sample of samples) {
    const inputs = sample.map((values, i) => quantise(values, manifest.tensors[manifest.inputs[i]!.tensor]!.exponent))
    const given = inputs.map((values, i) => dequantise(values, manifest.tensors[manifest.inputs[i]!.tensor]!.exponent))
    const reals = kernels.map((faults) => evaluatePlan(plan, given, faults))
    traceOutputs(manifest, evaluate(manifest, weights, inputs)).forEach((canonical, i) => {
      const { tensor, name } = plan.outputs[i]!
      const scale = 2 ** manifest.tensors[tensor]!.exponent
      const each = seen[i]!
      if (largestAt(canonical) !== largestAt(reals[0]![tensor]!)) each.decisions++
      for (const [at, real] of reals.entries())
        canonical.forEach((value, j) => {
          const exact = real[tensor]![j]! * scale
          const distance = Math.abs(exact - value)
          if (Number.isNaN(distance))
            throw new SinterError('CALIBRATION_RANGE', `output ${name} is not a number on a sample`)
          each.worst = Math.max(each.worst, distance)
          if (at > 0) return
          each.off += distance ** 2
          each.size += exact ** 2
        })
    })
  }
  return seen.map(({ worst, off, size, decisions }) => ({
    worst,
    relative: size === 0 ? 0 : Math.sqrt(off / size),
    decisions,
  }))
}

/** What calibration saw: for people. */
export type CalibrationReport = {
  /** Per tensor: its exponent, its range in the samples, and the share of its 16 bits that they used. */
  tensors: { name: string; exponent: number; low: number; high: number }[]
  /** Per output, float against canonical. */
  outputs: {
    name: string
    /** Largest deviation in quanta, what a quantum is, and τ in quanta. */
    deviation: number
    quantum: number
    quanta: number
    /** ‖canonical − float‖ / ‖float‖ over all samples; 0 where the output is 0. */
    relative: number
    /** Samples in which another element is the largest. */
    decisions: number
  }[]
}

/**
 * Makes a model's manifest and weights file: admits and lowers the ONNX graph, chooses exponents from the samples'
 * ranges with headroom, rounds weights and tables, and measures τ. The same inputs give the same bytes. `model` is what is
 * served: the file given, or that file without the embeddings and the ArgMax that consumers do themselves.
 * Throws the `MODEL_…` codes of `parseModel` and `lowerWhole`, `CALIBRATION_SAMPLES`, `CALIBRATION_RANGE`, and the codes
 * of `validateManifest` for a graph beyond its limits.
 */
export async function buildManifest(
  options: CalibrationOptions,
): Promise<{ manifest: Manifest; weights: Uint8Array; model: Uint8Array; report: CalibrationReport }> {
  const { name, headroom = 2 } = options
  const lowered = lowerWhole(parseModel(options.model))
  const margin = options.margin ?? (hasLevels(lowered) ? 2 : 4)
  checkPlan(lowered)
  checkSamples(lowered, options.samples)
  const samples = lookedUp(lowered, options.samples)
  const model = cutModel(options.model, lowered.cuts)
  const channels = options.channels === false ? [] : channelTensors(lowered)
  const { ranges, sizes } = rangesOf(lowered, samples, channels)
  const plan = withChannels(lowered, channels, sizes)
  const { tensors, exponents, ops, weights, lookups } = quantisePlan(plan, ranges, headroom)
  const untested = { quanta: 0, deviationMilli: 0, margin, samples: samples.length }
  const draft: Manifest = {
    version: MANIFEST_VERSION,
    name,
    model: await fileRef(model),
    weights: await fileRef(weights),
    inputs: plan.inputs.map(({ name: input, tensor, shape }, i) => ({
      name: input,
      tensor,
      shape,
      lookup: lookups[i]!,
    })),
    outputs: plan.outputs.map((output) => ({ ...output, tolerance: untested })),
    tensors: tensors.map(({ name: tensor, shape, bits, viewOf }, id) => ({
      name: tensor.slice(0, 256),
      shape,
      exponent: exponents[id]!,
      bits,
      viewOf,
    })),
    ops: ops.map((op) => ({ ...op, name: op.name.slice(0, 256) })),
    units: 0,
    tiles: 0,
    layers: 0,
    coverage: 1_000_000,
  }
  const sized = { ...draft, ...countWork(draft) }
  validateManifest(sized, weights)
  const measured = deviations(plan, sized, weights, samples)
  const worst = measured.map((each) => each.worst)
  worst.forEach((deviation, i) => {
    if (Math.ceil(deviation * margin) + 1 > 65_535)
      throw new SinterError('CALIBRATION_RANGE', `output ${plan.outputs[i]!.name} strays by ${deviation} quanta`)
  })
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
  const report: CalibrationReport = {
    tensors: plan.tensors.map((tensor, id) => ({ name: tensor.name, exponent: exponents[id]!, ...ranges[id]! })),
    outputs: manifest.outputs.map(({ name: output, tensor, tolerance }, i) => ({
      name: output,
      deviation: worst[i]!,
      quanta: tolerance.quanta,
      quantum: 2 ** -manifest.tensors[tensor]!.exponent,
      relative: measured[i]!.relative,
      decisions: measured[i]!.decisions,
    })),
  }
  // Through the parser, so that what is published is known to be readable.
  return { manifest: parseManifest(manifestBytes(manifest)), weights, model, report }
}
