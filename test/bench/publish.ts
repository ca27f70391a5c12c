/**
 * Publishes a large architecture into a folder, in a process of its own so that its memory is its own: arguments are the name, the
 * folder, the number of samples and `small` or `whole`. One more sample, which calibration has not seen, is written beside the model
 * as `heldout.bin` (float32 of the one input). Prints what it took as one JSON line.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildManifest } from '../../models/calibrate.ts'
import { manifestBytes } from '../../models/manifest.ts'
import { ARCHITECTURES } from './architectures.ts'
import { usage } from './measure.ts'

export type Published = { parameters: number; onnxBytes: number; calibrateMs: number; peakMb: number | null }

const [name, folder, count, extent] = process.argv.slice(2) as [string, string, string, string]
const { onnx, parameters, samples } = ARCHITECTURES[name]!(extent === 'small')
const made = samples(Number(count) + 1)
const heldOut = made.pop()!
const started = performance.now()
const { manifest, weights, model } = await buildManifest({ name, model: onnx, samples: made })
const calibrateMs = performance.now() - started
writeFileSync(join(folder, 'model.onnx'), model)
writeFileSync(join(folder, 'weights.bin'), weights)
writeFileSync(join(folder, 'heldout.bin'), new Uint8Array(heldOut[0]!.buffer))
writeFileSync(join(folder, 'manifest.json'), manifestBytes(manifest))
const published: Published = {
  parameters,
  onnxBytes: onnx.length,
  calibrateMs,
  peakMb: usage(process.pid)?.ownPeakMb ?? null,
}
console.log(JSON.stringify(published))
