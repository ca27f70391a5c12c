export type SleepOptions = {
  signal?: AbortSignal | undefined
  /** Whether the process stays alive for it. @default true */
  ref?: boolean
}

/** Sleeps `ms`; rejects with the signal's reason when it fires. */
export function sleep(ms: number, { signal, ref = true }: SleepOptions = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (!ref) unref(timer)
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** A timer that does not keep the process alive. Nothing does so in a browser, where timers are numbers. */
export function unref<T extends NodeJS.Timeout | number>(timer: T): T {
  if (typeof timer === 'object') timer.unref()
  return timer
}

let before: Promise<void> = Promise.resolve()

/**
 * Resolves in a turn of the event loop in which nothing else goes on that waited here: pieces of work of some milliseconds each that come
 * together hold up what else there is by one of them, not by their sum.
 */
export function ownTurn(): Promise<void> {
  before = before.then(() => new Promise((resolve) => void setImmediate(resolve)))
  return before
}
