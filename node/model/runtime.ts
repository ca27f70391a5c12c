import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { elementCount, tensorOf } from '../../models/tiling.ts'
import { u32, utf8 } from '../../protocol/bytes.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { SinterError } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import type { Executor } from '../exec/host.ts'
import { dequantisedInputs, quantisedOutputs, toWire, type WireTensor } from '../jobs/tensors.ts'
import type { LoadedModel } from './load.ts'

/** A model ready to serve: quantised inputs in, float outputs out. */
export type Runtime = {
  model: LoadedModel
  /** Throws the executor's codes, `TENSOR_*` when the model's outputs are not the manifest's, and `OUTPUT_NAN`. */
  serve(inputs: Int16Array[]): Promise<Served>
  close(): Promise<void>
}

/** Outputs as they travel, the same quantised at the manifest's exponents, and the time the model took. */
export type Served = { outputs: WireTensor[]; quantised: Int16Array[]; executionUs: number }

/** Serves with an executor that has the model's ONNX file loaded: the fast kernels, whatever they are. */
export function createRuntime(model: LoadedModel, executor: Executor): Runtime {
  const { manifest } = model
  return {
    model,
    async serve(inputs) {
      const values = dequantisedInputs(manifest, inputs)
      const feeds = Object.fromEntries(
        manifest.inputs.map(({ name, shape }, i) => [name, { shape: [1, ...shape], data: values[i]! }]),
      )
      const started = performance.now()
      const results = await executor.run(feeds)
      const executionUs = Math.round(1000 * (performance.now() - started))
      const outputs = manifest.outputs.map(({ name, shape }) => {
        const result = results[name]
        if (result === undefined) throw new SinterError('TENSOR_SET', `the model gave no output ${name}`)
        return toWire(name, shape, result.data)
      })
      return { outputs, quantised: quantisedOutputs(manifest, outputs), executionUs }
    },
    close: () => executor.close(),
  }
}

const TRIALS = 3

/** Inputs for a trial: zeros, then seeded noise over a growing part of the calibrated range. */
function trialInputs(model: LoadedModel, trial: number): Int16Array[] {
  const { manifest } = model
  return manifest.inputs.map(({ tensor, name }, i) => {
    const random = seededRandomness(hash('trial', model.cid.bytes, utf8(name), u32(trial), u32(i)))
    const top = 2 ** 12 * trial
    const values = new Int16Array(elementCount(tensorOf(manifest, tensor).shape))
    return values.map((_, at) => (top === 0 ? 0 : random(`${at}`, top)))
  })
}

/**
 * Tries a manifest before bidding on it: what this machine serves must lie within the manifest's tolerance of the canonical
 * output, or every job would risk a forfeit. Throws `MODEL_OFF_TOLERANCE`.
 */
export async function tryModel(runtime: Runtime): Promise<void> {
  const { manifest, weights } = runtime.model
  for (let trial = 0; trial < TRIALS; trial++) {
    const inputs = trialInputs(runtime.model, trial)
    const canonical = traceOutputs(manifest, evaluate(manifest, weights, inputs))
    const { quantised } = await runtime.serve(inputs)
    manifest.outputs.forEach(({ name, tolerance }, i) => {
      const off = canonical[i]!.findIndex((value, at) => Math.abs(value - quantised[i]![at]!) > tolerance.quanta)
      if (off >= 0)
        throw new SinterError(
          'MODEL_OFF_TOLERANCE',
          `output ${name}[${off}] is served as ${quantised[i]![off]} where the manifest means ${canonical[i]![off]} ± ${tolerance.quanta}`,
        )
    })
  }
}
