import type { Axis, Manifest } from '../../models/manifest.ts'
import { countWork } from '../../models/tiling.ts'
import { weightsWriter } from '../../models/weights.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { sha256 } from '../../protocol/hash.ts'
import { FILE, straight } from './random-model.ts'

export const axis = (coefs: number[], offset = 0): Axis => ({ coefs, offset, divisor: 1, table: null })

/** One of each op: a 3×3 convolution [4,4,2] → [4,4,3], relu, square, root, division, maximum of pairs, and a layer of 5 on top. */
export function buildSample(): { manifest: Manifest; weights: Uint8Array; model: Uint8Array } {
  const writer = weightsWriter()
  const kernel = writer.weights(Array.from({ length: 54 }, (_, i) => 997 * (i - 20)))
  const biases = writer.biases([32_768, 40_000, -5_000])
  const dense = writer.weights(Array.from({ length: 5 * 24 }, (_, i) => 313 * (i % 37) - 5_000))
  const order = writer.weights([4, 3, 2, 1, 0])
  const weights = writer.finish()
  const model = utf8('the model')
  const image = [4, 4, 3]
  const side = straight(2, 3)
  const tensor = (name: string, shape: number[], bits: 16 | 32 = 16, viewOf: number | null = null) => ({
    name,
    shape,
    exponent: 8,
    bits,
    viewOf,
  })
  const draft: Manifest = {
    version: 2,
    name: 'sample',
    model: { ...FILE, sha256: toHex(sha256(model)).slice(2), bytes: model.length },
    weights: { ...FILE, sha256: toHex(sha256(weights)).slice(2), bytes: weights.length },
    inputs: [{ name: 'x', tensor: 0, shape: [4, 4, 2], lookup: null }],
    outputs: [
      {
        name: 'y',
        tensor: 8,
        shape: [5],
        tolerance: { quanta: 3, deviationMilli: 500, margin: 4, samples: 1 },
        argmax: null,
      },
    ],
    tensors: [
      tensor('x', [4, 4, 2]),
      tensor('conv', image),
      tensor('relu', image),
      tensor('square', image, 32),
      tensor('root', image),
      tensor('quotient', image),
      tensor('pairs', [4, 2, 3]),
      tensor('flat', [24], 16, 6),
      tensor('y', [5]),
    ],
    ops: [
      {
        kind: 'linear',
        name: 'conv',
        output: 1,
        tile: 16,
        drop: 1,
        terms: [
          {
            tensor: 0,
            zero: 0,
            axes: [axis([1, 0, 0, 1, 0, 0], -1), axis([0, 1, 0, 0, 1, 0], -1), axis([0, 0, 0, 0, 0, 1])],
            reduce: [3, 3, 2],
            weight: { ...kernel, strides: [0, 0, 18, 6, 2, 1] },
          },
        ],
        bias: { ...biases, strides: [0, 0, 1] },
      },
      {
        kind: 'table',
        name: 'relu',
        input: 1,
        output: 2,
        function: 'Relu',
        knots: Array.from({ length: 65 }, (_, i) => Math.max(0, 1024 * i - 32_768)),
      },
      {
        kind: 'product',
        name: 'square',
        output: 3,
        tile: 64,
        drop: 0,
        reduce: [],
        a: side,
        b: side,
        weight: 1,
        bias: 1 - (2 ** 31 + 1),
      },
      { kind: 'root', name: 'root', output: 4, tile: 64, input: straight(3, 3, 3, -(2 ** 31) - 1) },
      {
        kind: 'divide',
        name: 'divide',
        output: 5,
        tile: 64,
        a: side,
        b: straight(4, 3, 3, -32_769),
        weight: 1000,
        bias: 0,
      },
      {
        kind: 'extremum',
        name: 'pairs',
        output: 6,
        tile: 8,
        reduce: [2],
        input: { tensor: 5, zero: 0, axes: [axis([1, 0, 0, 0]), axis([0, 2, 0, 1]), axis([0, 0, 1, 0])] },
      },
      {
        kind: 'linear',
        name: 'dense',
        output: 8,
        tile: 64,
        drop: 1,
        terms: [
          { tensor: 7, zero: 5, axes: [axis([0, 1])], reduce: [24], weight: { ...dense, strides: [24, 1] } },
          { tensor: 7, zero: 0, axes: [{ ...axis([1]), table: order }], reduce: [], weight: 9 },
        ],
        bias: 32_768,
      },
    ],
    units: 1,
    tiles: 1,
    layers: 1,
    coverage: 1_000_000,
  }
  return { manifest: { ...draft, ...countWork(draft) }, weights, model }
}
