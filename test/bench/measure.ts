import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'

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

function memoryMb(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  try {
    const found = new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return Number(found?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

export type TreeUsage = {
  /** Resident MiB of the process alone, and with its children. Pages that they share count once for each. */
  ownMb: number
  treeMb: number
  processes: number
  /** Processor time of the process alone since it started, and with its children that still run. */
  ownCpuMs: number
  treeCpuMs: number
  /** The most that the process, and that any one of its children, was ever resident (MiB). */
  ownPeakMb: number
  childPeakMb: number
}

/** Every process that descends from `pid`, itself first. */
function descendants(pid: number): ProcessStat[] {
  const own = stat(pid)
  if (own === null) return []
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => stat(Number(name)) ?? [])
  const tree = [own]
  for (const parent of tree) tree.push(...all.filter((each) => each.parent === parent.pid))
  return tree
}

/** The most that any child running each of these programs was ever resident (MiB), by the program's file name without its ending. */
export function childPeaks(pid: number): Map<string, number> {
  const peaks = new Map<string, number>()
  for (const child of descendants(pid).slice(1)) {
    const program = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')
      .split('\0')
      .find((part) => /\.[jt]s$/.test(part))
    const name = basename(program ?? '').replace(/\.[jt]s$/, '')
    peaks.set(name, Math.max(peaks.get(name) ?? 0, memoryMb(child.pid, 'VmHWM')))
  }
  return peaks
}

/** What a process and its descendants use, or null where there is no /proc. */
export function usage(pid: number): TreeUsage | null {
  const tree = descendants(pid)
  const [own] = tree
  if (own === undefined) return null
  const children = tree.slice(1)
  return {
    ownMb: memoryMb(pid, 'VmRSS'),
    treeMb: tree.reduce((sum, each) => sum + memoryMb(each.pid, 'VmRSS'), 0),
    processes: tree.length,
    ownCpuMs: own.cpuMs,
    treeCpuMs: tree.reduce((sum, each) => sum + each.cpuMs, 0),
    ownPeakMb: memoryMb(pid, 'VmHWM'),
    childPeakMb: children.reduce((most, each) => Math.max(most, memoryMb(each.pid, 'VmHWM')), 0),
  }
}

/**
 * Milliseconds that `run` took, and the processor time of this process and its children meanwhile, children that ended in
 * between not counted. Without /proc the children are left out.
 */
export async function measured<T>(run: () => Promise<T> | T): Promise<{ value: T; ms: number; cpuMs: number }> {
  const cpuMs = (): number => {
    const { user, system } = process.cpuUsage()
    const tree = usage(process.pid)
    return (user + system) / 1000 + (tree === null ? 0 : tree.treeCpuMs - tree.ownCpuMs)
  }
  const before = cpuMs()
  const started = performance.now()
  const value = await run()
  return { value, ms: performance.now() - started, cpuMs: cpuMs() - before }
}
