import type { FloatTensor } from '../../models/session.ts'
import { SinterError } from '../../protocol/errors.ts'

export type Tensors = Record<string, FloatTensor>

/** Rows of several requests as one request. */
export function stack(rows: Tensors[]): Tensors {
  return Object.fromEntries(
    Object.entries(rows[0]!).map(([name, { shape, data }]) => {
      const all = new Float32Array(rows.length * data.length)
      rows.forEach((row, i) => {
        all.set(row[name]!.data, i * data.length)
      })
      return [name, { shape: [rows.length, ...shape.slice(1)], data: all }]
    }),
  )
}

/** One row of each output. Throws `BATCH_SHAPE` when an output has not as many rows as went in. */
export function unstack(outputs: Tensors, count: number): Tensors[] {
  for (const [name, { shape }] of Object.entries(outputs))
    if (shape[0] !== count)
      throw new SinterError('BATCH_SHAPE', `output ${name} has shape [${shape}] for ${count} rows`)
  return Array.from({ length: count }, (_, row) =>
    Object.fromEntries(
      Object.entries(outputs).map(([name, { shape, data }]) => {
        const size = data.length / count
        return [name, { shape: [1, ...shape.slice(1)], data: data.slice(row * size, (row + 1) * size) }]
      }),
    ),
  )
}
