import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeModel, type NodeProto, type TensorProto } from '../../models/onnx.ts'

/** Models for the serving benchmark: inputs of three sizes, each through enough arithmetic to take some milliseconds. */

export type ServeModel = { name: string; inputBytes: number; shape: number[]; onnx: Uint8Array; samples: Uint8Array }

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
    onnx,
    samples: new Uint8Array(Float32Array.from({ length: 4 * size }, random).buffer),
  }
}

const ints = (name: string, values: number[]) => ({ name, type: 7, ints: values })
const int = (name: string, i: number) => ({ name, type: 2, i })
const dense = (from: number, to: number): [Partial<NodeProto>, number[][]] => [{ opType: 'MatMul' }, [[from, to]]]
const relu: [Partial<NodeProto>, number[][]] = [{ opType: 'Relu' }, []]
const flatten: [Partial<NodeProto>, number[][]] = [{ opType: 'Flatten', attribute: [int('axis', 1)] }, []]
const conv = (from: number, to: number, side: number): [Partial<NodeProto>, number[][]] => [
  { opType: 'Conv', attribute: [ints('kernel_shape', [side, side]), ints('strides', [side, side])] },
  [[to, from, side, side]],
]
const deep = (count: number, width: number) => Array.from({ length: count }, () => [dense(width, width), relu]).flat()

/** 1 KB, 150 KB and 4 MB of float32 input. `depth` layers of 1024 × 1024 behind the first. */
export const serveModels = (depth = 10): ServeModel[] => [
  build('serve-1k', [256], 64, [dense(256, 1024), relu, ...deep(depth, 1024), dense(1024, 64)]),
  build('serve-150k', [1, 196, 196], 64, [
    conv(1, 8, 14),
    relu,
    flatten,
    dense(1568, 1024),
    relu,
    ...deep(depth - 2, 1024),
    dense(1024, 64),
  ]),
  build('serve-4m', [1, 1024, 1024], 64, [conv(1, 1, 16), relu, flatten, dense(4096, 1024), relu, dense(1024, 64)]),
]

/** Files for `model publish`. */
export function writeModel(folder: string, { name, onnx, samples }: ServeModel): { file: string; samples: string } {
  const file = join(folder, `${name}.onnx`)
  const data = join(folder, `${name}.f32`)
  writeFileSync(file, onnx)
  writeFileSync(data, samples)
  return { file, samples: data }
}
