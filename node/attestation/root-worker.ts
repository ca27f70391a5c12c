import { parentPort, workerData } from 'node:worker_threads'
import { committerOf } from '../../circuits/commit.ts'
import { describeError } from '../../protocol/errors.ts'
import { commitTrees } from './commit.ts'
import type { RootReply, RootTask } from './root-pool.ts'

/** Entry of a thread that commits the inputs and outputs of jobs. */
const committer = committerOf(workerData as WebAssembly.Module)

parentPort!.on('message', ({ id, trees, jobKey, values }: RootTask) => {
  let reply: RootReply
  try {
    reply = { id, root: commitTrees(committer, trees, jobKey, values) }
  } catch (error) {
    reply = { id, message: describeError(error) }
  }
  parentPort!.postMessage(reply)
})
