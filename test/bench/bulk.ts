/**
 * `npm run bench:bulk [MIB] [ROUNDS]`: a file from process to process over TCP on loopback, by block streams, by bitswap and by a raw
 * libp2p stream of the same length, which checks and stores nothing; then the same over links with a round-trip time, and from several
 * sources. Last line JSON.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Offered, Speeds } from './bulk-peer.ts'
import { percentile } from './measure.ts'

/**
 * MB/s (10^6 bytes), medians of the rounds, and milliseconds of computing a megabyte in the process that fetches, which a busy machine does
 * not change. A file counts when all of it is checked, on disk and in memory.
 */
export type BulkFigures = Record<`${'bulk' | 'bitswap' | 'raw'}_${'mb_s' | 'cpu_ms_mb'}`, number>

export type BulkOptions = {
  /** @default 32 */
  mib?: number
  /** @default 3 */
  rounds?: number
  /** Round-trip time of the link to each source (ms). @default 0, the loopback as it is */
  rttMs?: number
  /** Processes that have the file. The raw stream comes from one of them. @default 1 */
  sources?: number
}

const run = (program: string, ...args: string[]): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, program), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })

/** The first line that a process prints. */
function line(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve)
    child.once('exit', (code) => reject(new Error(`the process ended with ${code}`)))
  })
}

export async function measureBulk(options: BulkOptions = {}): Promise<BulkFigures> {
  const { mib = 32, rounds = 3, rttMs = 0, sources = 1 } = options
  const seed = String(Math.random())
  const children = Array.from({ length: sources }, () =>
    run('bulk-peer.ts', 'serve', String(mib), String(rounds), seed),
  )
  try {
    let offers = (await Promise.all(children.map(line))).map((each) => JSON.parse(each) as Offered)
    if (rttMs > 0) {
      const ports = offers.map(({ addresses }) => /\/tcp\/(\d+)/.exec(addresses[0]!)![1]!)
      const link = run('delay-link.ts', String(rttMs / 2), ...ports)
      children.push(link)
      const near = JSON.parse(await line(link)) as number[]
      offers = offers.map((each, i) => ({ ...each, addresses: [`/ip4/127.0.0.1/tcp/${near[i]}/p2p/${each.peer}`] }))
    }
    const { bulk, bitswap, raw } = JSON.parse(
      await line(run('bulk-peer.ts', 'fetch', JSON.stringify(offers))),
    ) as Speeds
    const median = (values: number[]): number => Number(percentile(values, 0.5).toFixed(1))
    const speed = (of: Speeds['raw']): number => median(of.map((each) => each.speed))
    const cpu = (of: Speeds['raw']): number => median(of.map((each) => each.cpuMs))
    return {
      ...{ bulk_mb_s: speed(bulk), bitswap_mb_s: speed(bitswap), raw_mb_s: speed(raw) },
      ...{ bulk_cpu_ms_mb: cpu(bulk), bitswap_cpu_ms_mb: cpu(bitswap), raw_cpu_ms_mb: cpu(raw) },
    }
  } finally {
    for (const child of children) child.kill()
  }
}

/** What is measured: the name of its figures, and how. */
const LINKS: [suffix: string, options: BulkOptions][] = [
  ['', {}],
  ['_rtt20', { rttMs: 20 }],
  ['_rtt80', { rttMs: 80 }],
  ['_rtt80_3_sources', { rttMs: 80, sources: 3 }],
]

if (import.meta.main) {
  const [mib, rounds] = process.argv.slice(2).map(Number)
  const all: Record<string, number> = {}
  for (const [suffix, options] of LINKS) {
    const figures = await measureBulk({ ...options, ...(mib && { mib }), ...(rounds && { rounds }) })
    const { bulk_mb_s: bulk, bitswap_mb_s: bitswap, raw_mb_s: raw } = figures
    const where = `round trip ${options.rttMs ?? 0} ms, ${options.sources ?? 1} source(s)`
    const ratios = `${(bulk / bitswap).toFixed(1)} × bitswap, ${(bulk / raw).toFixed(2)} × raw`
    console.log(
      `${where}: block streams ${bulk}, bitswap ${bitswap}, raw ${raw} MB/s: ${ratios}; load ${loadavg()[0]!.toFixed(1)}`,
    )
    for (const [name, value] of Object.entries(figures)) all[name.replace('_mb_s', `${suffix}_mb_s`)] = value
  }
  console.log(JSON.stringify(all))
}
