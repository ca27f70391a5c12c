import { toHex } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { sha256 } from '../protocol/hash.ts'
import { MANIFEST_LIMITS, type Manifest, type ManifestTensor, type Op, type Slice, type TableOp } from './manifest.ts'
import { countWork, elementCount, resolveTensor, tapsPerOutput, tensorOf, windowOutputs } from './tiling.ts'
import { opWeights } from './weights.ts'

/**
 * Every accumulator obeys Σ|w|·2^15 + |b| < 2^47 − 2^31. Then acc / 2^16 shifted by 2^15 still fits 32 signed bits, so
 * the high limb of a flagged element is an unsigned 16-bit number, and float64 sums are exact (far below 2^53).
 */
export const ACCUMULATOR_LIMIT = 2 ** 47 - 2 ** 31

const refuse = (code: string, message: string): never => {
  throw new SinterError(code, message)
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((dim, axis) => dim === b[axis])

function checkTensors(manifest: Manifest): void {
  let total = 0
  manifest.tensors.forEach((tensor, id) => {
    const elements = elementCount(tensor.shape)
    if (elements > MANIFEST_LIMITS.tensorElements)
      refuse('SHAPE', `tensor ${id} has more than ${MANIFEST_LIMITS.tensorElements} elements`)
    if (tensor.viewOf === null) {
      total += elements
      return
    }
    const source = tensorOf(manifest, tensor.viewOf)
    if (source.viewOf !== null || tensor.viewOf === id) refuse('TOPOLOGY', `tensor ${id} is a view of a view`)
    if (elementCount(source.shape) !== elements) refuse('SHAPE', `tensor ${id} is a view of a tensor of another size`)
    if (source.exponent !== tensor.exponent) refuse('SHAPE', `tensor ${id} is a view with another exponent`)
  })
  if (total > MANIFEST_LIMITS.totalElements)
    refuse('SHAPE', `the tensors have more than ${MANIFEST_LIMITS.totalElements} elements together`)
}

function checkSlice(manifest: Manifest, slice: Slice, count: number, width: number, what: string): void {
  if (slice.count !== count) refuse('SHAPE', `${what}: ${slice.count} values where the shapes need ${count}`)
  if (slice.offset % width !== 0) refuse('WEIGHTS_RANGE', `${what}: offset not aligned to ${width} bytes`)
  if (slice.offset + slice.count * width > manifest.weights.bytes)
    refuse('WEIGHTS_RANGE', `${what}: outside the weights file`)
}

/** Output of an averaging or convolving window, [channels, height, width]. */
function windowShape(
  op: Extract<Op, { kind: 'conv' | 'averagepool' }>,
  input: readonly number[],
  channels: number,
): number[] {
  const [top, left, bottom, right] = op.pads
  const [dy, dx] = op.kind === 'conv' ? op.dilations : [1, 1]
  return [
    channels,
    windowOutputs(input[1]!, top, bottom, op.kernel[0], op.strides[0], dy),
    windowOutputs(input[2]!, left, right, op.kernel[1], op.strides[1], dx),
  ]
}

/**
 * Range of a table's results. In each segment the interpolation runs monotonically from K_i to its value at f = 1023, so
 * those two points bound all 65,536 inputs.
 */
export function tableRange(knots: readonly number[]): { min: number; max: number } {
  let min = Infinity
  let max = -Infinity
  for (let i = 0; i < 64; i++) {
    const last = knots[i]! + Math.floor(((knots[i + 1]! - knots[i]!) * 1023 + 512) / 1024)
    min = Math.min(min, knots[i]!, last)
    max = Math.max(max, knots[i]!, last)
  }
  return { min, max }
}

function checkTable(op: TableOp, input: ManifestTensor, output: ManifestTensor): void {
  if (!sameShape(input.shape, output.shape)) refuse('SHAPE', `${op.name}: a table keeps its input's shape`)
  const { min, max } = tableRange(op.knots)
  if (min < -32_768 || max > 32_767) refuse('TABLE_RANGE', `${op.name}: the table leaves the range of 16 signed bits`)
}

function checkOp(manifest: Manifest, op: Op): void {
  const input = tensorOf(manifest, op.input)
  const output = tensorOf(manifest, op.output)
  const channels = output.shape[0] ?? 0
  let biases = 0
  switch (op.kind) {
    case 'table':
      checkTable(op, input, output)
      return
    case 'averagepool':
    case 'conv': {
      if (input.shape.length !== 3) refuse('SHAPE', `${op.name}: needs an input of shape [channels, height, width]`)
      if (op.kind === 'averagepool' && input.shape[0] !== channels)
        refuse('SHAPE', `${op.name}: pooling keeps the channels`)
      if (op.kind === 'conv' && (input.shape[0]! % op.groups !== 0 || channels % op.groups !== 0))
        refuse('SHAPE', `${op.name}: channels are not divisible by ${op.groups} groups`)
      if (!sameShape(output.shape, windowShape(op, input.shape, channels)))
        refuse('SHAPE', `${op.name}: the window does not give the output shape`)
      if (op.kind === 'averagepool') return
      biases = channels
      break
    }
    case 'gemm': {
      if (
        input.shape.length < 1 ||
        !sameShape(input.shape.slice(0, -1), output.shape.slice(0, -1)) ||
        output.shape.length < 1
      )
        refuse('SHAPE', `${op.name}: input and output must agree in all but the last axis`)
      biases = output.shape.at(-1)!
      break
    }
  }
  checkSlice(manifest, op.weights, biases * tapsPerOutput(manifest, op), 4, `${op.name} weights`)
  checkSlice(manifest, op.biases, biases, 8, `${op.name} biases`)
}

/** Ops come after what they read; every tensor is an input, a view or written exactly once. */
function checkTopology(manifest: Manifest): void {
  const written = new Set<number>()
  const fromOps = new Set<number>()
  const write = (tensor: number): void => {
    if (tensorOf(manifest, tensor).viewOf !== null)
      refuse('TOPOLOGY', `tensor ${tensor} is a view and cannot be written`)
    if (written.has(tensor)) refuse('TOPOLOGY', `tensor ${tensor} is written twice`)
    written.add(tensor)
  }
  const matches = (end: { tensor: number; shape: number[] }, what: string): void => {
    if (!sameShape(tensorOf(manifest, end.tensor).shape, end.shape)) refuse('SHAPE', `${what}: not its tensor's shape`)
  }
  for (const input of manifest.inputs) {
    matches(input, `input ${input.name}`)
    write(input.tensor)
  }
  for (const op of manifest.ops) {
    if (!written.has(resolveTensor(manifest, op.input)))
      refuse('TOPOLOGY', `${op.name} reads a tensor before it is written`)
    write(op.output)
    fromOps.add(op.output)
  }
  manifest.tensors.forEach((tensor, id) => {
    if (tensor.viewOf === null && !written.has(id)) refuse('TOPOLOGY', `tensor ${id} is never written`)
  })
  const served = new Set<number>()
  for (const output of manifest.outputs) {
    matches(output, `output ${output.name}`)
    const tensor = resolveTensor(manifest, output.tensor)
    if (!fromOps.has(tensor)) refuse('TOPOLOGY', `output ${output.name} is not the result of an op`)
    if (served.has(tensor)) refuse('TOPOLOGY', `output ${output.name} is the same tensor as another output`)
    served.add(tensor)
  }
  for (const ends of [manifest.inputs, manifest.outputs])
    if (new Set(ends.map((end) => end.name)).size !== ends.length)
      refuse('TOPOLOGY', 'two inputs or outputs share a name')
}

/** All that can be checked without the weights. Throws `SHAPE`, `TOPOLOGY`, `TABLE_RANGE`, `WEIGHTS_RANGE`, `WORK_COUNT`. */
export function validateStructure(manifest: Manifest): void {
  if (manifest.weights.bytes > MANIFEST_LIMITS.weightBytes)
    refuse('WEIGHTS_RANGE', `the weights file has more than ${MANIFEST_LIMITS.weightBytes} bytes`)
  checkTensors(manifest)
  checkTopology(manifest)
  for (const op of manifest.ops) {
    checkOp(manifest, op)
    if (tapsPerOutput(manifest, op) > MANIFEST_LIMITS.taps)
      refuse('SHAPE', `${op.name}: more than ${MANIFEST_LIMITS.taps} multiply-adds behind one output`)
  }
  // Each op brings its own weights: else a manifest of a few kilobytes could have one array read a thousand times over.
  const named = manifest.ops.reduce(
    (sum, op) => sum + ('weights' in op ? 4 * op.weights.count + 8 * op.biases.count : 0),
    0,
  )
  if (named > manifest.weights.bytes) refuse('WEIGHTS_RANGE', 'the ops name more weights than the file holds')
  const work = countWork(manifest)
  if (work.units !== manifest.units || work.tiles !== manifest.tiles || work.layers !== manifest.layers)
    refuse('WORK_COUNT', `units, tiles and layers must be ${work.units}, ${work.tiles} and ${work.layers}`)
}

function checkAccumulators(manifest: Manifest, op: Op, weights: Uint8Array): void {
  if (op.kind === 'table') return
  const taps = tapsPerOutput(manifest, op)
  const { w, b } = opWeights(op, weights)
  const rows = op.kind === 'averagepool' ? 1 : b.length
  for (let row = 0; row < rows; row++) {
    let sum = Math.abs(b[row]!)
    if (op.kind === 'averagepool') sum += taps * Math.abs(op.weight) * 32_768
    else for (let tap = 0; tap < taps; tap++) sum += Math.abs(w[row * taps + tap]!) * 32_768
    if (sum >= ACCUMULATOR_LIMIT)
      refuse('ACCUMULATOR_BOUND', `${op.name}: row ${row} breaks Σ|w|·2^15 + |b| < 2^47 − 2^31`)
  }
}

/**
 * Whether a manifest is fit to be evaluated and proven: structure, limits, the weights file's length and SHA-256, and the
 * accumulator bound of every row. A manifest that passes can be evaluated on any input without overflow or out-of-range
 * access. Throws the codes of `validateStructure` and `WEIGHTS_HASH`, `ACCUMULATOR_BOUND`.
 */
export function validateManifest(manifest: Manifest, weights: Uint8Array): void {
  validateStructure(manifest)
  if (weights.length !== manifest.weights.bytes || toHex(sha256(weights)).slice(2) !== manifest.weights.sha256)
    refuse('WEIGHTS_HASH', 'the weights file is not the one the manifest names')
  for (const op of manifest.ops) checkAccumulators(manifest, op, weights)
}

/** Whether `model` is the ONNX file that the manifest was made from. Throws `MODEL_HASH`. */
export function checkModel(manifest: Manifest, model: Uint8Array): void {
  if (model.length !== manifest.model.bytes || toHex(sha256(model)).slice(2) !== manifest.model.sha256)
    refuse('MODEL_HASH', 'the model file is not the one the manifest names')
}
