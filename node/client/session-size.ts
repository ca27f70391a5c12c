import { MAX_SESSION_JOBS } from '../../protocol/limits.ts'
import type { Slot } from './slot.ts'

/** Part of a session's jobs that is kept for while the next one is opened, and the most that is kept where jobs come fast. */
const KEEP = { least: 0.25, most: 0.75 }
/** What is kept lasts so many times as long as the last opening took. */
const LEAD = 2
/** A session that would be used up sooner (ms) is followed by one of twice its jobs, one that would last four times as long by one of half. */
const LIFE_MS = 60_000
const MOST_TIMES = 16
/** A larger session takes no more than this part of what the account has, so that its other models get theirs. */
const SHARE = 8n
/** Jobs that come in one burst are no pace (ms). */
const LEAST_MS = 1_000

type Session = Pick<Slot, 'jobsLeft'>
/** Jobs that it was opened for, and when (ms). */
type Opened = { jobs: number; since: number }

/**
 * When a session is followed by the next one, and for how many jobs that is: a session is a transaction on the chain, and one that is used
 * up within seconds keeps requests waiting for it.
 */
export type SessionSizes = {
  /** A session for so many jobs has been opened, which took so long (ms). */
  opened(session: Session, jobs: number, tookMs: number): void
  /** Whether the next one is to be opened: who asks then does not wait for it. */
  due(session: Session): boolean
  /** Jobs of the next one. `funds` are the base units that the paying account has beside what lies in sessions. */
  next(ceiling: bigint, funds: () => Promise<bigint>): Promise<number>
  gone(session: Session): void
}

/** @param base jobs of a session where nothing is known, and the fewest */
export function createSessionSizes(base: number, now: () => number): SessionSizes {
  const limit = Math.max(base, Math.min(base * MOST_TIMES, Number(MAX_SESSION_JOBS)))
  const held = new Map<Session, Opened>()
  let openingMs = 0

  /** Jobs in a millisecond. */
  const pace = ({ jobsLeft }: Session, { jobs, since }: Opened): number =>
    (jobs - jobsLeft) / Math.max(now() - since, LEAST_MS)

  /** Jobs of what follows a session, by how long that would last. */
  function following([session, opened]: [Session, Opened]): number {
    const lifeMs = opened.jobs / pace(session, opened)
    const times = lifeMs < LIFE_MS ? 2 : lifeMs > 4 * LIFE_MS ? 0.5 : 1
    return lifeMs === Number.POSITIVE_INFINITY ? base : Math.floor(opened.jobs * times)
  }

  return {
    opened(session, jobs, tookMs) {
      openingMs = tookMs
      held.set(session, { jobs, since: now() })
    },
    due(session) {
      const opened = held.get(session)
      if (opened === undefined) return false
      const lead = Math.min(pace(session, opened) * openingMs * LEAD, opened.jobs * KEEP.most)
      return session.jobsLeft <= Math.max(Math.floor(opened.jobs * KEEP.least), lead)
    },
    async next(ceiling, funds) {
      let jobs = Math.min(Math.max(base, ...[...held].map(following)), limit)
      if (jobs === base) return base
      const most = (await funds()) / SHARE
      while (jobs > base && ceiling * BigInt(jobs) > most) jobs = Math.max(Math.floor(jobs / 2), base)
      return jobs
    },
    gone: (session) => void held.delete(session),
  }
}
