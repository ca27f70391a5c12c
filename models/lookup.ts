import { SinterError } from '../protocol/errors.ts'
import { int32Slice, stridesOf } from './access.ts'
import type { Manifest } from './manifest.ts'
import { dequantise } from './quantise.ts'
import { elementCount } from './tiling.ts'

/**
 * What a consumer does itself at the ends of a model: it looks its integers up in the rows of an embedding, and takes the
 * index of the largest value where the model ended in an ArgMax. Both are public and cheap, and so the integers stay its own.
 */

/** An input as its user has it: integers below `rows` where they are looked up, else numbers (`rows` null). */
export type GivenInput = { name: string; shape: number[]; rows: number | null }

/** What is read of an input of a manifest, or of a plan. */
type End = { name: string; shape: number[]; lookup: { name: string; rows: number } | null }

/** A model's inputs as its user has them, in the manifest's order: integers that several embeddings look up are one. */
export function givenInputs({ inputs }: { inputs: End[] }): GivenInput[] {
  const given = new Map<string, GivenInput>()
  for (const { name, shape, lookup } of inputs)
    if (lookup === null) given.set(name, { name, shape, rows: null })
    else {
      const { rows } = lookup
      const before = given.get(lookup.name)?.rows ?? rows
      given.set(lookup.name, { name: lookup.name, shape: shape.slice(0, -1), rows: Math.min(before, rows) })
    }
  return [...given.values()]
}

/**
 * What is sent for one job: per input of the manifest its values, rows in place of the integers that name them. The rows are the
 * manifest's own, so that what is sent is what is evaluated canonically, bit for bit.
 * @param weights the manifest's weights file
 * @param given one array per input of `givenInputs`, row-major, batch left out
 * Throws `INPUT_NAME` for another number of inputs, `INPUT_SHAPE` for another number of values, `INPUT_ID` for a number that
 * is not one of an embedding's rows.
 */
export function inputValues(manifest: Manifest, weights: Uint8Array, given: ArrayLike<number>[]): Float32Array[] {
  const wanted = givenInputs(manifest)
  if (given.length !== wanted.length)
    throw new SinterError('INPUT_NAME', `the model takes ${wanted.map(({ name }) => name).join(', ')}`)
  wanted.forEach(({ name, shape }, i) => {
    if (given[i]!.length !== elementCount(shape))
      throw new SinterError('INPUT_SHAPE', `input ${name} has ${given[i]!.length} values, not [${shape}]`)
  })
  return manifest.inputs.map(({ name, tensor, shape, lookup }) => {
    const values = given[wanted.findIndex((each) => each.name === (lookup?.name ?? name))]!
    if (lookup === null) return Float32Array.from(values)
    const rows = dequantise(Int16Array.from(int32Slice(weights, lookup.table)), manifest.tensors[tensor]!.exponent)
    const width = shape.at(-1)!
    const out = new Float32Array(values.length * width)
    for (let i = 0; i < values.length; i++) {
      const id = values[i]!
      if (!Number.isInteger(id) || id < 0 || id >= lookup.rows)
        throw new SinterError('INPUT_ID', `input ${lookup.name} holds ${id}, which is none of ${lookup.rows} rows`)
      out.set(rows.subarray(id * width, (id + 1) * width), i * width)
    }
    return out
  })
}

/**
 * The first index of the largest value along an axis, as a model's last ArgMax gives it.
 * @param shape of `values`, batch left out
 */
export function firstLargest(values: ArrayLike<number>, shape: readonly number[], axis: number): number[] {
  const strides = stridesOf(shape)
  const step = strides[axis]!
  const out: number[] = []
  for (let start = 0; start < values.length; start++) {
    if (Math.floor(start / step) % shape[axis]! !== 0) continue
    let best = 0
    for (let i = 1; i < shape[axis]!; i++) if (values[start + i * step]! > values[start + best * step]!) best = i
    out.push(best)
  }
  return out
}
