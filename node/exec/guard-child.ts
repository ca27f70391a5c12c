import { createInterface } from 'node:readline'

/** Entry of the guard: knows which processes its parent started, and ends those that are left when the parent is gone. */

const GRACE_MS = 8_000
const pids = new Set<number>()

/** False when the process has ended by itself. Signal 0 only asks. */
const signal = (pid: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

// Whoever ends the parent ends us through the pipe, and not before.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {})

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const pid = Number(line.slice(1))
    if (line.startsWith('+')) pids.add(pid)
    else pids.delete(pid)
  })
  .on('close', () => {
    const deadline = Date.now() + GRACE_MS
    for (const pid of pids) signal(pid, 'SIGTERM')
    const timer = setInterval(() => {
      for (const pid of pids) if (!signal(pid, Date.now() < deadline ? 0 : 'SIGKILL')) pids.delete(pid)
      // With nobody left to end, this process ends too.
      if (pids.size === 0) clearInterval(timer)
    }, 100)
  })
