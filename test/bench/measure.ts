import { readdirSync, readFileSync } from 'node:fs'

/** The value below which a share `q` of the samples lies (nearest rank). */
export function percentile(samples: number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

export const mean = (samples: number[]): number => samples.reduce((sum, each) => sum + each, 0) / samples.length

/** Milliseconds that each of `n` runs took, one after the other. */
export async function time(n: number, run: (i: number) => Promise<unknown> | unknown): Promise<number[]> {
  const out: number[] = []
  for (let i = 0; i < n; i++) {
    const started = performance.now()
    await run(i)
    out.push(performance.now() - started)
  }
  return out
}

/** Milliseconds of processor time per run of `n` runs in this process, all threads. */
export function cpuPerRun(n: number, run: (i: number) => void): number {
  const before = process.cpuUsage()
  for (let i = 0; i < n; i++) run(i)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / n
}

type ProcessStat = { pid: number; parent: number; cpuMs: number }

/** Jiffies are hundredths of a second wherever Node runs on Linux. */
const JIFFY_MS = 10

function stat(pid: number): ProcessStat | null {
  try {
    // The name in brackets may hold anything, so fields are counted from its end.
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { pid, parent: Number(fields[1]), cpuMs: JIFFY_MS * (Number(fields[11]) + Number(fields[12])) }
  } catch {
    return null
  }
}

function residentMb(pid: number): number {
  try {
    return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

export type TreeUsage = {
  /** Resident MiB of the process alone, and with its children. Pages that they share count once for each. */
  ownMb: number
  treeMb: number
  processes: number
  /** Processor time of the process alone since it started. */
  ownCpuMs: number
}

/** What a process and its descendants use, or null where there is no /proc. */
export function usage(pid: number): TreeUsage | null {
  const own = stat(pid)
  if (own === null) return null
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => stat(Number(name)) ?? [])
  const tree = [pid]
  for (const parent of tree) tree.push(...all.filter((each) => each.parent === parent).map((each) => each.pid))
  return {
    ownMb: residentMb(pid),
    treeMb: tree.reduce((sum, each) => sum + residentMb(each), 0),
    processes: tree.length,
    ownCpuMs: own.cpuMs,
  }
}
