// Child process of the prover pool: takes one job after the other over IPC. Proving holds its event loop for seconds.
// Its arguments are an external prover's path and a private folder, or none.
import { rmSync } from 'node:fs'
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
// A parent that dies takes its provers with it, a witness on its way and the program that reads it.
process.on('disconnect', () => {
  if (folder !== undefined) {
    rmSync(folder, { recursive: true, force: true })
    if (process.platform !== 'win32') process.kill(-process.pid, 'SIGKILL')
  }
  process.exit(0)
})
say('ready')
