import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { siblingEntry } from '../../protocol/assets.ts'

/**
 * Processes that must not outlive this one, even if it is killed: programs that do not watch their parent themselves. One small
 * process holds the list; the pipe to it breaks when we end in whatever way, and it ends what is left.
 */
let guard: ChildProcess | null = null
const guarded = new Set<number>()

function tell(line: string): void {
  guard?.stdin?.write(`${line}\n`)
}

/** Guards a child that was just started, until the returned function is called: once it has ended, at the latest. */
export function guardProcess(pid: number | undefined): () => void {
  if (pid === undefined) return () => {}
  if (guard === null) {
    const started = spawn(
      process.execPath,
      ['--no-warnings', fileURLToPath(siblingEntry(import.meta.url, './guard-child'))],
      {
        stdio: ['pipe', 'ignore', 'ignore'],
        windowsHide: true,
      },
    )
    guard = started
    const forget = (): void => {
      if (guard === started) guard = null
    }
    started.on('error', forget).on('exit', forget)
    started.stdin.on('error', forget)
    started.unref()
    ;(started.stdin as unknown as { unref?(): void }).unref?.()
    for (const each of guarded) tell(`+${each}`)
  }
  guarded.add(pid)
  tell(`+${pid}`)
  return () => {
    if (!guarded.delete(pid)) return
    tell(`-${pid}`)
    if (guarded.size > 0) return
    guard?.stdin?.end()
    guard = null
  }
}
