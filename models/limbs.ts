import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS, type LeafRef, TREE, type Tree } from '../protocol/statement.ts'
import type { TensorTrace, Trace } from './canonical.ts'
import type { Manifest } from './manifest.ts'
import { elementCount, leavesFor, resolveTensor, tensorOf, treesOfTensor } from './tiling.ts'

/** Signed 16-bit values are committed in offset binary: limb = value + 2^15. */
export const LIMB_OFFSET = 32_768

/** 32-bit values likewise: value + 2^31 = high · 2^16 + low. */
export const WIDE_OFFSET = 2 ** 31

/**
 * Number of leaves in one tree of a tensor. A view has the trees of the tensor it views. Trees that a tensor does not have
 * count 0; `pre` has two leaves, low and high, for each of the others.
 */
export function leafCount(manifest: Manifest, tensor: number, tree: Tree): number {
  const id = resolveTensor(manifest, tensor)
  if (!treesOfTensor(manifest, id).includes(tree)) return 0
  const leaves = leavesFor(elementCount(tensorOf(manifest, id).shape))
  return tree === TREE.pre ? 2 * leaves : leaves
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

const wideLow = (value: number): number => (value + WIDE_OFFSET) % 65_536
const wideHigh = (value: number): number => Math.floor((value + WIDE_OFFSET) / 65_536)

/**
 * The 64 limbs of one leaf of a tensor; positions past its end are 0. Null for the `pre` leaves of a leaf in which nothing
 * saturated; undefined where there is no such leaf.
 */
export function tensorLeaf(tensor: TensorTrace, tree: Tree, index: number): Uint16Array | null | undefined {
  const first = index * LEAF_LIMBS
  if (index < 0) return undefined
  if (tree === TREE.pre) {
    const leaf = Math.floor(index / 2)
    if (tensor.pre === null || tensor.flagged?.[leaf] === undefined) return undefined
    return tensor.flagged[leaf] === 0 ? null : fill(tensor.pre, leaf * LEAF_LIMBS, index % 2 === 0 ? low : high)
  }
  if (first >= tensor.value.length) return undefined
  const plain = (limbs: Uint16Array | null): Uint16Array | undefined =>
    limbs === null ? undefined : fill(limbs, first, (limb) => limb)
  const wide = tensor.value instanceof Int32Array
  switch (tree) {
    case TREE.value:
      return fill(tensor.value, first, wide ? wideLow : signed)
    case TREE.high:
      return wide ? fill(tensor.value, first, wideHigh) : undefined
    case TREE.served:
      return tensor.served === null ? undefined : fill(tensor.served, first, signed)
    case TREE.rem:
      return plain(tensor.rem)
    case TREE.remHigh:
      return plain(tensor.remHigh)
    case TREE.slack:
      return plain(tensor.slack)
    case TREE.slackHigh:
      return plain(tensor.slackHigh)
  }
}

/**
 * The 64 limbs of one committed leaf; positions past the end of the tensor are 0.
 * Null for the `pre` leaves of a tile in which nothing saturated: those slots hold ZERO_LEAF.
 * Throws `NO_SUCH_LEAF` for a leaf that the trace does not have.
 */
export function leafLimbs(manifest: Manifest, trace: Trace, ref: LeafRef): Uint16Array | null {
  const tensor = trace.tensors[resolveTensor(manifest, ref.tensor)]
  const limbs = tensor === null || tensor === undefined ? undefined : tensorLeaf(tensor, ref.tree, ref.index)
  if (limbs === undefined)
    throw new SinterError('NO_SUCH_LEAF', `tensor ${ref.tensor} has no leaf ${ref.index} in tree ${ref.tree}`)
  return limbs
}

/** Whether a leaf of an op's output is flagged in the trace, the form that `buildStatements` asks for. */
export const flagsOf =
  (manifest: Manifest, trace: Trace) =>
  (tensor: number, leaf: number): boolean =>
    trace.tensors[resolveTensor(manifest, tensor)]?.flagged?.[leaf] === 1

/** Leaf `index` of a tensor's value or served tree, from its signed values; positions past the end are limb 0. */
export const valueLeaf = (values: Int16Array, index: number): Uint16Array => fill(values, index * LEAF_LIMBS, signed)
