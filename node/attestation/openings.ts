import { resolveTensor } from '../../models/tiling.ts'
import { bytesToBigint, equalBytes } from '../../protocol/bytes.ts'
import type { JobAttestation } from '../../protocol/gen/sinter_pb.js'
import { merkleFold, merkleVerify } from '../../protocol/merkle.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import { type LeafRef, TREE, type Tree } from '../../protocol/statement.ts'
import { ioRoot, jobRoot, type TreeRecord, treeRecordLeaf } from '../../protocol/trace.ts'
import type { LoadedModel } from '../model/load.ts'
import { check } from './faults.ts'
import { type JobPlan, sameTree, treesOf } from './layout.ts'
import { leafKey } from './segments.ts'

/** Where the job stands in the batch's trace tree. */
export type TracePlace = { root: Uint8Array; index: number; count: number }

/**
 * Opened trees, after checking that they stand at their places in the job's tree, that tree in the trace, and that the
 * receipt's input and output roots are the trace's (step 2 of DESIGN §5.6).
 */
export function openTrees(
  model: LoadedModel,
  receipt: Receipt,
  job: JobAttestation,
  plan: Pick<JobPlan, 'trees'>,
  place: TracePlace,
): TreeRecord[] {
  const { manifest } = model
  const specs = treesOf(manifest)
  check(job.trees.length === plan.trees.length, 'TREE_COUNT', `${job.trees.length} of ${plan.trees.length}`)
  const indexes = plan.trees.map((spec) => specs.findIndex((each) => sameTree(each, spec)))
  const records = plan.trees.map((spec, i): TreeRecord => ({ ...spec, root: job.trees[i]!.root }))
  const first = job.trees[0]!
  check(first.root.length === 32, 'TREE_PATH', 'tree 0')
  const tensors = merkleFold(treeRecordLeaf(records[0]!), indexes[0]!, first.path)
  records.forEach((record, i) => {
    const holds =
      record.root.length === 32 &&
      merkleVerify(tensors, treeRecordLeaf(record), indexes[i]!, specs.length, job.trees[i]!.path)
    check(holds, 'TREE_PATH', `tree ${i}`)
  })
  const root = jobRoot(receipt.hash, model.cid.bytes, tensors)
  check(merkleVerify(place.root, root, place.index, place.count, job.tracePath), 'TRACE_PATH')
  const recordOf = (id: number, tree: Tree): TreeRecord => {
    const tensor = resolveTensor(manifest, id)
    return records.find((each) => sameTree(each, { tensor, tree }))!
  }
  const input = ioRoot(
    'input',
    manifest.inputs.map(({ tensor }) => recordOf(tensor, TREE.value)),
  )
  check(equalBytes(input, receipt.inputRoot), 'INPUT_ROOT')
  const output = ioRoot(
    'output',
    manifest.outputs.map(({ tensor }) => recordOf(tensor, TREE.served)),
  )
  check(equalBytes(output, receipt.outputRoot), 'OUTPUT_ROOT')
  // What the chain would hold the prover to.
  check(equalBytes(job.tensors, tensors), 'TREE_PATH', 'tensors')
  return records
}

/** Leaf commitments by place, after checking each at exactly the position the challenge names (step 3 of DESIGN §5.6). */
export function openLeaves(
  job: JobAttestation,
  plan: Pick<JobPlan, 'leaves' | 'trees'>,
  records: TreeRecord[],
): (ref: LeafRef) => bigint {
  check(job.leaves.length === plan.leaves.length, 'LEAF_COUNT', `${job.leaves.length} of ${plan.leaves.length}`)
  const opened = new Map<string, bigint>()
  plan.leaves.forEach((ref, i) => {
    const { leaf, path } = job.leaves[i]!
    const at = plan.trees.findIndex((spec) => sameTree(spec, ref))
    const holds = leaf.length === 32 && merkleVerify(records[at]!.root, leaf, ref.index, plan.trees[at]!.count, path)
    check(holds, 'LEAF_PATH', leafKey(ref))
    opened.set(leafKey(ref), bytesToBigint(leaf))
  })
  return (ref) => opened.get(leafKey(ref))!
}
