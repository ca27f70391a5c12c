import type { Axis, Manifest, Op, Operand } from '../../models/manifest.ts'
import { countWork } from '../../models/tiling.ts'
import { weightsWriter } from '../../models/weights.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { toHex } from '../../protocol/bytes.ts'
import { sha256 } from '../../protocol/hash.ts'
import { modelOf } from './attestation-world.ts'

/** Small models for tests of attestations, by hand. */

type Tensor = { name: string; shape: number[]; bits?: 16 | 32; viewOf?: number }
type Parts = { name: string; tensors: Tensor[]; ops: Op[]; output: number; quanta: number; weights?: Uint8Array }

const FILE = { cid: `b${'a'.repeat(58)}`, sha256: '0'.repeat(64), bytes: 1 }

/** A model with one input (tensor 0) and one output. */
export function modelFrom({
  name,
  tensors,
  ops,
  output,
  quanta,
  weights = new Uint8Array(8),
}: Parts): Promise<LoadedModel> {
  const end = (id: number) => ({ name: tensors[id]!.name, tensor: id, shape: tensors[id]!.shape })
  const draft = {
    version: 2,
    name,
    model: FILE,
    weights: { ...FILE, sha256: toHex(sha256(weights)).slice(2), bytes: weights.length },
    inputs: [{ ...end(0), lookup: null }],
    outputs: [{ ...end(output), tolerance: { quanta, deviationMilli: 0, margin: 1, samples: 1 }, argmax: null }],
    tensors: tensors.map((tensor) => ({ exponent: 8, bits: 16 as const, viewOf: null, ...tensor })),
    ops,
    coverage: 1_000_000 as const,
  } satisfies Partial<Manifest>
  return modelOf({ manifest: { ...draft, ...countWork(draft) } as Manifest, weights })
}

/** One axis of an operand: which loops it follows, one coefficient each. */
export const axis = (...coefs: number[]): Axis => ({ coefs, offset: 0, divisor: 1, table: null })

export const operand = (tensor: number, axes: Axis[], zero = 0): Operand => ({ tensor, zero, axes })

/** y = x·2^(gain − 16), one row each: at gain 18 every |x| above 2^13 saturates. Exponents agree, τ = 0. */
export function gainModel(gain: number, size = 64): Promise<LoadedModel> {
  const writer = weightsWriter()
  const slice = writer.weights(Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 2 ** gain : 0)))
  return modelFrom({
    name: 'gain',
    weights: writer.finish(),
    tensors: ['x', 'y'].map((name) => ({ name, shape: [size] })),
    ops: [
      {
        kind: 'linear',
        name: 'gain',
        output: 1,
        tile: 64,
        drop: 1,
        bias: 32_768,
        terms: [{ ...operand(0, [axis(0, 1)]), reduce: [size], weight: { ...slice, strides: [size, 1] } }],
      },
    ],
    output: 1,
    quanta: 0,
  })
}

/** Names of the ops of `zooModel`, in order. */
export const ZOO = ['scores', 'top', 'ratio', 'root', 'wide', 'widest', 'share', 'mix', 'y'] as const
export const zooOp = (name: (typeof ZOO)[number]): number => ZOO.indexOf(name)

const ROWS = 2
const WIDTH = 8

/**
 * Every kind of op, each small enough to be checked whole in every drawn job: scores x·xᵀ, their maximum along a row, their ratio to
 * it, its root, a 32-bit sum of x, the larger of two of those, a ratio to that, and a mix of all with two limbs dropped.
 */
export function zooModel(): Promise<LoadedModel> {
  const square = [ROWS, ROWS]
  const ops: Op[] = [
    {
      ...{ kind: 'product', name: 'scores', output: 1, tile: 2, drop: 1, reduce: [WIDTH], weight: 4, bias: 32_768 },
      a: operand(0, [axis(1, 0, 0), axis(0, 0, 1)]),
      b: operand(0, [axis(0, 1, 0), axis(0, 0, 1)]),
    },
    {
      ...{ kind: 'extremum', name: 'top', output: 2, tile: 1, reduce: [ROWS + 1] },
      // The third tap of each window lies beyond the row.
      input: operand(1, [axis(1, 0), axis(0, 1)]),
    },
    {
      ...{ kind: 'divide', name: 'ratio', output: 3, tile: 4, weight: 256, bias: 7 },
      a: operand(1, [axis(1, 0), axis(0, 1)]),
      b: operand(2, [axis(1, 0)], -32_769),
    },
    { kind: 'root', name: 'root', output: 4, tile: 2, input: operand(2, [axis(1)], -32_769) },
    {
      ...{ kind: 'linear', name: 'wide', output: 5, tile: 64, drop: 0, bias: -5 },
      terms: [{ ...operand(0, [axis(1, 0), axis(0, 1)]), reduce: [WIDTH], weight: 1_000 }],
    },
    { kind: 'extremum', name: 'widest', output: 6, tile: 64, reduce: [ROWS], input: operand(5, [axis(0, 1)]) },
    {
      ...{ kind: 'divide', name: 'share', output: 7, tile: 64, weight: 2 ** 15, bias: -3 },
      a: operand(3, [axis(1, 0), axis(0, 1)], 2),
      b: operand(6, [axis(0, 0)], -(2 ** 31) - 1),
    },
    {
      ...{ kind: 'linear', name: 'mix', output: 8, tile: 64, drop: 2, bias: 2 ** 31 },
      terms: [
        { ...operand(3, [axis(1, 0), axis(0, 1)]), reduce: [], weight: 2 ** 31 - 1 },
        { ...operand(4, [axis(1, 0)], -32_769), reduce: [], weight: 2 ** 30 },
        { ...operand(7, [axis(0, 1), axis(1, 0)]), reduce: [], weight: -(2 ** 29) },
      ],
    },
    {
      ...{ kind: 'table', name: 'y', output: 9, function: 'Relu', input: 8 },
      knots: Array.from({ length: 65 }, (_, i) => Math.max(0, 1024 * i - 32_768)),
    },
  ]
  return modelFrom({
    name: 'zoo',
    tensors: [
      { name: 'x', shape: [ROWS, WIDTH] },
      { name: 'scores', shape: square },
      { name: 'top', shape: [ROWS] },
      { name: 'ratio', shape: square },
      { name: 'root', shape: [ROWS] },
      { name: 'wide', shape: [ROWS], bits: 32 },
      { name: 'widest', shape: [1], bits: 32 },
      { name: 'share', shape: square },
      { name: 'mix', shape: square },
      { name: 'y', shape: square },
    ],
    ops,
    output: 9,
    quanta: 3,
  })
}

/** Input `i` of the zoo model: small numbers, none of them alike. */
export const zooInput = (i: number): Int16Array =>
  Int16Array.from({ length: ROWS * WIDTH }, (_, k) => (((i + 3) * (k + 5) * 7_919) % 4_001) - 1_700)

/** y = x·xᵀ over `depth` columns: `⌈3·depth/64⌉` staged segments, all rows in one tile. */
export function gramModel(depth: number): Promise<LoadedModel> {
  return modelFrom({
    name: 'gram',
    tensors: [
      { name: 'x', shape: [3, depth] },
      { name: 'y', shape: [3, 3] },
    ],
    ops: [
      {
        ...{ kind: 'product', name: 'gram', output: 1, tile: 64, drop: 1, reduce: [depth], weight: 1, bias: 32_768 },
        a: operand(0, [axis(1, 0, 0), axis(0, 0, 1)]),
        b: operand(0, [axis(0, 1, 0), axis(0, 0, 1)]),
      },
    ],
    output: 1,
    quanta: 0,
  })
}

/**
 * Convolution, maximum, transposed convolution, look-up and attention over an image whose sizes, strides and tiles follow from the
 * seed: nothing in it lines up with leaves of 64.
 */
export function imageModel(seed: number): Promise<LoadedModel> {
  const pick = (list: number[], step: number): number => list[Math.floor(seed / step) % list.length]!
  const [channels, height, width] = [pick([3, 4, 1], 1), pick([9, 13, 8], 2), pick([17, 8, 21, 64], 1)]
  const stride = pick([1, 2], 1)
  const tile = pick([64, 8, 1, 16], 1) as 64
  const [outHeight, outWidth] = [Math.ceil(height / stride), Math.ceil(width / stride)]
  const rows = pick([5, 2, 70], 1)
  const writer = weightsWriter()
  const kernel = writer.weights(Array.from({ length: rows * channels * 9 }, (_, i) => ((i * 31) % 2_001) - 1_000))
  const scatter = writer.weights(Array.from({ length: outWidth }, (_, i) => (i * 5) % outWidth))
  const shape = [rows, outHeight, outWidth]
  const upscaled = [rows, 2 * outHeight, outWidth]
  const columns = outHeight * outWidth
  const ops: Op[] = [
    {
      ...{ kind: 'linear', name: 'conv', output: 1, tile, drop: 1, bias: 32_768 },
      terms: [
        {
          tensor: 0,
          zero: 0,
          reduce: [channels, 3, 3],
          axes: [
            axis(0, 0, 0, 1, 0, 0),
            { ...axis(0, stride, 0, 0, 1, 0), offset: -1 },
            { ...axis(0, 0, stride, 0, 0, 1), offset: -1 },
          ],
          weight: { ...kernel, strides: [channels * 9, 0, 0, 9, 3, 1] },
        },
      ],
    },
    {
      ...{ kind: 'extremum', name: 'pool', output: 2, tile, reduce: [3, 3] },
      input: operand(1, [
        axis(1, 0, 0, 0, 0),
        { ...axis(0, 1, 0, 1, 0), offset: -1 },
        { ...axis(0, 0, 1, 0, 1), offset: -1 },
      ]),
    },
    {
      ...{ kind: 'linear', name: 'up', output: 3, tile, drop: 1, bias: 32_768 },
      terms: [
        {
          ...operand(2, [
            axis(1, 0, 0, 0),
            { coefs: [0, 1, 0, -1], offset: 1, divisor: 2, table: null },
            { coefs: [0, 0, 1, 0], offset: 0, divisor: 1, table: scatter },
          ]),
          reduce: [3],
          weight: 30_000,
        },
      ],
    },
    {
      ...{ kind: 'product', name: 'attend', output: 5, tile, drop: 1, reduce: [columns], weight: 1, bias: 32_768 },
      a: operand(4, [axis(1, 0, 0), axis(0, 0, 1)], 3),
      b: operand(4, [axis(0, 1, 0), axis(0, 0, 1)], -3),
    },
    {
      ...{ kind: 'divide', name: 'norm', output: 6, tile, weight: 1_000, bias: 0 },
      a: operand(5, [axis(1, 0), axis(0, 1)]),
      b: operand(5, [axis(1, 0), axis(1, 0)], -32_769),
    },
    { kind: 'root', name: 'root', output: 7, tile, input: operand(6, [axis(0, 1), axis(1, 0)], -32_769) },
  ]
  const tensors = [
    { name: 'x', shape: [channels, height, width] },
    { name: 'conv', shape },
    { name: 'pool', shape },
    { name: 'up', shape: upscaled },
    { name: 'flat', shape: [rows, columns], viewOf: 2 },
    { name: 'attend', shape: [rows, rows] },
    { name: 'norm', shape: [rows, rows] },
    { name: 'root', shape: [rows, rows] },
  ]
  return modelFrom({ name: `image-${seed}`, weights: writer.finish(), tensors, ops, output: 7, quanta: 2 })
}
