/**
 * `npm run test:openai`: OpenAI's Python package, as it comes from PyPI, against `sinter gateway` with the embedding model of models/sentences, on a
 * local network of real processes. Needs python3 with venv and a package index; leaves nothing behind.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assetPath } from '../../protocol/assets.ts'
import { openConsumerWorld } from '../e2e/consumer-world.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-openai-'))
const file = (name: string): string => assetPath(`models/sentences/${name}`)

function run(command: string, args: string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', timeout: 300_000 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status ?? error?.message}`)
}

let failed: unknown = null
try {
  const python = join(folder, 'venv/bin/python')
  run('python3', ['-m', 'venv', join(folder, 'venv')])
  run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'openai'])
  const { pairs, tokens } = JSON.parse(readFileSync(file('heldout.json'), 'utf8')) as {
    pairs: [string, string][]
    tokens: { text: string; ids: number[] }[]
  }
  const short = pairs.filter((pair) => pair.every((text) => text.length < 150)).slice(0, 12)
  writeFileSync(
    join(folder, 'pairs.json'),
    JSON.stringify({ pairs: short, tokens: tokens.filter(({ ids }) => ids.length < 60).slice(0, 2) }),
  )
  const world = await openConsumerWorld({ one: { price: '0.01' }, two: { price: '0.02' } })
  try {
    const publisher = world.net.startCommand(
      'sentences',
      await world.net.newAccount('sentences'),
      ['model', 'publish', file('sentences.onnx')],
      ['--samples', file('calibration.bin'), '--json'],
    )
    const { facts: published } = await publisher.wait('published', 120_000)
    const gateway = world.net.startCommand(
      'gateway',
      await world.net.newAccount('gateway'),
      ['gateway'],
      [
        ...['--embedding', `sentences=${published.manifest as string}`],
        ...[
          '--tokenizer',
          `sentences=${file('tokenizer.json')}`,
          '--port',
          '0',
          '--policy',
          'open',
          '--log-level',
          'info',
        ],
      ],
    )
    const { facts } = await gateway.wait('gateway.listening', 60_000)
    await gateway.wait('gateway.warm', 180_000)
    try {
      run(python, [join(import.meta.dirname, 'client.py'), facts.url as string, join(folder, 'pairs.json')])
    } catch (error) {
      for (const { facts } of gateway.events) console.error(JSON.stringify(facts))
      throw error
    }
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
