import { createInterface } from 'node:readline'

/** Entry of the guard: knows which processes its parent started, and ends those that are left when the parent is gone. */

const GRACE_MS = 8_000
const pids = new Set<number>()

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended by itself.
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
    for (const pid of pids) signal(pid, 'SIGTERM')
    if (pids.size > 0) setTimeout(() => pids.forEach((pid) => void signal(pid, 'SIGKILL')), GRACE_MS)
  })
