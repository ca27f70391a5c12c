import { errorCode, SinterError } from '../../protocol/errors.ts'
import { stack, type Tensors, unstack } from './batch.ts'
import type { Placement } from './devices.ts'
import { createExecutor, type Executor, type ExecutorInit } from './host.ts'

export type GroupInit = Omit<ExecutorInit, 'threads' | 'env' | 'deviceId'> & {
  /** One process each. At least one. */
  placements: Placement[]
  /**
   * Rows that may run as one, of a model whose rows do not touch each other (models/rows.ts). Only what waits while all processes are
   * busy is put together, so nobody waits for company. @default 1
   */
  maxBatch?: number
}

export type Group = Executor & {
  /** How many rows may run as one from now on. */
  setMaxBatch(rows: number): void
  /** Runs, and rows in them, since the start. */
  counts(): { runs: number; rows: number }
}

type Waiting = {
  inputs: Tensors
  signal: AbortSignal | undefined
  /** It failed in company once: the fault may be another row's. */
  alone: boolean
  resolve(outputs: Tensors): void
  reject(error: unknown): void
}

const single = (inputs: Tensors): boolean => Object.values(inputs).every(({ shape }) => shape[0] === 1)
const rowShape = (inputs: Tensors): string =>
  Object.keys(inputs)
    .sort()
    .map((name) => `${name}:${inputs[name]!.shape.slice(1)}`)
    .join(';')

/**
 * Several processes with one model: a run goes to the first that is free, in order of arrival, and what waits runs together where it
 * may. A row that fails in company runs again alone, so one bad input costs nobody else a job. Throws as `createExecutor`.
 */
export async function createGroup(init: GroupInit): Promise<Group> {
  const { placements, maxBatch = 1, ...common } = init
  const opened = await Promise.allSettled(
    placements.map(({ env, deviceId, threads }) =>
      createExecutor({ ...common, env, deviceId, ...(threads === null ? {} : { threads }) }),
    ),
  )
  const executors = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = opened.find((each) => each.status === 'rejected')
  if (failed !== undefined || executors.length === 0) {
    await Promise.all(executors.map((executor) => executor.close()))
    throw failed?.reason ?? new SinterError('DEVICE_SESSIONS', 'a model has at least one process')
  }
  const idle = [...executors]
  const queue: Waiting[] = []
  const counts = { runs: 0, rows: 0 }
  let most = maxBatch
  let closed = false

  /** The next in line and those behind it that may go along. */
  function take(): Waiting[] {
    const first = queue.shift()!
    const batch = [first]
    if (most <= 1 || first.alone || !single(first.inputs)) return batch
    const shape = rowShape(first.inputs)
    for (let at = 0; at < queue.length && batch.length < most; ) {
      const next = queue[at]!
      if (!next.alone && single(next.inputs) && rowShape(next.inputs) === shape) batch.push(...queue.splice(at, 1))
      else at++
    }
    return batch
  }

  async function execute(executor: Executor, batch: Waiting[]): Promise<void> {
    counts.runs++
    counts.rows += batch.length
    const [first] = batch
    if (batch.length === 1) {
      const options = first!.signal === undefined ? {} : { signal: first!.signal }
      await executor.run(first!.inputs, options).then(first!.resolve, first!.reject)
      // Given up or not: the process is free when it has really ended.
      return executor.settled()
    }
    try {
      const rows = unstack(await executor.run(stack(batch.map(({ inputs }) => inputs))), batch.length)
      batch.forEach((each, i) => {
        each.resolve(rows[i]!)
      })
    } catch (error) {
      if (errorCode(error) === 'BATCH_SHAPE') most = 1
      queue.unshift(...batch.map((each) => ({ ...each, alone: true })))
    }
  }

  function dispatch(): void {
    while (idle.length > 0 && queue.length > 0) {
      const batch = take().filter(({ signal }) => !signal?.aborted)
      if (batch.length === 0) continue
      const executor = idle.shift()!
      void execute(executor, batch).finally(() => {
        idle.push(executor)
        dispatch()
      })
    }
  }

  const closedError = (): SinterError => new SinterError('EXEC_CLOSED', 'the executor is closed')

  return {
    inputNames: executors[0]!.inputNames,
    outputNames: executors[0]!.outputNames,
    run(inputs, { signal } = {}) {
      if (closed) return Promise.reject(closedError())
      const aborted = (): SinterError => new SinterError('EXEC_ABORTED', 'the run was given up')
      if (signal?.aborted) return Promise.reject(aborted())
      return new Promise((resolve, reject) => {
        const onAbort = (): void => reject(aborted())
        signal?.addEventListener('abort', onAbort, { once: true })
        const done = (): void => signal?.removeEventListener('abort', onAbort)
        queue.push({
          ...{ inputs, signal, alone: false },
          resolve(outputs) {
            done()
            resolve(outputs)
          },
          reject(error) {
            done()
            reject(error)
          },
        })
        dispatch()
      })
    },
    async settled() {
      while (queue.length > 0 || idle.length < executors.length)
        await Promise.all(executors.map((executor) => executor.settled())).then(() => new Promise(setImmediate))
    },
    async close() {
      closed = true
      for (const { reject } of queue.splice(0)) reject(closedError())
      await Promise.all(executors.map((executor) => executor.close()))
      for (const { reject } of queue.splice(0)) reject(closedError())
    },
    setMaxBatch(rows) {
      most = rows
    },
    counts: () => ({ ...counts }),
    get pid() {
      return executors[0]!.pid
    },
  }
}
