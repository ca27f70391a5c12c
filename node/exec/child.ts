import { getPriority, setPriority } from 'node:os'
import { Worker } from 'node:worker_threads'
import { type ModelSession, openSession } from '../../models/session.ts'
import { siblingEntry } from '../../protocol/assets.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import type { FromChild, ToChild } from './messages.ts'

/** Entry of an execution process: loads one model, runs it on request, and ends with its host. */

/** The process that answers peers is to do so within milliseconds, also while models take all cores. */
const NICE = 5
try {
  setPriority(Math.min(getPriority() + NICE, 19))
} catch {
  // A system that does not allow it gives its own order.
}

let session: ModelSession | null = null

const send = (message: FromChild): void => {
  process.send?.(message)
}

const failed = (id: number | null, error: unknown): void =>
  send({
    type: 'failed',
    id,
    code: error instanceof SinterError ? error.code : 'EXEC_FAILED',
    message: error instanceof SinterError ? error.message : describeError(error),
  })

function watch(memoryMb: number): void {
  const workerData = { limitBytes: memoryMb * 1024 * 1024, parentPid: process.ppid }
  // The thread inherits no flags: a heap limit meant for this process is none of its own.
  new Worker(siblingEntry(import.meta.url, './watchdog'), { workerData, execArgv: [] }).unref()
}

async function handle(message: ToChild): Promise<void> {
  if (message.type === 'load') {
    try {
      watch(message.memoryMb)
      const { executionProvider, threads, deviceId } = message
      session = await openSession(message.model, {
        executionProvider,
        ...(threads === null ? {} : { threads }),
        ...(deviceId === null ? {} : { deviceId }),
      })
      send({ type: 'loaded', inputNames: [...session.inputNames], outputNames: [...session.outputNames] })
    } catch (error) {
      failed(null, error)
    }
  } else if (message.type === 'run') {
    try {
      if (session === null) throw new SinterError('EXEC_FAILED', 'no model is loaded')
      send({ type: 'done', id: message.id, outputs: await session.run(message.inputs) })
    } catch (error) {
      failed(message.id, error)
    }
  } else {
    await session?.dispose().catch(() => {})
    process.exit(0)
  }
}

process.on('message', (message: ToChild) => void handle(message))
// The host is gone, however it went.
process.on('disconnect', () => process.exit(0))
// Ctrl-C reaches the whole process group; the host decides when its children end.
process.on('SIGINT', () => {})
