/**
 * The test runner: every `*.test.ts` under test/ in a process of its own, under a time limit. uvu by itself exits 0 when a file
 * has no tests and hangs on a leftover handle, so this counts what uvu printed, fails a file that ran nothing, left a child
 * process behind or did not end, and closes with one line of totals. `node test/run.ts protocol circuits/commit` runs a part;
 * `--coverage` collects V8 coverage of every process and prints c8's summary before the closing line. What properties draw comes from one
 * seed, in seed.ts: `--random` takes another, which is printed, and `--seed=N` that one again.
 */
import { spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'

const ROOT = import.meta.dirname
const FILE_TIMEOUT_MS = 10 * 60_000
const SURVIVOR_GRACE_MS = 3_000
const SEED = pathToFileURL(join(ROOT, 'seed.ts')).href
const COVERAGE = join(ROOT, '../.coverage')

const coverage = process.argv.includes('--coverage')
const seed = process.argv.includes('--random')
  ? randomInt(2 ** 31)
  : Number(process.argv.find((word) => word.startsWith('--seed='))?.slice('--seed='.length) ?? 1)
if (seed !== 1) console.log(`seed ${seed}`)

type Outcome = {
  file: string
  passed: number
  failed: number
  skipped: number
  seconds: number
  notes: string[]
  output: string
}

function testFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return testFiles(path)
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

/** Processes that carry the marker of a test file in their environment (Linux; elsewhere none are found). */
function survivors(marker: string): { pid: number; command: string }[] {
  let pids: string[]
  try {
    pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
  return pids.flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`TEST_RUN_FILE=${marker}`)) return []
      readlinkSync(`/proc/${pid}/exe`)
      return [
        { pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 120) },
      ]
    } catch {
      return []
    }
  })
}

function count(output: string, label: string): number {
  let sum = 0
  for (const match of output.matchAll(new RegExp(`^\\s*${label}:\\s+(\\d+)`, 'gm'))) sum += Number(match[1])
  return sum
}

function runFile(path: string): Promise<Outcome> {
  const file = relative(ROOT, path)
  const marker = `${process.pid}/${file}`
  const started = Date.now()
  return new Promise((resolve) => {
    const draws = readFileSync(path, 'utf8').includes(`from 'fast-check'`)
    const child = spawn(process.execPath, ['--no-warnings', ...(draws ? ['--import', SEED] : []), path], {
      env: {
        ...process.env,
        NO_COLOR: '1',
        TEST_SEED: String(seed),
        TEST_RUN_FILE: marker,
        ...(coverage ? { NODE_V8_COVERAGE: join(COVERAGE, 'tmp') } : {}),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    const notes: string[] = []
    const timer = setTimeout(() => {
      notes.push(`did not end within ${FILE_TIMEOUT_MS / 1000} s`)
      child.kill('SIGKILL')
    }, FILE_TIMEOUT_MS)
    child.on('exit', () => {
      // A grandchild may hold the pipes open, so the streams are given a moment and no more.
      setTimeout(() => {
        child.stdout.destroy()
        child.stderr.destroy()
      }, 500)
    })
    child.on('close', async (code, signal) => {
      clearTimeout(timer)
      // Children that have been asked to end may need a moment after their parent.
      for (let waited = 0; survivors(marker).length > 0 && waited < SURVIVOR_GRACE_MS; waited += 100)
        await new Promise((wait) => setTimeout(wait, 100))
      for (const { pid, command } of survivors(marker)) {
        notes.push(`left process ${pid} behind: ${command}`)
        process.kill(pid, 'SIGKILL')
      }
      const total = count(output, 'Total')
      const passed = count(output, 'Passed')
      const skipped = count(output, 'Skipped')
      if (code !== 0) notes.push(`exit ${code ?? signal}`)
      if (total === 0) notes.push('ran no test')
      const failed = Math.max(total - passed, notes.length > 0 ? 1 : 0)
      resolve({ file, passed, failed, skipped, seconds: (Date.now() - started) / 1000, notes, output })
    })
  })
}

function report(outcome: Outcome): void {
  const { file, passed, failed, seconds, notes, output } = outcome
  console.log(`${failed === 0 ? 'ok  ' : 'FAIL'} ${file} (${passed} passed, ${seconds.toFixed(1)} s)`)
  const remarks = output.split('\n').filter((line) => line.startsWith('# '))
  for (const remark of remarks) console.log(`     ${remark.slice(2)}`)
  if (failed === 0) return
  for (const note of notes) console.log(`     ${note}`)
  console.log(output.replace(/^/gm, '     | '))
}

const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const files = testFiles(ROOT)
  .filter((path) => wanted.length === 0 || wanted.some((part) => relative(ROOT, path).startsWith(part)))
  .sort()
// Whole networks take the machine for themselves; everything else runs one file per core.
const alone = files.filter((path) => /^e2e\//.test(relative(ROOT, path)))
// These wait for blocks of a chain more than they compute, and take turns beside the others.
const waiting = files.filter((path) =>
  /^node\/(appeals|audit|canary|chain|chain-capacity|chain-drand|chain-faults|claims|contest|poll|refute)\.test/.test(
    relative(ROOT, path),
  ),
)
const shared = files.filter((path) => !alone.includes(path) && !waiting.includes(path))

const outcomes: Outcome[] = []
if (coverage) rmSync(COVERAGE, { recursive: true, force: true })
async function drain(queue: string[]): Promise<void> {
  for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
    const outcome = await runFile(path)
    report(outcome)
    outcomes.push(outcome)
  }
}
const cores = Array.from({ length: Math.min(2, cpus().length) }, () => drain(shared))
await Promise.all([...cores, drain(waiting)])
await drain(alone)

const sum = (pick: (outcome: Outcome) => number): number =>
  outcomes.reduce((total, outcome) => total + pick(outcome), 0)
const failed = sum((o) => o.failed)
const skipped = sum((o) => o.skipped)
if (coverage) {
  const c8 = join(ROOT, '../node_modules/c8/bin/c8.js')
  spawnSync(process.execPath, [c8, 'report', '--config', '.config/c8.json'], {
    cwd: join(ROOT, '..'),
    stdio: 'inherit',
  })
}
process.exitCode = failed > 0 || outcomes.length === 0 ? 1 : 0
process.on('exit', () =>
  console.log(`${sum((o) => o.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`),
)
