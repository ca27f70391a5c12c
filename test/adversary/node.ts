/** The node's command line with the parts of one attack, named by the environment: `ATTACK=… node test/adversary/node.ts up …`. */
import { createProgram } from '../../node/program.ts'
import { describeError } from '../../protocol/errors.ts'
import { ATTACKS } from './attacks.ts'
import { FAULTS } from './faults.ts'

const parts = { ...ATTACKS, ...FAULTS }[process.env.ATTACK ?? '']
if (parts === undefined) throw new Error(`no attack ${process.env.ATTACK}`)
try {
  await createProgram(parts).parseAsync()
  process.exit(0)
} catch (error) {
  console.error(describeError(error))
  process.exit(1)
}
