/**
 * `npm run test:triton`: NVIDIA's tritonclient, as it comes from PyPI, against `sinter gateway` on a local network of real processes.
 * Needs python3 with venv and a package index; leaves nothing behind.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadHeldOut } from '../../models/digits.ts'
import { openConsumerWorld } from '../e2e/consumer-world.ts'

const TRITONCLIENT = 'tritonclient[http]'
const folder = mkdtempSync(join(tmpdir(), 'sinter-triton-'))

function run(command: string, args: string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', timeout: 300_000 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status ?? error?.message}`)
}

let failed: unknown = null
try {
  const python = join(folder, 'venv/bin/python')
  run('python3', ['-m', 'venv', join(folder, 'venv')])
  run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', TRITONCLIENT])
  const { images, labels } = loadHeldOut()
  const file = join(folder, 'images.json')
  writeFileSync(
    file,
    JSON.stringify({ rows: images.slice(0, 4).map((image) => [...image]), labels: labels.slice(0, 4) }),
  )
  const world = await openConsumerWorld({ one: { price: '0.01' }, two: { price: '0.02' } })
  try {
    const account = await world.net.newAccount('gateway')
    const gateway = world.net.startCommand(
      'gateway',
      account,
      ['gateway'],
      ['--model', `digits=${world.model}`, `numbers=${world.model}`, '--port', '0', '--log-level', 'info'],
    )
    const { facts } = await gateway.wait('gateway.listening', 60_000)
    await gateway.wait('gateway.warm', 120_000)
    run(python, [join(import.meta.dirname, 'client.py'), new URL(facts.url as string).host, file])
  } finally {
    await world.stop()
  }
} catch (error) {
  failed = error
  console.error(error)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exit(failed === null ? 0 : 1)
