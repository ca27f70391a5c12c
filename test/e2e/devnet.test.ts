/** What `npm start` runs, as a user runs it: the command in a process of its own, judged by what it prints and leaves behind. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'

const JOBS = 12
const folder = mkdtempSync(join(tmpdir(), 'sinter-devnet-test-'))
let output = ''
let exit: number | null = null

/** Command lines of processes that name the run's folder. */
function leftovers(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        return command.includes(folder) ? [command] : []
      } catch {
        return []
      }
    })
}

test.before(async () => {
  const args = [assetPath('node/bin/sinter.js'), 'devnet', '--jobs', String(JOBS), '--data', folder]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  exit = await new Promise((resolve) => child.on('close', resolve))
})

test.after(() => rmSync(folder, { recursive: true, force: true }))

test('the main job ends with exit code 0 and leaves no process behind', () => {
  assert.is(exit, 0, output)
  if (process.platform === 'linux') assert.equal(leftovers(), [])
})

test('every image is answered with digit, confidence and latency, and nearly all are right', () => {
  const answers = [...output.matchAll(/image \d+: (\d) \((right|wrong).*\), confidence [\d.]+%, [\d.]+ ms/g)]
  assert.is(answers.length, JOBS)
  const right = answers.filter(([, , mark]) => mark === 'right').length
  assert.ok(right >= JOBS - 1, `${right} of ${JOBS}`)
  assert.ok(output.includes(`${right} of ${JOBS} right`))
})

test('the nodes find each other from one address, several bid, and one is taken', () => {
  assert.ok([...output.matchAll(/bid from 0x[0-9a-f]{40}/g)].length >= 3)
  assert.match(output, /taken: 0x[0-9a-f]{40}/)
})

test('batch, trace, attestation, votes, settlement and collection follow in order', () => {
  const steps = [
    'batch anchored',
    'trace anchored',
    'attestation proven',
    'attestation verified',
    'vote revealed',
    'batch settled',
    'fees collected',
  ]
  const places = steps.map((step) => output.indexOf(`: ${step}`))
  assert.ok(
    places.every((place) => place > 0),
    places.join(),
  )
  assert.equal(
    places,
    [...places].sort((a, b) => a - b),
  )
  assert.ok([...output.matchAll(/: attestation verified/g)].length >= 2)
})

test('the account says what was checked, with what odds, and adds up to the last unit', () => {
  assert.match(output, /d1 = \d+\.\d+%/)
  assert.match(output, /d2 = \d+\.\d+%/)
  assert.match(output, /client \(consumer\) .* -0\.\d+/)
  assert.match(output, /\(provider\) .* \+0\.\d+/)
  assert.ok([...output.matchAll(/\(verifier\) .* \+0\.\d+/g)].length >= 2)
  assert.match(output, /burned +0\.\d+/)
  assert.ok(output.includes('add up to zero'))
})

test.run()
