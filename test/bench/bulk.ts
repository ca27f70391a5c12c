/**
 * `npm run bench:bulk [MIB] [ROUNDS]`: a file from process to process over TCP on loopback, by block streams, by bitswap and by a raw
 * libp2p stream of the same length, which checks and stores nothing. Last line JSON.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Speeds } from './bulk-peer.ts'
import { percentile } from './measure.ts'

/** MB/s (10^6 bytes), medians of the rounds. A file counts when all of it is checked, on disk and in memory. */
export type BulkFigures = { bulk_mb_s: number; bitswap_mb_s: number; raw_mb_s: number }

const peer = (...args: string[]): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, 'bulk-peer.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })

/** The first line that a process prints. */
function line(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve)
    child.once('exit', (code) => reject(new Error(`the peer ended with ${code}`)))
  })
}

export async function measureBulk(options: { mib?: number; rounds?: number } = {}): Promise<BulkFigures> {
  const { mib = 32, rounds = 3 } = options
  const server = peer('serve', String(mib), String(rounds))
  try {
    const fetcher = peer('fetch', await line(server))
    const { bulk, bitswap, raw } = JSON.parse(await line(fetcher)) as Speeds
    const median = (values: number[]): number => Number(percentile(values, 0.5).toFixed(1))
    return { bulk_mb_s: median(bulk), bitswap_mb_s: median(bitswap), raw_mb_s: median(raw) }
  } finally {
    server.kill()
  }
}

if (import.meta.main) {
  const [mib, rounds] = process.argv.slice(2).map(Number)
  const figures = await measureBulk({ ...(mib && { mib }), ...(rounds && { rounds }) })
  console.log(
    `load ${loadavg()[0]!.toFixed(1)}; block streams are ${(figures.bulk_mb_s / figures.bitswap_mb_s).toFixed(1)} × bitswap`,
  )
  console.log(JSON.stringify(figures))
}
