import { type Committer, ZERO_LEAF } from '../../circuits/commit.ts'
import { evaluate, type Trace, withServed } from '../../models/canonical.ts'
import { leafLimbs, valueLeaf } from '../../models/limbs.ts'
import { resolveTensor } from '../../models/tiling.ts'
import { bigintToBytes } from '../../protocol/bytes.ts'
import { type MerkleTree, merkleTree } from '../../protocol/merkle.ts'
import { leafSalt } from '../../protocol/salt.ts'
import { type LeafRef, TREE } from '../../protocol/statement.ts'
import { ioRoot, jobRoot, jobTree, type TreeRecord } from '../../protocol/trace.ts'
import type { LoadedModel } from '../model/load.ts'
import { type TreeSpec, treesOf } from './layout.ts'

export const ZERO_LEAF_BYTES = bigintToBytes(ZERO_LEAF, 32)

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
  const { manifest } = model
  const ends = side === 'input' ? manifest.inputs : manifest.outputs
  const tree = side === 'input' ? TREE.value : TREE.served
  const specs = treesOf(manifest)
  const records = ends.map((end, i): TreeRecord => {
    const tensor = resolveTensor(manifest, end.tensor)
    const spec = specs.find((each) => each.tensor === tensor && each.tree === tree)!
    const leaves = Array.from({ length: spec.count }, (_, index) =>
      committer.leafBytes(valueLeaf(values[i]!, index), leafSalt(jobKey, tensor, tree, index)),
    )
    return { ...spec, root: merkleTree(leaves).root }
  })
  return ioRoot(side, records)
}

/** What the prover keeps of a served job. `inputs` and `served` are quantised, in the order of the manifest's ends. */
export type ServedJob = { receiptHash: Uint8Array; jobKey: Uint8Array; inputs: Int16Array[]; served: Int16Array[] }

/** One committed tree with its 32-byte leaf commitments. */
export type CommittedTree = { spec: TreeSpec; tree: MerkleTree; leaves: Uint8Array[] }

/** All commitments of one drawn job, and access to what they hide. */
export type CommittedJob = {
  trees: CommittedTree[]
  /** Tree over the trees. */
  tensors: MerkleTree
  root: Uint8Array
  trace: Trace
  /** Limbs and salt behind a leaf; null for the zero leaf. */
  open(ref: LeafRef): { limbs: Uint16Array; salt: bigint } | null
}

/** Evaluates the canonical graph on a job's inputs and commits the whole trace with what was served. */
export function commitJob(committer: Committer, model: LoadedModel, job: ServedJob): CommittedJob {
  const { manifest, weights } = model
  return commitTrace(committer, model, job, withServed(manifest, evaluate(manifest, weights, job.inputs), job.served))
}

/** Commits a trace that already carries what was served. */
export function commitTrace(
  committer: Committer,
  model: LoadedModel,
  job: Pick<ServedJob, 'receiptHash' | 'jobKey'>,
  trace: Trace,
): CommittedJob {
  const { manifest } = model
  const open: CommittedJob['open'] = (ref) => {
    const limbs = leafLimbs(manifest, trace, ref)
    return limbs === null ? null : { limbs, salt: leafSalt(job.jobKey, ref.tensor, ref.tree, ref.index) }
  }
  const trees = treesOf(manifest).map((spec): CommittedTree => {
    const leaves = Array.from({ length: spec.count }, (_, index) => {
      const opened = open({ tensor: spec.tensor, tree: spec.tree, index })
      return opened === null ? ZERO_LEAF_BYTES : committer.leafBytes(opened.limbs, opened.salt)
    })
    return { spec, tree: merkleTree(leaves), leaves }
  })
  const tensors = jobTree(trees.map(({ spec, tree }) => ({ ...spec, root: tree.root })))
  return { trees, tensors, root: jobRoot(job.receiptHash, model.cid.bytes, tensors.root), trace, open }
}
