import { type SelectedTile, selectTiles } from '../../models/draw.ts'
import { isLinear, type Manifest } from '../../models/manifest.ts'
import { buildStatements } from '../../models/statements.ts'
import { elementCount, leavesFor, resolveTensor, tensorOf } from '../../models/tiling.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import { type LeafRef, type Statement, TREE, type Tree } from '../../protocol/statement.ts'
import type { LoadedModel } from '../model/load.ts'

/** A tree that every job of a model commits: its place in the job's root and its number of leaves. */
export type TreeSpec = { tensor: number; tree: Tree; exponent: number; shape: number[]; count: number }

const byPlace = (a: { tensor: number; tree: Tree }, b: { tensor: number; tree: Tree }): number =>
  a.tensor - b.tensor || a.tree - b.tree

export const sameTree = (a: { tensor: number; tree: Tree }, b: { tensor: number; tree: Tree }): boolean =>
  a.tensor === b.tensor && a.tree === b.tree

/**
 * All trees of a job in (tensor, tree) order: inputs have `value`; op outputs `value`, and if linear `rem` and `pre`; graph
 * outputs `served` besides. Views share the trees of what they view.
 */
export function treesOf(manifest: Manifest): TreeSpec[] {
  const specs = new Map<string, TreeSpec>()
  const add = (id: number, tree: Tree): void => {
    const tensor = resolveTensor(manifest, id)
    const { exponent, shape } = tensorOf(manifest, tensor)
    const leaves = leavesFor(elementCount(shape))
    specs.set(`${tensor}/${tree}`, { tensor, tree, exponent, shape, count: tree === TREE.pre ? 2 * leaves : leaves })
  }
  for (const input of manifest.inputs) add(input.tensor, TREE.value)
  for (const op of manifest.ops) {
    add(op.output, TREE.value)
    if (isLinear(op)) {
      add(op.output, TREE.rem)
      add(op.output, TREE.pre)
    }
  }
  for (const output of manifest.outputs) add(output.tensor, TREE.served)
  return [...specs.values()].sort(byPlace)
}

/** Whether a tree's root is part of the receipt, and so is opened whatever is drawn. */
function ofReceipt(manifest: Manifest, { tensor, tree }: { tensor: number; tree: Tree }): boolean {
  if (tree === TREE.served) return true
  return tree === TREE.value && manifest.inputs.some((input) => resolveTensor(manifest, input.tensor) === tensor)
}

/** The pair of `pre` leaves of each drawn linear tile: whether they are zero says whether the tile saturated. */
export function flagLeaves(manifest: Manifest, selected: SelectedTile[]): LeafRef[] {
  return selected.flatMap(({ op, tile }) => {
    const drawn = manifest.ops[op]!
    if (!isLinear(drawn)) return []
    const tensor = resolveTensor(manifest, drawn.output)
    return [0, 1].map((half) => ({ tensor, tree: TREE.pre, index: 2 * tile + half }))
  })
}

/** Leaves that the statements speak of, beside those already opened as flags; in (tensor, tree, index) order. */
function statementLeaves(statements: Statement[]): LeafRef[] {
  const refs = new Map<string, LeafRef>()
  const add = (ref: LeafRef | null): void => {
    if (ref !== null && ref.tree !== TREE.pre) refs.set(leafKey(ref), ref)
  }
  for (const statement of statements) {
    if (statement.kind === 'relation') for (const term of statement.terms) add(term.leaf)
    else for (const ref of [statement.a, statement.b, statement.hi]) add(ref)
  }
  return [...refs.values()].sort((a, b) => byPlace(a, b) || a.index - b.index)
}

export const leafKey = ({ tensor, tree, index }: LeafRef): string => `${tensor}/${tree}/${index}`

/** What one drawn job opens and proves, in the order in which it travels. The same for prover and verifiers. */
export type JobPlan = {
  selected: SelectedTile[]
  /** Flag leaves first, then the statements' leaves. */
  leaves: LeafRef[]
  trees: TreeSpec[]
  statements: Statement[]
}

/**
 * The plan that a challenge gives for a job. `flagged` says of a drawn linear tile whether it saturated; `concede`
 * leaves the tolerance statements out.
 */
export function planJob(
  model: LoadedModel,
  challenge: JobChallenge,
  tileDraws: number,
  flagged: (ref: { tensor: number; tile: number }) => boolean,
  concede: boolean,
): JobPlan {
  const { manifest, weights } = model
  const selected = selectTiles(manifest, challenge.random, tileDraws)
  const all = buildStatements(manifest, weights, selected, (tensor, tile) => flagged({ tensor, tile }), challenge.rho)
  const statements = concede ? all.filter((statement) => statement.op >= 0) : all
  const leaves = [...flagLeaves(manifest, selected), ...statementLeaves(statements)]
  const trees = treesOf(manifest).filter(
    (spec) => ofReceipt(manifest, spec) || leaves.some((ref) => sameTree(ref, spec)),
  )
  return { selected, leaves, trees, statements }
}
