/**
 * `npm run slither`: static analysis of the contracts with slither from PyPI, in a virtual environment under .tmp. Every finding of high
 * or medium impact has to be answered in protocol/spec/settlement.md, Static analysis (`| check | places | answer |`); one that is not,
 * and an answer to a finding that is gone, end it with code 1. Needs python3 with venv, and PyPI the first time.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { foundryBinary } from '../../node/chain/anvil.ts'
import { assetPath } from '../../protocol/assets.ts'

const VERSION = '0.11.6'
const HOME = assetPath('.tmp/slither')
const python = join(HOME, 'venv/bin/python')
const project = join(HOME, 'project')
const report = join(HOME, 'report.json')

function run(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (error !== undefined) throw error
  // slither's own code only tells how many findings there are.
  if (status !== 0 && !existsSync(report)) throw new Error(`${command} ended with ${status}\n${stdout}${stderr}`)
  return stdout
}

mkdirSync(HOME, { recursive: true })
rmSync(report, { force: true })
if (!existsSync(python)) run('python3', ['-m', 'venv', join(HOME, 'venv')], HOME)
run(python, ['-m', 'pip', 'install', '--quiet', `slither-analyzer==${VERSION}`], HOME)

// slither finds a foundry project by the file in its root, so it gets a root of its own.
rmSync(project, { recursive: true, force: true })
mkdirSync(join(project, 'test'), { recursive: true })
cpSync(assetPath('protocol/contracts'), join(project, 'protocol/contracts'), { recursive: true })
for (const name of ['solc.sh', 'solc.ts'])
  cpSync(assetPath(`test/contracts/${name}`), join(project, 'test/contracts', name))
symlinkSync(assetPath('node_modules'), join(project, 'node_modules'))
const config = readFileSync(assetPath('test/contracts/foundry.toml'), 'utf8')
writeFileSync(join(project, 'foundry.toml'), config.replaceAll('.tmp/forge/', ''))
const PATH = [dirname(foundryBinary('forge')), process.env.PATH].join(delimiter)
const flags = ['--exclude-informational', '--exclude-optimization', '--filter-paths', 'node_modules', '--json', report]
const env = { ...process.env, PATH, SINTER_NODE: process.execPath }
run(join(HOME, 'venv/bin/slither'), ['.', ...flags], project, env)

type Finding = {
  impact: 'High' | 'Medium' | 'Low'
  check: string
  description: string
  elements: { name: string; type: string; type_specific_fields?: { parent?: { name: string } } }[]
}
const { success, error, results } = JSON.parse(readFileSync(report, 'utf8')) as {
  success: boolean
  error: string | null
  results: { detectors?: Finding[] }
}
if (!success) throw new Error(`slither failed: ${error}`)
const findings = results.detectors ?? []
const keyOf = ({ check, elements: [first] }: Finding): string =>
  `${check} ${first?.type_specific_fields?.parent?.name ?? ''}.${first?.name ?? ''}`

const spec = readFileSync(assetPath('protocol/spec/settlement.md'), 'utf8')
const answered = new Set(
  [...spec.matchAll(/^\| `([a-z0-9-]+)` \| ([^|]+) \|/gm)].flatMap(([, check, places]) =>
    [...places!.matchAll(/`([^`]+)`/g)].map(([, place]) => `${check} ${place}`),
  ),
)
const serious = findings.filter(({ impact }) => impact !== 'Low')
const open = serious.filter((finding) => !answered.has(keyOf(finding)))
const found = new Set(serious.map(keyOf))
const stale = [...answered].filter((key) => /^[a-z-]+ [A-Z]\w+\.\w+$/.test(key) && !found.has(key))
const count = (impact: Finding['impact']): number => findings.filter((finding) => finding.impact === impact).length
for (const finding of open) console.log(`${finding.impact}: ${keyOf(finding)}\n${finding.description}`)
for (const key of stale) console.log(`answered in settlement.md and not found any more: ${key}`)
console.log(
  `slither ${VERSION}: ${count('High')} high, ${count('Medium')} medium (${open.length} of them without an answer), ${count('Low')} low`,
)
// It does not find all of them in every run, so what is missing is said and fails nothing.
process.exit(open.length > 0 ? 1 : 0)
