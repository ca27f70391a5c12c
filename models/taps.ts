import type { LinearOp, Manifest } from './manifest.ts'
import { elementCount, tensorOf } from './tiling.ts'
import type { OpWeights } from './weights.ts'

/** One output element of a linear op as a row: Σ w·x[input] + bias. */
export type Row = { bias: number; taps(visit: (input: number, weight: number) => void): void }

/**
 * The row of output element `index` of a linear op, for those who need L transposed: statements walk a tile's receptive
 * field, never the whole op. Padding contributes nothing.
 * @param index flat row-major position in the output tensor
 */
export function rowOf(manifest: Manifest, op: LinearOp, { w, b }: OpWeights, index: number): Row {
  const inShape = tensorOf(manifest, op.input).shape
  const outShape = tensorOf(manifest, op.output).shape
  if (op.kind === 'gemm') {
    const depth = inShape.at(-1)!
    const column = index % b.length
    const first = Math.floor(index / b.length) * depth
    return {
      bias: b[column]!,
      taps(visit) {
        for (let k = 0; k < depth; k++) visit(first + k, w[column * depth + k]!)
      },
    }
  }
  const [, height, width] = inShape as [number, number, number]
  const plane = elementCount(outShape.slice(1))
  const channel = Math.floor(index / plane)
  const oy = Math.floor((index % plane) / outShape[2]!)
  const ox = index % outShape[2]!
  const conv = op.kind === 'conv'
  const perGroup = conv ? inShape[0]! / op.groups : 1
  const firstChannel = conv ? Math.floor(channel / (outShape[0]! / op.groups)) * perGroup : channel
  const [dilationY, dilationX] = conv ? op.dilations : [1, 1]
  const [kh, kw] = op.kernel
  return {
    bias: conv ? b[channel]! : b[0]!,
    taps(visit) {
      for (let ic = 0; ic < perGroup; ic++)
        for (let ky = 0; ky < kh; ky++) {
          const iy = oy * op.strides[0] + ky * dilationY - op.pads[0]
          if (iy < 0 || iy >= height) continue
          for (let kx = 0; kx < kw; kx++) {
            const ix = ox * op.strides[1] + kx * dilationX - op.pads[1]
            if (ix < 0 || ix >= width) continue
            const weight = conv ? w[((channel * perGroup + ic) * kh + ky) * kw + kx]! : op.weight
            visit(((firstChannel + ic) * height + iy) * width + ix, weight)
          }
        }
    },
  }
}
