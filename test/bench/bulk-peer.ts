/**
 * One end of the transfer measurement, a process of its own. `serve MIB ROUNDS SEED` makes files, the same from one seed, and prints where
 * they are; `fetch JSON` gets each in turn from all that serve it and prints MB/s.
 */
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Stream } from '@libp2p/interface'
import pino from 'pino'
import { identityFromKey } from '../../node/identity/identity.ts'
import { type Content, createContent } from '../../node/net/content.ts'
import { createNetwork, type Network } from '../../node/net/libp2p.ts'
import { createStreams } from '../../node/net/streams.ts'
import { accept } from '../../protocol/verdict.ts'

const log = pino({ level: 'silent' })
const judge = async () => accept
const RAW = '/sinter-bench/raw/1'
const CHUNK = 64 * 1024

export type Offered = { addresses: string[]; peer: string; bytes: number; cids: { bulk: string; bitswap: string }[] }
export type Speeds = Record<'bulk' | 'bitswap' | 'raw', { speed: number; cpuMs: number }[]>

const startNetwork = (): Promise<Network> =>
  createNetwork({
    identity: identityFromKey(new Uint8Array(randomBytes(32))),
    tag: 'bench-00000000',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    mode: 'node',
    devnet: true,
    topics: { offers: judge, attestations: judge, votes: judge },
    log,
  })

const drained = (stream: Stream): Promise<void> =>
  new Promise((resolve) => stream.addEventListener('drain', () => resolve(), { once: true }))

async function serve(folder: string, mib: number, rounds: number, seed: string): Promise<void> {
  const network = await startNetwork()
  const streams = createStreams({ libp2p: network.libp2p, log })
  const content = await createContent({ network, streams, folder, log })
  const bytes = mib * 2 ** 20
  await network.libp2p.handle(RAW, async (stream) => {
    const chunk = new Uint8Array(randomBytes(CHUNK))
    for (let left = bytes; left > 0; left -= CHUNK) if (!stream.send(chunk)) await drained(stream)
    await stream.close()
  })
  const noise = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16))
  const make = (): Promise<string> => content.add(new Uint8Array(noise.update(Buffer.alloc(bytes))))
  const cids: Offered['cids'] = []
  for (let i = 0; i < rounds; i++) cids.push({ bulk: await make(), bitswap: await make() })
  const offered: Offered = { addresses: network.addresses(), peer: network.peerId, bytes, cids }
  console.log(JSON.stringify(offered))
}

async function raw(network: Network, peer: string, bytes: number): Promise<void> {
  const [connection] = network.libp2p.getConnections().filter(({ remotePeer }) => remotePeer.toString() === peer)
  const stream = await connection!.newStream(RAW)
  await new Promise<void>((resolve, reject) => {
    let got = 0
    stream.addEventListener('message', ({ data }) => {
      got += data.byteLength
      if (got >= bytes) resolve()
    })
    stream.addEventListener('close', () => (got >= bytes ? resolve() : reject(new Error(`${got} of ${bytes} bytes`))))
  })
}

async function fetchAll(folder: string, offers: [Offered, ...Offered[]]): Promise<void> {
  const [{ peer, bytes, cids }] = offers
  const near = new Set(offers.map(({ addresses }) => /\/tcp\/(\d+)/.exec(addresses[0]!)![1]!))
  const open = async (name: string, bulk: boolean): Promise<{ network: Network; content: Content }> => {
    const network = await startNetwork()
    const streams = createStreams({ libp2p: network.libp2p, log })
    const content = await createContent({ network, folder: join(folder, name), log, ...(bulk && { streams }) })
    for (const { addresses } of offers) await network.dial(addresses)
    return { network, content }
  }
  const ours = await open('bulk', true)
  const old = await open('bitswap', false)
  const speeds: Speeds = { bulk: [], bitswap: [], raw: [] }
  const timed = async (into: Speeds['raw'], work: () => Promise<unknown>): Promise<void> => {
    const from = performance.now()
    const cpu = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(cpu)
    const mb = bytes / 1e6
    into.push({ speed: mb / ((performance.now() - from) / 1000), cpuMs: (user + system) / 1000 / mb })
  }
  const options = { maxBytes: bytes, timeoutMs: 120_000, from: offers.map((each) => each.peer) }
  // One after the other in each round, so that a busy moment of the machine meets all of them.
  for (const { bulk, bitswap } of cids) {
    await timed(speeds.raw, () => raw(ours.network, peer, bytes))
    await timed(speeds.bulk, () => ours.content.get(bulk, options))
    await timed(speeds.bitswap, () => old.content.get(bitswap, options))
  }
  // Who heard of a source's own address in the meantime has not gone around the link to it.
  for (const { network } of [ours, old])
    for (const { direction, remotePeer, remoteAddr } of network.libp2p.getConnections())
      if (direction === 'outbound' && offers.some((each) => each.peer === remotePeer.toString()))
        if (!near.has(/\/tcp\/(\d+)/.exec(remoteAddr.toString())?.[1] ?? ''))
          throw new Error(`a connection went past the link: ${remoteAddr}`)
  console.log(JSON.stringify(speeds))
}

const [what, ...args] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'sinter-bulk-'))
const leave = (): void => void rm(folder, { recursive: true, force: true }).finally(() => process.exit())
process.on('SIGTERM', leave)
if (what === 'serve') await serve(folder, Number(args[0]), Number(args[1]), args[2]!)
else {
  await fetchAll(folder, JSON.parse(args[0]!))
  leave()
}
