import { join } from 'node:path'
import { buildManifest, modelInputs, readSamples } from '../../models/calibrate.ts'
import { describePlan } from '../../models/describe.ts'
import { loadDigits } from '../../models/digits.ts'
import { detection } from '../../models/draw.ts'
import { type Manifest, manifestBytes } from '../../models/manifest.ts'
import { parseModel } from '../../models/onnx.ts'
import { readModelFile } from '../../models/onnx-file.ts'
import { opTiles } from '../../models/tiling.ts'
import { validateManifest } from '../../models/validate.ts'
import { SinterError } from '../../protocol/errors.ts'
import { startClient } from '../client/client.ts'
import {
  createLog,
  type JoinOptions,
  openIdentity,
  parseCount,
  parseRpc,
  readInput,
  readNetworkFile,
  untilAsked,
} from './options.ts'

type Published = { model: Uint8Array; weights: Uint8Array; manifest: Manifest }

const basename = (file: string): string => file.replace(/^.*[\\/]/, '').replace(/\.onnx$/, '')

/** A model with its manifest: the reference model as shipped, or any other calibrated on its samples. */
async function prepare(file: string, samples: string | undefined): Promise<Published> {
  if (file === 'digits') {
    const { model, manifest, weights } = loadDigits()
    validateManifest(manifest, weights)
    return { model, manifest, weights }
  }
  const model = readModelFile(file)
  const inputs = modelInputs(model)
  if (samples === undefined)
    throw new SinterError(
      'CALIBRATION_SAMPLES',
      'a model needs --samples: float32 values, sample after sample, to calibrate on',
    )
  const calibration = readSamples(
    readInput(samples),
    inputs.map(({ shape }) => shape),
  )
  return buildManifest({ name: basename(file), model, samples: calibration })
}

const percent = (p: number): string => `${(Math.floor(p * 10_000) / 100).toFixed(2)}%`

/** What a manifest fixes, and the odds it gives (rounded down). */
function describe(manifest: Manifest, tileDraws: number): string[] {
  const { d1, d2 } = detection(manifest, tileDraws)
  const ops = manifest.ops.map((op) => {
    const exponent = manifest.tensors[op.output]!.exponent
    return `  ${op.name}: ${op.kind}, ${opTiles(manifest, op)} tiles, output exponent ${exponent}`
  })
  const outputs = manifest.outputs.map(
    ({ name, tolerance }) =>
      `output ${name}: tolerance ${tolerance.quanta} quanta (largest deviation ${tolerance.deviationMilli / 1000} over ${tolerance.samples} samples)`,
  )
  return [
    `manifest of ${manifest.name}: ${manifest.units} multiply-adds a job, coverage ${manifest.coverage / 10_000}%`,
    `T ${manifest.tiles} tiles in L ${manifest.layers} ops:`,
    ...ops,
    ...outputs,
    `with ${tileDraws} tiles drawn per drawn job, a broken op is caught in ${percent(d1)} of drawn jobs (d1), one edited leaf in ${percent(d2)} (d2)`,
  ]
}

export type CheckOptions = { samples?: string; tiles: string }

/** Prints whether a model can run here and what its manifest would say. */
export async function modelCheck(file: string, options: CheckOptions): Promise<void> {
  const bytes = file === 'digits' ? loadDigits().model : readModelFile(file)
  const graph = parseModel(bytes)
  const { operators, parameters, multiplyAdds, coverage, uncovered } = describePlan(graph)
  const counted = Object.entries(operators).map(([operator, count]) => (count > 1 ? `${operator} ×${count}` : operator))
  console.log(`${file}: opset ${graph.opset}, ${graph.nodes.length} nodes, ${parameters} parameters`)
  console.log(`operators: ${counted.join(', ')}`)
  console.log(`coverage: ${percent(coverage)} of the work at most, ${multiplyAdds} multiply-adds covered`)
  if (uncovered.length > 0) {
    console.log(`${uncovered.length} of ${graph.nodes.length} nodes are not covered:`)
    for (const { node, operator, reason } of uncovered) console.log(`  ${node} (${operator}): ${reason}`)
    return
  }
  if (file !== 'digits' && options.samples === undefined) {
    for (const { name, shape } of modelInputs(bytes)) console.log(`input ${name}: [${shape}]`)
    console.log('give --samples to calibrate it and see exponents, tolerance and odds')
    return
  }
  const { manifest } = await prepare(file, options.samples)
  for (const line of describe(manifest, parseCount(options.tiles))) console.log(line)
}

export type PublishOptions = JoinOptions & { samples?: string; json: boolean; once: boolean; logLevel: string }

/** Publishes model, weights and manifest by content, and serves them until it is asked to stop. */
export async function modelPublish(file: string, options: PublishOptions): Promise<void> {
  const log = createLog(options.logLevel, 'stderr')
  const network = readNetworkFile(options.network)
  const { model, weights, manifest } = await prepare(file, options.samples)
  const client = await startClient({
    network,
    rpcUrl: parseRpc(options.rpc),
    identity: await openIdentity(options),
    dataDir: join(options.data),
    listen: options.listen,
    bootstrap: options.bootstrap,
    devnet: options.devnet,
    log,
  })
  try {
    const cids = []
    for (const bytes of [model, weights, manifestBytes(manifest)]) cids.push(await client.content.add(bytes))
    const [modelCid, weightsCid, manifestCid] = cids
    if (modelCid !== manifest.model.cid || weightsCid !== manifest.weights.cid)
      throw new SinterError('CID_MISMATCH', 'the content store names the files differently from the manifest')
    await client.network.waitForPeers(1, 20_000)
    for (const cid of cids) await client.content.provide(cid)
    if (options.json)
      console.log(JSON.stringify({ event: 'published', manifest: manifestCid, model: modelCid, weights: weightsCid }))
    else {
      for (const line of describe(manifest, network.tileDraws)) console.log(line)
      console.log(`published manifest ${manifestCid}\nmodel ${modelCid}\nweights ${weightsCid}`)
      if (!options.once)
        console.log('serving these files until you stop this command; nodes that load the model serve them too')
    }
    if (!options.once) await untilAsked()
  } finally {
    await client.stop()
  }
}
