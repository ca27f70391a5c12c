import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Actor, type ActorEvent, startActor } from '../../node/devnet/actor.ts'
import { type LocalNode, type Localnet, startLocalnet } from '../../node/devnet/localnet.ts'
import { mean, usage } from './measure.ts'
import type { RequestsFacts, RequestsInit } from './requests.ts'

/** What a network of real processes on this machine gave. */
export type NetworkFigures = {
  requests: RequestsFacts
  /** Processor time per request of the burst, in the node's and the client's own process (ms). */
  providerCpuMs: number | null
  clientCpuMs: number | null
  /** Seconds from the last acknowledged receipt to settlement, and to the end of the collection. */
  settleS: number
  collectS: number
  /** Seconds from the last receipt at which the stages between ended. */
  stages: [name: string, seconds: number][]
  status: string
  jobs: number
  /** Resident MiB, averaged over the nodes: own process, and with its children. */
  nodeRssMb: number | null
  nodeTreeMb: number | null
  processes: number | null
  /** Largest resident memory of the provider with its children while it proved. */
  provingMb: number | null
}

const NODES = 6
const SETTLE_MS = 200_000
const STAGES = ['batch.anchored', 'trace.anchored', 'attest.proven', 'attestation.published', 'vote.reveal']
const ROUNDS = { rounds: 4, paced: 50, direct: 200, burst: 300 }

async function startNodes(net: Localnet): Promise<void> {
  await net.startNode('node-1', { price: '0.012' })
  const names = Array.from({ length: NODES - 1 }, (_, i) => `node-${i + 2}`)
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) await net.startNode(name)
  }
  await Promise.all([work(), work()])
}

/** An average over nodes of one figure, null where there is no /proc. */
function average(nodes: LocalNode[], pick: (figures: NonNullable<ReturnType<typeof usage>>) => number): number | null {
  const all = nodes.flatMap(({ actor }) => usage(actor.pid) ?? [])
  return all.length === 0 ? null : mean(all.map(pick))
}

/** Processor time that a process spent on the burst. */
async function cpuOfBurst(client: Actor, pid: number): Promise<number | null> {
  await client.wait('burst.begin', SETTLE_MS)
  const before = usage(pid)?.ownCpuMs
  await client.wait('acknowledged', SETTLE_MS)
  const after = usage(pid)?.ownCpuMs
  return before === undefined || after === undefined ? null : (after - before) / ROUNDS.burst
}

async function measureOn(net: Localnet, events: ActorEvent[], say: (line: string) => void): Promise<NetworkFigures> {
  await startNodes(net)
  say(`${NODES} nodes are up`)
  const publisher = net.startCommand(
    'publisher',
    await net.newAccount('publisher'),
    ['model', 'publish', 'digits'],
    ['--json'],
  )
  const published = await publisher.wait('published', 60_000)
  const account = await net.newAccount('client')
  const init: RequestsInit = {
    networkFile: net.networkFile,
    rpcUrl: net.anvil.rpcUrl,
    bootstrap: net.nodes[0]!.multiaddr,
    data: account.folder,
    passwordFile: join(net.folder, 'password'),
    manifest: published.facts.manifest as string,
    ...ROUNDS,
  }
  const client = startActor({
    name: 'client',
    args: [JSON.stringify(init)],
    env: {},
    logFile: join(net.folder, 'logs', 'client.log'),
    program: join(import.meta.dirname, 'requests.ts'),
  })
  try {
    const warm = await client.wait('warm', 120_000)
    const provider = net.nodes.find(({ address }) => address === warm.facts.provider)!
    const [providerCpuMs, clientCpuMs] = await Promise.all([
      cpuOfBurst(client, provider.actor.pid),
      cpuOfBurst(client, client.pid),
    ])
    const acknowledged = await client.wait('acknowledged', SETTLE_MS)
    say('requests are measured, settlement runs')
    const nodeRssMb = average(net.nodes, ({ ownMb }) => ownMb)
    const nodeTreeMb = average(net.nodes, ({ treeMb }) => treeMb)
    const processes = average(net.nodes, (each) => each.processes)
    let provingMb: number | null = null
    const sampler = setInterval(() => {
      const now = usage(provider.actor.pid)
      if (now !== null) provingMb = Math.max(provingMb ?? 0, now.treeMb)
    }, 250)
    const finished = await provider.actor.wait('batch.finished', SETTLE_MS).finally(() => clearInterval(sampler))
    const since = (name: string): number =>
      (Math.min(...events.filter(({ event }) => event === name).map(({ at }) => at)) - acknowledged.at) / 1000
    return {
      requests: acknowledged.facts as unknown as RequestsFacts,
      providerCpuMs,
      clientCpuMs,
      settleS: since('batch.settled'),
      collectS: since('batch.collected'),
      stages: STAGES.map((name) => [name, since(name)]),
      status: String(finished.facts.status),
      jobs: Number(events.find(({ event }) => event === 'attest.proven')?.facts.jobs),
      nodeRssMb,
      nodeTreeMb,
      processes,
      provingMb,
    }
  } finally {
    await client.stop()
  }
}

/** Starts a local network, measures on it and ends it. Throws the codes of devnet. */
export async function measureNetwork(say: (line: string) => void): Promise<NetworkFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-bench-'))
  const events: ActorEvent[] = []
  const net = await startLocalnet({ folder, onEvent: (event) => void events.push(event) })
  try {
    return await measureOn(net, events, say)
  } finally {
    await net.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
