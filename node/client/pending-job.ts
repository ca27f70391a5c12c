import type { Receipt } from '../../protocol/rules/receipt.ts'
import type { WireTensor } from '../jobs/tensors.ts'
import type { Turn } from './line.ts'

export type Deferred<T> = { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void }

export function deferred<T>(): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  // A caller may look at the result long after it failed, or never.
  promise.catch(() => {})
  return { promise, resolve, reject }
}

export type Answer = { outputs: WireTensor[]; sealed: Uint8Array; executionUs: number }

/** A job that was sent and has no receipt yet. */
export type PendingJob = {
  turn: Turn
  jobKey: Uint8Array
  inputs: Int16Array[]
  /** Inputs as the provider has them. */
  wire: WireTensor[]
  inputRoot: Uint8Array | null
  outputRoot: Uint8Array | null
  answered: boolean
  result: Deferred<Answer>
  /** Once they are here, if they come by content. */
  outputs: Deferred<WireTensor[]>
  receipt: Deferred<Receipt>
}
