/**
 * y[i][j] = Σ_k x[i][k]·w[j][k] for row-major x (rows × depth) and w (columns × depth). All products and sums are integers below
 * 2^53, so every implementation gives the same bits in whatever order it adds.
 */
export type Multiply = (x: Float64Array, w: Float64Array, rows: number, columns: number, depth: number) => Float64Array

/** Plain loops, four rows by two columns at a time so that each number read is used more than once. */
export const multiply: Multiply = (x, w, rows, columns, depth) => {
  const y = new Float64Array(rows * columns)
  let i = 0
  for (; i + 4 <= rows; i += 4) {
    const a = i * depth
    const b = a + depth
    const c = b + depth
    const d = c + depth
    for (let j = 0; j < columns; j++) {
      const v = j * depth
      let s0 = 0
      let s1 = 0
      let s2 = 0
      let s3 = 0
      for (let k = 0; k < depth; k++) {
        const weight = w[v + k]!
        s0 += weight * x[a + k]!
        s1 += weight * x[b + k]!
        s2 += weight * x[c + k]!
        s3 += weight * x[d + k]!
      }
      const at = i * columns + j
      y[at] = s0
      y[at + columns] = s1
      y[at + 2 * columns] = s2
      y[at + 3 * columns] = s3
    }
  }
  for (; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = 0
      for (let k = 0; k < depth; k++) sum += w[j * depth + k]! * x[i * depth + k]!
      y[i * columns + j] = sum
    }
  return y
}
