import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ExecutionProvider, FloatTensor } from '../../models/session.ts'
import { siblingEntry } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Log } from '../net/log.ts'
import { type FromChild, HEAP_MARK, MEMORY_MARK, type ToChild } from './messages.ts'
import { sandbox } from './sandbox.ts'

/** Runs one model in a process of its own: whatever becomes of that process costs one run, not the node. */
export type Executor = {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  /**
   * One run; runs wait for each other in order. Throws what the session throws (`INPUT_NAME`, `INPUT_SHAPE`, `RUN_FAILED`), or
   * `EXEC_TIMEOUT` (the process was killed), `EXEC_MEMORY`, `EXEC_CRASHED`, `EXEC_ABORTED` by the signal, `EXEC_CLOSED`, and,
   * from the process started anew after one of these, the codes of `createExecutor`.
   */
  run(inputs: Record<string, FloatTensor>, options?: { signal?: AbortSignal }): Promise<Record<string, FloatTensor>>
  /** Resolves when nothing runs and nothing waits. */
  settled(): Promise<void>
  /** Ends the process; runs that wait fail with `EXEC_CLOSED`. */
  close(): Promise<void>
  /** The process that runs the model now, or null between a crash and the next run. */
  readonly pid: number | null
}

export type ExecutorInit = {
  /** The ONNX file, already admitted. */
  model: Uint8Array
  executionProvider: ExecutionProvider
  /** Longest run, counted from when it starts (milliseconds). */
  timeoutMs: number
  /** Resident memory that the process may reach (MiB). */
  memoryMb: number
  /** Threads inside one operator, CPU only. @default one per core */
  threads?: number
  /** Variables of the process beside the inherited ones. @default none */
  env?: Record<string, string>
  /** Device number for the execution provider. @default its own choice */
  deviceId?: number | null
  /** Longest load (milliseconds): a large model, or a GPU's first use. @default 120000 */
  loadTimeoutMs?: number
  log: Log
}

type Child = {
  process: ChildProcess
  names: { inputs: string[]; outputs: string[] }
  /** Resolves with the reason once the process is gone. */
  gone: Promise<SinterError>
  /** Takes the next message that is not part of loading. */
  onMessage: ((message: FromChild) => void) | null
  /** Why we killed it, if we did. */
  verdict: SinterError | null
}

const CLOSE_GRACE_MS = 2_000
const STDERR_KEPT = 4_096

/** Environment of a child: everything but our own settings, which may name secrets. */
function childEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SINTER_')))
}

function whyGone(verdict: SinterError | null, stderr: string, code: number | null, signal: string | null): SinterError {
  if (verdict !== null) return verdict
  const how = signal === null ? `exit code ${code}` : signal
  if (stderr.includes(MEMORY_MARK) || stderr.includes(HEAP_MARK) || stderr.includes('bad_alloc'))
    return new SinterError('EXEC_MEMORY', `the model's process ran out of the memory it may use (${how})`)
  return new SinterError('EXEC_CRASHED', `the model's process ended unexpectedly (${how})`, {
    detail: { stderr: stderr.slice(-500) },
  })
}

/** Starts the process and loads the model in it. */
async function startChild(init: ExecutorInit): Promise<Child> {
  const { log, memoryMb } = init
  const { execPath, execArgv } = sandbox(memoryMb)
  const child = fork(fileURLToPath(siblingEntry(import.meta.url, './child')), [], {
    serialization: 'advanced',
    env: { ...childEnvironment(), ...init.env },
    execPath,
    execArgv,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-STDERR_KEPT)
    log.debug({ pid: child.pid }, `model process: ${chunk.toString().trimEnd()}`)
  })
  child.stdout?.resume()
  const self: Child = {
    process: child,
    names: { inputs: [], outputs: [] },
    gone: Promise.resolve(new SinterError('EXEC_CRASHED', 'not started')),
    onMessage: null,
    verdict: null,
  }
  self.gone = new Promise((resolve) => {
    // `close` rather than `exit`: by then all of standard error has been read.
    child.once('close', (code, signal) => resolve(whyGone(self.verdict, stderr, code, signal)))
    child.on('error', (cause) =>
      resolve(new SinterError('EXEC_CRASHED', "the model's process could not be started or spoken to", { cause })),
    )
  })
  const loading = new Promise<FromChild>((resolve) => {
    self.onMessage = resolve
  })
  child.on('message', (message) => self.onMessage?.(message as FromChild))
  const { model, executionProvider, threads = null, deviceId = null, loadTimeoutMs = 120_000 } = init
  tell(self, { type: 'load', model, executionProvider, threads, deviceId, memoryMb })
  const timer = setTimeout(
    () => kill(self, new SinterError('EXEC_TIMEOUT', `the model did not load within ${loadTimeoutMs} ms`)),
    loadTimeoutMs,
  )
  const result = await Promise.race([loading, self.gone]).finally(() => clearTimeout(timer))
  self.onMessage = null
  if (result instanceof SinterError) throw result
  if (result.type === 'loaded') {
    self.names = { inputs: result.inputNames, outputs: result.outputNames }
    log.debug({ pid: child.pid, executionProvider }, 'model process ready')
    return self
  }
  await stopChild(self)
  const failure = result as Extract<FromChild, { type: 'failed' }>
  throw new SinterError(failure.code, failure.message)
}

function tell(child: Child, message: ToChild): void {
  // A process that is just going away reports itself through `gone`; the failed write adds nothing.
  child.process.send(message, () => {})
}

function kill(child: Child, verdict: SinterError): void {
  child.verdict ??= verdict
  child.process.kill('SIGKILL')
}

async function stopChild(child: Child): Promise<void> {
  if (child.process.connected) tell(child, { type: 'close' })
  const timer = setTimeout(() => child.process.kill('SIGKILL'), CLOSE_GRACE_MS)
  await child.gone
  clearTimeout(timer)
}

/** One run in a child that is idle. */
async function runIn(
  child: Child,
  id: number,
  inputs: Record<string, FloatTensor>,
  timeoutMs: number,
): Promise<Record<string, FloatTensor>> {
  const answer = new Promise<FromChild>((resolve) => {
    child.onMessage = (message) => {
      if ('id' in message && message.id === id) resolve(message)
    }
  })
  const timer = setTimeout(
    () => kill(child, new SinterError('EXEC_TIMEOUT', `the model did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  )
  tell(child, { type: 'run', id, inputs })
  const result = await Promise.race([answer, child.gone]).finally(() => clearTimeout(timer))
  child.onMessage = null
  if (result instanceof SinterError) throw result
  if (result.type === 'done') return result.outputs
  const failure = result as Extract<FromChild, { type: 'failed' }>
  throw new SinterError(failure.code, failure.message)
}

/**
 * Loads the model in a child process. Throws `EP_UNAVAILABLE` with the remedy, `MODEL_LOAD`, `EXEC_TIMEOUT`, `EXEC_MEMORY` or
 * `EXEC_CRASHED`.
 */
export async function createExecutor(init: ExecutorInit): Promise<Executor> {
  const { log, timeoutMs } = init
  let child: Child | null = null
  let closing: Promise<void> | null = null
  let tail: Promise<unknown> = Promise.resolve()
  let nextId = 0

  async function ready(): Promise<Child> {
    if (child !== null) return child
    const started = await startChild(init)
    child = started
    void started.gone.then((reason) => {
      if (child === started) child = null
      if (closing === null) log.warn({ code: reason.code, pid: started.process.pid }, reason.message)
    })
    return started
  }
  const first = await ready()
  const closed = (): SinterError => new SinterError('EXEC_CLOSED', 'the executor is closed')

  return {
    inputNames: first.names.inputs,
    outputNames: first.names.outputs,
    run(inputs, { signal } = {}) {
      const mine = tail.then(async () => {
        // Checked when its turn comes: who gave up while waiting costs nothing.
        if (closing !== null) throw closed()
        if (signal?.aborted) throw new SinterError('EXEC_ABORTED', 'the run was given up')
        return runIn(await ready(), nextId++, inputs, timeoutMs)
      })
      // The next run waits for this one to be really over, given up or not: the child does one thing at a time.
      tail = mine.catch(() => {})
      if (signal === undefined) return mine
      return new Promise((resolve, fail) => {
        const onAbort = (): void => fail(new SinterError('EXEC_ABORTED', 'the run was given up'))
        signal.addEventListener('abort', onAbort, { once: true })
        mine.then(resolve, fail).finally(() => signal.removeEventListener('abort', onAbort))
      })
    },
    async settled() {
      let last: unknown = null
      while (last !== tail) {
        last = tail
        await tail
      }
    },
    close() {
      closing ??= (async () => {
        const last = child
        if (last !== null) {
          last.verdict ??= closed()
          await stopChild(last)
        }
        await tail
        // A run that was starting a new process when we began to close has it ended here.
        if (child !== null) await stopChild(child)
      })()
      return closing
    },
    get pid() {
      return child?.process.pid ?? null
    },
  }
}
