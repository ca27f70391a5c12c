import { Worker } from 'node:worker_threads'
import type { Committer } from '../../circuits/commit.ts'
import { compilePoseidon } from '../../circuits/poseidon.ts'
import { siblingEntry } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { LoadedModel } from '../model/load.ts'
import { commitTrees, type SideTrees, sideTrees } from './commit.ts'

/** What a worker is asked, and what comes back. */
export type RootTask = { id: number; trees: SideTrees; jobKey: Uint8Array; values: Int16Array[] }
export type RootReply = { id: number; root: Uint8Array } | { id: number; message: string }

/** Roots of a job's inputs and outputs, as `commitSide` gives them. */
export type Roots = (
  model: LoadedModel,
  side: 'input' | 'output',
  jobKey: Uint8Array,
  values: Int16Array[],
) => Promise<Uint8Array>

export type RootPool = { root: Roots; close(): Promise<void> }

/** Leaves that are committed in the calling thread: about a millisecond, less than a worker's detour is worth. */
const INLINE_LEAVES = 8

type Waiting = { resolve(root: Uint8Array): void; reject(error: SinterError): void }

/**
 * Commits large inputs and outputs in worker threads, so that the thread that answers peers does not stand still: 4 MB are 16,384
 * leaves and some seconds. Starts none before the first large one. `root` rejects with `ROOTS_CLOSED` or `ROOTS_DIED`.
 */
export function createRootPool(committer: Committer, { workers: size = 1 }: { workers?: number } = {}): RootPool {
  const workers: { thread: Worker; waiting: Map<number, Waiting> }[] = []
  let nextId = 0
  let closed = false

  let poseidon: Promise<WebAssembly.Module> | null = null

  function start(workerData: WebAssembly.Module): (typeof workers)[number] {
    const thread = new Worker(siblingEntry(import.meta.url, './root-worker'), { workerData, execArgv: [] })
    const worker = { thread, waiting: new Map<number, Waiting>() }
    const lost = (cause?: unknown): void => {
      const at = workers.indexOf(worker)
      if (at >= 0) workers.splice(at, 1)
      for (const { reject } of worker.waiting.values())
        reject(
          closed
            ? new SinterError('ROOTS_CLOSED', 'the node is stopping')
            : new SinterError('ROOTS_DIED', 'the committing thread ended', { cause }),
        )
      worker.waiting.clear()
    }
    thread.on('message', (reply: RootReply) => {
      const found = worker.waiting.get(reply.id)
      worker.waiting.delete(reply.id)
      // A thread without work keeps no process alive.
      if (worker.waiting.size === 0) thread.unref()
      if ('root' in reply) found?.resolve(reply.root)
      else found?.reject(new SinterError('ROOTS_DIED', reply.message))
    })
    thread.once('error', lost)
    thread.once('exit', () => lost())
    workers.push(worker)
    return worker
  }

  return {
    async root(model, side, jobKey, values) {
      const trees = sideTrees(model, side)
      if (trees.specs.reduce((sum, { count }) => sum + count, 0) <= INLINE_LEAVES)
        return commitTrees(committer, trees, jobKey, values)
      poseidon ??= compilePoseidon()
      const module = await poseidon
      if (closed) throw new SinterError('ROOTS_CLOSED', 'the node is stopping')
      const free = workers.find(({ waiting }) => waiting.size === 0)
      const least = [...workers].sort((a, b) => a.waiting.size - b.waiting.size)[0]
      const worker = free ?? (workers.length < size ? start(module) : least!)
      const id = nextId++
      return new Promise((resolve, reject) => {
        worker.waiting.set(id, { resolve, reject })
        worker.thread.ref()
        worker.thread.postMessage({ id, trees, jobKey, values } satisfies RootTask)
      })
    },
    async close() {
      closed = true
      await Promise.all(workers.map(({ thread }) => thread.terminate()))
    },
  }
}
