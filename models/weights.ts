/** Rounding half of one dropped limb. */
export const ROUNDING = 32_768

/** Writes arrays one after the other, each aligned to 8 bytes with zero padding. */
export function weightsWriter(): {
  weights(values: ArrayLike<number>): { offset: number; count: number }
  biases(values: ArrayLike<number>): { offset: number; count: number }
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
      offset: add(new Uint8Array(BigInt64Array.from(Array.from(values), BigInt).buffer)),
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
