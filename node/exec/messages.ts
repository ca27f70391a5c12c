import type { ExecutionProvider, FloatTensor } from '../../models/session.ts'

/** What host and child say to each other over the process's IPC channel (structured clone). */
export type ToChild =
  | {
      type: 'load'
      model: Uint8Array
      executionProvider: ExecutionProvider
      threads: number | null
      deviceId: number | null
      memoryMb: number
    }
  | { type: 'run'; id: number; inputs: Record<string, FloatTensor> }
  | { type: 'close' }

export type FromChild =
  | { type: 'loaded'; inputNames: string[]; outputNames: string[] }
  | { type: 'done'; id: number; outputs: Record<string, FloatTensor> }
  /** `id` is null when loading failed. */
  | { type: 'failed'; id: number | null; code: string; message: string }

/** What the child's watchdog writes to standard error before it ends the process for its memory. */
export const MEMORY_MARK = 'sinter-exec: memory limit exceeded'

/** What V8 writes when its heap is full. */
export const HEAP_MARK = 'JavaScript heap out of memory'
