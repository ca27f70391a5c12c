/**
 * Publishes a large architecture into a folder, in a process of its own so that its memory is its own: arguments are the name, the
 * folder, the number of samples and `small` or `whole`. Prints what it took as one JSON line.
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
const started = performance.now()
const { manifest, weights, model } = await buildManifest({ name, model: onnx, samples: samples(Number(count)) })
const calibrateMs = performance.now() - started
writeFileSync(join(folder, 'model.onnx'), model)
writeFileSync(join(folder, 'weights.bin'), weights)
writeFileSync(join(folder, 'manifest.json'), manifestBytes(manifest))
const published: Published = {
  parameters,
  onnxBytes: onnx.length,
  calibrateMs,
  peakMb: usage(process.pid)?.ownPeakMb ?? null,
}
console.log(JSON.stringify(published))
