// Child process of the prover pool: takes one job after the other over IPC. Proving holds its event loop for seconds.
import { describeError, errorCode } from '../protocol/errors.ts'
import type { ProverReply, ProverRequest } from './pool.ts'
import { createProver } from './prove.ts'

const prover = await createProver()

process.on('message', async ({ id, job }: ProverRequest) => {
  let reply: ProverReply
  try {
    const value =
      job.kind === 'relation' ? await prover.proveRelation(job.input) : await prover.provePointwise(job.input)
    reply = { id, ok: true, value, rss: process.memoryUsage.rss() }
  } catch (error) {
    reply = { id, ok: false, code: errorCode(error), message: describeError(error), rss: process.memoryUsage.rss() }
  }
  process.send?.(reply)
})
// A parent that dies takes its provers with it.
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
