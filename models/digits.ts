import { readFileSync } from 'node:fs'
import { assetPath } from '../protocol/assets.ts'
import { readSamples } from './calibrate.ts'
import { type Manifest, parseManifest } from './manifest.ts'

/** The reference model: handwritten digits, 8×8 grey pixels in [0, 1] to 10 logits. See models/digits/MODEL_CARD.md. */
export type Digits = {
  /** The ONNX file. */
  model: Uint8Array
  manifest: Manifest
  /** Canonical bytes of the manifest, as published. */
  manifestBytes: Uint8Array
  weights: Uint8Array
}

const read = (file: string): Uint8Array => new Uint8Array(readFileSync(assetPath(`models/digits/${file}`)))

export function loadDigits(): Digits {
  const manifestBytes = read('manifest.json')
  return {
    model: read('digits.onnx'),
    manifest: parseManifest(manifestBytes),
    manifestBytes,
    weights: read('weights.bin'),
  }
}

/** Images the model has never seen, each 64 floats in [0, 1], and their true labels. */
export function loadHeldOut(): { images: Float32Array[]; labels: number[] } {
  const file = JSON.parse(new TextDecoder().decode(read('heldout.json'))) as {
    count: number
    scale: number
    labels: string
    pixels: string
  }
  const pixels = Buffer.from(file.pixels, 'base64')
  return {
    images: Array.from({ length: file.count }, (_, i) =>
      Float32Array.from(pixels.subarray(64 * i, 64 * (i + 1)), (pixel) => pixel / file.scale),
    ),
    labels: Array.from(file.labels, Number),
  }
}

/** The training images that the manifest was calibrated on. */
export function loadCalibration(): Float32Array[][] {
  return readSamples(read('calibration.bin'), [[1, 8, 8]])
}
