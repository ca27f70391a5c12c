import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS } from '../protocol/statement.ts'
import { isLinear, type Manifest, type ManifestTensor, type Op } from './manifest.ts'

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

/** Tiles of an op: one per leaf of its output. */
export const opTiles = (manifest: Manifest, op: Op): number =>
  leavesFor(elementCount(tensorOf(manifest, op.output).shape))

/** Output size of a window along one padded axis; 0 or less when the window does not fit. */
export function windowOutputs(
  size: number,
  before: number,
  after: number,
  kernel: number,
  stride: number,
  dilation: number,
): number {
  return Math.floor((size + before + after - (dilation * (kernel - 1) + 1)) / stride) + 1
}

/** Multiply-adds behind one output element; a table costs one. */
export function tapsPerOutput(manifest: Manifest, op: Op): number {
  const input = tensorOf(manifest, op.input).shape
  switch (op.kind) {
    case 'conv':
      return (input[0]! / op.groups) * op.kernel[0] * op.kernel[1]
    case 'gemm':
      return input.at(-1)!
    case 'averagepool':
      return op.kernel[0] * op.kernel[1]
    case 'table':
      return 1
  }
}

/** Units (multiply-adds), tiles T and ops L of a manifest's graph. */
export function countWork(manifest: Manifest): { units: number; tiles: number; layers: number } {
  let units = 0
  let tiles = 0
  for (const op of manifest.ops) {
    units += elementCount(tensorOf(manifest, op.output).shape) * tapsPerOutput(manifest, op)
    tiles += opTiles(manifest, op)
  }
  return { units, tiles, layers: manifest.ops.length }
}

/** Per tensor: whether a linear op writes it, and so whether it has remainders and may have unclamped pairs. */
export const isLinearOutput = (manifest: Manifest, tensor: number): boolean =>
  manifest.ops.some((op) => op.output === tensor && isLinear(op))

/** Index of the graph output that this (resolved) tensor is, or −1. */
export const outputIndex = (manifest: Manifest, tensor: number): number =>
  manifest.outputs.findIndex((output) => resolveTensor(manifest, output.tensor) === tensor)
