import type { Manifest } from './manifest.ts'

/**
 * The canonical semantics a second time, in BigInt, written to be compared line by line with protocol/spec/manifest.md.
 * Slow and obvious: property tests hold the fast evaluator against it, and a stranger may hold theirs.
 */
export type OracleTensor = { value: bigint[]; rem: bigint[] | null; pre: bigint[] | null }

/** Floor division by a positive divisor. */
const floorDiv = (a: bigint, b: bigint): bigint => (a >= 0n ? a / b : -((-a + b - 1n) / b))

const clamp16 = (x: bigint): bigint => (x < -32768n ? -32768n : x > 32767n ? 32767n : x)

function finish(accumulators: bigint[]): OracleTensor {
  const pre = accumulators.map((acc) => floorDiv(acc, 65536n))
  return { value: pre.map(clamp16), rem: accumulators.map((acc, i) => acc - pre[i]! * 65536n), pre }
}

/** Values of every tensor that is not a view, by tensor id. */
export function oracle(manifest: Manifest, weights: Uint8Array, inputs: Int16Array[]): (OracleTensor | null)[] {
  const view = new DataView(weights.buffer, weights.byteOffset, weights.byteLength)
  const tensors: (OracleTensor | null)[] = manifest.tensors.map(() => null)
  const source = (id: number): bigint[] => tensors[manifest.tensors[id]!.viewOf ?? id]!.value

  manifest.inputs.forEach((input, i) => {
    tensors[input.tensor] = { value: Array.from(inputs[i]!, BigInt), rem: null, pre: null }
  })

  for (const op of manifest.ops) {
    const x = source(op.input)
    const inShape = manifest.tensors[op.input]!.shape
    const outShape = manifest.tensors[op.output]!.shape

    if (op.kind === 'table') {
      const value = x.map((a) => {
        const u = a + 32768n
        const i = Number(u / 1024n)
        const low = BigInt(op.knots[i]!)
        const high = BigInt(op.knots[i + 1]!)
        return low + floorDiv((high - low) * (u % 1024n) + 512n, 1024n)
      })
      tensors[op.output] = { value, rem: null, pre: null }
      continue
    }

    const acc: bigint[] = []
    if (op.kind === 'gemm') {
      const depth = inShape[inShape.length - 1]!
      const columns = outShape[outShape.length - 1]!
      for (let row = 0; row < x.length / depth; row++)
        for (let column = 0; column < columns; column++) {
          let sum = view.getBigInt64(op.biases.offset + 8 * column, true)
          for (let k = 0; k < depth; k++) {
            const w = view.getInt32(op.weights.offset + 4 * (column * depth + k), true)
            sum += BigInt(w) * x[row * depth + k]!
          }
          acc.push(sum)
        }
    } else {
      const [channels, height, width] = inShape as [number, number, number]
      const [outChannels, outHeight, outWidth] = outShape as [number, number, number]
      const groups = op.kind === 'conv' ? op.groups : channels
      const [dilationY, dilationX] = op.kind === 'conv' ? op.dilations : [1, 1]
      const perGroup = channels / groups
      for (let oc = 0; oc < outChannels; oc++)
        for (let oy = 0; oy < outHeight; oy++)
          for (let ox = 0; ox < outWidth; ox++) {
            let sum = op.kind === 'conv' ? view.getBigInt64(op.biases.offset + 8 * oc, true) : 32768n
            for (let ic = 0; ic < perGroup; ic++)
              for (let ky = 0; ky < op.kernel[0]; ky++)
                for (let kx = 0; kx < op.kernel[1]; kx++) {
                  const iy = oy * op.strides[0] + ky * dilationY - op.pads[0]
                  const ix = ox * op.strides[1] + kx * dilationX - op.pads[1]
                  if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue
                  const channel = Math.floor(oc / (outChannels / groups)) * perGroup + ic
                  const tap = ((oc * perGroup + ic) * op.kernel[0] + ky) * op.kernel[1] + kx
                  const w = op.kind === 'conv' ? view.getInt32(op.weights.offset + 4 * tap, true) : op.weight
                  sum += BigInt(w) * x[(channel * height + iy) * width + ix]!
                }
            acc.push(sum)
          }
    }
    tensors[op.output] = finish(acc)
  }
  return tensors
}
