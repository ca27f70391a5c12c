// Child process of the prover pool: takes one job after the other over IPC. Proving holds its event loop for seconds.
// Its arguments are an external prover's path and a private folder, or none.
import { describeError, errorCode } from '../protocol/errors.ts'
import type { ProverMessage, ProverRequest } from './pool.ts'
import { createProver } from './prove.ts'

const say = (message: ProverMessage): void => {
  process.send?.(message)
}
const [binary, folder] = process.argv.slice(2)
const prover = await createProver(
  binary === undefined || folder === undefined
    ? {}
    : { external: { binary, folder, warn: (warning) => say({ warning }) } },
)

process.on('message', async ({ id, job }: ProverRequest) => {
  const rss = () => process.memoryUsage.rss()
  try {
    say({ id, ok: true, value: await prover.prove(job.kind, job.input), rss: rss() })
  } catch (error) {
    say({ id, ok: false, code: errorCode(error), message: describeError(error), rss: rss() })
  }
})
// A parent that dies takes its provers with it.
process.on('disconnect', () => process.exit(0))
say('ready')
