import { type Committer, ZERO_LEAF_BYTES } from '../../circuits/commit.ts'
import type { LeafOpening } from '../../circuits/prove.ts'
import { type Trace, traceOutputs } from '../../models/canonical.ts'
import { valueLeaf } from '../../models/limbs.ts'
import { resolveTensor } from '../../models/tiling.ts'
import { equalBytes } from '../../protocol/bytes.ts'
import type { MerkleTree } from '../../protocol/merkle.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { leafSalt, saltsOf } from '../../protocol/salt.ts'
import { type LeafRef, TREE } from '../../protocol/statement.ts'
import { ioRoot, jobRoot, jobTree, type TreeRecord } from '../../protocol/trace.ts'
import type { LoadedModel } from '../model/load.ts'
import { type Flags, sameTree, type TreeSpec, treesAt, treesOf } from './layout.ts'
import { openPacked, type PackedTree, packTree } from './packed-tree.ts'
import { commitTensor, limbsAt, limbsOfJob, type TracedTree, traceJob, treesHere } from './trace.ts'

/** Trees of one side of a job, in the manifest's order: all that committing its values needs to know of the model. */
export type SideTrees = { side: 'input' | 'output'; specs: TreeSpec[] }

export function sideTrees({ manifest }: LoadedModel, side: 'input' | 'output'): SideTrees {
  const ends = side === 'input' ? manifest.inputs : manifest.outputs
  const tree = side === 'input' ? TREE.value : TREE.served
  const specs = ends.map((end) => {
    const tensor = resolveTensor(manifest, end.tensor)
    return treesAt(manifest, tensor).find((each) => each.tree === tree)!
  })
  return { side, specs }
}

export function commitTrees(
  committer: Committer,
  { side, specs }: SideTrees,
  jobKey: Uint8Array,
  values: Int16Array[],
): Uint8Array {
  const salt = saltsOf(jobKey)
  const records = specs.map((spec, i): TreeRecord => {
    const { tensor, tree, count } = spec
    const leaves = committer.leavesBytes(count, (index) => ({
      limbs: valueLeaf(values[i]!, index),
      salt: salt(tensor, tree, index),
    }))
    return { ...spec, root: openPacked(count, packTree(leaves)).root }
  })
  return ioRoot(side, records)
}

/**
 * Root of one side of a job as the receipt names it. `values` are quantised at the manifest's exponents, one array for
 * each graph input or output in the manifest's order. Consumer and provider both compute it from the job key (32 bytes).
 */
export function commitSide(
  committer: Committer,
  model: LoadedModel,
  side: 'input' | 'output',
  jobKey: Uint8Array,
  values: Int16Array[],
): Uint8Array {
  return commitTrees(committer, sideTrees(model, side), jobKey, values)
}

/** What the prover keeps of a served job. `inputs` and `served` are quantised, in the order of the manifest's ends. */
export type ServedJob = {
  receiptHash: Uint8Array
  jobKey: Uint8Array
  inputs: Int16Array[]
  served: Int16Array[]
  /** How the job is attested. @default 'zk' */
  policy?: Policy
}

export type CommittedTree = { spec: TreeSpec; tree: PackedTree }

/** All commitments of one drawn job, and access to what they hide. */
export type CommittedJob = {
  job: ServedJob
  trees: CommittedTree[]
  /** Tree over the trees. */
  tensors: MerkleTree
  root: Uint8Array
  /** Outputs as the manifest means them, in its order. */
  canonical: Int16Array[]
  /** Poseidon, for what is committed after the challenge. */
  committer: Committer
  /** Limbs and salts behind leaves, in their order; null for the zero leaf. */
  open(refs: LeafRef[]): Promise<(LeafOpening | null)[]>
}

/** Limbs behind leaves; null for the zero leaf. */
export type Limbs = (refs: LeafRef[]) => Promise<(Uint16Array | null)[]>

/** A committed job from the trees of its trace. */
export function assembleJob(
  committer: Committer,
  model: Pick<LoadedModel, 'cid'>,
  job: ServedJob,
  { trees: traced, canonical }: { trees: TracedTree[]; canonical: Int16Array[] },
  limbs: Limbs,
): CommittedJob {
  const trees = traced.map(({ spec, nodes }): CommittedTree => ({ spec, tree: openPacked(spec.count, nodes) }))
  const tensors = jobTree(trees.map(({ spec, tree }) => ({ ...spec, root: tree.root })))
  return {
    job,
    trees,
    tensors,
    root: jobRoot(job.receiptHash, model.cid.bytes, tensors.root),
    canonical,
    committer,
    async open(refs) {
      const found = await limbs(refs)
      return refs.map(({ tensor, tree, index }, i) => {
        const each = found[i]!
        return each === null ? null : { limbs: each, salt: leafSalt(job.jobKey, tensor, tree, index) }
      })
    },
  }
}

/** Evaluates the canonical graph on a job's inputs and commits the whole trace with what was served. Holds this process meanwhile. */
export async function commitJob(committer: Committer, model: LoadedModel, job: ServedJob): Promise<CommittedJob> {
  const traced = await traceJob(treesHere(committer, job.jobKey), model, job)
  return assembleJob(committer, model, job, traced, (refs) => limbsOfJob(model, job, refs))
}

/** Commits a whole trace that already carries what was served. */
export function commitTrace(
  committer: Committer,
  model: LoadedModel,
  job: Omit<ServedJob, 'inputs' | 'served'> & Partial<ServedJob>,
  trace: Trace,
): CommittedJob {
  const { manifest } = model
  const trees = treesOf(manifest).flatMap((spec) =>
    commitTensor(committer, [spec], trace.tensors[spec.tensor]!, job.jobKey),
  )
  const served = manifest.outputs.map(({ tensor }) => trace.tensors[resolveTensor(manifest, tensor)]!.served!)
  return assembleJob(
    committer,
    model,
    { inputs: [], served, ...job },
    { trees, canonical: traceOutputs(manifest, trace) },
    async (refs) => refs.map((ref) => limbsAt(trace.tensors[ref.tensor]!, ref)),
  )
}

/** Which leaves of a committed job hold unclamped values. */
export const flagsOf =
  ({ trees }: Pick<CommittedJob, 'trees'>): Flags =>
  (tensor, leaf) => {
    const pre = trees.find(({ spec }) => sameTree(spec, { tensor, tree: TREE.pre }))
    return pre !== undefined && !equalBytes(pre.tree.leaf(2 * leaf), ZERO_LEAF_BYTES)
  }
