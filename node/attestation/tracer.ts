import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { Committer } from '../../circuits/commit.ts'
import { siblingEntry } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { LeafRef } from '../../protocol/statement.ts'
import type { LoadedModel } from '../model/load.ts'
import { assembleJob, type CommittedJob, commitJob, type ServedJob } from './commit.ts'
import { evaluateHere, type Graph, leavesToCommit, type TracedTree } from './trace.ts'

type Inputs = { inputs: Int16Array[] }
type Answered = Inputs & { served: Int16Array[] }

/** What a child is asked to do, and what comes back. */
export type TracerTask =
  | ({ kind: 'commit'; jobKey: Uint8Array } & Answered)
  | ({ kind: 'limbs'; refs: LeafRef[] } & Answered)
  | ({ kind: 'evaluate' } & Inputs)
export type TracerResults = {
  commit: { trees: TracedTree[]; canonical: Int16Array[] }
  limbs: (Uint16Array | null)[]
  evaluate: Int16Array[]
}
/** `graph` comes when the child does not have it yet; it stays until another takes its place. */
export type TracerRequest = { id: number; graph: Graph | null; task: TracerTask }
export type TracerReply = { id: number } & (
  | { ok: true; value: TracerResults[keyof TracerResults] }
  | { ok: false; code: string; message: string }
)

export type TracerInit = {
  /** Child processes, each evaluating on one core. @default 1 */
  workers?: number
  /** Cores that a child commits on. @default one per core of the machine */
  threads?: number
  /** Milliseconds one evaluation may take. @default 600_000 */
  timeoutMs?: number
  /** A child without work ends after this long, and what it holds of a model with it (ms). @default 60_000 */
  idleMs?: number
}

/** Canonical evaluations and commitments of models too large for the calling process to stand still for them. */
export type Tracer = {
  /**
   * `commitJob`, in a child process where the model is larger than `isSmall`: the same bits either way. Leaves are opened by
   * evaluating again. Rejects with `TRACER_TIMEOUT`, `TRACER_DIED`, `TRACER_CLOSED` and what evaluating throws.
   */
  commit(committer: Committer, model: LoadedModel, job: ServedJob): Promise<CommittedJob>
  /** The canonical outputs, in the manifest's order. */
  evaluate(model: LoadedModel, inputs: Int16Array[]): Promise<Int16Array[]>
  /** Rejects what waits or runs, and ends the children. */
  close(): Promise<void>
}

/** Evaluated in the calling process up to here: about ten milliseconds of multiply-adds, and of commitments about forty. */
export const SMALL_UNITS = 2 ** 22
export const SMALL_LEAVES = 256

/** Whether a model is evaluated and committed in the calling process. */
export const isSmall = (model: Graph): boolean =>
  model.manifest.units <= SMALL_UNITS && leavesToCommit(model) <= SMALL_LEAVES

type Pending = {
  model: LoadedModel
  task: TracerTask
  resolve(value: never): void
  reject(error: SinterError): void
}
type Worker = {
  child: ChildProcess
  ready: boolean
  /** The model that the child holds. */
  model: LoadedModel | null
  job: (Pending & { id: number }) | null
  timer: NodeJS.Timeout | undefined
  gone: Promise<void>
}

/** Starts no process until the first large model. Throws `POOL_SIZE` for fewer than one worker or thread. */
export function createTracer(init: TracerInit = {}): Tracer {
  const { workers: size = 1, threads = availableParallelism(), timeoutMs = 600_000, idleMs = 60_000 } = init
  if (![size, threads].every((count) => Number.isInteger(count) && count >= 1))
    throw new SinterError('POOL_SIZE', 'a tracer has at least one worker, and each one thread')
  const queue: Pending[] = []
  const workers = new Set<Worker>()
  let nextId = 0
  let closed = false

  /** Takes the worker out of service, with an error for its job if it has one. */
  function retire(worker: Worker, error: SinterError): void {
    workers.delete(worker)
    clearTimeout(worker.timer)
    worker.child.kill('SIGKILL')
    worker.job?.reject(error)
    worker.job = null
  }

  function spawn(): void {
    const child = fork(siblingEntry(import.meta.url, './tracer-worker'), [`${threads}`], {
      serialization: 'advanced',
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const gone = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
    const worker: Worker = { child, ready: false, model: null, job: null, timer: undefined, gone }
    workers.add(worker)
    child.on('message', (message: 'ready' | TracerReply) => {
      if (message === 'ready') worker.ready = true
      else finish(worker, message)
      dispatch()
      if (workers.has(worker) && worker.job === null) rest(worker)
    })
    void gone.then(() => {
      if (!workers.has(worker)) return
      const error = new SinterError('TRACER_DIED', 'the evaluating process ended')
      // One that cannot even start fails the job it was started for, or children would be started for ever.
      if (!worker.ready) queue.shift()?.reject(error)
      retire(worker, error)
      dispatch()
    })
  }

  function finish(worker: Worker, reply: TracerReply): void {
    const { job } = worker
    if (job === null || job.id !== reply.id) return
    clearTimeout(worker.timer)
    worker.job = null
    if (reply.ok) job.resolve(reply.value as never)
    else job.reject(new SinterError(reply.code, reply.message))
  }

  /** Without work it does not keep this process alive, and ends after a while. */
  function rest(worker: Worker): void {
    clearTimeout(worker.timer)
    worker.timer = setTimeout(() => retire(worker, new SinterError('TRACER_CLOSED', 'idle')), idleMs)
    worker.timer.unref()
    hold(worker.child, false)
  }

  function assign(worker: Worker, job: Pending): void {
    const id = nextId++
    clearTimeout(worker.timer)
    hold(worker.child, true)
    worker.job = { ...job, id }
    const fail = (code: string, message: string): void => {
      retire(worker, new SinterError(code, message))
      dispatch()
    }
    worker.timer = setTimeout(
      () => fail('TRACER_TIMEOUT', `the evaluation took longer than ${timeoutMs} ms`),
      timeoutMs,
    )
    const { manifest, weights } = job.model
    const graph = worker.model === job.model ? null : { manifest, weights }
    worker.model = job.model
    worker.child.send({ id, graph, task: job.task } satisfies TracerRequest, (error) => {
      if (error !== null && worker.job?.id === id) fail('TRACER_DIED', 'the evaluating process could not be reached')
    })
  }

  function dispatch(): void {
    while (queue.length > 0) {
      const free = [...workers].filter(({ ready, job }) => ready && job === null)
      const worker = free.find(({ model }) => model === queue[0]!.model) ?? free[0]
      if (worker === undefined) break
      assign(worker, queue.shift()!)
    }
    const starting = [...workers].filter(({ ready }) => !ready).length
    for (let i = Math.min(queue.length - starting, size - workers.size); i > 0; i--) spawn()
  }

  function run<K extends TracerTask['kind']>(
    model: LoadedModel,
    task: Extract<TracerTask, { kind: K }>,
  ): Promise<TracerResults[K]> {
    if (closed) return Promise.reject(new SinterError('TRACER_CLOSED', 'the tracer is closed'))
    return new Promise((resolve, reject) => {
      queue.push({ model, task, resolve, reject })
      dispatch()
    })
  }

  return {
    async commit(committer, model, job) {
      if (isSmall(model)) {
        // Committing holds the thread for a moment; between two jobs others get their turn.
        await new Promise((resolve) => setImmediate(resolve))
        return commitJob(committer, model, job)
      }
      const { jobKey, inputs, served } = job
      const traced = await run<'commit'>(model, { kind: 'commit', jobKey, inputs, served })
      return assembleJob(committer, model, job, traced, (refs) =>
        run<'limbs'>(model, { kind: 'limbs', inputs, served, refs }),
      )
    },
    evaluate: (model, inputs) =>
      isSmall(model) ? evaluateHere(model, inputs) : run<'evaluate'>(model, { kind: 'evaluate', inputs }),
    async close() {
      closed = true
      const error = new SinterError('TRACER_CLOSED', 'the tracer was closed')
      for (const job of queue.splice(0)) job.reject(error)
      const all = [...workers]
      for (const worker of all) {
        hold(worker.child, true)
        retire(worker, error)
      }
      await Promise.all(all.map(({ gone }) => gone))
    },
  }
}

/** Whether a child keeps this process alive. */
function hold(child: ChildProcess, alive: boolean): void {
  const change = alive ? 'ref' : 'unref'
  child[change]()
  child.channel?.[change]()
}
