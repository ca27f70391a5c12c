import { contractionWork, type Moves, planContraction, type Work } from './contraction.ts'
import type { Manifest, Op, Operand, Slice, Strided } from './manifest.ts'
import { elementCount, inputsOf, operandsOf, resolveTensor, tensorOf } from './tiling.ts'

/** Multiply-adds that an element costs beside those that make it: a table, a division, dropping limbs. */
const ELEMENT = 64
/** Multiply-adds of looking at one element of a window. */
const TAP = 32
/** Bytes behind one output element while its op is computed: accumulator, result in two forms, four limbs, index. */
const ELEMENT_BYTES = 8 + 4 + 4 + 8 + 4

const operandMoves =
  ({ axes }: Operand): Moves =>
  (loop) =>
    axes.some(({ coefs }) => coefs[loop] !== 0)

const weightMoves =
  (weight: number | Strided): Moves =>
  (loop) =>
    typeof weight !== 'number' && weight.strides[loop] !== 0

const sum = (parts: Work[]): Work => ({
  work: parts.reduce((total, { work }) => total + work, 0),
  bytes: parts.reduce((total, { bytes }) => total + bytes, 0),
})

/** Arrays of the weights file are copied to be read. */
const copied = (slice: Slice | null | number, width: number): number =>
  slice === null || typeof slice === 'number' ? 0 : width * slice.count

const tables = (operand: Operand): number => operand.axes.reduce((total, { table }) => total + copied(table, 4), 0)

/** One op's work; bytes beside the tensors that it reads. */
function opWork(manifest: Manifest, op: Op): Work {
  const { shape } = tensorOf(manifest, op.output)
  const elements = elementCount(shape)
  const own = { work: ELEMENT * elements, bytes: ELEMENT_BYTES * elements }
  const read = { work: 0, bytes: operandsOf(op).reduce((total, operand) => total + tables(operand), 0) }
  switch (op.kind) {
    case 'linear': {
      const terms = op.terms.map((term): Work => {
        const loops = [...shape, ...term.reduce]
        const plan = planContraction(operandMoves(term), weightMoves(term.weight), loops, shape.length)
        const { work, bytes } = contractionWork(plan, loops)
        return { work, bytes: bytes + copied(term.weight, 4) }
      })
      // Terms come one after the other.
      const most = Math.max(...terms.map(({ bytes }) => bytes))
      return sum([own, read, { work: sum(terms).work, bytes: most + copied(op.bias, 16) }])
    }
    case 'product': {
      const loops = [...shape, ...op.reduce]
      return sum([
        own,
        read,
        contractionWork(planContraction(operandMoves(op.a), operandMoves(op.b), loops, shape.length), loops),
      ])
    }
    case 'extremum':
      return sum([own, read, { work: TAP * elements * elementCount(op.reduce), bytes: 0 }])
    case 'divide':
    case 'root':
      // Both operands and remainders, in float64.
      return sum([own, read, { work: 0, bytes: 40 * elements }])
    case 'table':
      return own
  }
}

/**
 * Bound on evaluating a manifest as canonical.ts does, from the manifest alone: work over all ops, and bytes at the worst of them with
 * the tensors that are alive then. Not counted: the weights file, and what becomes of the tensors elsewhere.
 */
export function evaluationCost(manifest: Manifest): Work {
  const last = new Map<number, number>()
  manifest.ops.forEach((op, i) => {
    for (const input of inputsOf(op)) last.set(resolveTensor(manifest, input), i)
  })
  for (const { tensor } of manifest.outputs) last.set(resolveTensor(manifest, tensor), Infinity)
  const bytesOf = (tensor: number): number => {
    const { shape, bits } = tensorOf(manifest, tensor)
    return (bits / 8) * elementCount(shape)
  }
  let alive = manifest.inputs.reduce((total, { tensor }) => total + bytesOf(tensor), 0)
  let [work, bytes] = [0, alive]
  manifest.ops.forEach((op, i) => {
    const each = opWork(manifest, op)
    work += each.work
    bytes = Math.max(bytes, alive + each.bytes)
    if (last.has(op.output)) alive += bytesOf(op.output)
    for (const tensor of new Set(inputsOf(op).map((input) => resolveTensor(manifest, input))))
      if (last.get(tensor) === i) alive -= bytesOf(tensor)
  })
  return { work, bytes }
}
