import { getPriority, setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { committerOf } from '../../circuits/commit.ts'
import { describeError } from '../../protocol/errors.ts'
import { commitTrees } from './commit.ts'
import type { RootReply, RootTask } from './root-pool.ts'

const NICE = 10

/** Where threads have priorities, the one that answers peers goes first. Elsewhere it would be the whole process that steps back. */
function yieldToOthers(): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(Math.min(getPriority() + NICE, 19))
  } catch {
    // A system that does not allow it gives its own order.
  }
}

/** Entry of a thread that commits the inputs and outputs of jobs. */
yieldToOthers()
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
