import { toHex } from '../protocol/bytes.ts'
import { sha256 } from '../protocol/hash.ts'
import { int32Slice } from './access.ts'
import { checkBounds, checkBoundWork, refuse } from './bounds.ts'
import {
  MANIFEST_LIMITS,
  type Manifest,
  type Op,
  type Operand,
  type Slice,
  type Strided,
  type TableOp,
} from './manifest.ts'
import {
  countWork,
  elementCount,
  inputsOf,
  operandsOf,
  reducedLoops,
  resolveTensor,
  tapsPerOutput,
  tensorOf,
} from './tiling.ts'

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
    if (source.exponent !== tensor.exponent || source.bits !== tensor.bits)
      refuse('SHAPE', `tensor ${id} is a view with another exponent or width`)
  })
  if (total > MANIFEST_LIMITS.totalElements)
    refuse('SHAPE', `the tensors have more than ${MANIFEST_LIMITS.totalElements} elements together`)
}

function checkSlice(manifest: Manifest, slice: Slice, width: number, what: string): void {
  if (slice.offset % width !== 0) refuse('WEIGHTS_RANGE', `${what}: offset not aligned to ${width} bytes`)
  if (slice.offset + slice.count * width > manifest.weights.bytes)
    refuse('WEIGHTS_RANGE', `${what}: outside the weights file`)
}

/** A strided array has a stride for each loop and no point of the loops outside of it. */
function checkStrided(manifest: Manifest, array: Strided, loops: number[], width: number, what: string): void {
  checkSlice(manifest, array, width, what)
  if (array.strides.length !== loops.length)
    refuse('SHAPE', `${what}: ${array.strides.length} strides for ${loops.length} loops`)
  const last = array.strides.reduce((sum, stride, loop) => sum + stride * (loops[loop]! - 1), 0)
  if (last >= array.count) refuse('WEIGHTS_RANGE', `${what}: its strides leave the array`)
}

/** Positions on an axis must stay integers that float64 and 32 bits hold. */
const REACH = 2 ** 31

function checkOperand(manifest: Manifest, operand: Operand, loops: number[], what: string): void {
  const { shape } = tensorOf(manifest, operand.tensor)
  if (operand.axes.length !== shape.length)
    refuse('SHAPE', `${what}: ${operand.axes.length} axes for rank ${shape.length}`)
  operand.axes.forEach(({ coefs, offset, table }, axis) => {
    if (coefs.length !== loops.length)
      refuse('SHAPE', `${what}: axis ${axis} has ${coefs.length} coefficients for ${loops.length} loops`)
    const reach = coefs.reduce((sum, coef, loop) => sum + Math.abs(coef) * (loops[loop]! - 1), Math.abs(offset))
    if (reach >= REACH) refuse('SHAPE', `${what}: axis ${axis} reaches too far`)
    if (table !== null) checkSlice(manifest, table, 4, `${what}: table of axis ${axis}`)
  })
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

function checkTable(manifest: Manifest, op: TableOp): void {
  const input = tensorOf(manifest, op.input)
  const output = tensorOf(manifest, op.output)
  if (!sameShape(input.shape, output.shape)) refuse('SHAPE', `${op.name}: a table keeps its input's shape`)
  if (input.bits !== 16 || output.bits !== 16) refuse('SHAPE', `${op.name}: a table takes and gives 16 bits`)
  const { min, max } = tableRange(op.knots)
  if (min < -32_768 || max > 32_767) refuse('TABLE_RANGE', `${op.name}: the table leaves the range of 16 signed bits`)
}

/** Largest window of one extremum: it has to fit in a segment beside others. Larger reductions are trees of windows. */
export const MAX_WINDOW = 64

function checkOp(manifest: Manifest, op: Op): void {
  if (op.kind === 'table') {
    checkTable(manifest, op)
    return
  }
  const { shape, bits } = tensorOf(manifest, op.output)
  const reduced = reducedLoops(op)
  operandsOf(op).forEach((operand, i) => {
    const loops = [...shape, ...(reduced[i] ?? reduced[0]!)]
    if (loops.length > MANIFEST_LIMITS.loops) refuse('SHAPE', `${op.name}: more than ${MANIFEST_LIMITS.loops} loops`)
    checkOperand(manifest, operand, loops, `${op.name} operand ${i}`)
  })
  switch (op.kind) {
    case 'linear':
      op.terms.forEach((term, i) => {
        if (typeof term.weight !== 'number')
          checkStrided(manifest, term.weight, [...shape, ...term.reduce], 4, `${op.name} weights ${i}`)
      })
      if (typeof op.bias !== 'number') checkStrided(manifest, op.bias, shape, 8, `${op.name} biases`)
      break
    case 'extremum':
      if (elementCount(op.reduce) > MAX_WINDOW)
        refuse('SHAPE', `${op.name}: a window of more than ${MAX_WINDOW} elements`)
      if (tensorOf(manifest, op.input.tensor).bits !== bits)
        refuse('SHAPE', `${op.name}: a maximum keeps its input's width`)
      break
    case 'divide':
      if (bits !== 16 || tensorOf(manifest, op.a.tensor).bits !== 16)
        refuse('SHAPE', `${op.name}: a division takes and gives 16 bits`)
      break
    case 'root':
      if (bits !== 16) refuse('SHAPE', `${op.name}: a root has 16 bits`)
      break
  }
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
    const { shape, bits } = tensorOf(manifest, end.tensor)
    if (!sameShape(shape, end.shape)) refuse('SHAPE', `${what}: not its tensor's shape`)
    if (bits !== 16) refuse('SHAPE', `${what}: inputs and outputs have 16 bits`)
  }
  for (const input of manifest.inputs) {
    matches(input, `input ${input.name}`)
    write(input.tensor)
    const { lookup, name, shape } = input
    if (lookup === null) continue
    checkSlice(manifest, lookup.table, 4, `input ${name}: its table`)
    if (shape.length < 1 || lookup.table.count !== lookup.rows * shape.at(-1)!)
      refuse('SHAPE', `input ${name}: its table has not ${lookup.rows} rows`)
  }
  for (const op of manifest.ops) {
    for (const input of inputsOf(op))
      if (!written.has(resolveTensor(manifest, input)))
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
    if (output.argmax !== null && output.argmax.axis >= output.shape.length)
      refuse('SHAPE', `output ${output.name} has no axis ${output.argmax.axis}`)
  }
  for (const ends of [manifest.inputs, manifest.outputs])
    if (new Set(ends.map((end) => end.name)).size !== ends.length)
      refuse('TOPOLOGY', 'two inputs or outputs share a name')
}

/** Bytes of the weights file that an op names. */
function namedBytes(op: Op): number {
  let bytes = 0
  for (const operand of operandsOf(op)) for (const { table } of operand.axes) bytes += 4 * (table?.count ?? 0)
  if (op.kind === 'linear') {
    for (const { weight } of op.terms) if (typeof weight !== 'number') bytes += 4 * weight.count
    if (typeof op.bias !== 'number') bytes += 8 * op.bias.count
  }
  return bytes
}

/** All that can be checked without the weights. Throws `SHAPE`, `TOPOLOGY`, `TABLE_RANGE`, `WEIGHTS_RANGE`, `WORK_COUNT`. */
export function validateStructure(manifest: Manifest): void {
  if (manifest.weights.bytes > MANIFEST_LIMITS.weightBytes)
    refuse('WEIGHTS_RANGE', `the weights file has more than ${MANIFEST_LIMITS.weightBytes} bytes`)
  checkTensors(manifest)
  checkTopology(manifest)
  for (const op of manifest.ops) {
    checkOp(manifest, op)
    if (tapsPerOutput(op) > MANIFEST_LIMITS.taps)
      refuse('SHAPE', `${op.name}: more than ${MANIFEST_LIMITS.taps} multiply-adds behind one output`)
  }
  // Each op brings its own weights: else a manifest of a few kilobytes could have one array read a thousand times over.
  const named =
    manifest.ops.reduce((sum, op) => sum + namedBytes(op), 0) +
    manifest.inputs.reduce((sum, { lookup }) => sum + 4 * (lookup?.table.count ?? 0), 0)
  if (named > manifest.weights.bytes) refuse('WEIGHTS_RANGE', 'the ops name more weights than the file holds')
  const work = countWork(manifest)
  if (work.units > MANIFEST_LIMITS.multiplyAdds) refuse('WORK_COUNT', `more than ${MANIFEST_LIMITS.multiplyAdds} units`)
  if (work.units !== manifest.units || work.tiles !== manifest.tiles || work.layers !== manifest.layers)
    refuse('WORK_COUNT', `units, tiles and layers must be ${work.units}, ${work.tiles} and ${work.layers}`)
}

/** Rows of an embedding are values of the input tensor. */
function checkLookups(manifest: Manifest, weights: Uint8Array): void {
  for (const { name, lookup } of manifest.inputs)
    if (lookup !== null && int32Slice(weights, lookup.table).some((value) => value < -32_768 || value > 32_767))
      refuse('WEIGHTS_RANGE', `input ${name}: its table holds a number beyond 16 bits`)
}

function* validation(manifest: Manifest, weights: Uint8Array): Generator<void> {
  validateStructure(manifest)
  if (weights.length !== manifest.weights.bytes || toHex(sha256(weights)).slice(2) !== manifest.weights.sha256)
    refuse('WEIGHTS_HASH', 'the weights file is not the one the manifest names')
  checkLookups(manifest, weights)
  checkBoundWork(manifest)
  for (const op of manifest.ops) {
    yield* checkBounds(manifest, op, weights)
    yield
  }
}

/**
 * Whether a manifest is fit to be evaluated and proven: structure, limits, the weights file's length and SHA-256, and the
 * bounds of every accumulator. A manifest that passes can be evaluated on any input without overflow or out-of-range
 * access. Throws the codes of `validateStructure` and `WEIGHTS_HASH`, `ACCUMULATOR_BOUND`, `DIVISOR_BOUND`.
 */
export function validateManifest(manifest: Manifest, weights: Uint8Array): void {
  for (const _step of validation(manifest, weights));
}

/** Milliseconds after which others have their turn. */
const TURN_MS = 10

/** The same for a manifest of a stranger: bounds may take seconds, in which the process goes on with other things. */
export async function validateInTurns(manifest: Manifest, weights: Uint8Array): Promise<void> {
  let since = performance.now()
  for (const _step of validation(manifest, weights)) {
    if (performance.now() - since < TURN_MS) continue
    await new Promise((resolve) => setTimeout(resolve, 0))
    since = performance.now()
  }
}

/** Whether `model` is the ONNX file that the manifest was made from. Throws `MODEL_HASH`. */
export function checkModel(manifest: Manifest, model: Uint8Array): void {
  if (model.length !== manifest.model.bytes || toHex(sha256(model)).slice(2) !== manifest.model.sha256)
    refuse('MODEL_HASH', 'the model file is not the one the manifest names')
}
