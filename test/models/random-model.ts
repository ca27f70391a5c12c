import type { Manifest, Op } from '../../models/manifest.ts'
import { countWork, elementCount, tapsPerOutput, windowOutputs } from '../../models/tiling.ts'
import { weightsWriter } from '../../models/weights.ts'
import { toHex } from '../../protocol/bytes.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { sha256 } from '../../protocol/hash.ts'

/** Random small manifests with random weights, valid by construction: for property tests over the whole op set. */

export type RandomModel = { manifest: Manifest; weights: Uint8Array; inputs: Int16Array[]; int: Int }

/** Uniform integer in [least, most]. */
export type Int = (least: number, most: number) => number

export function randomInts(seed: number): Int {
  const random = seededRandomness(sha256(new TextEncoder().encode(`model ${seed}`)))
  let calls = 0
  return (least, most) => least + random(`${calls++}`, most - least + 1)
}

/** Cheap numbers for the many weights. */
function stream(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const FILE = { cid: `b${'a'.repeat(58)}`, sha256: '0'.repeat(64), bytes: 1 }

function knotsOf(int: Int): { function: string; knots: number[] } {
  switch (int(0, 2)) {
    case 0:
      return { function: 'Relu', knots: Array.from({ length: 65 }, (_, i) => Math.max(0, 1024 * i - 32_768)) }
    case 1:
      return { function: 'Identity', knots: Array.from({ length: 65 }, (_, i) => 1024 * i - 32_768) }
    default:
      return { function: 'Noise', knots: Array.from({ length: 65 }, () => int(-32_768, 32_767)) }
  }
}

/**
 * A chain of one to five ops over an image or a vector. Weights are sized so that about half of the linear ops saturate
 * somewhere.
 */
export function randomModel(seed: number): RandomModel {
  const int = randomInts(seed)
  const uniform = stream(int(0, 2 ** 31))
  const writer = weightsWriter()
  const tensors: Manifest['tensors'] = []
  const ops: Op[] = []
  const add = (shape: number[], viewOf: number | null = null): number =>
    tensors.push({ name: `t${tensors.length}`, shape, exponent: 8, viewOf }) - 1
  const image = int(0, 3) > 0
  let at = add(image ? [int(1, 4), int(3, 9), int(3, 9)] : [int(1, 150)])
  const linear = (
    rows: number,
    taps: number,
  ): { weights: ReturnType<typeof writer.weights>; biases: ReturnType<typeof writer.biases> } => {
    // At 16 bits a weight is 1; sums of `taps` random terms grow with its square root.
    const scale = 2 ** int(8, Math.min(18, Math.floor(30 - Math.log2(taps))))
    const draw = (size: number): number => Math.round((2 * uniform() - 1) * size)
    return {
      weights: writer.weights(Array.from({ length: rows * taps }, () => (uniform() < 0.1 ? 0 : draw(scale)))),
      biases: writer.biases(Array.from({ length: rows }, () => 32_768 + draw(2 ** int(0, 33)))),
    }
  }
  for (let n = int(1, 5); n > 0; n--) {
    const { shape } = tensors[at]!
    const kind = int(0, shape.length === 3 ? 3 : 1)
    const name = `op${ops.length}`
    if (kind === 0) {
      const output = add(shape)
      ops.push({ kind: 'table', name, input: at, output, ...knotsOf(int) })
      at = output
    } else if (kind === 1) {
      const matrix = shape.length === 3 && int(0, 1) === 0
      if (shape.length === 3 && !matrix) at = add([elementCount(shape)], tensors[at]!.viewOf ?? at)
      const inShape = tensors[at]!.shape
      const rows = int(1, 90)
      const output = add([...inShape.slice(0, -1), rows])
      ops.push({ kind: 'gemm', name, input: at, output, ...linear(rows, inShape.at(-1)!) })
      at = output
    } else {
      const [channels, height, width] = shape as [number, number, number]
      const kernel: [number, number] = [int(1, Math.min(3, height)), int(1, Math.min(3, width))]
      const strides: [number, number] = [int(1, 2), int(1, 2)]
      const pads: [number, number, number, number] = [int(0, 1), int(0, 1), int(0, 1), int(0, 1)]
      const wide = (kernel[0] - 1) * 2 < height && (kernel[1] - 1) * 2 < width
      const dilations: [number, number] = kind === 2 && wide ? [int(1, 2), int(1, 2)] : [1, 1]
      const spatial = [
        windowOutputs(height, pads[0], pads[2], kernel[0], strides[0], dilations[0]),
        windowOutputs(width, pads[1], pads[3], kernel[1], strides[1], dilations[1]),
      ]
      if (kind === 2) {
        const groups = int(0, 1) === 0 ? 1 : channels
        const rows = groups * int(1, 3)
        const output = add([rows, ...spatial])
        const slices = linear(rows, (channels / groups) * kernel[0] * kernel[1])
        ops.push({ kind: 'conv', name, input: at, output, kernel, strides, pads, dilations, groups, ...slices })
        at = output
      } else {
        const output = add([channels, ...spatial])
        ops.push({ kind: 'averagepool', name, input: at, output, kernel, strides, pads, weight: int(1000, 120_000) })
        at = output
      }
    }
  }
  const weights = writer.finish()
  const last = ops.at(-1)!.output
  const tolerance = { quanta: int(0, 40), deviationMilli: 0, margin: 4, samples: 1 }
  const draft: Manifest = {
    version: 1,
    name: `random-${seed}`,
    model: FILE,
    weights: { ...FILE, sha256: toHex(sha256(weights)).slice(2), bytes: weights.length },
    inputs: [{ name: 'x', tensor: 0, shape: tensors[0]!.shape }],
    outputs: [{ name: 'y', tensor: last, shape: tensors[last]!.shape, tolerance }],
    tensors,
    ops,
    units: 1,
    tiles: 1,
    layers: 1,
    coverage: 1_000_000,
  }
  const extremes = int(0, 3) === 0
  const input = Int16Array.from({ length: elementCount(tensors[0]!.shape) }, () =>
    extremes && uniform() < 0.25 ? (uniform() < 0.5 ? -32_768 : 32_767) : Math.round((2 * uniform() - 1) * 20_000),
  )
  return { manifest: { ...draft, ...countWork(draft) }, weights, inputs: [input], int }
}

/** Number of weights of an op, for tests that change one. */
export const weightCount = (manifest: Manifest, op: Op): number =>
  op.kind === 'conv' || op.kind === 'gemm' ? op.weights.count : tapsPerOutput(manifest, op)
