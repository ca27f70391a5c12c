import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { siblingEntry } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import { flagsOf } from '../bin/launch.js'
import { guardProcess } from '../exec/guard.ts'

/** A fact that an actor printed, with the time at which it was read (ms since the epoch). */
export type ActorEvent = { actor: string; event: string; at: number; facts: Record<string, unknown> }

/** A process of the local network: the same program with other arguments. */
export type Actor = {
  readonly name: string
  readonly pid: number
  readonly events: ActorEvent[]
  /** The first event of this name that satisfies the test, past or future. Throws `DEVNET_TIMEOUT`, `ACTOR_ENDED`. */
  wait(event: string, timeoutMs: number, test?: (facts: Record<string, unknown>) => boolean): Promise<ActorEvent>
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>
  /** Asks the process to end, and makes it after a while. */
  stop(): Promise<void>
  kill(signal: NodeJS.Signals): void
}

export type ActorInit = {
  name: string
  args: string[]
  env: Record<string, string>
  /** Everything the process prints goes here. */
  logFile: string
  onEvent?(event: ActorEvent): void
  /** Program to run. @default the command line */
  program?: string
}

const STOP_MS = 8_000

function parse(line: string): Record<string, unknown> | null {
  if (!line.startsWith('{')) return null
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return null
  }
}

export function startActor(init: ActorInit): Actor {
  const program = init.program ?? fileURLToPath(siblingEntry(import.meta.url, '../cli'))
  const child: ChildProcess = spawn(
    process.execPath,
    ['--no-warnings', ...flagsOf(init.args[0]), program, ...init.args],
    {
      env: { ...process.env, ...init.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const release = guardProcess(child.pid)
  const log = createWriteStream(init.logFile, { flags: 'a' })
  const events: ActorEvent[] = []
  const listeners = new Set<(event: ActorEvent | null) => void>()
  let last = ''
  for (const output of [child.stdout!, child.stderr!])
    createInterface({ input: output }).on('line', (line) => {
      log.write(`${line}\n`)
      const facts = parse(line)
      if (facts === null) last = line
      if (typeof facts?.event !== 'string') return
      const event = { actor: init.name, event: facts.event, at: Date.now(), facts }
      events.push(event)
      init.onEvent?.(event)
      for (const listener of [...listeners]) listener(event)
    })
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      release()
      log.end()
      for (const listener of [...listeners]) listener(null)
      resolve(code)
    })
  })

  return {
    name: init.name,
    pid: child.pid!,
    events,
    ended,
    wait(name, timeoutMs, test = () => true) {
      const matches = (event: ActorEvent): boolean => event.event === name && test(event.facts)
      const found = events.find(matches)
      if (found) return Promise.resolve(found)
      if (child.exitCode !== null)
        return Promise.reject(new SinterError('ACTOR_ENDED', `${init.name} ended before ${name}: ${last}`))
      return new Promise((resolve, reject) => {
        const done = (): void => {
          clearTimeout(timer)
          listeners.delete(listener)
        }
        const listener = (event: ActorEvent | null): void => {
          if (event === null) {
            done()
            reject(new SinterError('ACTOR_ENDED', `${init.name} ended before ${name}: ${last}`))
          } else if (matches(event)) {
            done()
            resolve(event)
          }
        }
        const timer = setTimeout(() => {
          done()
          reject(new SinterError('DEVNET_TIMEOUT', `${init.name} did not come to ${name} within ${timeoutMs / 1000} s`))
        }, timeoutMs)
        listeners.add(listener)
      })
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await ended
      clearTimeout(timer)
    },
    kill: (signal) => {
      child.kill(signal)
    },
  }
}
