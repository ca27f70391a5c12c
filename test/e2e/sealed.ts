/**
 * `npm run test:sealed`: a batch of sealed inputs by the commands, over a local network of real processes: sealed for one provider, kept by
 * somebody else, its owner gone when the provider fetches them, and its results read by their CID.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import type { Account } from '../../node/devnet/localnet.ts'
import { assetPath } from '../../protocol/assets.ts'
import { type ConsumerWorld, openConsumerWorld } from './consumer-world.ts'

const { images, labels } = loadHeldOut()
const COUNT = 4
let world: ConsumerWorld

test.before(async () => {
  world = await openConsumerWorld({ honest: { price: '0.01' }, cheap: { price: '0.005' } }).catch((error: unknown) => {
    console.error(error)
    throw error
  })
})
test.after(() => world?.stop())

async function cli(account: Account, ...args: string[]) {
  const command = [assetPath('node/cli.ts'), ...args, '--json', ...world.join(account)]
  const run = promisify(execFile)(process.execPath, ['--no-warnings', ...command], { timeout: 180_000 })
  const { stdout, stderr, code } = await run.then(
    (done) => ({ ...done, code: 0 }),
    (error: { stdout: string; stderr: string; code: number }) => error,
  )
  const lines = stdout.trim().split('\n').filter(Boolean)
  return { code, stderr, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

type Result = { outputs: { logits: { data: number[] } }; provider?: string; sealed?: string }
const resultsIn = (folder: string): Result[] =>
  readdirSync(folder)
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Result)

test('inputs sealed for one provider, kept by a third: it fetches them with their owner gone, and results come by content', async () => {
  const owner = await world.net.newAccount('owner')
  const keeper = await world.net.newAccount('keeper')
  const [folder, out, again] = ['in', 'out', 'again'].map((name) => join(owner.folder, name)) as [
    string,
    string,
    string,
  ]
  mkdirSync(folder)
  for (let i = 0; i < COUNT; i++) writeFileSync(join(folder, `${i}.json`), JSON.stringify([...images[i]!]))
  const { multiaddr, address } = world.nodes.get('honest')!
  const peer = multiaddr.split('/p2p/')[1]!
  const seal = ['dataset', folder, '--provider', peer, '--model', world.model]
  const sealing = world.net.startCommand('owner', owner, seal, ['--json'])
  const { facts } = await sealing.wait('dataset', 120_000)
  const cid = facts.cid as string
  const holding = world.net.startCommand('keeper', keeper, ['hold', cid], ['--json'])
  assert.is((await holding.wait('hold', 120_000)).facts.files, COUNT)
  await sealing.stop()
  // Not even the owner has them any more: only its key.
  rmSync(join(owner.folder, 'blocks'), { recursive: true })

  // The provider has the model loaded, so that the batch's window for bids is long enough.
  const terms = ['--provider', address, '--window', '90000', '--count', '1']
  assert.is((await cli(owner, 'infer', '--model', world.model, ...terms)).code, 0)
  const { code, stderr, lines } = await cli(owner, 'batch', cid, '--model', world.model, '--out', out)
  assert.is(code, 0, stderr)
  assert.equal(lines[0], { event: 'begin', files: COUNT, before: 0 })
  const results = resultsIn(out)
  assert.is(results.length, COUNT)
  for (const [i, { outputs, provider, sealed }] of results.entries()) {
    assert.is(outputs.logits.data.indexOf(Math.max(...outputs.logits.data)), labels[i])
    assert.is(provider, address, 'the other was cheaper, and nothing was sealed for it')
    assert.match(sealed!, /^b[a-z2-7]{50,}$/)
  }
  const { event, cid: answers, files } = lines.at(-1)!
  assert.equal([event, files], ['results', COUNT])
  const read = await cli(owner, 'results', answers as string, '--out', again)
  assert.equal([read.code, read.lines], [0, [{ event: 'results', files: COUNT }]])
  assert.equal(
    resultsIn(again).map(({ outputs }) => outputs),
    results.map(({ outputs }) => outputs),
  )
  // Another key reads nothing.
  assert.is((await cli(keeper, 'results', answers as string, '--out', join(keeper.folder, 'out'))).code !== 0, true)
  await holding.stop()
})

test.run()
