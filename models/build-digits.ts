import { readFileSync, writeFileSync } from 'node:fs'
import { assetPath } from '../protocol/assets.ts'
import { buildManifest } from './calibrate.ts'
import { loadCalibration } from './digits.ts'
import { manifestBytes } from './manifest.ts'

/** Writes models/digits/manifest.json and weights.bin from the ONNX file and the calibration images. Run after train.py. */
const model = new Uint8Array(readFileSync(assetPath('models/digits/digits.onnx')))
const { manifest, weights } = await buildManifest({ name: 'digits', model, samples: loadCalibration() })
writeFileSync(assetPath('models/digits/manifest.json'), manifestBytes(manifest))
writeFileSync(assetPath('models/digits/weights.bin'), weights)
console.log(
  `T ${manifest.tiles}, L ${manifest.layers}, ${manifest.units} multiply-adds, τ ${manifest.outputs[0]!.tolerance.quanta}`,
)
