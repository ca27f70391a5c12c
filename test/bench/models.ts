import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { detection } from '../../models/draw.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import {
  type AttestationCost,
  attestModel,
  batchCpuMs,
  COMMITTEE,
  commitCpuMs,
  DRAWS,
  TILE_DRAWS,
  type Tools,
} from './attestation.ts'
import { loadReference, type ReferenceModel } from './reference.ts'
import { openServing, type Serving } from './serving.ts'

/** Sizes of batches whose attestation is held against serving them. */
export const BATCHES = [100, 1_000, 10_000] as const

/** Processor time of attesting a batch, as a multiple of that of serving its jobs. */
export type Ratios = {
  /** The provider's own: roots of every job, the sum tree, traces and proofs of the drawn jobs. */
  provider: number
  /** The whole network's: with a committee that verifies. */
  network: number
}

export type ModelCost = AttestationCost & {
  name: string
  coverage: number
  /** Held-out samples on which the canonical answer agrees with the float one, of `samples`. */
  agree: number
  samples: number
  tiles: number
  layers: number
  units: number
  odds: { d1: number; d2: number }
  serveCpuMs: number
  commitCpuMs: number
  ratios: Record<(typeof BATCHES)[number], Ratios>
}

const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)))
/** The largest of several outputs, or the side of one half of a single probability. */
const decision = (values: ArrayLike<number>, half: number): number =>
  values.length === 1 ? Number(values[0]! > half) : argmax(values)

/** How many answers agree: the same class, or within τ where the answer is a number; and are within τ in any case. */
async function agreement({ loaded, inputs, classes }: ReferenceModel, { serve }: Serving, most: number) {
  const { manifest, weights } = loaded
  const samples = inputs.slice(0, most)
  let agree = 0
  for (const sample of samples) {
    const { answers, served } = await serve(sample)
    const canonical = traceOutputs(manifest, evaluate(manifest, weights, sample))
    const within = manifest.outputs.every(({ tolerance }, i) =>
      served[i]!.every((value, j) => Math.abs(value - canonical[i]![j]!) <= tolerance.quanta),
    )
    const half = 0.5 * 2 ** manifest.tensors[manifest.outputs[0]!.tensor]!.exponent
    if (within && (!classes || decision(answers[0]!, 0.5) === decision(canonical[0]!, half))) agree++
  }
  return { agree, samples: samples.length }
}

/**
 * Attestation against serving. Roots and serving grow with the jobs and are measured on some; the sum tree is built over as many
 * receipts as there are; drawn jobs are as many whatever the batch.
 */
export function ratiosOf(cost: AttestationCost, serveCpuMs: number, commitMs: number): ModelCost['ratios'] {
  const drawn = DRAWS * (cost.trace.cpuMs + cost.prove.cpuMs)
  const checked = COMMITTEE * DRAWS * cost.verify.cpuMs
  return Object.fromEntries(
    BATCHES.map((jobs) => {
      const provider = jobs * commitMs + batchCpuMs(jobs) + drawn
      const serving = jobs * serveCpuMs
      return [jobs, { provider: provider / serving, network: (provider + checked) / serving }]
    }),
  ) as ModelCost['ratios']
}

export const facts = ({ manifest }: LoadedModel) => ({
  coverage: manifest.coverage / 1e6,
  tiles: manifest.tiles,
  layers: manifest.layers,
  units: manifest.units,
  odds: detection(manifest, TILE_DRAWS),
})

/** Everything about one reference model. */
export async function measureModel(name: string, tools: Tools, small: boolean): Promise<ModelCost> {
  const model = await loadReference(name)
  const { loaded, inputs, onnx } = model
  const serving = await openServing(loaded.manifest, onnx)
  try {
    const agreed = await agreement(model, serving, small ? 20 : inputs.length)
    const jobs = []
    for (const sample of inputs.slice(0, small ? 1 : DRAWS))
      jobs.push({ inputs: sample, served: (await serving.serve(sample)).served })
    const cost = await attestModel(loaded, jobs, tools)
    const serveCpuMs = await serving.cpuMs(jobs[0]!.inputs, 5_000)
    const commitMs = commitCpuMs(loaded, jobs[0]!.inputs, jobs[0]!.served, small ? 50 : 500)
    return {
      name,
      ...facts(loaded),
      ...agreed,
      ...cost,
      serveCpuMs,
      commitCpuMs: commitMs,
      ratios: ratiosOf(cost, serveCpuMs, commitMs),
    }
  } finally {
    await serving.dispose()
  }
}
