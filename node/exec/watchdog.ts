import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { MEMORY_MARK } from './messages.ts'

/**
 * A thread beside a child's main thread, which is blocked while a model runs. It ends the process when its resident
 * memory is above the limit, and when the host is gone, so that a hung child never outlives its node.
 */
const { limitBytes, parentPid } = workerData as { limitBytes: number; parentPid: number }

setInterval(() => {
  if (process.ppid !== parentPid) process.kill(process.pid, 'SIGKILL')
  if (process.memoryUsage.rss() <= limitBytes) return
  // Straight to the descriptor: this thread's process.stderr goes through the main thread, which may be blocked.
  writeSync(2, `${MEMORY_MARK}\n`)
  process.kill(process.pid, 'SIGKILL')
}, 100)
