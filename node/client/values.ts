import { givenInputs, inputValues } from '../../models/lookup.ts'
import type { Manifest } from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { SealedRef } from '../jobs/sealed.ts'
import { readSide, type WireTensor } from '../jobs/tensors.ts'
import type { LoadedModel } from '../model/load.ts'
import { classified } from './failures.ts'
import type { BatchInput } from './shards.ts'

/** Numbers in row-major order: typed, flat or nested as deep as the shape, all of one job. */
export type TensorLike = Numbers | Nested
/** A typed array of any kind; what leaves this process is float32, or what integers are looked up as. */
export type Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
/** Lists in lists, row-major. */
export type Nested = readonly number[] | readonly Nested[]

/** Inputs of one job by name, or the one input of a model that has one. */
export type Inputs = Readonly<Record<string, TensorLike>> | TensorLike

/** The inputs of one job that its provider fetches, sealed for it, and where it finds them. See sealed-set.ts. */
export type SealedJob = { tensors: WireTensor[]; sealed: SealedRef }

/** One item of a data set: its inputs, or what makes them when it is their turn. */
export type Item = Inputs | SealedJob | (() => Inputs | SealedJob)

const isSealed = (given: Inputs | SealedJob): given is SealedJob =>
  typeof given === 'object' &&
  given !== null &&
  'tensors' in given &&
  'sealed' in given &&
  !ArrayBuffer.isView(given.sealed) &&
  !Array.isArray(given.sealed)

/** A tensor of an answer, row-major. */
export type NamedTensors = Record<string, { shape: number[]; data: Float32Array }>

const isNumbers = (value: unknown): value is Numbers => ArrayBuffer.isView(value) && !(value instanceof DataView)
const isTensor = (value: unknown): value is TensorLike => isNumbers(value) || Array.isArray(value)

/** Lists in lists, at most; tensors have at most eight axes. */
const DEEPEST = 16

/** Appends nested numbers to `out`, which must not grow beyond `most`. Throws `TENSOR_SHAPE`, `TENSOR_TYPE`. */
function flatten(value: unknown, name: string, shape: readonly number[], out: number[], most: number, depth = 1): void {
  if (!Array.isArray(value)) throw new SinterError('TENSOR_TYPE', `${name} must hold numbers`)
  if (depth > DEEPEST) throw new SinterError('TENSOR_SHAPE', `${name} nests more than ${DEEPEST} lists`)
  for (const each of value) {
    if (typeof each === 'number') out.push(each)
    else flatten(each, name, shape, out, most, depth + 1)
    if (out.length > most)
      throw new SinterError('TENSOR_SHAPE', `${name} has more than the ${most} values of [${shape}]`)
  }
}

function toFloats(name: string, shape: number[], value: TensorLike | undefined): Float32Array {
  const most = elementCount(shape)
  let floats: Float32Array
  if (value instanceof Float32Array) floats = value
  else if (isNumbers(value)) floats = Float32Array.from(value as ArrayLike<number>, Number)
  else {
    const flat: number[] = []
    flatten(value, name, shape, flat, most)
    floats = Float32Array.from(flat)
  }
  if (floats.length !== most)
    throw new SinterError('TENSOR_SHAPE', `${name} must have the ${most} values of [${shape}], not ${floats.length}`)
  if (floats.some(Number.isNaN)) throw new SinterError('INPUT_NAN', `${name} has values that are no numbers`)
  return floats
}

/**
 * Inputs in the manifest's order; integers of a text model are looked up. Throws `TENSOR_SET`, `TENSOR_SHAPE`, `TENSOR_TYPE`,
 * `INPUT_NAN`, `INPUT_ID`.
 */
export function jobValues(
  { manifest, weights }: Pick<LoadedModel, 'manifest' | 'weights'>,
  inputs: Inputs,
): Float32Array[] {
  return inputValues(manifest, weights, givenValues(manifest, inputs))
}

function givenValues(manifest: Manifest, inputs: Inputs): Float32Array[] {
  const ends = givenInputs(manifest)
  if (isTensor(inputs)) {
    if (ends.length !== 1)
      throw new SinterError('TENSOR_SET', `${manifest.name} has ${ends.length} inputs: give them by name`)
    return [toFloats(ends[0]!.name, ends[0]!.shape, inputs)]
  }
  if (typeof inputs !== 'object' || inputs === null)
    throw new SinterError('TENSOR_TYPE', `inputs must hold numbers: ${ends.map(({ name }) => name).join(', ')}`)
  const named = inputs as Record<string, TensorLike>
  const strange = Object.keys(named).find((name) => !ends.some((end) => end.name === name))
  if (strange !== undefined) throw new SinterError('TENSOR_SET', `${manifest.name} has no input ${strange}`)
  return ends.map(({ name, shape }) => {
    if (named[name] === undefined) throw new SinterError('TENSOR_SET', `the input ${name} is missing`)
    return toFloats(name, shape, named[name])
  })
}

/** Outputs of one job with the manifest's shapes. */
export function namedTensors(manifest: Manifest, outputs: Record<string, Float32Array>): NamedTensors {
  return Object.fromEntries(manifest.outputs.map(({ name, shape }) => [name, { shape, data: outputs[name]! }]))
}

/** `jobValues` of an item, or why there are none: one wrong item of a data set stops no other. */
export function valuesOrError(model: LoadedModel, item: Item): BatchInput | SinterError {
  try {
    const given = typeof item === 'function' ? item() : item
    if (!isSealed(given)) return { values: jobValues(model, given) }
    return { values: readSide(model.manifest.inputs, given.tensors), sealed: given.sealed }
  } catch (error) {
    return classified(error)
  }
}
