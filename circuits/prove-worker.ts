// Child process of the prover pool: takes one job after the other over IPC. Proving holds its event loop for seconds.
import { describeError, errorCode } from '../protocol/errors.ts'
import type { ProverReply, ProverRequest } from './pool.ts'
import { createProver, type ProverOutputs } from './prove.ts'
import type { CircuitKind } from './signals.ts'

const prover = await createProver()

function run(job: ProverRequest['job']): Promise<ProverOutputs[CircuitKind]> {
  switch (job.kind) {
    case 'relation':
      return prover.proveRelation(job.input)
    case 'pointwise':
      return prover.provePointwise(job.input)
    case 'product':
      return prover.proveProduct(job.input)
    case 'extremum':
      return prover.proveExtremum(job.input)
  }
}

process.on('message', async ({ id, job }: ProverRequest) => {
  let reply: ProverReply
  try {
    const value = await run(job)
    reply = { id, ok: true, value, rss: process.memoryUsage.rss() }
  } catch (error) {
    reply = { id, ok: false, code: errorCode(error), message: describeError(error), rss: process.memoryUsage.rss() }
  }
  process.send?.(reply)
})
// A parent that dies takes its provers with it.
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
