import { describeError } from '../protocol/errors.ts'
import { printable } from './printable.ts'
import { createProgram } from './program.ts'

try {
  await createProgram().parseAsync()
  // Worker pools of libraries may hold the process; whatever had to be closed is closed by now.
  process.exit(process.exitCode ?? 0)
} catch (error) {
  console.error(`sinter: ${printable(describeError(error))}`)
  process.exit(1)
}
