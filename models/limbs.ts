import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS, type LeafRef, TREE, type Tree } from '../protocol/statement.ts'
import type { TensorTrace, Trace } from './canonical.ts'
import type { Manifest } from './manifest.ts'
import { elementCount, isLinearOutput, leavesFor, outputIndex, resolveTensor, tensorOf } from './tiling.ts'

/** Signed 16-bit values are committed in offset binary: limb = value + 2^15. */
export const LIMB_OFFSET = 32_768

/**
 * Number of leaves in one tree of a tensor. A view has the trees of the tensor it views.
 * Trees that a tensor does not have count 0: `rem` and `pre` unless a linear op writes it, `served` unless it is an output.
 */
export function leafCount(manifest: Manifest, tensor: number, tree: Tree): number {
  const id = resolveTensor(manifest, tensor)
  const leaves = leavesFor(elementCount(tensorOf(manifest, id).shape))
  switch (tree) {
    case TREE.value:
      return leaves
    case TREE.rem:
      return isLinearOutput(manifest, id) ? leaves : 0
    case TREE.pre:
      return isLinearOutput(manifest, id) ? 2 * leaves : 0
    case TREE.served:
      return outputIndex(manifest, id) >= 0 ? leaves : 0
  }
}

function fill(source: ArrayLike<number>, first: number, limb: (value: number) => number): Uint16Array {
  const out = new Uint16Array(LEAF_LIMBS)
  const end = Math.min(first + LEAF_LIMBS, source.length)
  for (let i = first; i < end; i++) out[i - first] = limb(source[i]!)
  return out
}

const signed = (value: number): number => value + LIMB_OFFSET

/** Unclamped values v = pre + 2^15 as two limbs: lo = v mod 2^16 and hi = floor(v / 2^16) + 2^15. */
const low = (pre: number): number => (pre + LIMB_OFFSET) & 0xffff
const high = (pre: number): number => Math.floor((pre + LIMB_OFFSET) / 65_536) + LIMB_OFFSET

function treeLimbs(tensor: TensorTrace, { tree, index }: LeafRef): Uint16Array | null | undefined {
  const first = index * LEAF_LIMBS
  const inside = index >= 0 && first < tensor.value.length
  switch (tree) {
    case TREE.value:
      return inside ? fill(tensor.value, first, signed) : undefined
    case TREE.rem:
      return inside && tensor.rem !== null ? fill(tensor.rem, first, (rem) => rem) : undefined
    case TREE.pre: {
      const tile = Math.floor(index / 2)
      if (tensor.pre === null || tensor.flagged?.[tile] === undefined) return undefined
      return tensor.flagged[tile] === 0 ? null : fill(tensor.pre, tile * LEAF_LIMBS, index % 2 === 0 ? low : high)
    }
    case TREE.served:
      return inside && tensor.served !== null ? fill(tensor.served, first, signed) : undefined
  }
}

/**
 * The 64 limbs of one committed leaf; positions past the end of the tensor are 0.
 * Null for the `pre` leaves of a tile in which nothing saturated: those slots hold ZERO_LEAF.
 * Throws `NO_SUCH_LEAF` for a leaf that the trace does not have.
 */
export function leafLimbs(manifest: Manifest, trace: Trace, ref: LeafRef): Uint16Array | null {
  const tensor = trace.tensors[resolveTensor(manifest, ref.tensor)]
  const limbs = tensor === null || tensor === undefined ? undefined : treeLimbs(tensor, ref)
  if (limbs === undefined)
    throw new SinterError('NO_SUCH_LEAF', `tensor ${ref.tensor} has no leaf ${ref.index} in tree ${ref.tree}`)
  return limbs
}

/** Whether tile `tile` of a linear op's output is flagged in the trace, the form that `buildStatements` asks for. */
export const flagsOf =
  (manifest: Manifest, trace: Trace) =>
  (tensor: number, tile: number): boolean =>
    trace.tensors[resolveTensor(manifest, tensor)]?.flagged?.[tile] === 1

/** Leaf `index` of a tensor's value or served tree, from its signed values; positions past the end are limb 0. */
export const valueLeaf = (values: Int16Array, index: number): Uint16Array => fill(values, index * LEAF_LIMBS, signed)
