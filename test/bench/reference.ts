import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { int32Slice } from '../../models/access.ts'
import { buildManifest, modelInputs, readSamples } from '../../models/calibrate.ts'
import type { Manifest } from '../../models/manifest.ts'
import { quantise } from '../../models/quantise.ts'
import { elementCount, tensorOf } from '../../models/tiling.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { assetPath } from '../../protocol/assets.ts'
import { modelOf } from '../node/attestation-world.ts'

/** The trained models of `models/`, each with what it has never seen. */
export type ReferenceModel = {
  name: string
  loaded: LoadedModel
  /** The ONNX file that is served. */
  onnx: Uint8Array
  /** Held-out inputs at the manifest's exponents. */
  inputs: Int16Array[][]
  /** Whether an answer is a choice between classes. */
  classes: boolean
  calibrateMs: number
}

type HeldOut = {
  count: number
  encoding?: 'float32' | 'int32' | 'uint8'
  scale?: number
  labels: unknown
  data?: string
  pixels?: string
}

const bytesOf = (name: string, file: string): Uint8Array =>
  new Uint8Array(readFileSync(assetPath(`models/${name}/${file}`)))

/** Every folder of `models/` that holds a model and numbers it has never seen; what has only texts is measured elsewhere. */
export const referenceNames = (): string[] =>
  readdirSync(assetPath('models')).filter(
    (name) =>
      existsSync(assetPath(`models/${name}/heldout.json`)) &&
      Object.hasOwn(JSON.parse(new TextDecoder().decode(bytesOf(name, 'heldout.json'))) as object, 'count'),
  )

function heldOut({ count, encoding = 'uint8', scale = 1, data, pixels }: HeldOut, size: number): Float32Array[] {
  const bytes = new Uint8Array(Buffer.from((data ?? pixels)!, 'base64'))
  const values =
    encoding === 'float32'
      ? new Float32Array(bytes.buffer)
      : Float32Array.from(encoding === 'int32' ? new Int32Array(bytes.buffer) : bytes, (value) => value / scale)
  return Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size))
}

/** Labels that are the indices of a few classes; digits' are a string of figures. */
function areClasses(labels: unknown, outputs: number): boolean {
  const list = typeof labels === 'string' ? [...labels].map(Number) : labels
  return Array.isArray(list) && list.every((each) => Number.isInteger(each) && each >= 0 && each < Math.max(2, outputs))
}

/** One sample as the graph takes it: integers become the manifest's own rows. */
export function asInput(manifest: Manifest, weights: Uint8Array, sample: Float32Array): Int16Array {
  const [{ lookup, shape, tensor }] = manifest.inputs as [Manifest['inputs'][number]]
  if (lookup === null) return quantise(sample, tensorOf(manifest, tensor).exponent)
  const rows = int32Slice(weights, lookup.table)
  const width = shape.at(-1)!
  return Int16Array.from([...sample].flatMap((id) => [...rows.subarray(id * width, (id + 1) * width)]))
}

/** Publishes a reference model as `sinter model publish` does. All of them have one input. */
export async function loadReference(name: string): Promise<ReferenceModel> {
  const model = bytesOf(name, `${name}.onnx`)
  const [input] = modelInputs(model)
  const samples = readSamples(bytesOf(name, 'calibration.bin'), [input!.shape])
  const started = performance.now()
  const { manifest, weights, model: onnx } = await buildManifest({ name, model, samples })
  const calibrateMs = performance.now() - started
  const file = JSON.parse(new TextDecoder().decode(bytesOf(name, 'heldout.json'))) as HeldOut
  return {
    name,
    loaded: await modelOf({ manifest, weights }),
    onnx,
    inputs: heldOut(file, elementCount(input!.shape)).map((sample) => [asInput(manifest, weights, sample)]),
    classes: areClasses(file.labels, elementCount(manifest.outputs[0]!.shape)),
    calibrateMs,
  }
}
