import { describeError, SinterError } from '../../protocol/errors.ts'
import type { Log } from '../net/log.ts'
import { type Auditor, createAuditor, type Mismatch, mismatch } from './audit.ts'
import type { LightClient, SessionRequest } from './client.ts'
import type { ConsumerSession, InferResult } from './session.ts'

/** Sessions with several providers over one model, whose answers are held against each other. */
export type CheckedComponents = { auditor: Pick<Auditor, 'open'>; log: Log }

/** What two providers said differently. */
export type Dispute = { providers: [string, string]; mismatch: Mismatch }

/** Jobs as with one session; `close` also waits for the comparisons. */
export type CheckedSession = Pick<ConsumerSession, 'infer' | 'close'> & {
  readonly sessions: ConsumerSession[]
  /** Jobs that a second provider has answered too. */
  compared(): number
  disputes(): Dispute[]
}

type Inputs = Float32Array[]
type InferOptions = Parameters<ConsumerSession['infer']>[1]

/** Both receipts of a dispute go to the committee: which of the two is off is what it finds out. */
async function openBoth(results: InferResult[], { auditor, log }: CheckedComponents): Promise<void> {
  for (const { acknowledged } of results) {
    try {
      auditor.open(await acknowledged)
    } catch (error) {
      // Without a receipt there is nothing to be paid for either.
      log.warn({ event: 'audit.unreceipted', error: describeError(error) }, 'a disputed job has no receipt')
    }
  }
}

/** Whether every output consists of numbers. One that does not means nothing at any exponent: no receipt can commit to it. */
const isAnswer = ({ outputs }: InferResult): boolean =>
  Object.values(outputs).every((values) => !values.some(Number.isNaN))

/** A session's answer; one that is none counts as a refusal. Throws `OUTPUT_NAN` and the codes of `infer`. */
async function answerOf(session: ConsumerSession, inputs: Inputs, options: InferOptions): Promise<InferResult> {
  const result = await session.infer(inputs, options)
  if (!isAnswer(result))
    throw new SinterError('OUTPUT_NAN', `${session.provider.provider} answered with values that are no numbers`)
  return result
}

const providersOf = (a: ConsumerSession, b: ConsumerSession): [string, string] => [
  a.provider.provider,
  b.provider.provider,
]

/**
 * Audits of DESIGN §5.4: every job goes to the first session, and a share of them, drawn by `random`, also to the second. The answer
 * of the first is returned at once; answers further apart than 2τ are opened to the committee. An answer with values that are no numbers
 * is none: `OUTPUT_NAN` of the first, and nothing to compare of the second.
 */
export function auditedSession(
  [first, second]: [ConsumerSession, ConsumerSession],
  { share, random = Math.random }: { share: number; random?: () => number },
  components: CheckedComponents,
): CheckedSession {
  const { log } = components
  const comparing = new Set<Promise<void>>()
  const disputes: Dispute[] = []
  let compared = 0

  async function compare(answer: Promise<InferResult>, inputs: Inputs, options: InferOptions): Promise<void> {
    try {
      const results = await Promise.all([answer, answerOf(second, inputs, options)])
      compared++
      const [a, b] = results.map(({ outputs }) => outputs)
      const found = mismatch(first.model.manifest, a!, b!, first.canonical && second.canonical)
      if (found === null) return
      const providers = providersOf(first, second)
      disputes.push({ providers, mismatch: found })
      log.warn({ event: 'audit.mismatch', providers, ...found }, 'two providers answered differently')
      await openBoth(results, components)
    } catch (error) {
      log.warn({ event: 'audit.unanswered', error: describeError(error) }, 'a job could not be audited')
    }
  }

  return {
    sessions: [first, second],
    compared: () => compared,
    disputes: () => disputes,
    infer(inputs, options) {
      const answer = answerOf(first, inputs, options)
      if (random() < share) {
        const work = compare(answer, inputs, options).finally(() => comparing.delete(work))
        comparing.add(work)
      }
      return answer
    },
    async close() {
      await Promise.all(comparing)
      await Promise.all([first.close(), second.close()])
    },
  }
}

/**
 * The policy `replicated`: every job goes to all sessions, each served canonically, and the answer is the one that more than half of them
 * gave, bit for bit. The others are opened to the committee. Throws `REPLICAS` for sessions that are not canonical or fewer than two,
 * `REPLICAS_DIFFER` when no answer has a majority; a provider that does not answer, or answers with NaN, counts against it.
 * `OUTPUT_NAN` when none answers with numbers.
 */
export function replicatedSession(sessions: ConsumerSession[], components: CheckedComponents): CheckedSession {
  if (sessions.length < 2 || !sessions.every(({ canonical }) => canonical))
    throw new SinterError('REPLICAS', 'replicas are two or more sessions that are served canonically')
  const { log } = components
  const opening = new Set<Promise<void>>()
  const disputes: Dispute[] = []
  let compared = 0

  async function infer(inputs: Inputs, options: InferOptions): Promise<InferResult> {
    const settled = await Promise.allSettled(sessions.map((session) => answerOf(session, inputs, options)))
    const answers = settled.flatMap((each, i) =>
      each.status === 'fulfilled' ? [{ session: sessions[i]!, result: each.value }] : [],
    )
    const failed = settled.find((each) => each.status === 'rejected')
    if (answers.length === 0) throw failed!.reason
    compared++
    type Given = (typeof answers)[number]
    // By the integers that a receipt commits to: floats that mean the same are the same answer.
    const between = (a: Given, b: Given): Mismatch | null =>
      mismatch(a.session.model.manifest, a.result.outputs, b.result.outputs, true)
    const group = (of: Given): Given[] => answers.filter((each) => between(of, each) === null)
    const best = answers.reduce((a, b) => (group(b).length > group(a).length ? b : a))
    const others = answers.filter((each) => between(best, each) !== null)
    for (const { session, result } of others) {
      const found = between(best, { session, result })!
      const providers = providersOf(best.session, session)
      disputes.push({ providers, mismatch: found })
      log.warn({ event: 'audit.mismatch', providers, ...found }, 'two providers answered differently')
    }
    const majority = 2 * group(best).length > sessions.length
    // Without a majority each of them is a suspect.
    const suspects = (majority ? others : others.length > 0 ? answers : []).map(({ result }) => result)
    if (suspects.length > 0) {
      const work = openBoth(suspects, components).finally(() => opening.delete(work))
      opening.add(work)
    }
    if (!majority)
      throw new SinterError(
        'REPLICAS_DIFFER',
        `no answer was given by more than half of ${sessions.length} providers`,
        {
          cause: failed?.reason,
        },
      )
    return best.result
  }

  return {
    sessions,
    compared: () => compared,
    disputes: () => disputes,
    infer,
    async close() {
      await Promise.all(opening)
      await Promise.all(sessions.map((session) => session.close()))
    },
  }
}

/**
 * How answers are checked beside their attestation.
 * @param audit share of the jobs that a second provider answers too, 0 to 1
 * @param replicas providers that all answer every job, canonically; 1 for none
 */
export type Checks = { audit: number; replicas: number }

/** A plain session as a checked one of which nothing is compared. */
const unchecked = (session: ConsumerSession): CheckedSession => ({
  sessions: [session],
  compared: () => 0,
  disputes: () => [],
  infer: (inputs, options) => session.infer(inputs, options),
  close: () => session.close(),
})

/**
 * Sessions as the checks need them, out of one offer, and what opens their disputes; `settled` waits until every disputed job was named
 * to the committee, for `timeoutMs` at most, and says whether it was. Throws `CHECKS` and the codes of `openSessions`.
 */
export async function openChecked(
  client: Pick<LightClient, 'openSessions' | 'chain' | 'purse'>,
  request: SessionRequest,
  { audit, replicas }: Checks,
  log: Log,
): Promise<{ session: CheckedSession; settled(timeoutMs: number): Promise<boolean>; stop(): Promise<void> }> {
  const { jobs } = request
  if (!(audit >= 0 && audit <= 1) || (audit > 0 && replicas > 1))
    throw new SinterError('CHECKS', 'a share of the jobs to audit is from 0 to 1, and replicas need no audits')
  if (audit === 0 && replicas <= 1) {
    const [session] = await client.openSessions(request, [jobs])
    return { session: unchecked(session!), settled: async () => true, stop: async () => {} }
  }
  const auditor = await createAuditor({ chain: client.chain, purse: client.purse, log })
  try {
    const components = { auditor, log }
    const open = async (): Promise<CheckedSession> => {
      if (replicas > 1)
        return replicatedSession(
          await client.openSessions({ ...request, canonical: true }, Array<bigint>(replicas).fill(jobs)),
          components,
        )
      // Twice what is expected: a share drawn job by job scatters.
      const second = BigInt(Math.min(Number(jobs), Math.ceil(2 * audit * Number(jobs)) + 1))
      const [a, b] = await client.openSessions(request, [jobs, second])
      return auditedSession([a!, b!], { share: audit }, components)
    }
    return {
      session: await open(),
      async settled(timeoutMs) {
        for (const end = Date.now() + timeoutMs; auditor.waiting() > 0 && Date.now() < end; )
          await new Promise((resolve) => setTimeout(resolve, 250))
        return auditor.waiting() === 0
      },
      stop: () => auditor.stop(),
    }
  } catch (error) {
    await auditor.stop()
    throw error
  }
}
