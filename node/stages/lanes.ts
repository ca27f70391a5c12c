import type { Request } from '../../protocol/gen/sinter_pb.js'
import { MAX_JOB_FRAME_BYTES } from '../../protocol/limits.ts'
import type { Frame } from '../jobs/frames.ts'

/** What a session does with frames. Errors that it throws end the session. */
export type LaneHandler = {
  /**
   * Takes a request up; resolves when the next may be. `before` settles when the statements and vouchers are dealt with that came before
   * it, and `answered` when it has its answer.
   */
  onRequest(request: Request, before: Promise<void>): Promise<{ answered: Promise<void> }>
  /** Everything but requests, one after the other. */
  onFrame(frame: Frame): Promise<void>
}

/** Requests of one stream that are held at once, in number and in bytes of input; what is beyond is left in the stream, whose sender then waits. */
const MAX_HELD = 8
const MAX_HELD_BYTES = 2 * MAX_JOB_FRAME_BYTES

const inputBytes = ({ inputs }: Request): number => inputs.reduce((sum, { data }) => sum + data.length, 0)

/** Frames in two lanes: requests, and what makes receipts of answers. Neither waits for the other. */
export function createLanes({ onRequest, onFrame }: LaneHandler) {
  let failure: { error: unknown } | null = null
  let wake: (error: unknown) => void = () => {}
  const fail = (error: unknown): void => {
    failure ??= { error }
    wake(failure.error)
  }
  let requests: Promise<unknown> = Promise.resolve()
  let receipts: Promise<void> = Promise.resolve()
  const held = new Set<Promise<void>>()
  let heldBytes = 0

  function take(request: Request): void {
    const before = receipts
    const taken = requests.then(() => {
      if (failure !== null) throw failure.error
      return onRequest(request, before)
    })
    requests = taken
    const bytes = inputBytes(request)
    heldBytes += bytes
    const answered = taken
      .then((each) => each.answered)
      .catch(fail)
      .finally(() => {
        held.delete(answered)
        heldBytes -= bytes
      })
    held.add(answered)
  }

  return {
    /** What is waited for, unless a lane fails first. */
    orFailure: <T>(work: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        wake = reject
        work.then(resolve, reject)
        if (failure !== null) reject(failure.error)
      }),
    async push(frame: Frame): Promise<void> {
      if (frame.case !== 'request') {
        receipts = receipts.then(() => onFrame(frame))
        receipts.catch(fail)
        return
      }
      take(frame.value)
      while (held.size >= MAX_HELD || heldBytes >= MAX_HELD_BYTES) await Promise.race(held)
    },
    /** Once nothing runs any more; a lane that failed runs nothing further. */
    settled: () => Promise.allSettled([requests, receipts, ...held]),
  }
}
