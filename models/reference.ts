import type { Plan, PlanConv, PlanGemm, PlanPool } from './lower.ts'
import { elementCount } from './tiling.ts'

/**
 * A lowered graph in float64, for calibration: what range each tensor has, and how far the canonical meaning strays from
 * the real-valued one. Plain loops, so that calibrating twice, anywhere, gives the same manifest; ONNX Runtime's float32
 * differs from one processor to the next.
 */

function convolve(op: PlanConv | PlanPool, x: Float64Array, inShape: number[], outShape: number[]): Float64Array {
  const [channels, height, width] = inShape as [number, number, number]
  const [rows, outHeight, outWidth] = outShape as [number, number, number]
  const [kh, kw] = op.kernel
  const conv = op.kind === 'conv'
  const perGroup = conv ? channels / op.groups : 1
  const rowsPerGroup = conv ? rows / op.groups : 1
  const [dilationY, dilationX] = conv ? op.dilations : [1, 1]
  const out = new Float64Array(rows * outHeight * outWidth)
  let at = 0
  for (let row = 0; row < rows; row++)
    for (let oy = 0; oy < outHeight; oy++)
      for (let ox = 0; ox < outWidth; ox++) {
        let sum = conv ? op.biases[row]! : 0
        for (let ic = 0; ic < perGroup; ic++)
          for (let ky = 0; ky < kh; ky++) {
            const iy = oy * op.strides[0] + ky * dilationY - op.pads[0]
            if (iy < 0 || iy >= height) continue
            const line = ((Math.floor(row / rowsPerGroup) * perGroup + ic) * height + iy) * width
            for (let kx = 0; kx < kw; kx++) {
              const ix = ox * op.strides[1] + kx * dilationX - op.pads[1]
              if (ix < 0 || ix >= width) continue
              sum += x[line + ix]! * (conv ? op.weights[((row * perGroup + ic) * kh + ky) * kw + kx]! : 1 / (kh * kw))
            }
          }
        out[at++] = sum
      }
  return out
}

function multiply(op: PlanGemm, x: Float64Array): Float64Array {
  const rows = op.biases.length
  const depth = op.weights.length / rows
  const out = new Float64Array((x.length / depth) * rows)
  for (let i = 0; i < out.length; i++) {
    const row = i % rows
    const first = Math.floor(i / rows) * depth
    let sum = op.biases[row]!
    for (let k = 0; k < depth; k++) sum += op.weights[row * depth + k]! * x[first + k]!
    out[i] = sum
  }
  return out
}

/** Values of every tensor (views included, sharing their source's array) for one input. */
export function evaluatePlan(plan: Plan, inputs: ArrayLike<number>[]): Float64Array[] {
  const values: Float64Array[] = plan.tensors.map(({ shape }) => new Float64Array(elementCount(shape)))
  plan.inputs.forEach(({ tensor }, i) => {
    values[tensor] = Float64Array.from(inputs[i]!)
  })
  const read = (id: number): Float64Array => values[plan.tensors[id]!.viewOf ?? id]!
  for (const op of plan.ops) {
    const x = read(op.input)
    const inShape = plan.tensors[op.input]!.shape
    const outShape = plan.tensors[op.output]!.shape
    if (op.kind === 'table') values[op.output] = x.map(op.apply)
    else if (op.kind === 'gemm') values[op.output] = multiply(op, x)
    else values[op.output] = convolve(op, x, inShape, outShape)
  }
  return plan.tensors.map((_, id) => read(id))
}
