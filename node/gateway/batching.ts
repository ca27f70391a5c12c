import { firstLargest } from '../../models/lookup.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { ModelInfo } from '../client/consumer.ts'
import type { Datatype, InputTensor, OutputTensor } from './tensors.ts'

const bad = (message: string): SinterError => new SinterError('GATEWAY_REQUEST', message)
const elements = (shape: number[]): number => shape.reduce((product, dim) => product * dim, 1)
const same = (a: number[], b: number[]): boolean => a.length === b.length && a.every((dim, i) => dim === b[i])

/** Jobs of one request. `batched` when the tensors had a batch axis in front, which the outputs then have too. */
export type Jobs = { batched: boolean; jobs: Record<string, Float32Array>[] }

/** An input as stock clients see it: whole numbers where the model looks them up. */
export const inputsOf = (model: ModelInfo): { name: string; shape: number[]; datatype: Datatype }[] =>
  model.inputs.map(({ name, shape, rows }) => ({ name, shape, datatype: rows === null ? 'FP32' : 'INT64' }))

/** An output as stock clients see it; `index` where it is the place of the largest value of the network's output `from`, of `shape`. */
export type End = {
  name: string
  shape: number[]
  datatype: OutputTensor['datatype']
  from: string
  index: { shape: number[]; axis: number } | null
}

/** Of a model that ends in an ArgMax the index, and after it what it was taken of. */
export const outputsOf = (model: ModelInfo): End[] =>
  model.outputs.flatMap(({ name, shape, index }): End[] => {
    const own: End = { name, shape, datatype: 'FP32', from: name, index: null }
    if (index === null) return [own]
    const { axis } = index
    return [
      { name: index.name, shape: shape.toSpliced(axis, 1), datatype: 'INT64', from: name, index: { shape, axis } },
      own,
    ]
  })

/** Numbers of one input as the network's clients take them. */
function valuesOf({ name, datatype, data }: InputTensor, rows: number | null): Float32Array {
  if (rows === null && data instanceof Float32Array) return data
  if (rows === null) throw bad(`input '${name}': the datatype is ${datatype}, the model has FP32`)
  if (datatype === 'FP32') throw bad(`input '${name}': the datatype is FP32, the model has INT64`)
  const wrong = data.find((id) => id < 0 || id >= rows)
  if (wrong !== undefined) throw bad(`input '${name}' holds ${wrong}, which is not from 0 to ${rows - 1}`)
  return Float32Array.from(data)
}

/**
 * A job has no batch axis on this network. A request may have one: each row is a job of its own, with its own receipt. Throws
 * `GATEWAY_REQUEST` for inputs that are not the model's.
 */
export function splitJobs(model: ModelInfo, inputs: InputTensor[], most: number): Jobs {
  for (const { name } of inputs)
    if (!model.inputs.some((end) => end.name === name)) throw bad(`unexpected inference input '${name}' for this model`)
  let rows: number | null = null
  let batched: boolean | null = null
  const given = model.inputs.map(({ name, shape, rows: ids }) => {
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
    return { name, size: elements(shape), data: valuesOf(input, ids) }
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
  { name, shape, datatype, index }: End,
  batched: boolean,
): OutputTensor {
  const whole = batched ? [rows.length, ...shape] : shape
  if (datatype === 'INT64')
    return { name, shape: whole, datatype, data: rows.flatMap((row) => firstLargest(row, index!.shape, index!.axis)) }
  if (!batched) return { name, shape, datatype, data: rows[0]! }
  const data = new Float32Array(rows.length * elements(shape))
  for (const [i, row] of rows.entries()) data.set(row, i * row.length)
  return { name, shape: whole, datatype, data }
}
