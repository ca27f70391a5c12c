import { readFileSync } from 'node:fs'
import { buildManifest, modelInputs, readSamples } from '../../models/calibrate.ts'
import { elementCount } from '../../models/tiling.ts'
import { assetPath } from '../../protocol/assets.ts'

/** The trained models beside `digits`, each with its calibration and held-out data. */

/** What an answer is held against: a class, a number, or the input itself. */
export type Task = 'class' | 'number' | 'restore'

export const TRAINED: Record<string, Task> = {
  residual: 'class',
  breast: 'class',
  regressor: 'number',
  autoencoder: 'restore',
  transformer: 'class',
  quantised: 'class',
}

type HeldOutFile = {
  count: number
  encoding: 'uint8' | 'int32' | 'float32'
  scale?: number
  labels: (number | string)[] | string | null
  data: string
}

export type HeldOut = { samples: Float32Array[]; targets: number[][] }

const file = (name: string, what: string): Uint8Array =>
  new Uint8Array(readFileSync(assetPath(`models/${name}/${what}`)))

/** Samples that the model was not trained on, one array of all its input's values each, with the right answers. */
export function heldOut(name: string, size: number): HeldOut {
  const json = JSON.parse(new TextDecoder().decode(file(name, 'heldout.json'))) as HeldOutFile
  const { count, encoding, scale = 1, data, labels } = json
  const bytes = new Uint8Array(Buffer.from(data, 'base64'))
  const values =
    encoding === 'float32'
      ? new Float32Array(bytes.buffer)
      : Float32Array.from(encoding === 'int32' ? new Int32Array(bytes.buffer) : bytes, (value) => value / scale)
  const samples = Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size))
  const targets = labels === null ? samples.map((each) => [...each]) : [...labels].map((label) => [Number(label)])
  return { samples, targets }
}

/** A trained model's manifest, made from its calibration data, with its held-out data. */
export async function trained(name: string): Promise<Awaited<ReturnType<typeof buildManifest>> & HeldOut> {
  const original = file(name, `${name}.onnx`)
  const [input] = modelInputs(original) as [ReturnType<typeof modelInputs>[number]]
  const samples = readSamples(file(name, 'calibration.bin'), [input.shape])
  return { ...(await buildManifest({ name, model: original, samples })), ...heldOut(name, elementCount(input.shape)) }
}
