import { buildManifest, type CalibrationReport, modelInputs } from '../../models/calibrate.ts'
import { describePlan } from '../../models/describe.ts'
import { loadDigits } from '../../models/digits.ts'
import { type Manifest, manifestBytes } from '../../models/manifest.ts'
import { parseModel } from '../../models/onnx.ts'
import { readModelFile } from '../../models/onnx-file.ts'
import { elementCount } from '../../models/tiling.ts'
import { validateManifest } from '../../models/validate.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { SinterError } from '../../protocol/errors.ts'
import { estimate } from '../model/estimate.ts'
import type { Log } from '../net/log.ts'
import { printable } from '../printable.ts'
import { joinNetwork } from './join.ts'
import { calibrationLines, costLines, graphLines, manifestLines, servedLines } from './model-report.ts'
import { createLog, type JoinOptions, parseCount, readNetworkFile, untilAsked } from './options.ts'
import { samplesOf } from './samples.ts'
import { type ServedReport, servedOn } from './served.ts'

type Published = { model: Uint8Array; weights: Uint8Array; manifest: Manifest; calibration: Calibration | null }
/** What calibration saw, and what ONNX Runtime makes of the samples. */
type Calibration = { report: CalibrationReport; served: ServedReport | null }

const basename = (file: string): string => file.replace(/^.*[\\/]/, '').replace(/\.onnx$/, '')

/** A model with its manifest: the reference model as shipped, or any other calibrated on its samples. */
async function prepare(file: string, { samples, image }: SampleOptions, log: Log): Promise<Published> {
  if (file === 'digits') {
    const { model, manifest, weights } = loadDigits()
    validateManifest(manifest, weights)
    return { model, manifest, weights, calibration: null }
  }
  const model = readModelFile(file)
  const inputs = modelInputs(model)
  if (samples === undefined)
    throw new SinterError('CALIBRATION_SAMPLES', 'a model needs --samples: real inputs to calibrate on')
  const given = await samplesOf(samples, inputs, image)
  const { report, ...published } = await buildManifest({ name: basename(file), model, samples: given })
  return { ...published, calibration: { report, served: await servedOn(published, given, log) } }
}

/** Made-up inputs, the same every time: enough for the counts, and no more than an example of exponents and tolerance. */
function madeUp(inputs: ReturnType<typeof modelInputs>): Float32Array[][] {
  const random = seededRandomness(new Uint8Array(32))
  return Array.from({ length: MADE_UP }, (_, sample) =>
    inputs.map(({ name, shape, rows }) =>
      Float32Array.from({ length: elementCount(shape) }, (_, i) => {
        const drawn = random(`${sample}/${name}/${i}`, rows ?? 65_536)
        return rows === null ? drawn / 32_768 - 1 : drawn
      }),
    ),
  )
}

const MADE_UP = 8

/** Names of nodes and tensors are whatever the model's author wrote. */
const print = (lines: string[]): void => console.log(lines.map(printable).join('\n'))

const calibratedLines = ({ manifest, calibration }: Published): string[] =>
  calibration === null ? [] : [...calibrationLines(manifest, calibration.report), ...servedLines(calibration.served)]

/** Where calibration samples are, and how pictures among them become numbers. */
type SampleOptions = { samples?: string; image: string }

export type CheckOptions = SampleOptions & { tiles: string; draws: string }

/** Prints what a model holds, how much of it is covered, and what its manifest would say and its attestations cost. */
export async function modelCheck(file: string, options: CheckOptions): Promise<void> {
  const terms = { tileDraws: parseCount(options.tiles), draws: parseCount(options.draws) }
  const bytes = file === 'digits' ? loadDigits().model : readModelFile(file)
  const graph = parseModel(bytes)
  const described = describePlan(graph)
  print(graphLines(file, { opset: graph.opset, nodes: graph.nodes.length }, described))
  if (described.uncovered.length > 0) {
    print(['a manifest needs every node covered: exponents, tolerance, statements and cost exist only then'])
    return
  }
  const real = file === 'digits' || options.samples !== undefined
  if (!real)
    print([`no --samples: calibrated on ${MADE_UP} made-up inputs, so that exponents and tolerance are examples only`])
  const made = real
    ? await prepare(file, options, createLog('warn', 'stderr'))
    : await buildManifest({ name: basename(file), model: bytes, samples: madeUp(modelInputs(bytes)) })
  const { manifest } = made
  print(manifestLines(manifest))
  if ('calibration' in made) print(calibratedLines(made))
  print(costLines(estimate(manifest, terms), terms))
}

export type PublishOptions = JoinOptions & SampleOptions & { json: boolean; once: boolean; logLevel: string }

/** Publishes model, weights and manifest by content, and serves them until it is asked to stop. */
export async function modelPublish(file: string, options: PublishOptions): Promise<void> {
  // Before minutes of calibration.
  readNetworkFile(options.network)
  const published = await prepare(file, options, createLog(options.logLevel, 'stderr'))
  const { model, weights, manifest, calibration } = published
  const { network, client } = await joinNetwork(options)
  try {
    const cids = []
    for (const bytes of [model, weights, manifestBytes(manifest)])
      cids.push(await client.content.add(bytes, { keep: true }))
    const [modelCid, weightsCid, manifestCid] = cids
    if (modelCid !== manifest.model.cid || weightsCid !== manifest.weights.cid)
      throw new SinterError('CID_MISMATCH', 'the content store names the files differently from the manifest')
    for (const cid of cids) await client.content.provide(cid)
    await client.tell([{ manifest: manifestCid!, name: manifest.name, warm: false, price: null }])
    const { draws, forfeitBps } = client.chain.params
    const terms = { tileDraws: network.tileDraws, draws, forfeit: forfeitBps / 10_000 }
    if (options.json)
      console.log(
        JSON.stringify({
          event: 'published',
          manifest: manifestCid,
          model: modelCid,
          weights: weightsCid,
          outputs: calibration?.report.outputs ?? null,
          served: calibration?.served ?? null,
        }),
      )
    else {
      const lines = [
        ...manifestLines(manifest),
        ...calibratedLines(published),
        ...costLines(estimate(manifest, terms), terms),
      ]
      print(lines)
      console.log(`published manifest ${manifestCid}\nmodel ${modelCid}\nweights ${weightsCid}`)
      if (!options.once)
        console.log('serving these files until you stop this command; nodes that load the model serve them too')
    }
    if (!options.once) await untilAsked()
  } finally {
    await client.stop()
  }
}
