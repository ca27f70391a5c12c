import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { devnetParams } from '../../node/chain/params.ts'
import { type Account, type LocalNode, type Localnet, startLocalnet } from '../../node/devnet/localnet.ts'
import { type ConnectOptions, type Consumer, connect } from '../../node/sdk.ts'
import { assetPath } from '../../protocol/assets.ts'

/** A local network of real processes with a published model, for tests of what consumers use. */
export type ConsumerWorld = {
  net: Localnet
  /** CID of the digits manifest. */
  model: string
  nodes: Map<string, LocalNode>
  /** Arguments that join the network, for a command. */
  join(account: Account): string[]
  /** A connection with an account of its own that takes bids from the named nodes only. */
  connect(providers: string[], options?: Partial<ConnectOptions>): Promise<Consumer>
  stop(): Promise<void>
}

const adversary = fileURLToPath(new URL('../adversary/node.ts', import.meta.url))

/** @param nodes names with prices in tokens; a `fault` is one of test/adversary/faults.ts */
export async function openConsumerWorld(
  nodes: Record<string, { price: string; fault?: string }>,
): Promise<ConsumerWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-consumer-'))
  // Nothing is settled while the tests run, so that proofs take no time from them.
  const net = await startLocalnet({ folder, params: { ...devnetParams, draws: 2 }, tileDraws: 2 })
  const world: ConsumerWorld = {
    net,
    model: '',
    nodes: new Map(),
    join: (account) => [
      ...['--network', net.networkFile, '--rpc', net.anvil.rpcUrl, '--data', account.folder],
      ...['--bootstrap', net.nodes[0]!.multiaddr, '--listen', '/ip4/127.0.0.1/tcp/0'],
      ...['--password-file', join(folder, 'password'), '--devnet', '--log-level', 'silent'],
    ],
    async connect(providers, options = {}) {
      const account = await net.newAccount(`client-${Math.random().toString(36).slice(2)}`)
      const wanted = new Set(providers.map((name) => world.nodes.get(name)!.address))
      return connect({
        // What is counted here is what the test asks for.
        audit: 0,
        network: net.networkFile,
        rpcUrl: net.anvil.rpcUrl,
        dataDir: account.folder,
        password: readFileSync(join(folder, 'password'), 'utf8').trim(),
        bootstrap: [net.nodes[0]!.multiaddr],
        devnet: true,
        peers: Math.min(2, net.nodes.length),
        ceiling: 10n ** 17n,
        ...options,
        scheduler: {
          accept: ({ provider }) => wanted.has(provider),
          bids: providers.length,
          providers: providers.length,
          sessionJobs: 200,
          windowMs: 10_000,
          ...options.scheduler,
        },
      })
    },
    async stop() {
      await net.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  try {
    const start = async ([name, { price, fault }]: [string, { price: string; fault?: string }]): Promise<void> => {
      const options = fault === undefined ? {} : { program: adversary, env: { ATTACK: fault } }
      world.nodes.set(name, await net.startNode(name, { price, args: ['--quiet', '600'], ...options }))
    }
    // The others begin from the address of the first.
    const [first, ...others] = Object.entries(nodes)
    await start(first!)
    await Promise.all(others.map(start))
    const account = await net.newAccount('publisher')
    const publisher = net.startCommand('publisher', account, ['model', 'publish', 'digits'], ['--json'])
    world.model = (await publisher.wait('published', 60_000)).facts.manifest as string
    return world
  } catch (error) {
    await world.stop()
    throw error
  }
}

/** Runs the n-th TypeScript example of node/README.md as a program of its own, and gives what it printed. Throws when it fails. */
export async function runExample(world: ConsumerWorld, n: number, more: Record<string, string> = {}): Promise<string> {
  const example = [...readFileSync(assetPath('node/README.md'), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)][n]
  if (example === undefined) throw new Error(`node/README.md has no example ${n}`)
  const account = await world.net.newAccount(`reader-${n}`)
  const file = join(account.folder, 'example.ts')
  const at = (path: string): string => pathToFileURL(assetPath(path)).href
  const source = example[1]!
    .replace("from 'sinter'", `from '${at('node/sdk.ts')}'`)
    .replace("from './learning.ts'", `from '${at('test/e2e/learning.ts')}'`)
  writeFileSync(file, source)
  const env = {
    SINTER_NETWORK: world.net.networkFile,
    SINTER_RPC: world.net.anvil.rpcUrl,
    SINTER_BOOTSTRAP: world.net.nodes[0]!.multiaddr,
    SINTER_DATA: account.folder,
    SINTER_PASSWORD: readFileSync(join(world.net.folder, 'password'), 'utf8').trim(),
    SINTER_MODEL: world.model,
    ...more,
  }
  const options = { env: { ...process.env, ...env }, timeout: 180_000 }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--no-warnings', file], options)
  if (stderr !== '') throw new Error(stderr)
  return stdout
}
