import { encodeModel, type NodeProto, type TensorProto } from '../../models/onnx.ts'

/** ONNX files of large architectures as exporters write them, with weights from a seed: what they compute means nothing. */

export type Architecture = {
  onnx: Uint8Array
  parameters: number
  /** Calibration inputs, one array per graph input. */
  samples(count: number): Float32Array[][]
}

const [FLOAT, INT64] = [1, 7]
const ATTRIBUTE = { float: 1, int: 2, ints: 7 } as const

type Attributes = Record<string, number | number[] | { float: number }>

/** Numbers uniform in (−1, 1), the same every time (xorshift32). */
function numbers(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state / 2 ** 31
  }
}

/** Builds a graph node by node; each call gives the name of its result. */
function builder(seed: number) {
  const nodes: NodeProto[] = []
  const initializers: TensorProto[] = []
  const random = numbers(seed)
  let parameters = 0
  const name = (what: string): string => `${what}_${nodes.length + initializers.length}`
  const constant = (dims: number[], data: Float32Array | BigInt64Array): string => {
    const id = name('c')
    const dataType = data instanceof Float32Array ? FLOAT : INT64
    initializers.push({ name: id, dims, dataType, rawData: new Uint8Array(data.buffer) })
    if (data instanceof Float32Array) parameters += data.length
    return id
  }
  const floats = (dims: number[], of: () => number): string => {
    const data = new Float32Array(dims.reduce((product, dim) => product * dim, 1))
    for (let i = 0; i < data.length; i++) data[i] = of()
    return constant(dims, data)
  }
  return {
    nodes,
    initializers,
    parameters: () => parameters,
    /** Uniform with this standard deviation. */
    weights: (dims: number[], deviation: number): string => floats(dims, () => random() * deviation * Math.sqrt(3)),
    filled: (dims: number[], value: number): string => floats(dims, () => value),
    integers: (...values: number[]): string => constant([values.length], BigInt64Array.from(values, BigInt)),
    node(opType: string, input: string[], attributes: Attributes = {}): string {
      const output = name(opType)
      nodes.push({
        name: output,
        opType,
        input,
        output: [output],
        attribute: Object.entries(attributes).map(([key, value]) =>
          typeof value === 'number'
            ? { name: key, type: ATTRIBUTE.int, i: value }
            : Array.isArray(value)
              ? { name: key, type: ATTRIBUTE.ints, ints: value }
              : { name: key, type: ATTRIBUTE.float, f: value.float },
        ),
      })
      return output
    },
  }
}

type Builder = ReturnType<typeof builder>
type End = { name: string; dims: number[]; type?: number }

function encode(graph: Builder, opset: number, input: End, output: End): Uint8Array {
  const end = ({ name, dims, type = FLOAT }: End) => ({
    name,
    type: { tensorType: { elemType: type, shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
  })
  graph.nodes.at(-1)!.output = [output.name]
  return encodeModel({
    irVersion: 8,
    producerName: 'sinter bench',
    opsetImport: [{ domain: '', version: opset }],
    graph: {
      name: 'graph',
      node: graph.nodes,
      initializer: graph.initializers,
      input: [end(input)],
      output: [end(output)],
    },
  })
}

/** Blocks and width of each stage of ResNet-50. */
const STAGES = [
  [3, 64],
  [4, 128],
  [6, 256],
  [3, 512],
] as const

/**
 * ResNet-50 (He et al., arXiv:1512.03385, table 1; stride in the 3×3 convolution), batch normalisation folded into the convolutions as
 * exporters do for inference: 25.6 million parameters and 4.1 billion multiply-adds at a size of 224.
 */
export function resNet50(size = 224, seed = 50): Architecture {
  const graph = builder(seed)
  const relu = (x: string): string => graph.node('Relu', [x])
  const conv = (x: string, from: number, to: number, kernel: number, stride = 1, gain = 1): string => {
    const pad = (kernel - 1) / 2
    return graph.node(
      'Conv',
      [
        x,
        graph.weights([to, from, kernel, kernel], gain * Math.sqrt(2 / (from * kernel ** 2))),
        graph.weights([to], 0.05),
      ],
      { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad] },
    )
  }
  let x = relu(conv('image', 3, 64, 7, 2))
  x = graph.node('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] })
  let channels = 64
  STAGES.forEach(([blocks, width], stage) => {
    for (let block = 0; block < blocks; block++) {
      const stride = block === 0 && stage > 0 ? 2 : 1
      const out = 4 * width
      const inner = relu(conv(relu(conv(x, channels, width, 1)), width, width, 3, stride))
      // A small gain on the branch keeps sums of many blocks from growing.
      const branch = conv(inner, width, out, 1, 1, 0.3)
      const skip = block === 0 ? conv(x, channels, out, 1, stride, 0.7) : x
      x = relu(graph.node('Add', [branch, skip]))
      channels = out
    }
  })
  x = graph.node('Flatten', [graph.node('GlobalAveragePool', [x])], { axis: 1 })
  graph.node('Gemm', [x, graph.weights([1_000, channels], 1 / Math.sqrt(channels)), graph.weights([1_000], 0.05)], {
    transB: 1,
  })
  const ends: [End, End] = [
    { name: 'image', dims: [1, 3, size, size] },
    { name: 'logits', dims: [1, 1_000] },
  ]
  const random = numbers(seed + 1)
  return {
    onnx: encode(graph, 17, ...ends),
    parameters: graph.parameters(),
    samples: (count) =>
      Array.from({ length: count }, () => [Float32Array.from({ length: 3 * size * size }, () => 1.5 * random())]),
  }
}

export type TransformerSize = {
  layers: number
  width: number
  heads: number
  /** Tokens of one input. */
  length: number
  rows: number
}

/** A base encoder's width at half its depth: 42.5 million parameters beside the embedding. */
const BASE: TransformerSize = { layers: 6, width: 768, heads: 12, length: 64, rows: 4_096 }

/**
 * A pre-norm transformer encoder (Vaswani et al., arXiv:1706.03762; GELU in the MLP of four times the width, its erf written out as
 * PyTorch's exporter does), over integer ids, with the mean over all tokens going to two outputs.
 */
export function transformer(size: TransformerSize = BASE, seed = 768): Architecture {
  const { layers, width, heads, length, rows } = size
  const graph = builder(seed)
  const depth = width / heads
  const dense = (x: string, from: number, to: number, gain = 1): string =>
    graph.node('Add', [
      graph.node('MatMul', [x, graph.weights([from, to], gain / Math.sqrt(from))]),
      graph.weights([to], 0.02),
    ])
  const norm = (x: string): string =>
    graph.node('LayerNormalization', [x, graph.filled([width], 1), graph.filled([width], 0)], {
      axis: -1,
      epsilon: { float: 1e-5 },
    })
  const split = (x: string): string =>
    graph.node('Transpose', [graph.node('Reshape', [x, graph.integers(1, length, heads, depth)])], {
      perm: [0, 2, 1, 3],
    })
  const attention = (x: string): string => {
    const [q, k, v] = [0, 1, 2].map(() => split(dense(x, width, width))) as [string, string, string]
    const scores = graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 1, 3, 2] })])
    const scaled = graph.node('Div', [scores, graph.filled([], Math.sqrt(depth))])
    const mixed = graph.node('MatMul', [graph.node('Softmax', [scaled], { axis: -1 }), v])
    const joined = graph.node('Reshape', [
      graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }),
      graph.integers(1, length, width),
    ])
    return dense(joined, width, width, 0.3)
  }
  const gelu = (x: string): string => {
    const erf = graph.node('Erf', [graph.node('Div', [x, graph.filled([], Math.SQRT2)])])
    const product = graph.node('Mul', [x, graph.node('Add', [erf, graph.filled([], 1)])])
    return graph.node('Mul', [product, graph.filled([], 0.5)])
  }
  let x = graph.node('Add', [
    graph.node('Gather', [graph.weights([rows, width], 1), 'ids'], { axis: 0 }),
    graph.weights([1, length, width], 0.2),
  ])
  for (let layer = 0; layer < layers; layer++) {
    x = graph.node('Add', [x, attention(norm(x))])
    x = graph.node('Add', [x, dense(gelu(dense(norm(x), width, 4 * width)), 4 * width, width, 0.3)])
  }
  const pooled = graph.node('ReduceMean', [norm(x)], { axes: [1], keepdims: 0 })
  graph.node('Gemm', [pooled, graph.weights([2, width], 1), graph.weights([2], 0.05)], { transB: 1 })
  const ends: [End, End] = [
    { name: 'ids', dims: [1, length], type: INT64 },
    { name: 'logits', dims: [1, 2] },
  ]
  const random = numbers(seed + 1)
  return {
    onnx: encode(graph, 17, ...ends),
    parameters: graph.parameters(),
    samples: (count) =>
      Array.from({ length: count }, () => [
        Float32Array.from({ length }, () => Math.floor(((random() + 1) / 2) * rows)),
      ]),
  }
}

/** By name; small ones of the same making for a quick run. */
export const ARCHITECTURES: Record<string, (small: boolean) => Architecture> = {
  'resnet-50': (small) => resNet50(small ? 64 : 224),
  'transformer-768': (small) => transformer(small ? { ...BASE, layers: 2, length: 16, rows: 256 } : BASE),
}
