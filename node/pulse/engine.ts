import { type ChildProcess, fork } from 'node:child_process'
import type { ExecutionProvider, SessionOptions } from '../../models/session.ts'
import { siblingEntry } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Placement } from '../exec/devices.ts'
import type { LaneResult, LaneWork } from './lane.ts'

export type LaneRequest = LaneWork & { session: SessionOptions }
export type LaneReply = { ok: true; result: LaneResult } | { ok: false; code: string; message: string }

/** Products of pulses on this machine's devices. Processes live as long as a call, so that nothing is held between pulses. */
export type PulseEngine = {
  /**
   * Computes lanes 0, 1, … side by side on all placements, at most `most`, and begins none that would not be done in time as far as the ones before
   * tell. Resolves with those that are done when `budgetMs` is over, as far as they are without a gap.
   * Rejects with what a device throws (`EP_UNAVAILABLE`, `RUNTIME_MISSING`, …), `LANE_DIED`, and `LANE_ABORTED` by the signal.
   */
  lanes(work: (lane: number) => LaneWork, limits: LaneLimits): Promise<LaneResult[]>
  /** One lane. Rejects likewise. */
  lane(work: LaneWork, signal?: AbortSignal): Promise<LaneResult>
}

export type LaneLimits = { most: number; budgetMs: number; signal?: AbortSignal }

export type EngineInit = { executionProvider: ExecutionProvider; placements: readonly Placement[] }

type Worker = { run(work: LaneWork): Promise<LaneResult>; end(): void }

/** A lane that takes as long as the last one, and so much longer, has to be done in time. */
const MARGIN = 1.25

export function createPulseEngine({ executionProvider, placements }: EngineInit): PulseEngine {
  function spawn({ env, deviceId, threads }: Placement): Worker {
    const child: ChildProcess = fork(siblingEntry(import.meta.url, './worker'), [], {
      serialization: 'advanced',
      execArgv: ['--no-warnings'],
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const gone = new Promise<never>((_, reject) => {
      const died = (): void => reject(new SinterError('LANE_DIED', 'the process that computes a pulse ended'))
      child.once('exit', died)
      child.once('error', died)
    })
    gone.catch(() => {})
    const session: SessionOptions = {
      executionProvider,
      ...(threads === null ? {} : { threads }),
      ...(deviceId === null ? {} : { deviceId }),
    }
    return {
      async run(work) {
        const answer = new Promise<LaneReply>((resolve) =>
          child.once('message', (reply) => resolve(reply as LaneReply)),
        )
        child.send({ ...work, session } satisfies LaneRequest, () => {})
        const reply = await Promise.race([answer, gone])
        if (!reply.ok) throw new SinterError(reply.code, reply.message)
        return reply.result
      },
      end: () => child.kill('SIGKILL'),
    }
  }

  /** Lets `work` have these workers, until it is done or the signal says so. */
  async function withWorkers<T>(
    used: readonly Placement[],
    signal: AbortSignal | undefined,
    work: (workers: Worker[]) => Promise<T>,
  ): Promise<T> {
    const aborted = (): SinterError => new SinterError('LANE_ABORTED', 'a pulse was given up')
    if (signal?.aborted) throw aborted()
    const workers = used.map(spawn)
    let onAbort = (): void => {}
    const given = new Promise<never>((_, reject) => {
      onAbort = () => reject(aborted())
    })
    given.catch(() => {})
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([work(workers), given])
    } finally {
      signal?.removeEventListener('abort', onAbort)
      for (const worker of workers) worker.end()
    }
  }

  return {
    lanes(work, { most, budgetMs, signal }) {
      const start = performance.now()
      return withWorkers(placements.slice(0, most), signal, async (workers) => {
        const done = new Map<number, LaneResult>()
        let next = 0
        const each = async (worker: Worker): Promise<void> => {
          let lasted = 0
          while (next < most && performance.now() - start + MARGIN * lasted < budgetMs) {
            const lane = next++
            const began = performance.now()
            done.set(lane, await worker.run(work(lane)))
            lasted = performance.now() - began
          }
        }
        let timer: NodeJS.Timeout | undefined
        const over = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, budgetMs)
        })
        const all = Promise.all(workers.map(each))
        // Those that are cut off end with their processes.
        all.catch(() => {})
        await Promise.race([all, over]).finally(() => clearTimeout(timer))
        const results: LaneResult[] = []
        for (let lane = 0; done.has(lane); lane++) results.push(done.get(lane)!)
        return results
      })
    },
    lane: (work, signal) => withWorkers(placements.slice(0, 1), signal, async ([worker]) => worker!.run(work)),
  }
}
