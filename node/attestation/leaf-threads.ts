import { Worker } from 'node:worker_threads'
import { ZERO_LEAF_BYTES } from '../../circuits/commit.ts'
import type { TensorTrace } from '../../models/canonical.ts'
import { siblingEntry } from '../../protocol/assets.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { HASH_BYTES } from '../../protocol/hash.ts'
import { LEAF_LIMBS, type Tree } from '../../protocol/statement.ts'
import type { TreeSpec } from './layout.ts'
import { packTree } from './packed-tree.ts'
import { limbsAt, type TracedTree, type TreeMaker } from './trace.ts'

/** Leaves of one tree that a thread commits at a time: about a hundredth of a second, and 64 KiB. */
const BLOCK_LEAVES = 512
/** Blocks that one thread has at a time, so that it does not run dry while the calling thread evaluates. */
const BLOCKS_AHEAD = 4
/** Of a thread's own heap (MiB): it holds its blocks and nothing else. */
const THREAD_HEAP_MB = 64

/** Leaves of one tree by index, 64 limbs each. */
export type LeafBlock = { jobKey: Uint8Array; tensor: number; tree: Tree; indexes: Uint32Array; limbs: Uint16Array }

type Thread = { worker: Worker; waiting: { resolve(leaves: Uint8Array): void; reject(error: SinterError): void }[] }

/** Commitments over several threads. Every leaf is committed by itself, so that the trees are the same whoever does it. */
export type LeafThreads = {
  /** One job's trees. Its methods reject with `COMMITTER_DIED` once a thread has ended, and with `NO_SUCH_LEAF`. */
  begin(jobKey: Uint8Array): TreeMaker
  /** Whether all threads live; else another set is needed. */
  readonly alive: boolean
  close(): Promise<void>
}

/** Starts `count` threads, one at least, with a module of circuits/poseidon.ts. */
export function openLeafThreads(poseidon: WebAssembly.Module, count: number): LeafThreads {
  let dead: SinterError | null = null
  let waiters: (() => void)[] = []
  const freed = (): void => {
    const woken = waiters
    waiters = []
    for (const wake of woken) wake()
  }
  const threads = Array.from({ length: Math.max(1, count) }, (): Thread => {
    const entry = siblingEntry(import.meta.url, './leaf-thread')
    const resourceLimits = { maxOldGenerationSizeMb: THREAD_HEAP_MB }
    const worker = new Worker(entry, { workerData: poseidon, execArgv: [], resourceLimits })
    const thread: Thread = { worker, waiting: [] }
    worker.on('message', (leaves: Uint8Array) => {
      thread.waiting.shift()?.resolve(leaves)
      freed()
    })
    worker.on('error', end)
    worker.on('exit', (code) => end(`exit ${code}`))
    return thread
  })

  function end(cause: unknown): void {
    dead ??= new SinterError('COMMITTER_DIED', `a committing thread ended: ${describeError(cause)}`, { cause })
    for (const { waiting } of threads) for (const each of waiting.splice(0)) each.reject(dead)
    freed()
  }

  async function commitBlock(block: LeafBlock): Promise<{ leaves: Promise<Uint8Array> }> {
    for (;;) {
      if (dead !== null) throw dead
      const { worker, waiting } = threads.reduce((a, b) => (b.waiting.length < a.waiting.length ? b : a))
      if (waiting.length < BLOCKS_AHEAD) {
        const leaves = new Promise<Uint8Array>((resolve, reject) => waiting.push({ resolve, reject }))
        worker.postMessage(block, [block.indexes.buffer as ArrayBuffer, block.limbs.buffer as ArrayBuffer])
        return { leaves }
      }
      await new Promise<void>((resolve) => waiters.push(resolve))
    }
  }

  /** Hands out one tree's leaves: zero leaves are put in place here, the others elsewhere. Gives the tree to come. */
  async function handOut(spec: TreeSpec, trace: TensorTrace, jobKey: Uint8Array): Promise<() => Promise<TracedTree>> {
    const { tensor, tree, count: size } = spec
    const all = new Uint8Array(HASH_BYTES * size)
    const parts: Promise<void>[] = []
    for (let next = 0; next < size; ) {
      const limbs = new Uint16Array(LEAF_LIMBS * Math.min(BLOCK_LEAVES, size - next))
      const places: number[] = []
      for (; next < size && places.length < BLOCK_LEAVES; next++) {
        const found = limbsAt(trace, { tensor, tree, index: next })
        if (found === null) all.set(ZERO_LEAF_BYTES, HASH_BYTES * next)
        else limbs.set(found, LEAF_LIMBS * (places.push(next) - 1))
      }
      if (places.length === 0) continue
      const { leaves } = await commitBlock({ jobKey, tensor, tree, indexes: Uint32Array.from(places), limbs })
      const part = leaves.then((made) => {
        places.forEach((place, i) => {
          all.set(made.subarray(HASH_BYTES * i, HASH_BYTES * (i + 1)), HASH_BYTES * place)
        })
      })
      // It is looked at when the whole job has been handed out, and not at all if that fails.
      part.catch(() => {})
      parts.push(part)
    }
    const whole = Promise.all(parts).then(() => ({ spec, nodes: packTree(all) }))
    whole.catch(() => {})
    return () => whole
  }

  return {
    begin(jobKey) {
      const trees: (() => Promise<TracedTree>)[] = []
      return {
        async add(specs, trace) {
          for (const spec of specs) trees.push(await handOut(spec, trace, jobKey))
        },
        trees: () => Promise.all(trees.map((tree) => tree())),
      }
    },
    get alive() {
      return dead === null
    },
    async close() {
      end('closed')
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    },
  }
}
