import { readFileSync } from 'node:fs'
import { CID } from 'multiformats/cid'
import { int32Slice } from '../../models/access.ts'
import { buildManifest, modelInputs, readSamples } from '../../models/calibrate.ts'
import { fileCid } from '../../models/cid.ts'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { type Manifest, manifestBytes } from '../../models/manifest.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { elementCount } from '../../models/tiling.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { assetPath } from '../../protocol/assets.ts'

/** The trained reference models with held-out data, as quantised inputs. */

export const REFERENCE = ['digits', 'breast', 'regressor', 'residual', 'quantised', 'transformer'] as const
export type ReferenceName = (typeof REFERENCE)[number]

/** Serves as a provider does: by ONNX Runtime's float kernels, on the dequantised input, quantised again. */
export type Server = { serve(inputs: Int16Array[]): Promise<Int16Array[]>; close(): Promise<void> }

export type Reference = {
  name: ReferenceName
  model: LoadedModel
  /** One array per graph input, for each held-out sample. */
  samples: Int16Array[][]
  /** @param threads cores of one operator */
  open(threads: number): Promise<Server>
}

type HeldOut = { count: number; encoding: string; scale?: number; data: string }

const file = (name: string, what: string): Uint8Array =>
  new Uint8Array(readFileSync(assetPath(`models/${name}/${what}`)))

function heldOut(name: ReferenceName): Float32Array[] {
  if (name === 'digits') return loadHeldOut().images
  const text = new TextDecoder().decode(file(name, 'heldout.json'))
  const { count, encoding, scale = 1, data } = JSON.parse(text) as HeldOut
  const bytes = new Uint8Array(Buffer.from(data, 'base64'))
  const values =
    encoding === 'float32'
      ? new Float32Array(bytes.buffer)
      : Float32Array.from(encoding === 'int32' ? new Int32Array(bytes.buffer) : bytes, (value) => value / scale)
  const size = values.length / count
  return Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size))
}

async function parts(name: ReferenceName): Promise<{ manifest: Manifest; weights: Uint8Array; onnx: Uint8Array }> {
  if (name === 'digits') {
    const { manifest, weights, model } = loadDigits()
    return { manifest, weights, onnx: model }
  }
  const original = file(name, `${name}.onnx`)
  const [input] = modelInputs(original)
  const samples = readSamples(file(name, 'calibration.bin'), [input!.shape])
  const { manifest, weights, model } = await buildManifest({ name, model: original, samples })
  return { manifest, weights, onnx: model }
}

/** Integers are looked up in the manifest's own rows, everything else is quantised. */
function quantised({ manifest }: LoadedModel, weights: Uint8Array, sample: Float32Array): Int16Array {
  const { lookup, shape, tensor } = manifest.inputs[0]!
  if (lookup === null) return quantise(sample, manifest.tensors[tensor]!.exponent)
  const rows = int32Slice(weights, lookup.table)
  const width = shape.at(-1)!
  return Int16Array.from([...sample].flatMap((id) => [...rows.subarray(id * width, (id + 1) * width)]))
}

export async function openReference(name: ReferenceName): Promise<Reference> {
  const { manifest, weights, onnx } = await parts(name)
  const model: LoadedModel = { cid: CID.parse(await fileCid(manifestBytes(manifest))), manifest, weights }
  const [input] = manifest.inputs as [Manifest['inputs'][number]]
  return {
    name,
    model,
    samples: heldOut(name).map((sample) => [quantised(model, weights, sample)]),
    async open(threads) {
      const session = await openSession(onnx, { executionProvider: 'cpu', threads })
      return {
        async serve(inputs) {
          const data = dequantise(inputs[0]!, manifest.tensors[input.tensor]!.exponent)
          const results = await session.run({ [input.name]: { data, shape: [1, ...input.shape] } })
          return manifest.outputs.map(({ name: end, tensor, shape }) => {
            const values = quantise(results[end]!.data, manifest.tensors[tensor]!.exponent)
            if (values.length !== elementCount(shape)) throw new Error(`output ${end} has another size`)
            return values
          })
        },
        close: () => session.dispose(),
      }
    },
  }
}

/** The label that outputs stand for: the largest of several, or the side of one half of a single probability. */
export function decisionOf({ manifest }: Pick<LoadedModel, 'manifest'>, outputs: Int16Array[]): number {
  const [values] = outputs as [Int16Array]
  if (values.length > 1) return values.indexOf(Math.max(...values))
  return Number(values[0]! > 2 ** (manifest.tensors[manifest.outputs[0]!.tensor]!.exponent - 1))
}
