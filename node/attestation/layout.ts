import type { SelectedTile } from '../../models/draw.ts'
import { leafCount } from '../../models/limbs.ts'
import type { Manifest } from '../../models/manifest.ts'
import { buildStatements } from '../../models/statements.ts'
import { resolveTensor, saturates, tensorOf, tileLeaf, treesOfTensor } from '../../models/tiling.ts'
import { type LeafRef, type Statement, TREE, type Tree } from '../../protocol/statement.ts'
import type { LoadedModel } from '../model/load.ts'
import { type Demand, tilesOf } from './policy.ts'
import { leafKey, leavesOf } from './segments.ts'

/** A tree that every job of a model commits: its place in the job's root and its number of leaves. */
export type TreeSpec = { tensor: number; tree: Tree; exponent: number; shape: number[]; count: number }

const byPlace = (a: { tensor: number; tree: Tree }, b: { tensor: number; tree: Tree }): number =>
  a.tensor - b.tensor || a.tree - b.tree

export const sameTree = (a: { tensor: number; tree: Tree }, b: { tensor: number; tree: Tree }): boolean =>
  a.tensor === b.tensor && a.tree === b.tree

/** The trees that one tensor commits, by code; none for a view, which shares those of what it views. */
export function treesAt(manifest: Manifest, tensor: number): TreeSpec[] {
  const { exponent, shape, viewOf } = tensorOf(manifest, tensor)
  if (viewOf !== null) return []
  return treesOfTensor(manifest, tensor).map((tree) => ({
    tensor,
    tree,
    exponent,
    shape,
    count: leafCount(manifest, tensor, tree),
  }))
}

/** All trees of a job in (tensor, tree) order. */
export const treesOf = (manifest: Manifest): TreeSpec[] =>
  manifest.tensors.flatMap((_, tensor) => treesAt(manifest, tensor)).sort(byPlace)

/** Whether a tree's root is part of the receipt, and so is opened whatever is drawn. */
function ofReceipt(manifest: Manifest, { tensor, tree }: { tensor: number; tree: Tree }): boolean {
  if (tree === TREE.served) return true
  return tree === TREE.value && manifest.inputs.some((input) => resolveTensor(manifest, input.tensor) === tensor)
}

/**
 * Both `pre` leaves of each leaf in which a selected tile lies, of ops whose results can saturate: whether they are zero says
 * whether something in the leaf did. In the order of the selection; tiles that share a leaf share its flag.
 */
export function flagLeaves(manifest: Manifest, selected: SelectedTile[]): LeafRef[] {
  const refs = new Map<string, LeafRef>()
  for (const { op, tile } of selected) {
    const drawn = manifest.ops[op]!
    if (!saturates(manifest, drawn)) continue
    for (const half of [0, 1]) {
      const ref: LeafRef = { tensor: drawn.output, tree: TREE.pre, index: 2 * tileLeaf(drawn, tile) + half }
      refs.set(leafKey(ref), ref)
    }
  }
  return [...refs.values()]
}

/** Leaves that the statements speak of, beside those already opened as flags; in (tensor, tree, index) order. */
function statementLeaves(statements: Statement[]): LeafRef[] {
  const refs = new Map<string, LeafRef>()
  for (const ref of statements.flatMap(leavesOf)) if (ref.tree !== TREE.pre) refs.set(leafKey(ref), ref)
  return [...refs.values()].sort((a, b) => byPlace(a, b) || a.index - b.index)
}

/** What one drawn job opens and proves, in the order in which it travels. The same for prover and verifiers. */
export type JobPlan = {
  selected: SelectedTile[]
  /** Flag leaves first, then the statements' leaves. */
  leaves: LeafRef[]
  trees: TreeSpec[]
  statements: Statement[]
}

/** Whether a leaf of an op's output commits unclamped values. */
export type Flags = (tensor: number, leaf: number) => boolean

/**
 * The plan that a challenge gives for a job under the policies that prove. `flags` says of the leaves of drawn tiles
 * whether something in them saturated; `concede` leaves the tolerance statements out.
 */
export function planJob(model: LoadedModel, demand: Demand, flags: Flags, concede: boolean): JobPlan {
  const { manifest, weights } = model
  const selected = tilesOf(manifest, demand)
  const all = buildStatements(manifest, weights, selected, flags, demand.challenge.rho)
  const statements = concede ? all.filter((statement) => statement.op >= 0) : all
  const leaves = [...flagLeaves(manifest, selected), ...statementLeaves(statements)]
  const opened = new Set(leaves.map(({ tensor, tree }) => `${tensor}/${tree}`))
  const trees = treesOf(manifest).filter(
    (spec) => ofReceipt(manifest, spec) || opened.has(`${spec.tensor}/${spec.tree}`),
  )
  return { selected, leaves, trees, statements }
}
