/**
 * What `npm start` runs, as a user runs it: the command in a process of its own, judged by what it prints and leaves behind, with a real
 * browser at the page that it serves meanwhile.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildPage } from '../../node/page/build.ts'
import { assetPath } from '../../protocol/assets.ts'
import { openBrowser, PICTURES, type Visit, visit } from './page.ts'

const JOBS = 12
const folder = mkdtempSync(join(tmpdir(), 'sinter-devnet-test-'))
let output = ''
let exit: number | null = null
/** What a visitor of the page saw, or why there was no visit. */
let visited: Visit | unknown = null
const VISIT_MS = 200_000

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

/** Somebody with a browser draws a digit while the main job runs; the network waits for them at its end. */
async function visitOnce(): Promise<Visit> {
  const browser = await openBrowser()
  try {
    while (!/page: (http:\S+)/.test(output) && exit === null) await new Promise((resolve) => setTimeout(resolve, 50))
    const url = /page: (http:\S+)/.exec(output)?.[1]
    assert.ok(url, output)
    return await visit(browser, url, VISIT_MS, process.env.SINTER_PICTURES === undefined ? undefined : PICTURES)
  } finally {
    await browser.close()
  }
}

test.before(async () => {
  await buildPage()
  const args = [assetPath('node/bin/sinter.js'), 'devnet', '--jobs', String(JOBS), '--data', folder]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const closed = new Promise<void>((resolve) =>
    child.on('close', (code) => {
      exit = code
      resolve()
    }),
  )
  const over = closed.then(() => {
    throw new Error('the network ended before the visit did')
  })
  visited = await Promise.race([visitOnce(), over]).catch((error: unknown) => error)
  await closed
})

test.after(() => rmSync(folder, { recursive: true, force: true }))

test('a digit drawn in a browser is answered, its attestation and votes are checked in the page, and it is paid', () => {
  if (visited instanceof Error) throw visited
  const { connection, digit, money, sees, steps, kept, phoneWidth, errors } = visited as Visit
  assert.match(connection, /On devnet, \d+ connections to nodes .*model “digits” fetched from peers and checked/)
  assert.match(connection, /[1-9]\d* by WebSocket, 1 by WebRTC/)
  assert.match(digit, /It says 7, \d+\.\d% sure/)
  assert.equal(
    Object.values(steps).map(({ state }) => state),
    Object.values(steps).map(() => 'done'),
    JSON.stringify(steps),
  )
  assert.match(steps.bids!.said, /0x[0-9a-f]{6}… asks 0\.01\d* SNTR, expects \d+ ms ← taken/)
  assert.match(steps.attested!.said, /[1-9]\d* proofs and [1-9]\d* opened commitments .* checked here in .*: all hold/)
  assert.match(steps.quorum!.said, /[23] of 3 members signed the same finding/)
  assert.match(money, /This answer costs 0\.01\d* SNTR; .* The provider 0x[0-9a-f]{40} has seen your drawing/)
  assert.match(sees, /in the clear/)
  assert.ok(kept >= 3, `${kept} blocks are kept for the next visit`)
  assert.ok(phoneWidth <= 360, `the page is ${phoneWidth} px wide on a phone of 360`)
  assert.equal(errors, [])
})

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
  // A gain, or a loss where the page took the same provider: a batch of one image earns less than the floor of its verification.
  assert.match(output, /\(provider\) .* [+-]0\.\d+/)
  // Of those that were drawn, one may have lost more as the provider of a page's job, and one may have come too late.
  assert.match(output, /\(verifier\) .* \+0\.\d+/, output.slice(-3_000))
  assert.match(output, /burned +0\.\d+/)
  assert.ok(output.includes('add up to zero'), output.slice(-3_000))
})

test.run()
