import { spawn } from 'node:child_process'
import { foundryBinary } from '../../node/chain/anvil.ts'
import { assetPath } from '../../protocol/assets.ts'

/** One Solidity test: `name` is contract and function, `reason` what it failed with. */
export type ForgeTest = { name: string; passed: boolean; reason: string }

const ROOT = assetPath('.')

type Suite = { test_results: Record<string, { status: string; reason: string | null; counterexample: unknown }> }

/**
 * Runs the Solidity tests with forge, offline, compiled by solc from npm. `filter` is forge's --match-contract.
 * Throws with forge's own output when it could not compile or run them.
 */
export async function runForge(filter?: string): Promise<ForgeTest[]> {
  const args = ['test', '--root', ROOT, '--json']
  if (filter !== undefined) args.push('--match-contract', filter)
  const { output, errors } = await capture(foundryBinary('forge'), args)
  const line = output.split('\n').find((text) => text.startsWith('{'))
  if (line === undefined) throw new Error(`forge ran no tests\n${output}\n${errors}`)
  const suites = JSON.parse(line) as Record<string, Suite>
  return Object.entries(suites).flatMap(([suite, { test_results }]) =>
    Object.entries(test_results).map(([test, { status, reason, counterexample }]) => ({
      name: `${suite.split(':').at(-1)} ${test}`,
      passed: status === 'Success',
      reason: `${reason ?? ''} ${counterexample === null || counterexample === undefined ? '' : JSON.stringify(counterexample)}`,
    })),
  )
}

function capture(command: string, args: string[]): Promise<{ output: string; errors: string }> {
  return new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      SINTER_NODE: process.execPath,
      FOUNDRY_CONFIG: assetPath('test/contracts/foundry.toml'),
    }
    const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    child.stderr.on('data', (chunk) => {
      errors += chunk
    })
    child.once('error', reject)
    child.once('close', () => resolve({ output, errors }))
  })
}
