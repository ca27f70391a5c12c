import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { siblingEntry } from '../protocol/assets.ts'
import { SinterError } from '../protocol/errors.ts'
import type { ProverInputs, ProverOutputs } from './prove.ts'
import type { CircuitKind } from './signals.ts'

type Job = { [K in CircuitKind]: { kind: K; input: ProverInputs[K] } }[CircuitKind]
export type ProverRequest = { id: number; job: Job }
export type ProverReply = { id: number; rss: number } & (
  | { ok: true; value: ProverOutputs[CircuitKind] }
  | { ok: false; code: string; message: string }
)
export type ProverMessage = 'ready' | ProverReply | { warning: string }

export type ProverPoolInit = {
  /** Child processes, each proving on one core and holding about 0.3 GB. @default 1 */
  workers?: number
  /** Milliseconds one proof may take from the moment a worker that is ready takes it, key loading included. @default 120000 */
  timeoutMs?: number
  /** Resident memory in MiB above which a worker is stopped. @default 1024 */
  memoryMb?: number
  /**
   * Path of a program such as rapidsnark that proves in the workers' place, called as `PATH key.zkey witness.wtns proof.json
   * public.json`. Its proofs are verified like our own; a worker that it fails warns and goes on without it. It must be as
   * trustworthy as this process: it sees witnesses. @default none
   */
  rapidsnark?: string
  /** Told the first failure of that program. @default a line on standard error */
  warn?: (message: string) => void
}

export type ProveOptions = {
  signal?: AbortSignal | undefined
  /** A waiting job goes before those of lower priority; equal ones go in order. @default 0 */
  priority?: number
}

export type ProverPool = {
  /**
   * Proves in a child process and verifies the proof there before it comes back. Jobs beyond the number of workers wait
   * in order of priority. A signal may stand for options that hold nothing else. Rejects with a SinterError:
   * `WITNESS_UNSATISFIED` (false statement), `PROOF_TIMEOUT`, `PROOF_ABORTED` (`signal`), `PROVER_MEMORY`, `PROVER_DIED`,
   * `PROVER_CLOSED`, or a code of prove.ts. A failed job costs its worker at most, never the pool.
   */
  prove<K extends CircuitKind>(
    kind: K,
    input: ProverInputs[K],
    options?: AbortSignal | ProveOptions,
  ): Promise<ProverOutputs[K]>
  /** Rejects what is queued or running, ends the children and resolves when they are gone. */
  close(): Promise<void>
}

type Pending = {
  request: ProverRequest
  priority: number
  resolve(value: ProverOutputs[CircuitKind]): void
  reject(error: SinterError): void
}
type Worker = { child: ChildProcess; ready: boolean; job: Pending | null; stop: NodeJS.Timeout[] }

const MEMORY_POLL_MS = 250
const MIB = 2 ** 20

/**
 * Ends a worker at once, and with it the program it may be running: a process group outlives its leader, so a worker that
 * ended by itself may have left that program behind.
 */
function kill({ pid, exitCode, signalCode }: ChildProcess, group: boolean): void {
  if (pid === undefined || (!group && (exitCode !== null || signalCode !== null))) return
  try {
    process.kill(group ? -pid : pid, 'SIGKILL')
  } catch {
    // Nothing is left.
  }
}

/** Resident bytes of another process where /proc exists, else null (then only the worker's own reports count). */
async function residentBytes(pid: number): Promise<number | null> {
  try {
    const kibibytes = /^VmRSS:\s*(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))
    return kibibytes === null ? null : Number(kibibytes[1]) * 1024
  } catch {
    return null
  }
}

/** Starts no process until the first job. Throws `POOL_SIZE` for fewer than one worker. */
export function createProverPool(init: ProverPoolInit = {}): ProverPool {
  const { workers: size = 1, timeoutMs = 120_000, memoryMb = 1024, rapidsnark } = init
  if (!Number.isInteger(size) || size < 1) throw new SinterError('POOL_SIZE', 'a prover pool has at least one worker')
  // There are no process groups on Windows; what runs on there ends by its own time limit.
  const group = rapidsnark !== undefined && process.platform !== 'win32'
  let warn = init.warn ?? ((message) => console.error(message))
  const queue: Pending[] = []
  const workers = new Set<Worker>()
  /** One for every child that has not ended, those out of service included. */
  const ending = new Set<Promise<void>>()
  let nextId = 0
  let closed = false

  /** Takes the worker out of service, with an error for its job if it has one. */
  const retire = (worker: Worker, error: SinterError): void => {
    workers.delete(worker)
    for (const timer of worker.stop) clearTimeout(timer)
    kill(worker.child, group)
    worker.job?.reject(error)
    worker.job = null
  }

  const spawn = (): void => {
    const folder = rapidsnark === undefined ? null : mkdtempSync(join(tmpdir(), 'sinter-prover-'))
    const child = fork(siblingEntry(import.meta.url, './prove-worker'), folder === null ? [] : [rapidsnark!, folder], {
      serialization: 'advanced',
      execArgv: [],
      detached: group,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const gone = new Promise<void>((resolve) => {
      const leave = () => {
        if (group) kill(child, true)
        if (folder !== null) rmSync(folder, { recursive: true, force: true })
        resolve()
      }
      child.once('exit', leave)
      child.once('error', leave)
    })
    ending.add(gone)
    void gone.then(() => ending.delete(gone))
    const worker: Worker = { child, ready: false, job: null, stop: [] }
    workers.add(worker)
    child.on('message', (message: ProverMessage) => {
      if (message === 'ready') worker.ready = true
      else if ('warning' in message) {
        warn(message.warning)
        // Each worker finds out by itself; one line says it.
        warn = () => {}
      } else finish(worker, message)
      dispatch()
    })
    const died = (cause?: unknown) => {
      if (!workers.has(worker)) return
      const error = new SinterError('PROVER_DIED', 'the prover process ended before its proof', { cause })
      // One that cannot even start fails the job it was started for, so that the pool does not start children for ever.
      if (!worker.ready) queue.shift()?.reject(error)
      retire(worker, error)
      dispatch()
    }
    child.once('exit', () => died())
    child.once('error', died)
  }

  const finish = (worker: Worker, reply: ProverReply): void => {
    const job = worker.job
    if (job === null || job.request.id !== reply.id) return
    for (const timer of worker.stop.splice(0)) clearTimeout(timer)
    worker.job = null
    if (reply.ok) job.resolve(reply.value)
    else job.reject(new SinterError(reply.code, reply.message))
    // The proof is good, but what the worker holds on to is not: the next job gets a fresh one.
    if (reply.rss > memoryMb * MIB) retire(worker, new SinterError('PROVER_MEMORY', 'worker over its memory limit'))
  }

  const assign = (worker: Worker, job: Pending): void => {
    worker.job = job
    const fail = (code: string, message: string) => {
      retire(worker, new SinterError(code, message))
      dispatch()
    }
    worker.stop.push(
      setTimeout(() => fail('PROOF_TIMEOUT', `the proof took longer than ${timeoutMs} ms`), timeoutMs),
      setInterval(async () => {
        const bytes = await residentBytes(worker.child.pid ?? 0)
        if (bytes !== null && bytes > memoryMb * MIB && worker.job === job)
          fail('PROVER_MEMORY', `the prover used more than ${memoryMb} MiB`)
      }, MEMORY_POLL_MS),
    )
    worker.child.send(job.request, (error) => {
      if (error !== null && worker.job === job) fail('PROVER_DIED', 'the prover process could not be reached')
    })
  }

  const dispatch = (): void => {
    for (const worker of workers) {
      if (queue.length === 0) return
      if (worker.ready && worker.job === null) assign(worker, queue.shift()!)
    }
    const starting = [...workers].filter((worker) => !worker.ready).length
    for (let i = Math.min(queue.length - starting, size - workers.size); i > 0; i--) spawn()
  }

  const abort = (job: Pending): void => {
    const error = new SinterError('PROOF_ABORTED', 'the proof was aborted')
    const at = queue.indexOf(job)
    if (at >= 0) {
      queue.splice(at, 1)
      job.reject(error)
      return
    }
    for (const worker of workers) if (worker.job === job) retire(worker, error)
    dispatch()
  }

  return {
    prove(kind, input, options = {}) {
      const { signal, priority = 0 } = options instanceof AbortSignal ? { signal: options } : options
      if (closed) return Promise.reject(new SinterError('PROVER_CLOSED', 'the prover pool is closed'))
      if (signal?.aborted) return Promise.reject(new SinterError('PROOF_ABORTED', 'the proof was aborted'))
      const result = new Promise<ProverOutputs[CircuitKind]>((resolve, reject) => {
        const job: Pending = { request: { id: nextId++, job: { kind, input } as Job }, priority, resolve, reject }
        if (signal !== undefined) {
          const onAbort = () => abort(job)
          signal.addEventListener('abort', onAbort, { once: true })
          const release = () => signal.removeEventListener('abort', onAbort)
          job.resolve = (value) => {
            release()
            resolve(value)
          }
          job.reject = (error) => {
            release()
            reject(error)
          }
        }
        const place = queue.findLastIndex((waiting) => waiting.priority >= priority)
        queue.splice(place + 1, 0, job)
        dispatch()
      })
      return result as Promise<ProverOutputs[typeof kind]>
    },
    async close() {
      closed = true
      const error = new SinterError('PROVER_CLOSED', 'the prover pool was closed')
      for (const job of queue.splice(0)) job.reject(error)
      for (const worker of workers) {
        // An idle child ends by itself when its channel does.
        if (worker.ready && worker.job === null && worker.child.connected) {
          workers.delete(worker)
          worker.child.disconnect()
        } else retire(worker, error)
      }
      await Promise.all(ending)
    },
  }
}
