import { concat, u32 } from './bytes.ts'
import { hash } from './hash.ts'
import { type MerkleTree, merkleTree } from './merkle.ts'
import type { Tree } from './statement.ts'

/** One committed tree of a job: which tensor, what it means, and the root over its leaf commitments. */
export type TreeRecord = { tensor: number; tree: Tree; exponent: number; shape: number[]; root: Uint8Array }

/** Leaf of the job's tree of tensors. */
export function treeRecordLeaf(record: TreeRecord): Uint8Array {
  const exponent = new Uint8Array(4)
  new DataView(exponent.buffer).setInt32(0, record.exponent)
  const shape = concat(...record.shape.map(u32))
  return hash('tree', u32(record.tensor), Uint8Array.of(record.tree), exponent, shape, record.root)
}

/** Root over the inputs (tree `value`) or the outputs (tree `served`) of a job: what the receipt names. */
export function ioRoot(side: 'input' | 'output', records: TreeRecord[]): Uint8Array {
  return hash(`io/${side}`, ...records.map(treeRecordLeaf))
}

/** SHA-256 tree over all trees of a job in (tensor, tree) order. */
export function jobTree(records: TreeRecord[]): MerkleTree {
  return merkleTree(records.map(treeRecordLeaf))
}

/** What stands in the batch's trace tree for one drawn job: its tensors, bound to its receipt and manifest. */
export function jobRoot(receiptHash: Uint8Array, manifest: Uint8Array, tensors: Uint8Array): Uint8Array {
  return hash('job', receiptHash, manifest, tensors)
}
