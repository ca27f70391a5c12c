import type { LinearOp } from './manifest.ts'

/** Rounding half of the dropped limb; pooling has no bias but this. */
export const ROUNDING = 32_768

/** Integer weights and biases of one op: `w` row-major by output channel or column, `b` one per row (with rounding). */
export type OpWeights = { w: Int32Array; b: Float64Array }

/**
 * Weights of one op from the weights file: int32 and int64, little-endian (as is every platform ONNX Runtime runs on).
 * Biases are returned as float64, exact for all that pass the accumulator bound. The offsets must have been validated.
 */
export function opWeights(op: LinearOp, file: Uint8Array): OpWeights {
  if (op.kind === 'averagepool') return { w: Int32Array.of(op.weight), b: Float64Array.of(ROUNDING) }
  // slice() copies, which also gives the alignment that typed arrays ask for.
  const weights = file.slice(op.weights.offset, op.weights.offset + 4 * op.weights.count)
  const biases = file.slice(op.biases.offset, op.biases.offset + 8 * op.biases.count)
  return {
    w: new Int32Array(weights.buffer, weights.byteOffset, op.weights.count),
    b: Float64Array.from(new BigInt64Array(biases.buffer, biases.byteOffset, op.biases.count), Number),
  }
}

/** Writes arrays one after the other, each aligned to 8 bytes with zero padding. */
export function weightsWriter(): {
  weights(values: readonly number[]): { offset: number; count: number }
  biases(values: readonly number[]): { offset: number; count: number }
  finish(): Uint8Array
} {
  const parts: Uint8Array[] = []
  let length = 0
  const add = (bytes: Uint8Array): number => {
    const offset = length
    const padded = new Uint8Array(Math.ceil(bytes.length / 8) * 8)
    padded.set(bytes)
    parts.push(padded)
    length += padded.length
    return offset
  }
  return {
    weights: (values) => ({ offset: add(new Uint8Array(Int32Array.from(values).buffer)), count: values.length }),
    biases: (values) => ({
      offset: add(new Uint8Array(BigInt64Array.from(values, BigInt).buffer)),
      count: values.length,
    }),
    finish: () => {
      const out = new Uint8Array(Math.max(length, 8))
      let at = 0
      for (const part of parts) {
        out.set(part, at)
        at += part.length
      }
      return out
    },
  }
}
