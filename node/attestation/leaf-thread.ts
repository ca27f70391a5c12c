// Worker thread of leaf-threads.ts: commits the leaves that it is sent, one block after the other.
import { parentPort, workerData } from 'node:worker_threads'
import { committerOf } from '../../circuits/commit.ts'
import { saltsOf } from '../../protocol/salt.ts'
import { LEAF_LIMBS } from '../../protocol/statement.ts'
import type { LeafBlock } from './leaf-threads.ts'

const committer = committerOf(workerData as WebAssembly.Module)

parentPort!.on('message', ({ jobKey, tensor, tree, indexes, limbs }: LeafBlock) => {
  const salt = saltsOf(jobKey)
  const leaves = committer.leavesBytes(indexes.length, (i) => ({
    limbs: limbs.subarray(LEAF_LIMBS * i, LEAF_LIMBS * (i + 1)),
    salt: salt(tensor, tree, indexes[i]!),
  }))
  parentPort!.postMessage(leaves, [leaves.buffer])
})
