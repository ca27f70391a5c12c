import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseManifest } from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { PACKAGE_ROOT } from '../../protocol/assets.ts'
import { modelOf } from '../node/attestation-world.ts'
import { type AttestationCost, attestModel, openTools } from './attestation.ts'
import { childPeaks } from './measure.ts'
import { facts } from './models.ts'
import type { Published } from './publish.ts'
import { asInput } from './reference.ts'
import { openServing } from './serving.ts'

/** A large architecture from its ONNX file to a verified attestation of one drawn job. */
export type LargeCost = AttestationCost &
  ReturnType<typeof facts> & {
    name: string
    published: Published
    weightsBytes: number
    /** Elements of all tensors of one evaluation. */
    elements: number
    serveCpuMs: number
    /** Evaluating alone, in the tracer's child, of `trace`. */
    evaluateMs: number
    /** Most that the evaluating, proving and verifying children were resident (MiB). */
    peaks: { tracer: number | null; prover: number | null; verifier: number | null }
  }

/** Samples that exponents and τ are taken from: with two of them an honest answer to a third was seen off its τ. */
const CALIBRATION = 6

async function publish(name: string, folder: string, small: boolean): Promise<Published> {
  const entry = join(import.meta.dirname, 'publish.ts')
  const args = [entry, name, folder, String(CALIBRATION), small ? 'small' : 'whole']
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: PACKAGE_ROOT })
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Published
}

export async function measureLarge(name: string, small: boolean, say: (line: string) => void): Promise<LargeCost> {
  const folder = await mkdtemp(join(tmpdir(), 'sinter-bench-large-'))
  try {
    const published = await publish(name, folder, small)
    say(`${name}: published in ${(published.calibrateMs / 1000).toFixed(1)} s`)
    const read = async (file: string): Promise<Uint8Array> => new Uint8Array(await readFile(join(folder, file)))
    const manifest = parseManifest(await read('manifest.json'))
    const model = await modelOf({ manifest, weights: await read('weights.bin') })
    const serving = await openServing(manifest, await read('model.onnx'))
    const tools = await openTools()
    try {
      const inputs = [asInput(manifest, model.weights, new Float32Array((await read('heldout.bin')).buffer))]
      const { served } = await serving.serve(inputs)
      const serveCpuMs = await serving.cpuMs(inputs, 20)
      await tools.tracer.evaluate(model, inputs)
      const started = performance.now()
      await tools.tracer.evaluate(model, inputs)
      const evaluateMs = performance.now() - started
      say(`${name}: evaluated in ${(evaluateMs / 1000).toFixed(1)} s`)
      const cost = await attestModel(model, [{ inputs, served }], tools, (what) => say(`${name}: ${what}`))
      const peaks = childPeaks(process.pid)
      return {
        name,
        ...facts(model),
        ...cost,
        published,
        weightsBytes: model.weights.length,
        elements: manifest.tensors.reduce(
          (sum, { shape, viewOf }) => sum + (viewOf === null ? elementCount(shape) : 0),
          0,
        ),
        serveCpuMs,
        evaluateMs,
        peaks: {
          tracer: peaks.get('tracer-worker') ?? null,
          prover: peaks.get('prove-worker') ?? null,
          verifier: peaks.get('verify-worker') ?? null,
        },
      }
    } finally {
      await tools.close()
      await serving.dispose()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
