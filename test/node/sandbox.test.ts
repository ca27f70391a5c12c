/** What an execution process cannot reach. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sandbox } from '../../node/exec/sandbox.ts'
import { PACKAGE_ROOT } from '../../protocol/assets.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-sandbox-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a script as an execution process is run; what it prints. */
function inside(script: string): Promise<string> {
  const { execPath, execArgv } = sandbox(256)
  const child = spawn(execPath, [...execArgv, '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk
  })
  return new Promise((resolve) => child.on('close', () => resolve(out.trim())))
}

test('files of the operator are not read, none are written, no process is started', async () => {
  const secret = join(folder, 'key.json')
  writeFileSync(secret, 'secret')
  const tried = (what: string): string =>
    `try { ${what}; console.log('done') } catch (error) { console.log(error.code) }`
  const out = await inside(`
    import { readFileSync, writeFileSync } from 'node:fs'
    import { spawnSync } from 'node:child_process'
    ${tried(`readFileSync(${JSON.stringify(join(PACKAGE_ROOT, 'package.json'))})`)}
    ${tried(`readFileSync(${JSON.stringify(secret)})`)}
    ${tried(`readFileSync(${JSON.stringify(join(PACKAGE_ROOT, 'README.md'))})`)}
    ${tried(`writeFileSync(${JSON.stringify(join(folder, 'out'))}, 'x')`)}
    ${tried(`writeFileSync(${JSON.stringify(join(PACKAGE_ROOT, 'node', 'x'))}, 'x')`)}
    ${tried(`spawnSync('true')`)}`)
  assert.equal(out.split('\n'), ['done', ...Array<string>(5).fill('ERR_ACCESS_DENIED')])
})

test('where the kernel allows it, there is no network, not even this machine', async () => {
  const server = createServer((_, response) => response.end('reached'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const url = `http://127.0.0.1:${port}`
  const out = await inside(`
    import { networkInterfaces } from 'node:os'
    const answer = await fetch(${JSON.stringify(url)}).then((r) => r.text(), (error) => error.cause.code)
    console.log(answer, Object.keys(networkInterfaces()).length)`)
  assert.is(await (await fetch(url)).text(), 'reached')
  server.close()
  server.closeAllConnections()
  const { offline } = sandbox(256)
  console.log(`# execution processes are kept off the network here: ${offline}`)
  assert.is(out, offline ? 'ENETUNREACH 0' : out)
})

test.run()
