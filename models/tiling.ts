import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS, TREE, type Tree } from '../protocol/statement.ts'
import type { Manifest, ManifestTensor, Op, Operand } from './manifest.ts'

/** Number of elements of a shape; 1 for a scalar. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1)

/** Number of 64-element leaves that hold `elements` values. */
export const leavesFor = (elements: number): number => Math.ceil(elements / LEAF_LIMBS)

export function tensorOf(manifest: Manifest, id: number): ManifestTensor {
  const tensor = manifest.tensors[id]
  if (tensor === undefined) throw new SinterError('TOPOLOGY', `there is no tensor ${id}`)
  return tensor
}

/** The tensor that really holds the data: views allocate nothing. */
export const resolveTensor = (manifest: Manifest, id: number): number => tensorOf(manifest, id).viewOf ?? id

/** Elements of an op's output per tile. */
export const tileSize = (op: Op): number => (op.kind === 'table' ? LEAF_LIMBS : op.tile)

/** Tiles of an op: runs of `tileSize` elements of its output. */
export const opTiles = (manifest: Manifest, op: Op): number =>
  Math.ceil(elementCount(tensorOf(manifest, op.output).shape) / tileSize(op))

/** The leaf of the output in which a tile lies. */
export const tileLeaf = (op: Op, tile: number): number => Math.floor((tile * tileSize(op)) / LEAF_LIMBS)

/** First element of a tile and the one after its last. */
export function tileRange(manifest: Manifest, op: Op, tile: number): { first: number; end: number } {
  const first = tile * tileSize(op)
  return { first, end: Math.min(first + tileSize(op), elementCount(tensorOf(manifest, op.output).shape)) }
}

/** Extents of the loops over which one output element is computed; one list per term of a linear op. */
export function reducedLoops(op: Op): number[][] {
  switch (op.kind) {
    case 'linear':
      return op.terms.map((term) => term.reduce)
    case 'product':
    case 'extremum':
      return [op.reduce]
    default:
      return [[]]
  }
}

/** Tensors that an op reads, as named: views unresolved. */
export function operandsOf(op: Op): Operand[] {
  switch (op.kind) {
    case 'linear':
      return op.terms
    case 'product':
    case 'divide':
      return [op.a, op.b]
    case 'extremum':
    case 'root':
      return [op.input]
    case 'table':
      return []
  }
}

/** Ids of the tensors that an op reads, views unresolved. */
export const inputsOf = (op: Op): number[] =>
  op.kind === 'table' ? [op.input] : operandsOf(op).map(({ tensor }) => tensor)

/** Multiply-adds behind one output element; ops that multiply nothing count one per element they look at. */
export const tapsPerOutput = (op: Op): number => reducedLoops(op).reduce((sum, loops) => sum + elementCount(loops), 0)

/** Units (multiply-adds), tiles T and ops L of a manifest's graph. */
export function countWork(manifest: Pick<Manifest, 'ops' | 'tensors'>): {
  units: number
  tiles: number
  layers: number
} {
  let units = 0
  let tiles = 0
  for (const op of manifest.ops) {
    units += elementCount(tensorOf(manifest as Manifest, op.output).shape) * tapsPerOutput(op)
    tiles += opTiles(manifest as Manifest, op)
  }
  return { units, tiles, layers: manifest.ops.length }
}

/** Whether an op's results can leave 16 bits, and so whether saturated tiles commit their unclamped values. */
export const saturates = (manifest: Manifest, op: Op): boolean =>
  (op.kind === 'linear' || op.kind === 'product' || op.kind === 'divide') && tensorOf(manifest, op.output).bits === 16

/** Whether a division's remainders take two limbs: its divisor has 32 bits. */
export const wideDivisor = (manifest: Manifest, op: Extract<Op, { kind: 'divide' }>): boolean =>
  tensorOf(manifest, op.b.tensor).bits === 32

/** Trees that the output of an op commits besides `value` and `high`. */
function treesOfOp(manifest: Manifest, op: Op): Tree[] {
  const pre = saturates(manifest, op) ? [TREE.pre] : []
  switch (op.kind) {
    case 'linear':
    case 'product':
      return [...(op.drop >= 1 ? [TREE.rem] : []), ...(op.drop === 2 ? [TREE.remHigh] : []), ...pre]
    case 'divide':
      return [TREE.rem, TREE.slack, ...(wideDivisor(manifest, op) ? [TREE.remHigh, TREE.slackHigh] : []), ...pre]
    case 'root':
      return [TREE.rem, TREE.remHigh, TREE.slack, TREE.slackHigh]
    default:
      return []
  }
}

/** The op that writes each tensor, by tensor id; built once per manifest. */
const writers = new WeakMap<Manifest, Map<number, Op>>()

/** The op whose output a (resolved) tensor is, or undefined for a graph input. */
export function writerOf(manifest: Manifest, tensor: number): Op | undefined {
  let known = writers.get(manifest)
  if (known === undefined) {
    known = new Map(manifest.ops.map((op) => [op.output, op]))
    writers.set(manifest, known)
  }
  return known.get(tensor)
}

/** Index of the graph output that this (resolved) tensor is, or −1. */
export const outputIndex = (manifest: Manifest, tensor: number): number =>
  manifest.outputs.findIndex((output) => resolveTensor(manifest, output.tensor) === tensor)

/** All trees that a tensor which is not a view commits, by ascending code. */
export function treesOfTensor(manifest: Manifest, tensor: number): Tree[] {
  const op = writerOf(manifest, tensor)
  const trees: Tree[] = [
    TREE.value,
    ...(tensorOf(manifest, tensor).bits === 32 ? [TREE.high] : []),
    ...(op === undefined ? [] : treesOfOp(manifest, op)),
    ...(outputIndex(manifest, tensor) >= 0 ? [TREE.served] : []),
  ]
  return trees.sort((a, b) => a - b)
}
