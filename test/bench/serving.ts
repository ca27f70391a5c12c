import type { Manifest } from '../../models/manifest.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { elementCount, tensorOf } from '../../models/tiling.ts'
import { measured } from './measure.ts'

/** A model served by ONNX Runtime on one core, in this process: what a provider would do without attesting. */
export type Serving = {
  /** Answers to inputs at the manifest's exponents, as a consumer would get them and at the outputs' exponents. */
  serve(inputs: Int16Array[]): Promise<{ answers: Float32Array[]; served: Int16Array[] }>
  /** Processor time of one request (ms), from as many as half a second holds, at most `most`. */
  cpuMs(inputs: Int16Array[], most: number): Promise<number>
  dispose(): Promise<void>
}

export async function openServing(manifest: Manifest, onnx: Uint8Array): Promise<Serving> {
  const session = await openSession(onnx, { executionProvider: 'cpu', threads: 1 })
  const feedsOf = (inputs: Int16Array[]) =>
    Object.fromEntries(
      manifest.inputs.map(({ name, shape, tensor }, i) => [
        name,
        { data: dequantise(inputs[i]!, tensorOf(manifest, tensor).exponent), shape: [1, ...shape] },
      ]),
    )
  return {
    async serve(inputs) {
      const results = await session.run(feedsOf(inputs))
      const answers = manifest.outputs.map(({ name, shape }) => {
        const { data } = results[name]!
        if (data.length !== elementCount(shape)) throw new Error(`output ${name} has ${data.length} values`)
        return data
      })
      const served = answers.map((values, i) =>
        quantise(values, tensorOf(manifest, manifest.outputs[i]!.tensor).exponent),
      )
      return { answers, served }
    },
    async cpuMs(inputs, most) {
      const feeds = feedsOf(inputs)
      const { ms } = await measured(() => session.run(feeds))
      const runs = Math.max(1, Math.min(most, Math.floor(500 / ms)))
      const { cpuMs } = await measured(async () => {
        for (let i = 0; i < runs; i++) await session.run(feeds)
      })
      return cpuMs / runs
    },
    dispose: () => session.dispose(),
  }
}
