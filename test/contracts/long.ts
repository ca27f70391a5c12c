/** The Solidity tests with ten times the runs of CI: `npm run test:contracts [contract]`. Some minutes. */
import { randomBytes } from 'node:crypto'
import { runForge } from './run.ts'

const TIMES = 10
process.env.FOUNDRY_FUZZ_RUNS = String(1_000 * TIMES)
process.env.FOUNDRY_FUZZ_SEED ??= `0x${randomBytes(32).toString('hex')}`
console.log(`seed ${process.env.FOUNDRY_FUZZ_SEED}: FOUNDRY_FUZZ_SEED takes it again`)
process.env.FOUNDRY_INVARIANT_RUNS = String(256 * TIMES)
// Also the tests that CI leaves out, and no fewer runs of those of which it takes few.
process.env.FOUNDRY_PROFILE = 'long'
// To fill the tree takes more gas than a test is given.
process.env.STAKE_TREE_LEAVES = '50000'
process.env.FOUNDRY_GAS_LIMIT = String(2n ** 63n)

const started = Date.now()
const results = await runForge(process.argv[2])
const failed = results.filter(({ passed }) => !passed)
for (const { name, reason } of failed) console.log(`FAIL ${name}: ${reason}`)
const seconds = ((Date.now() - started) / 1000).toFixed(0)
console.log(`${results.length - failed.length} passed, ${failed.length} failed, ${seconds} s`)
process.exitCode = failed.length === 0 && results.length > 0 ? 0 : 1
