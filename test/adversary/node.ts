/**
 * The node's command line with the parts of one attack, named by the environment: `ATTACK=… node test/adversary/node.ts up …`, or
 * `TRICKS=honest,re-salted …` for one that plays another trick in each job.
 */
import { createProgram } from '../../node/program.ts'
import { describeError } from '../../protocol/errors.ts'
import { ATTACKS } from './attacks.ts'
import { FAULTS } from './faults.ts'
import { scheduled, type TrickName } from './tricks.ts'

const { ATTACK = '', TRICKS } = process.env
const parts = TRICKS === undefined ? { ...ATTACKS, ...FAULTS }[ATTACK] : scheduled(TRICKS.split(',') as TrickName[])
if (parts === undefined) throw new Error(`no attack ${ATTACK}`)
try {
  await createProgram(parts).parseAsync()
  process.exit(0)
} catch (error) {
  console.error(describeError(error))
  process.exit(1)
}
