import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Hex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import { describeMoney, describeWork, timeline } from '../devnet/account.ts'
import type { ActorEvent } from '../devnet/actor.ts'
import { type Account, type Localnet, type NodeOptions, startLocalnet } from '../devnet/localnet.ts'
import { takeLedger } from '../devnet/money.ts'
import { createProgress, type Progress } from '../devnet/progress.ts'
import { pageBuilt, type ServedPage, servePage } from '../page/serve.ts'
import { parseCount, untilAsked } from './options.ts'

export type DevnetOptions = { nodes: string; jobs: string; data?: string; keep: boolean }

const MIN_NODES = 6
/** Longest time from the last answer to the end of the settlement: a slow machine has what the devnet's windows give it. */
const SETTLE_MS = 480_000

/** Nodes ask slightly different prices, so that the consumer has a choice to make. */
const priceOf = (i: number): string => `0.0${10 + ((i * 7) % 5)}`

/** Only one of the nodes proves in the demo, so it may have two cores for it. */
const nodeOptions = (i: number): NodeOptions => ({ price: priceOf(i), args: ['--provers', '2'] })

async function startNodes(net: Localnet, count: number, progress: Progress): Promise<void> {
  const first = await net.startNode('node-1', { ...nodeOptions(1), webrtc: true })
  progress.line(`node-1 ${first.address} at ${first.multiaddr}: the bootstrap address`)
  // Three at a time: a start takes a core for a few seconds, and then waits for blocks.
  const names = Array.from({ length: count - 1 }, (_, i) => i + 2)
  const work = async (): Promise<void> => {
    for (let i = names.shift(); i !== undefined; i = names.shift()) {
      const node = await net.startNode(`node-${i}`, nodeOptions(i))
      progress.line(`node-${i} ${node.address}, stake 1000 SNTR, asks ${priceOf(i)} SNTR a job`)
    }
  }
  await Promise.all([work(), work(), work()])
}

async function publish(net: Localnet, progress: Progress): Promise<string> {
  const account = await net.newAccount('publisher')
  const publisher = net.startCommand('publisher', account, ['model', 'publish', 'digits'], ['--json'])
  const { facts } = await publisher.wait('published', 60_000)
  progress.line(`manifest ${facts.manifest}`)
  progress.line(`model ${facts.model}, weights ${facts.weights}`)
  return facts.manifest as string
}

/** Runs the light client, printing what it prints. */
async function consume(
  net: Localnet,
  account: Account,
  manifest: string,
  jobs: number,
  progress: Progress,
): Promise<ActorEvent> {
  const client = net.startCommand(
    'client',
    account,
    ['infer'],
    ['--model', manifest, '--count', String(jobs), '--window', '15000', '--bids', '3', '--json'],
  )
  const seen = new Set<ActorEvent>()
  const follow = setInterval(() => {
    for (const event of client.events) {
      if (seen.has(event)) continue
      seen.add(event)
      const { facts } = event
      if (event.event === 'trust') progress.line(facts.statement as string)
      if (event.event === 'bids') {
        for (const bid of facts.bids as { provider: string; price: string; latencyMs: number }[])
          progress.line(`bid from ${bid.provider}: ${bid.price} SNTR, ${bid.latencyMs} ms expected`)
        progress.line(`taken: ${facts.chosen}`)
      }
      if (event.event === 'answer') {
        const { job, digit, label, confidence, latencyMs } = facts as Record<string, number>
        const mark = digit === label ? 'right' : `wrong, it is ${label}`
        progress.line(
          `image ${job}: ${digit} (${mark}), confidence ${(100 * confidence!).toFixed(1)}%, ${latencyMs!.toFixed(1)} ms`,
        )
      }
    }
  }, 50)
  try {
    const summary = await client.wait('summary', 120_000)
    const code = await client.ended
    if (code !== 0) throw new SinterError('ACTOR_ENDED', `the light client ended with code ${code}`)
    return summary
  } finally {
    await new Promise((resolve) => setTimeout(resolve, 60))
    clearInterval(follow)
  }
}

const WATCHED: Record<string, string> = {
  'batch.anchored': 'batch anchored: receipts are fixed, the sample is not known yet',
  'trace.anchored': 'trace anchored: the drawn jobs’ canonical activations are fixed, the challenge is not known yet',
  'attest.proven': 'attestation proven',
  'attestation.published': 'attestation committed on chain and gossiped: the committee is not known yet',
  'attestation.verified': 'attestation verified by a committee member',
  'vote.reveal': 'vote revealed',
  'batch.settled': 'batch settled by a quorum',
  'batch.collected': 'fees collected',
  'pulse.claimed': 'capacity: a lane of a pulse was examined, and is paid at the end of the epoch',
}

/** What the light client says at its end. */
type RunSummary = { right: number; labelled: number; medianMs: number; provider: string; session: Hex; spent: string }

/** Starts a network, runs the main job on it and prints the account. */
export async function devnet(options: DevnetOptions): Promise<void> {
  const count = parseCount(options.nodes)
  const jobs = parseCount(options.jobs)
  if (count < MIN_NODES) throw new SinterError('OPTION', `a local network has at least ${MIN_NODES} nodes`)
  const folder = options.data ?? mkdtempSync(join(tmpdir(), 'sinter-devnet-'))
  mkdirSync(folder, { recursive: true })
  const progress = createProgress(process.stdout)
  const events: ActorEvent[] = []
  const interrupted = untilAsked()
  let net: Localnet | null = null
  let page: ServedPage | null = null
  const run = async (): Promise<void> => {
    progress.stage('chain: anvil, contracts, faucet')
    net = await startLocalnet({
      folder,
      onEvent(event) {
        events.push(event)
        const text = WATCHED[event.event]
        if (text !== undefined) progress.line(`${event.actor}: ${text}`)
      },
    })
    progress.line(`chain ${net.network.chainId} at ${net.anvil.rpcUrl}, network ${net.network.name}`)
    progress.stage(`network: ${count} nodes, one process each`)
    await startNodes(net, count, progress)
    progress.stage('model: published by content')
    const manifest = await publish(net, progress)
    const visitors = new Set<Address>()
    page = await openPage(net, manifest, visitors, progress)
    const client = await net.newAccount('client')
    const faucet = net.network.contracts.faucet!
    const accounts = [...net.nodes.map(({ address }) => address), client.address, faucet]
    const before = await takeLedger(net.chain, [...accounts, ...visitors])
    progress.stage(`jobs: ${jobs} held-out images through a light client`)
    const summary = await consume(net, client, manifest, jobs, progress)
    const { right, labelled, medianMs, provider, session, spent } = summary.facts as RunSummary
    progress.line(
      `${right} of ${labelled} right (${((100 * right) / labelled).toFixed(1)}%), median ${medianMs.toFixed(1)} ms, ${spent} SNTR acknowledged`,
    )
    progress.stage('settlement: sample, trace, challenge, proofs, committee, votes')
    const seller = net.nodes.find(({ address }) => address === provider)!
    const finished = await seller.actor.wait('batch.finished', SETTLE_MS)
    const { chain } = net
    const opened = await Promise.all([...visitors].map((visitor) => chain.sessionsOf(visitor)))
    const after = await takeLedger(chain, [...accounts, ...visitors], {
      sessions: [session, ...opened.flat().map(({ id }) => id)],
      batches: events.flatMap(({ event, facts }) => (event === 'batch.anchored' ? [facts.batch as Hex] : [])),
    })
    progress.stage('account')
    for (const line of timeline(events)) progress.line(line)
    progress.line('')
    for (const line of describeWork(events, net.network, jobs)) progress.line(line)
    progress.line('')
    const roles = { nodes: net.nodes, seller: seller.address, consumer: client.address, faucet, visitors }
    for (const line of describeMoney(before, after, roles, events)) progress.line(line)
    if (finished.facts.status !== 'paid')
      throw new SinterError('DEVNET_OUTCOME', `the batch ended ${finished.facts.status}, not paid`)
    if (options.keep) await keep(net, client, manifest, progress)
    else if (page !== null && page.visitors() > 0) {
      progress.line('The page is open somewhere: the network stays up until it is closed.')
      await page.abandoned()
    }
  }
  try {
    const outcome = await Promise.race([run().then(() => null), interrupted])
    if (outcome !== null) progress.line(`${outcome}: stopping`)
  } finally {
    progress.end()
    await (page as ServedPage | null)?.stop()
    await (net as Localnet | null)?.stop()
    if (options.data === undefined && process.exitCode === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

/** The demo page while the network is up, if this installation has it. Who asks it for play money is added to `visitors`. */
async function openPage(
  net: Localnet,
  model: string,
  visitors: Set<Address>,
  progress: Progress,
): Promise<ServedPage | null> {
  if (!pageBuilt()) {
    progress.line('page: not built here; npm run build makes it')
    return null
  }
  const { network, anvil, nodes } = net
  // One node by WebRTC; another by WebSockets, should the browser's WebRTC be shut off.
  const [first, second] = nodes
  const bootstrap = [first!.webrtc, second!.websocket].filter((address) => address !== null)
  const drip = (account: Address): Promise<void> => {
    visitors.add(account)
    return net.drip(account)
  }
  const page = await servePage({ network, rpcUrl: anvil.rpcUrl, bootstrap, model, devnet: true, drip })
  progress.line(`page: ${page.url} while the network is up: draw a digit there and watch`)
  return page
}

async function keep(net: Localnet, client: Account, manifest: string, progress: Progress): Promise<void> {
  progress.line('')
  progress.line('The network stays up. From a second terminal, in this folder:')
  progress.line('')
  const parts = [
    'npx sinter infer --devnet',
    `--network ${net.networkFile}`,
    `--rpc ${net.anvil.rpcUrl}`,
    `--bootstrap ${net.nodes[0]!.multiaddr}`,
    '--listen /ip4/127.0.0.1/tcp/0',
    `--data ${client.folder}`,
    `--password-file ${join(net.folder, 'password')}`,
    `--model ${manifest}`,
    '--count 5 --log-level warn',
  ]
  // Not indented and on one line, so that it can be copied.
  process.stdout.write(`${parts.join(' ')}\n`)
  progress.line('')
  progress.line('Ctrl-C here stops everything.')
  progress.status('network up; Ctrl-C stops it')
  await untilAsked()
}
