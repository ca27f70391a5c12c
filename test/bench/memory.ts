/**
 * What a light client holds after 1,000 requests (`npm run bench:memory -- [jobs] [source]`): a process that is a consumer and nothing else, on a
 * local network, with the package as it is published (`source`: with the TypeScript of this repository, whose type stripping takes 30 MiB) and
 * the flags that the command line gives its clients (`NODE_FLAGS` names others).
 */
import { fork, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { loadHeldOut } from '../../models/digits.ts'
import { LIGHT_ENV, LIGHT_FLAGS } from '../../node/bin/launch.js'
import { startLocalnet } from '../../node/devnet/localnet.ts'
import { assetPath } from '../../protocol/assets.ts'

type Held = { done: number; rss: number; heapUsed: number; external: number }

const LIMIT_MB = 150
const jobs = Number(process.argv[2] ?? 1_000)
const source = process.argv[3] === 'source'
const flags = process.env.NODE_FLAGS?.split(' ').filter((flag) => flag !== '') ?? LIGHT_FLAGS
if (!source && spawnSync(process.execPath, [assetPath('node/build/build.ts')], { stdio: 'inherit' }).status !== 0)
  process.exit(1)
const mb = (bytes: number): number => Math.round(bytes / 2 ** 20)
const folder = mkdtempSync(join(tmpdir(), 'sinter-memory-'))
const net = await startLocalnet({ folder })
const held: Held[] = []
try {
  const [node] = [await net.startNode('node-1')]
  const publisher = net.startCommand(
    'publisher',
    await net.newAccount('publisher'),
    ['model', 'publish', 'digits'],
    ['--json'],
  )
  const { facts } = await publisher.wait('published', 120_000)
  const account = await net.newAccount('client')
  const images = join(folder, 'images.json')
  writeFileSync(images, JSON.stringify(loadHeldOut().images.map((image) => [...image])))
  const options = {
    sdk: pathToFileURL(assetPath(source ? 'node/sdk.ts' : '.dist/node/sdk.js')).href,
    images,
    network: net.networkFile,
    rpcUrl: net.anvil.rpcUrl,
    bootstrap: node!.multiaddr,
    dataDir: account.folder,
    password: readFileSync(join(folder, 'password'), 'utf8').trim(),
    model: facts.manifest,
    jobs,
  }
  const client = fork(fileURLToPath(new URL('./memory-client.ts', import.meta.url)), [JSON.stringify(options)], {
    execArgv: ['--no-warnings', ...flags],
    env: { ...LIGHT_ENV, ...process.env },
  })
  client.on('message', (message) => {
    const now = message as Held
    held.push(now)
    console.log(
      `${String(now.done).padStart(5)} requests: ${mb(now.rss)} MiB resident, heap ${mb(now.heapUsed)}, outside it ${mb(now.external)}`,
    )
  })
  const code = await new Promise<number | null>((resolve) => client.on('exit', resolve))
  if (code !== 0) throw new Error(`the client ended with ${code}`)
} finally {
  await net.stop()
  rmSync(folder, { recursive: true, force: true })
}
const last = held.at(-1)!
console.log(
  JSON.stringify({
    jobs: last.done,
    rss_mb: mb(last.rss),
    peak_mb: mb(Math.max(...held.map(({ rss }) => rss))),
    limit_mb: LIMIT_MB,
    flags: flags.join(' '),
    source,
  }),
)
process.exit(mb(last.rss) <= LIMIT_MB ? 0 : 1)
