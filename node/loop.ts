import { describeError, errorCode } from '../protocol/errors.ts'
import type { Log } from './net/log.ts'

export type Loop = { halt(): void; done: Promise<void> }

/** Repeats a piece of work with a pause, one at a time, until halted. Failures are logged and the next round tries again. */
export function repeat(name: string, everyMs: number, log: Log, work: () => Promise<void> | void): Loop {
  let stopped = false
  let wake = (): void => {}
  // Halting does not wait for the end of a pause.
  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, everyMs)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  const done = (async () => {
    while (!stopped) {
      try {
        await work()
      } catch (error) {
        log.warn({ event: `${name}.failed`, code: errorCode(error), error: describeError(error) }, `${name} failed`)
      }
      if (!stopped) await pause()
    }
  })()
  return {
    halt() {
      stopped = true
      wake()
    },
    done,
  }
}

/** Resolves with the promise, or when the time is up. */
export async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([promise.then(() => {}), late]).finally(() => clearTimeout(timer))
}
