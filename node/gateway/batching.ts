import { SinterError } from '../../protocol/errors.ts'
import type { ModelInfo } from '../client/consumer.ts'
import type { InputTensor } from './tensors.ts'

const bad = (message: string): SinterError => new SinterError('GATEWAY_REQUEST', message)
const elements = (shape: number[]): number => shape.reduce((product, dim) => product * dim, 1)
const same = (a: number[], b: number[]): boolean => a.length === b.length && a.every((dim, i) => dim === b[i])

/** Jobs of one request. `batched` when the tensors had a batch axis in front, which the outputs then have too. */
export type Jobs = { batched: boolean; jobs: Record<string, Float32Array>[] }

/**
 * A job has no batch axis on this network. A request may have one: each row is a job of its own, with its own receipt. Throws
 * `GATEWAY_REQUEST` for inputs that are not the model's.
 */
export function splitJobs(model: ModelInfo, inputs: InputTensor[], most: number): Jobs {
  for (const { name } of inputs)
    if (!model.inputs.some((end) => end.name === name)) throw bad(`unexpected inference input '${name}' for this model`)
  let rows: number | null = null
  let batched: boolean | null = null
  const given = model.inputs.map(({ name, shape }) => {
    const input = inputs.find((each) => each.name === name)
    if (input === undefined) throw bad(`expected ${model.inputs.length} inputs, '${name}' is missing`)
    const plain = same(input.shape, shape)
    if (!plain && !same(input.shape.slice(1), shape))
      throw bad(`unexpected shape for input '${name}': expected [-1,${shape}], got [${input.shape}]`)
    const count = plain ? 1 : input.shape[0]!
    if ((rows !== null && rows !== count) || (batched !== null && batched === plain))
      throw bad('all inputs must have the same batch size')
    rows = count
    batched = !plain
    return { name, size: elements(shape), data: input.data }
  })
  const count: number = rows ?? 0
  if (count === 0) throw bad('the batch is empty')
  if (count > most) throw bad(`a request has at most ${most} rows: send more requests`)
  const jobs = Array.from({ length: count }, (_, row) =>
    Object.fromEntries(given.map(({ name, size, data }) => [name, data.subarray(row * size, (row + 1) * size)])),
  )
  return { batched: batched ?? false, jobs }
}

/** One output of all jobs as one tensor. */
export function joinOutput(
  rows: Float32Array[],
  shape: number[],
  batched: boolean,
): { shape: number[]; data: Float32Array } {
  if (!batched) return { shape, data: rows[0]! }
  const data = new Float32Array(rows.length * elements(shape))
  for (const [i, row] of rows.entries()) data.set(row, i * row.length)
  return { shape: [rows.length, ...shape], data }
}
