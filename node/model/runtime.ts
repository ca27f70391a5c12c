import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { givenInputs, inputValues } from '../../models/lookup.ts'
import { quantise } from '../../models/quantise.ts'
import type { FloatTensor } from '../../models/session.ts'
import { elementCount, tensorOf } from '../../models/tiling.ts'
import { u32, utf8 } from '../../protocol/bytes.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { SinterError } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import { evaluateHere } from '../attestation/trace.ts'
import type { Tracer } from '../attestation/tracer.ts'
import { stack, unstack } from '../exec/batch.ts'
import type { Executor } from '../exec/host.ts'
import { dequantisedInputs, dequantisedOutput, quantisedOutputs, toWire, type WireTensor } from '../jobs/tensors.ts'
import type { LoadedModel } from './load.ts'

/** A model ready to serve: quantised inputs in, float outputs out. */
export type Runtime = {
  model: LoadedModel
  /** Throws the executor's codes, `TENSOR_*` when the model's outputs are not the manifest's, and `OUTPUT_NAN`. */
  serve(inputs: Int16Array[]): Promise<Served>
  /** The canonical evaluation itself: the same bits on every machine, at the cost of exact arithmetic. Throws what it throws. */
  serveCanonical(inputs: Int16Array[]): Promise<Served>
  /**
   * Whether what was served lies within the manifest's tolerance of the canonical output: an input outside of what the model
   * was calibrated for can push it out, and a receipt over it would forfeit. True without looking for models above
   * `SELF_CHECK_UNITS`, where the canonical evaluation would cost too much on every job.
   */
  accepts(inputs: Int16Array[], quantised: Int16Array[]): boolean
  close(): Promise<void>
}

/** Outputs as they travel, the same quantised at the manifest's exponents, and the time the model took. */
export type Served = { outputs: WireTensor[]; quantised: Int16Array[]; executionUs: number }

/** Multiply-adds up to which every job is checked against its canonical output before it is answered (about 10 ms). */
export const SELF_CHECK_UNITS = 2 ** 20

/** Index of the first output whose served values leave the tolerance, with the place, or null. */
function firstOff(
  { manifest }: LoadedModel,
  canonical: Int16Array[],
  quantised: Int16Array[],
): { output: number; at: number; canonical: number } | null {
  for (const [output, { tolerance }] of manifest.outputs.entries()) {
    const at = canonical[output]!.findIndex((value, i) => Math.abs(value - quantised[output]![i]!) > tolerance.quanta)
    if (at >= 0) return { output, at, canonical: canonical[output]![at]! }
  }
  return null
}

type Tensors = Record<string, FloatTensor>

/** One job as a batch of one. */
function feedsOf({ manifest }: LoadedModel, inputs: Int16Array[]): Tensors {
  const values = dequantisedInputs(manifest, inputs)
  return Object.fromEntries(
    manifest.inputs.map(({ name, shape }, i) => [name, { shape: [1, ...shape], data: values[i]! }]),
  )
}

function outputsOf({ manifest }: LoadedModel, results: Tensors): WireTensor[] {
  return manifest.outputs.map(({ name, shape }) => {
    const result = results[name]
    if (result === undefined) throw new SinterError('TENSOR_SET', `the model gave no output ${name}`)
    return toWire(name, shape, result.data)
  })
}

/**
 * Serves with an executor that has the model's ONNX file loaded: the fast kernels, whatever they are. `evaluate` gives canonical
 * outputs (by default in this process, which stands still meanwhile).
 */
export function createRuntime(
  model: LoadedModel,
  executor: Executor,
  evaluateModel: Tracer['evaluate'] = evaluateHere,
): Runtime {
  const { manifest } = model
  return {
    model,
    async serve(inputs) {
      const feeds = feedsOf(model, inputs)
      const started = performance.now()
      const results = await executor.run(feeds)
      const executionUs = Math.round(1000 * (performance.now() - started))
      const outputs = outputsOf(model, results)
      return { outputs, quantised: quantisedOutputs(manifest, outputs), executionUs }
    },
    async serveCanonical(inputs) {
      const started = performance.now()
      const quantised = await evaluateModel(model, inputs)
      const executionUs = Math.round(1000 * (performance.now() - started))
      const outputs = manifest.outputs.map(({ name, shape }, i) =>
        toWire(name, shape, dequantisedOutput(manifest, i, quantised[i]!)),
      )
      return { outputs, quantised, executionUs }
    },
    accepts: (inputs, quantised) =>
      manifest.units > SELF_CHECK_UNITS ||
      firstOff(model, traceOutputs(manifest, evaluate(manifest, model.weights, inputs)), quantised) === null,
    close: () => executor.close(),
  }
}

const TRIALS = 3

/**
 * Inputs for a trial: zeros, then seeded noise over a growing part of the calibrated range; of a text model seeded rows of its embeddings, since
 * nothing else is ever looked up, and a LayerNorm of zeros means nothing.
 */
function trialInputs(model: LoadedModel, trial: number): Int16Array[] {
  const { manifest, weights } = model
  const ids = givenInputs(manifest).map(({ name, shape, rows }) => {
    const random = seededRandomness(hash('trial ids', model.cid.bytes, utf8(name), u32(trial)))
    return Float32Array.from({ length: elementCount(shape) }, (_, at) => (rows === null ? 0 : random(`${at}`, rows)))
  })
  const looked = manifest.inputs.some(({ lookup }) => lookup !== null) ? inputValues(manifest, weights, ids) : []
  return manifest.inputs.map(({ tensor, name, lookup }, i) => {
    if (lookup !== null) return quantise(looked[i]!, tensorOf(manifest, tensor).exponent)
    const random = seededRandomness(hash('trial', model.cid.bytes, utf8(name), u32(trial), u32(i)))
    const top = 2 ** 12 * trial
    const values = new Int16Array(elementCount(tensorOf(manifest, tensor).shape))
    return values.map((_, at) => (top === 0 ? 0 : random(`${at}`, top)))
  })
}

/**
 * Tries a manifest before bidding on it: what this machine serves must lie within the manifest's tolerance of the canonical
 * output, or every job would risk a forfeit. `evaluate` gives the canonical outputs. Throws `MODEL_OFF_TOLERANCE`.
 */
export async function tryModel(runtime: Runtime, evaluate: Tracer['evaluate']): Promise<void> {
  for (let trial = 0; trial < TRIALS; trial++) {
    const inputs = trialInputs(runtime.model, trial)
    const { quantised } = await runtime.serve(inputs)
    checkWithin(runtime.model, await evaluate(runtime.model, inputs), quantised)
  }
}

/** Throws `MODEL_OFF_TOLERANCE` with the place. */
function checkWithin(model: LoadedModel, canonical: Int16Array[], quantised: Int16Array[]): void {
  const off = firstOff(model, canonical, quantised)
  if (off === null) return
  const { name, tolerance } = model.manifest.outputs[off.output]!
  const served = quantised[off.output]![off.at]
  throw new SinterError(
    'MODEL_OFF_TOLERANCE',
    `output ${name}[${off.at}] is served as ${served} where the manifest means ${off.canonical} ± ${tolerance.quanta}`,
  )
}

/**
 * Tries rows that run together: each must lie within the tolerance as it does alone. Bits may differ, since kernels sum in another order
 * for another number of rows; a receipt is over what was served. Throws `MODEL_OFF_TOLERANCE` and the executor's codes.
 */
export async function tryRows(
  model: LoadedModel,
  executor: Pick<Executor, 'run'>,
  evaluate: Tracer['evaluate'],
): Promise<void> {
  const trials = Array.from({ length: TRIALS }, (_, trial) => trialInputs(model, trial))
  const results = unstack(await executor.run(stack(trials.map((inputs) => feedsOf(model, inputs)))), TRIALS)
  for (const [row, inputs] of trials.entries()) {
    const quantised = quantisedOutputs(model.manifest, outputsOf(model, results[row]!))
    checkWithin(model, await evaluate(model, inputs), quantised)
  }
}
