// Child process of the tracer: evaluates and commits one job after the other, and keeps the model it had last.
import { createCommitter } from '../../circuits/commit.ts'
import { openMultiplier } from '../../models/multiply-onnx.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import { evaluateHere, type Graph, limbsOfJob, traceJob } from './trace.ts'
import type { TracerReply, TracerRequest, TracerTask } from './tracer.ts'

const committer = await createCommitter()
// The same bits as plain loops, which are left where ONNX Runtime is not installed.
const multiply = await openMultiplier(1).catch((error: unknown) => {
  if (errorCode(error) !== 'RUNTIME_MISSING') throw error
})
let graph: Graph | null = null

async function work(held: Graph, task: TracerTask) {
  switch (task.kind) {
    case 'commit':
      return traceJob(committer, held, task)
    case 'limbs':
      return limbsOfJob(held, task, task.refs)
    case 'evaluate':
      return evaluateHere(held, task.inputs)
  }
}

process.on('message', async ({ id, graph: sent, task }: TracerRequest) => {
  graph = sent === null ? graph : { ...sent, ...(multiply && { multiply }) }
  let reply: TracerReply
  try {
    reply = { id, ok: true, value: await work(graph!, task) }
  } catch (error) {
    reply = { id, ok: false, code: errorCode(error), message: describeError(error) }
  }
  process.send?.(reply)
})
// A parent that dies takes its children with it.
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
