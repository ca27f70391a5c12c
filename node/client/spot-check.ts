import { describeError } from '../../protocol/errors.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Log } from '../net/log.ts'
import { type Auditor, mismatch } from './audit.ts'
import type { Budget } from './budget.ts'
import type { Pool } from './pool.ts'
import { runCharged } from './scheduler.ts'
import type { Answer } from './slot.ts'

export type SpotCheckComponents = {
  budget: Budget
  /** What opens disputed jobs to the committee; made when it is first needed. */
  auditor(): Promise<Pick<Auditor, 'open'>>
  /** Uniform in [0, 1). @default Math.random */
  random?(): number
  log: Log
}

/** Audits of DESIGN §5.4 beside a scheduler: a random share of the answers is asked of a second provider too, and paid. */
export type SpotChecks = {
  /** Draws whether this answer is checked, and checks it beside what goes on. Never throws. */
  consider(pool: Pool, model: LoadedModel, values: Float32Array[], answer: Answer): void
  /** Answers that were asked of a second provider, and how many of them differed by more than 2τ. */
  counts(): { compared: number; disputed: number }
  /** Resolves when no check is under way. */
  settled(): Promise<void>
}

/** Milliseconds that the second provider has. */
const SECOND_MS = 30_000

/** @param share of the answers that are checked, 0 to 1 */
export function createSpotChecks(components: SpotCheckComponents, share: number): SpotChecks {
  const { budget, auditor, random = Math.random, log } = components
  const running = new Set<Promise<void>>()
  const counts = { compared: 0, disputed: 0 }

  async function check(pool: Pool, { manifest }: LoadedModel, values: Float32Array[], answer: Answer): Promise<void> {
    const { provider } = answer.provider
    try {
      const same = pool.slots().filter(({ session }) => session.provider.provider === provider)
      const slot = await pool.take(new Set(same))
      if (slot.session.provider.provider === provider) return
      const second = await runCharged(budget, slot, values, { timeoutMs: SECOND_MS, cancelled: () => false })
      const found = mismatch(manifest, answer.outputs, second.outputs, false)
      counts.compared++
      if (found === null) return
      counts.disputed++
      const providers = [provider, second.provider.provider]
      log.warn({ event: 'audit.mismatch', providers, ...found }, 'two providers answered differently')
      const { open } = await auditor()
      for (const { acknowledged } of [answer, second])
        await acknowledged.then(open, (error: unknown) =>
          log.warn({ event: 'audit.unreceipted', error: describeError(error) }, 'a disputed job has no receipt'),
        )
    } catch (error) {
      log.debug({ event: 'audit.unanswered', error: describeError(error) }, 'an answer could not be checked')
    }
  }

  return {
    consider(pool, model, values, answer) {
      if (random() >= share) return
      const work = check(pool, model, values, answer).finally(() => running.delete(work))
      running.add(work)
    },
    counts: () => ({ ...counts }),
    async settled() {
      await Promise.all(running)
    },
  }
}
