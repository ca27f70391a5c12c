import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { type Anvil, startAnvil } from '../chain/anvil.ts'
import { type Chain, openChain } from '../chain/chain.ts'
import { deployNetwork } from '../chain/deploy.ts'
import { devnetParams, type NetworkParams } from '../chain/params.ts'
import { installedCircuits } from '../circuits.ts'
import { createKeystore } from '../identity/keystore.ts'
import { type Actor, type ActorEvent, startActor } from './actor.ts'

/** A chain, a network on it and the processes that take part: what `sinter devnet` and the network tests run on. */
export type Localnet = {
  folder: string
  anvil: Anvil
  network: NetworkFile
  networkFile: string
  /** Reads only. */
  chain: Chain
  nodes: LocalNode[]
  /** Makes a funded key in a folder of its own. */
  newAccount(name: string): Promise<Account>
  /** Gives an account play money, unless it has some. */
  drip(account: Address): Promise<void>
  /** Starts a node and waits until it is ready. The first one is the bootstrap address of all others. */
  startNode(name: string, options?: NodeOptions): Promise<LocalNode>
  /** Starts another command of the program on this network. */
  startCommand(name: string, account: Account, command: string[], args: string[]): Actor
  /** Ends all processes. */
  stop(): Promise<void>
}

export type Account = { name: string; folder: string; address: Address }
export type LocalNode = {
  account: Account
  actor: Actor
  address: Address
  /** Over TCP. */
  multiaddr: string
  /** The same over WebSockets, for browsers. */
  websocket: string
  /** And over WebRTC, if it was told to. */
  webrtc: string | null
}

export type NodeOptions = {
  price?: string
  /** Program instead of the command line, for nodes with one thing changed. */
  program?: string
  /** Environment of the process, beside the inherited one. */
  env?: Record<string, string>
  /** An account that exists, for a node that is started again. */
  account?: Account
  /** Listens for WebRTC too. @default false */
  webrtc?: boolean
  args?: string[]
}

export type LocalnetInit = {
  folder: string
  params?: NetworkParams
  /** Tiles drawn per drawn job. @default 4 */
  tileDraws?: number
  onEvent?(event: ActorEvent): void
  /** JSON-RPC endpoint that a process is given. @default the chain's own */
  rpcFor?(name: string, rpcUrl: string): Promise<string>
}

const READY_MS = 60_000

/** Starts the chain and deploys the network. Throws the codes of anvil and of the deployment. */
export async function startLocalnet(init: LocalnetInit): Promise<Localnet> {
  const { folder, params = devnetParams, tileDraws = 4, onEvent, rpcFor = async (_, url) => url } = init
  const logs = join(folder, 'logs')
  mkdirSync(logs, { recursive: true })
  const password = randomBytes(16).toString('hex')
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 })
  const anvil = await startAnvil()
  const actors: Actor[] = []
  const nodes: LocalNode[] = []
  try {
    const at = { rpcUrl: anvil.rpcUrl, key: anvil.key }
    const network = await deployNetwork({
      ...at,
      name: 'devnet',
      params,
      tileDraws,
      circuits: await installedCircuits(),
      faucet: true,
    })
    const networkFile = join(folder, 'network.json')
    writeFileSync(networkFile, `${JSON.stringify(network, null, 2)}\n`)
    const chain = await openChain({ network, rpcUrl: anvil.rpcUrl })
    const funder = await openChain({ network, ...at })

    function start(
      name: string,
      account: Account,
      command: string[],
      args: string[],
      options: NodeOptions = {},
      rpcUrl = anvil.rpcUrl,
    ): Actor {
      const bootstrap = nodes[0] === undefined ? [] : ['--bootstrap', nodes[0].multiaddr]
      // Nodes and publishers are there for browsers too.
      const serves = command[0] === 'up' || command[1] === 'publish'
      const listen = ['/ip4/127.0.0.1/tcp/0', ...(serves ? ['/ip4/127.0.0.1/tcp/0/ws'] : [])]
      if (options.webrtc) listen.push('/ip4/127.0.0.1/udp/0/webrtc-direct')
      const common = ['--network', networkFile, '--rpc', rpcUrl, '--data', account.folder]
      const actor = startActor({
        name,
        args: [
          ...command,
          ...common,
          ...bootstrap,
          '--listen',
          ...listen,
          '--password-file',
          passwordFile,
          '--devnet',
          ...args,
        ],
        env: options.env ?? {},
        logFile: join(logs, `${name}.log`),
        ...(onEvent === undefined ? {} : { onEvent }),
        ...(options.program === undefined ? {} : { program: options.program }),
      })
      actors.push(actor)
      return actor
    }

    async function newAccount(name: string): Promise<Account> {
      const data = join(folder, name)
      mkdirSync(data, { recursive: true })
      const { address } = await createKeystore(join(data, 'key.json'), password, { cost: 'devnet' })
      await funder.drip(address)
      return { name, folder: data, address }
    }

    return {
      folder,
      anvil,
      network,
      networkFile,
      chain,
      nodes,
      newAccount,
      async drip(account) {
        const [wallet, escrow] = await Promise.all([chain.tokensOf(account), chain.balanceOf(account)])
        if (wallet + escrow === 0n) await funder.drip(account)
      },
      async startNode(name, options = {}) {
        const account = options.account ?? (await newAccount(name))
        // The chain's ether is play money: a fixed price of next to nothing, and the token at a dollar.
        const prices = ['--ether-usd', '0.01', '--token-usd', '1']
        const pace = ['--quiet', '3', '--batch-age', '60']
        const args = ['--price', options.price ?? '0.01', ...pace, ...prices, ...(options.args ?? [])]
        const actor = start(name, account, ['up'], args, options, await rpcFor(name, anvil.rpcUrl))
        const ready = await actor.wait('node.ready', READY_MS)
        const addresses = ready.facts.addresses as string[]
        const websocket = addresses.find((address) => address.includes('/ws/'))
        const webrtc = addresses.find((address) => address.includes('/webrtc-direct/')) ?? null
        const multiaddr = addresses.find((address) => /\/tcp\/\d+\/p2p\//.test(address))
        if (multiaddr === undefined || websocket === undefined)
          throw new SinterError('DEVNET_ADDRESS', `${name} listens on ${addresses.join(', ') || 'nothing'}`)
        const node = { account, actor, address: account.address, multiaddr, websocket, webrtc }
        nodes.push(node)
        return node
      },
      startCommand: (name, account, command, args) => start(name, account, command, args),
      async stop() {
        await Promise.all(actors.map((actor) => actor.stop()))
        await anvil.stop()
      },
    }
  } catch (error) {
    await Promise.all(actors.map((actor) => actor.stop()))
    await anvil.stop()
    throw error
  }
}
