import type { Manifest } from '../../models/manifest.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { elementCount, tensorOf } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Tensor } from '../../protocol/gen/sinter_pb.js'

/** A tensor as it travels: little-endian float32, row-major, one job's worth (no batch axis). */
export type WireTensor = Pick<Tensor, 'name' | 'type' | 'shape' | 'data'>

type End = { name: string; tensor: number; shape: number[] }

export function toWire(name: string, shape: number[], values: Float32Array): WireTensor {
  const data = new Uint8Array(4 * values.length)
  const view = new DataView(data.buffer)
  values.forEach((value, i) => {
    view.setFloat32(4 * i, value, true)
  })
  return { name, type: 'float32', shape, data }
}

function fromWire(tensor: WireTensor): Float32Array {
  const view = new DataView(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength)
  return Float32Array.from({ length: tensor.data.length / 4 }, (_, i) => view.getFloat32(4 * i, true))
}

/**
 * Values of the tensors of one side of a job, in the manifest's order. Throws `TENSOR_SET`, `TENSOR_TYPE`, `TENSOR_SHAPE` for
 * anything that is not exactly what the manifest says, whoever sent it.
 */
export function readSide(ends: End[], tensors: WireTensor[]): Float32Array[] {
  if (tensors.length !== ends.length)
    throw new SinterError('TENSOR_SET', `${ends.length} tensors expected, ${tensors.length} given`)
  return ends.map(({ name, shape }) => {
    const tensor = tensors.find((each) => each.name === name)
    if (tensor === undefined) throw new SinterError('TENSOR_SET', `the tensor ${name} is missing`)
    if (tensor.type !== 'float32') throw new SinterError('TENSOR_TYPE', `${name} must be float32, not ${tensor.type}`)
    if (tensor.shape.length !== shape.length || tensor.shape.some((dim, i) => dim !== shape[i]))
      throw new SinterError('TENSOR_SHAPE', `${name} must have shape [${shape}], not [${tensor.shape}]`)
    if (tensor.data.length !== 4 * elementCount(shape))
      throw new SinterError(
        'TENSOR_SHAPE',
        `${name} must have ${4 * elementCount(shape)} bytes, not ${tensor.data.length}`,
      )
    return fromWire(tensor)
  })
}

/** Tensors as they travel, by name. Throws `TENSOR_TYPE`, `TENSOR_SHAPE` for those that are not what they say. */
export function namedValues(tensors: readonly WireTensor[]): Record<string, { shape: number[]; data: Float32Array }> {
  const values = readSide(
    tensors.map(({ name, shape }) => ({ name, shape, tensor: 0 })),
    [...tensors],
  )
  return Object.fromEntries(tensors.map(({ name, shape }, i) => [name, { shape, data: values[i]! }]))
}

/** Inputs at the manifest's exponents: what both the served and the canonical execution start from. Throws `INPUT_NAN` besides. */
export function quantisedInputs(manifest: Manifest, tensors: WireTensor[]): Int16Array[] {
  const values = readSide(manifest.inputs, tensors)
  return values.map((each, i) => quantise(each, tensorOf(manifest, manifest.inputs[i]!.tensor).exponent))
}

/** Served outputs at the manifest's exponents: what the output root commits. Throws `OUTPUT_NAN` besides. */
export function quantisedOutputs(manifest: Manifest, tensors: WireTensor[]): Int16Array[] {
  const values = readSide(manifest.outputs, tensors)
  return values.map((each, i) => quantise(each, tensorOf(manifest, manifest.outputs[i]!.tensor).exponent, 'OUTPUT_NAN'))
}

/** Which input of a job takes which output of the job before it. */
export type Carry = { input: string; output: string }

/**
 * Inputs that take outputs of the last result in place of tensors of their own, as the request would have had them. Throws
 * `CARRY_UNKNOWN` for what there is no such output of, or no such input to give it to.
 */
export function carriedTensors(manifest: Manifest, last: WireTensor[] | null, carry: Carry[]): WireTensor[] {
  return carry.map(({ input, output }) => {
    const tensor = last?.find(({ name }) => name === output)
    const end = manifest.inputs.find(({ name }) => name === input)
    if (tensor === undefined || end === undefined)
      throw new SinterError('CARRY_UNKNOWN', `there is no last ${output} on this stream for the input ${input}`)
    return { ...tensor, name: input, shape: end.shape }
  })
}

/** The real numbers that the quantised inputs mean: what the runtime is fed. */
export function dequantisedInputs(manifest: Manifest, inputs: Int16Array[]): Float32Array[] {
  return inputs.map((each, i) => dequantise(each, tensorOf(manifest, manifest.inputs[i]!.tensor).exponent))
}

/** The real numbers that the quantised values of output `index` mean. */
export function dequantisedOutput(manifest: Manifest, index: number, values: Int16Array): Float32Array {
  return dequantise(values, tensorOf(manifest, manifest.outputs[index]!.tensor).exponent)
}

/** Shapes as a receipt lists them: inputs, then outputs. */
export function jobShapes(manifest: Manifest): number[][] {
  return [...manifest.inputs, ...manifest.outputs].map(({ shape }) => shape)
}

/** Output values by name, as the consumer reads them. Throws the `TENSOR_*` codes. */
export function outputValues(manifest: Manifest, tensors: WireTensor[]): Record<string, Float32Array> {
  const values = readSide(manifest.outputs, tensors)
  return Object.fromEntries(manifest.outputs.map(({ name }, i) => [name, values[i]!]))
}
