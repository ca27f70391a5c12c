import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeModel, type NodeProto, type TensorProto } from '../../models/onnx.ts'

/** Models for the serving benchmark: inputs of three sizes, each through enough arithmetic to take some milliseconds. */

export type ServeModel = {
  name: string
  inputBytes: number
  shape: number[]
  outputs: number
  onnx: Uint8Array
  samples: Uint8Array
}

function numbers(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state / 2 ** 31
  }
}

function build(
  name: string,
  shape: number[],
  outputs: number,
  layers: [node: Partial<NodeProto>, weights: number[][]][],
): ServeModel {
  const random = numbers(7)
  const initializer: TensorProto[] = []
  const node = layers.map(([each, weights], layer): NodeProto => {
    const constants = weights.map((dims, i) => {
      const count = dims.reduce((product, dim) => product * dim, 1)
      const fanIn = dims.length === 2 ? dims[0]! : count / dims[0]!
      const data = Float32Array.from({ length: count }, () => random() * Math.sqrt(3 / fanIn))
      const id = `w${layer}_${i}`
      initializer.push({ name: id, dims, dataType: 1, rawData: new Uint8Array(data.buffer) })
      return id
    })
    const output = layer === layers.length - 1 ? 'y' : `h${layer}`
    return { ...each, name: `n${layer}`, input: [layer === 0 ? 'x' : `h${layer - 1}`, ...constants], output: [output] }
  })
  const end = (id: string, dims: number[]) => ({
    name: id,
    type: {
      tensorType: { elemType: 1, shape: { dim: [{ dimParam: 'n' }, ...dims.map((dimValue) => ({ dimValue }))] } },
    },
  })
  const size = shape.reduce((product, dim) => product * dim, 1)
  const onnx = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 18 }],
    graph: { name, node, initializer, input: [end('x', shape)], output: [end('y', [outputs])] },
  })
  return {
    name,
    inputBytes: 4 * size,
    shape,
    outputs,
    onnx,
    samples: new Uint8Array(Float32Array.from({ length: 4 * size }, random).buffer),
  }
}

const ints = (name: string, values: number[]) => ({ name, type: 7, ints: values })
const int = (name: string, i: number) => ({ name, type: 2, i })
type Layer = [node: Partial<NodeProto>, weights: number[][]]
const relu: Layer = [{ opType: 'Relu' }, []]
const flatten: Layer = [{ opType: 'Flatten', attribute: [int('axis', 1)] }, []]
const mean: Layer = [{ opType: 'GlobalAveragePool' }, []]
/** A convolution that cuts the image in squares. */
const patches = (from: number, to: number, side: number): Layer => [
  { opType: 'Conv', attribute: [ints('kernel_shape', [side, side]), ints('strides', [side, side])] },
  [[to, from, side, side]],
]
/** 3 × 3 convolutions over 128 channels that keep the image's size. */
const deep = (count: number): Layer[] =>
  Array.from({ length: count }, (): Layer[] => [
    [{ opType: 'Conv', attribute: [ints('kernel_shape', [3, 3]), ints('pads', [1, 1, 1, 1])] }, [[128, 128, 3, 3]]],
    relu,
  ]).flat()

/** Makes a square of each element. */
const enlarge = (to: number, side: number): Layer => [
  { opType: 'ConvTranspose', attribute: [ints('kernel_shape', [side, side]), ints('strides', [side, side])] },
  [[1, to, side, side]],
]

/**
 * 1 KB of float32 input through 1.1 and through 6.6 billion multiply-adds, 150 KB and 4 MB through about 450 million, all of few weights so that
 * a model is soon fetched.
 */
export const serveModels = (): ServeModel[] => [
  build('serve-1k', [1, 16, 16], 128, [enlarge(128, 2), relu, ...deep(7), mean, flatten]),
  build('serve-1k-long', [1, 16, 16], 128, [
    enlarge(128, 4),
    relu,
    ...deep(11),
    // The mean is attested whole, so it is not of 4,096 places.
    patches(128, 128, 4),
    relu,
    mean,
    flatten,
  ]),
  build('serve-150k', [1, 196, 196], 128, [patches(1, 128, 14), relu, ...deep(14), mean, flatten]),
  build('serve-4m', [1, 1024, 1024], 128, [
    patches(1, 8, 16),
    relu,
    patches(8, 128, 4),
    relu,
    ...deep(12),
    mean,
    flatten,
  ]),
]

/** Files for `model publish`. */
export function writeModel(folder: string, { name, onnx, samples }: ServeModel): { file: string; samples: string } {
  const file = join(folder, `${name}.onnx`)
  const data = join(folder, `${name}.f32`)
  writeFileSync(file, onnx)
  writeFileSync(data, samples)
  return { file, samples: data }
}
