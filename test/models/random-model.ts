import type { Axis, Manifest, Op, Operand, ProductOp } from '../../models/manifest.ts'
import { countWork, elementCount } from '../../models/tiling.ts'
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

export const FILE = { cid: `b${'a'.repeat(58)}`, sha256: '0'.repeat(64), bytes: 1 }

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

const axis = (coefs: number[], offset = 0, divisor = 1): Axis => ({ coefs, offset, divisor, table: null })

/** Each axis of a tensor read by the loop of the same number; `loops` in all. */
export const straight = (tensor: number, rank: number, loops = rank, zero = 0): Operand => ({
  tensor,
  zero,
  axes: Array.from({ length: rank }, (_, i) => axis(Array.from({ length: loops }, (_, loop) => (loop === i ? 1 : 0)))),
})

/** Zero points that keep a divisor or radicand at 1 or more: 16 and 32 bits. */
const ZERO_16 = -32_769
const ZERO_32 = -(2 ** 31) - 1

/** A chain of one to six ops over an image or a vector. Weights are sized so that about half of the linear ops saturate somewhere. */
export function randomModel(seed: number): RandomModel {
  const int = randomInts(seed)
  const uniform = stream(int(0, 2 ** 31))
  const writer = weightsWriter()
  const tensors: Manifest['tensors'] = []
  const ops: Op[] = []
  const add = (shape: number[], bits: 16 | 32 = 16, viewOf: number | null = null): number =>
    tensors.push({ name: `t${tensors.length}`, shape, exponent: 8, bits, viewOf }) - 1
  const tile = (): 1 | 2 | 4 | 8 | 16 | 32 | 64 => (2 ** int(0, 6)) as 64
  const draw = (size: number): number => Math.round((2 * uniform() - 1) * size)
  const array = (count: number, taps: number) => {
    // At 16 bits a weight is 1; sums of `taps` random terms grow with its square root.
    const scale = 2 ** int(8, Math.min(18, Math.floor(30 - Math.log2(taps))))
    return writer.weights(Array.from({ length: count }, () => (uniform() < 0.1 ? 0 : draw(scale))))
  }
  const bias = (count: number) => writer.biases(Array.from({ length: count }, () => 32_768 + draw(2 ** int(0, 33))))

  const image = int(0, 3) > 0
  let at = add(image ? [int(1, 9), int(1, 9), int(1, 4)] : [int(1, 150)])

  const table = (input: number): number => {
    const output = add(tensors[input]!.shape)
    ops.push({ kind: 'table', name: `op${ops.length}`, input, output, ...knotsOf(int) })
    return output
  }
  /** Last axis through a matrix, what comes before kept. */
  const matrix = (input: number): number => {
    const { shape } = tensors[input]!
    const rank = shape.length
    const depth = shape.at(-1)!
    const columns = int(1, 70)
    const output = add([...shape.slice(0, -1), columns])
    const loops = rank + 1
    const access = straight(input, rank, loops)
    access.axes[rank - 1] = axis(Array.from({ length: loops }, (_, loop) => (loop === rank ? 1 : 0)))
    const strides = new Array<number>(loops).fill(0)
    strides[rank - 1] = depth
    strides[rank] = 1
    const biasStrides = new Array<number>(rank).fill(0)
    biasStrides[rank - 1] = 1
    ops.push({
      kind: 'linear',
      name: `op${ops.length}`,
      output,
      tile: tile(),
      drop: 1,
      terms: [
        { ...access, zero: int(-3, 3) * 1000, reduce: [depth], weight: { ...array(columns * depth, depth), strides } },
      ],
      bias: { ...bias(columns), strides: biasStrides },
    })
    return output
  }
  /** A window over [height, width, channels]: a convolution, a depthwise one, a mean or a maximum. */
  const window = (input: number, kind: 'conv' | 'depthwise' | 'mean' | 'max'): number => {
    const [height, width, channels] = tensors[input]!.shape as [number, number, number]
    const kernel = [int(1, Math.min(3, height)), int(1, Math.min(3, width))] as const
    const [sy, sx, py, px] = [int(1, 2), int(1, 2), int(0, 1), int(0, 1)]
    const divisor = int(0, 5) === 0 ? 2 : 1
    const out = [Math.floor((height + 2 * py - kernel[0]) / sy) + 1, Math.floor((width + 2 * px - kernel[1]) / sx) + 1]
    const rows = kind === 'conv' ? int(1, 6) : channels
    const output = add([...out, rows])
    // Loops: y, x, channel out, kernel y, kernel x, and channel in for a convolution.
    const y = axis([sy, 0, 0, 1, 0], -py, divisor)
    const x = axis([0, sx, 0, 0, 1], -px)
    const c = axis([0, 0, kind === 'conv' ? 0 : 1, 0, 0])
    const reduce = [...kernel]
    if (kind === 'conv') {
      for (const each of [y, x]) each.coefs.push(0)
      c.coefs.push(1)
      reduce.push(channels)
    }
    const axes = [y, x, c]
    const name = `op${ops.length}`
    if (kind === 'max') {
      ops.push({ kind: 'extremum', name, output, tile: tile(), reduce, input: { tensor: input, zero: 0, axes } })
      return output
    }
    const kx = kernel[1]
    const taps = elementCount(reduce)
    const weight =
      kind === 'mean'
        ? int(1000, 120_000)
        : kind === 'conv'
          ? { ...array(rows * taps, taps), strides: [0, 0, taps, kx * channels, channels, 1] }
          : { ...array(rows * taps, taps), strides: [0, 0, taps, kx, 1] }
    const drop = kind === 'mean' && int(0, 1) === 0 ? 2 : 1
    ops.push({
      kind: 'linear',
      name,
      output,
      tile: tile(),
      drop,
      terms: [{ tensor: input, zero: 0, axes, reduce, weight }],
      bias: kind === 'mean' ? 2 ** (16 * drop - 1) : { ...bias(rows), strides: [0, 0, 1] },
    })
    return output
  }
  /** x reversed along its last axis, through an index table that leaves one place out, added to x. */
  const shuffled = (input: number): number => {
    const { shape } = tensors[input]!
    const output = add(shape)
    const size = shape.at(-1)!
    const reversed = straight(input, shape.length)
    const order = Array.from({ length: size }, (_, i) => (i === 0 ? -1 : size - 1 - i))
    reversed.axes[shape.length - 1]!.table = writer.weights(order)
    const terms = [straight(input, shape.length), reversed].map((operand) => ({ ...operand, reduce: [], weight: 1 }))
    ops.push({ kind: 'linear', name: `op${ops.length}`, output, tile: tile(), drop: 0, terms, bias: int(-9, 9) })
    return output
  }
  /** A matrix of products of each line with each line, or of each element with itself. */
  const product = (input: number): number => {
    const { shape } = tensors[input]!
    const rank = shape.length
    const name = `op${ops.length}`
    if (rank === 1 || int(0, 1) === 0) {
      const output = add(shape)
      const side = straight(input, rank)
      ops.push({
        kind: 'product',
        name,
        output,
        tile: tile(),
        drop: 1,
        reduce: [],
        a: side,
        b: side,
        weight: int(1, 9),
        bias: 32_768,
      })
      return output
    }
    // Loops: line of a, line of b, and the axes that are summed over.
    const lines = shape[0]!
    const reduce = shape.slice(1)
    const output = add([lines, lines])
    const side = (loop: number): Operand => ({
      tensor: input,
      zero: int(-2, 2),
      axes: shape.map((_, i) =>
        axis(Array.from({ length: 2 + reduce.length }, (_, l) => (l === (i === 0 ? loop : 1 + i) ? 1 : 0))),
      ),
    })
    const drop = int(1, 2) as 1 | 2
    ops.push({
      kind: 'product',
      name,
      output,
      tile: tile(),
      drop,
      reduce,
      a: side(0),
      b: side(1),
      weight: drop === 1 ? 1 : int(1, 8),
      bias: 2 ** (16 * drop - 1),
    })
    return output
  }
  /** x² + 1 in 32 bits, its root, and x divided by either. */
  const normalised = (input: number): number => {
    const { shape } = tensors[input]!
    const rank = shape.length
    const side = straight(input, rank)
    const wide = add(shape, 32)
    const square: Omit<ProductOp, 'name' | 'output' | 'tile'> = {
      kind: 'product',
      reduce: [],
      a: side,
      b: side,
      weight: 1,
      drop: 0,
      bias: ZERO_32 + 2,
    }
    ops.push({ ...square, name: `op${ops.length}`, output: wide, tile: tile() })
    const root = add(shape)
    ops.push({
      kind: 'root',
      name: `op${ops.length}`,
      output: root,
      tile: tile(),
      input: straight(wide, rank, rank, ZERO_32),
    })
    const output = add(shape)
    const b = int(0, 1) === 0 ? straight(root, rank, rank, ZERO_16) : straight(wide, rank, rank, ZERO_32)
    // Sometimes one divisor for each line.
    if (rank > 1 && int(0, 1) === 0) b.axes[rank - 1] = axis(new Array<number>(rank).fill(0))
    ops.push({
      kind: 'divide',
      name: `op${ops.length}`,
      output,
      tile: tile(),
      a: side,
      b,
      weight: int(1, 60_000),
      bias: int(-100, 100),
    })
    return output
  }

  const makers: ((input: number) => number)[] = [
    table,
    matrix,
    shuffled,
    product,
    normalised,
    (input) => window(input, 'conv'),
    (input) => window(input, 'depthwise'),
    (input) => window(input, 'mean'),
    (input) => window(input, 'max'),
  ]
  for (let n = int(1, 6); n > 0; n--) {
    const { shape, viewOf } = tensors[at]!
    if (shape.length > 1 && int(0, 7) === 0) at = add([elementCount(shape)], 16, viewOf ?? at)
    const usable = tensors[at]!.shape.length === 3 ? makers.length : 5
    at = makers[int(0, usable - 1)]!(at)
  }
  const weights = writer.finish()
  const last = ops.at(-1)!.output
  const tolerance = { quanta: int(0, 40), deviationMilli: 0, margin: 4, samples: 1 }
  const draft: Manifest = {
    version: 2,
    name: `random-${seed}`,
    model: FILE,
    weights: { ...FILE, sha256: toHex(sha256(weights)).slice(2), bytes: weights.length },
    inputs: [{ name: 'x', tensor: 0, shape: tensors[0]!.shape, lookup: null }],
    outputs: [{ name: 'y', tensor: last, shape: tensors[last]!.shape, tolerance, argmax: null }],
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
