import { CID } from 'multiformats/cid'
import { fileCid } from '../../models/cid.ts'
import { inputValues } from '../../models/lookup.ts'
import { type Manifest, manifestBytes } from '../../models/manifest.ts'
import { quantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import { errorCode } from '../../protocol/errors.ts'
import { evaluateHere } from '../attestation/trace.ts'
import { placements } from '../exec/devices.ts'
import { createGroup } from '../exec/group.ts'
import { createRuntime } from '../model/runtime.ts'
import type { Log } from '../net/log.ts'

/** The model itself against its canonical meaning, as a provider will have it: ONNX Runtime on the CPU, in a process that is shut in. */

/** Samples that are tried: a provider tries three before it bids. */
const TRIED = 8
const TIMEOUT_MS = 60_000
const MEMORY_MIB = 8_192

/** Per output the largest distance in quanta, over so many samples. */
export type ServedReport = { samples: number; outputs: { name: string; worst: number; quanta: number }[] }

/**
 * What is served on the first samples. Null where ONNX Runtime is not installed. Throws the executor's codes: a file that it cannot load or
 * run serves nobody, whatever its graph means.
 */
export async function servedOn(
  { model, manifest, weights }: { model: Uint8Array; manifest: Manifest; weights: Uint8Array },
  samples: Float32Array[][],
  log: Log,
): Promise<ServedReport | null> {
  const loaded = { cid: CID.parse(await fileCid(manifestBytes(manifest))), manifest, weights }
  const group = await createGroup({
    ...{ model, executionProvider: 'cpu', timeoutMs: TIMEOUT_MS, memoryMb: MEMORY_MIB, log },
    placements: placements({ executionProvider: 'cpu' }),
  }).catch((error: unknown) => {
    if (errorCode(error) === 'RUNTIME_MISSING') return null
    throw error
  })
  if (group === null) return null
  try {
    const runtime = createRuntime(loaded, group)
    const tried = samples.slice(0, TRIED)
    const worst = manifest.outputs.map(() => 0)
    for (const sample of tried) {
      const inputs = inputValues(manifest, weights, sample).map((values, i) =>
        quantise(values, tensorOf(manifest, manifest.inputs[i]!.tensor).exponent),
      )
      const { quantised } = await runtime.serve(inputs)
      const canonical = await evaluateHere(loaded, inputs)
      canonical.forEach((values, output) => {
        values.forEach((value, at) => {
          worst[output] = Math.max(worst[output]!, Math.abs(value - quantised[output]![at]!))
        })
      })
    }
    const outputs = manifest.outputs.map(({ name, tolerance: { quanta } }, i) => ({ name, worst: worst[i]!, quanta }))
    return { samples: tried.length, outputs }
  } finally {
    await group.close()
  }
}
