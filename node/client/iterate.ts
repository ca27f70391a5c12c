import { elementCount } from '../../models/tiling.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Policy, Receipt } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Log } from '../net/log.ts'
import { unref } from '../timers.ts'
import { type Auditor, mismatch } from './audit.ts'
import type { Budget } from './budget.ts'
import type { ConsumerSession, InferResult } from './session.ts'

/**
 * Iterated graphs, such as training steps: outputs of one job are inputs of the next. Every step is served canonically by several
 * providers of different owners, and what more than half of them gave, bit for bit, is the state that goes on (policy `replicated`).
 */

export type IterateOptions = {
  /** Providers that compute each step. 1 leaves it to the attestations. @default 2 */
  replicas?: number
  /** Milliseconds one step may take. @default 30_000 */
  timeoutMs?: number
  /** How steps that are drawn are attested. @default 'zk' */
  policy?: Policy
  /** Times that a step is given to one more provider, because one failed or the answers differ. @default 4 */
  spares?: number
  /** Providers that are not asked, nor others of their owners: the workers of a run that is split over several. @default none */
  exclude?: readonly Address[]
  signal?: AbortSignal
}

/** One provider's part in a step. */
export type Share = InferResult & { provider: ConsumerSession['provider']; session: Uint8Array; price: bigint }

/** What a step came to: the answers that agree, and how many did not. */
export type StepAnswer = { shares: [Share, ...Share[]]; disputed: number }

export type IterateComponents = {
  model: LoadedModel
  budget: Budget
  /** Sessions of different owners, none of them of `exclude`, each for so many jobs. Throws `NO_BIDS` when there are not as many. */
  open(count: number, jobs: number, exclude: Address[]): Promise<ConsumerSession[]>
  release(session: ConsumerSession): Promise<void>
  /** Opens disputed steps to the committee. */
  auditor(): Promise<Pick<Auditor, 'open'>>
  log: Log
}

/** Jobs that a session's ceiling on chain pays for. */
const SESSION_JOBS = 256
/** Steps whose receipts may be open: below the window of 8 that providers allow. */
const MAX_OPEN = 4

/** One provider at work, with what it has not acknowledged yet. */
type Replica = { session: ConsumerSession; left: number; open: Promise<Receipt>[] }

type End = { name: string; shape: number[] }

/**
 * Which output feeds which input, checked. @param carry output to input; null takes every output that has an input's name, with or
 * without `_out` behind it. Throws `GRAPH_CARRY`.
 */
export function linksOf(
  { name, inputs, outputs }: { name: string; inputs: End[]; outputs: End[] },
  carry: Readonly<Record<string, string>> | null,
): [string, string][] {
  const own = outputs.flatMap(({ name }): [string, string][] => {
    const input = inputs.find((each) => each.name === name || `${each.name}_out` === name)
    return input === undefined ? [] : [[name, input.name]]
  })
  const links = carry === null ? own : Object.entries(carry)
  const size = (ends: End[], name: string): number | undefined => {
    const end = ends.find((each) => each.name === name)
    return end && elementCount(end.shape)
  }
  const broken = links.find(
    ([from, to]) => size(outputs, from) === undefined || size(outputs, from) !== size(inputs, to),
  )
  if (links.length === 0 || broken !== undefined)
    throw new SinterError(
      'GRAPH_CARRY',
      `no output of ${name} feeds an input of the same size${broken ? `: ${broken.join(' → ')}` : ''}`,
    )
  return links
}

/**
 * Providers that go through the steps of one graph together. `step` throws `NO_BIDS`, `SPENDING_LIMIT`, `ABORTED`, `REPLICAS_DIFFER` when
 * no answer has a majority after all spares, and the code of the last provider that failed.
 */
export function createReplicas(components: IterateComponents, links: [string, string][], options: IterateOptions = {}) {
  const { model, budget, log } = components
  const { replicas: wanted = 2, timeoutMs = 30_000, spares = 4, exclude = [], signal } = options
  const { manifest } = model
  if (!(wanted >= 1) || !Number.isInteger(wanted))
    throw new SinterError('OPTION_REPLICAS', 'a step is computed by one or more whole providers')
  const carry = Object.fromEntries(links.map(([from, to]) => [to, from]))
  const team = new Set<Replica>()
  /** Whoever failed or was in the minority is not asked again. */
  const dropped = new Set<Address>()
  const leaving = new Set<Promise<void>>()

  function leave(replica: Replica): void {
    team.delete(replica)
    const work = Promise.race([replica.session.close(), new Promise<void>((done) => unref(setTimeout(done, 5_000)))])
      .then(() => components.release(replica.session))
      .catch((error: unknown) =>
        log.warn({ event: 'run.unreleased', error: describeError(error) }, 'a session could not be released'),
      )
      .finally(() => leaving.delete(work))
    leaving.add(work)
  }

  function drop(replica: Replica, error: unknown): void {
    const { provider } = replica.session.provider
    log.warn({ event: 'run.dropped', provider, code: errorCode(error) }, 'a provider of the run was dropped')
    dropped.add(provider)
    leave(replica)
  }

  async function fill(count: number, stepsLeft: number): Promise<Replica[]> {
    const held = [...team].map(({ session }) => session.provider.provider)
    const left = Math.min(SESSION_JOBS, stepsLeft)
    const sessions = await components.open(count, left, [...held, ...dropped, ...exclude])
    const fresh = sessions.map((session): Replica => ({ session, left, open: [] }))
    for (const each of fresh) team.add(each)
    return fresh
  }

  async function ask(replica: Replica, values: Float32Array[]): Promise<{ replica: Replica; share: Share }> {
    const { session } = replica
    const { price } = session.provider
    budget.take(price)
    try {
      while (replica.open.length >= MAX_OPEN) await replica.open.shift()
      const result = await session.infer(values, { timeoutMs, carry })
      replica.left--
      replica.open.push(result.acknowledged)
      return { replica, share: { ...result, provider: session.provider, session: session.session, price } }
    } catch (error) {
      budget.giveBack(price)
      throw error
    }
  }

  /** Both sides of a dispute that lost are opened to the committee. */
  async function open(shares: Share[]): Promise<void> {
    for (const { acknowledged } of shares)
      try {
        const { open: name } = await components.auditor()
        name(await acknowledged)
      } catch (error) {
        log.warn({ event: 'audit.unreceipted', error: describeError(error) }, 'a disputed step has no receipt')
      }
  }

  const agree = (a: Share, b: Share): boolean => mismatch(manifest, a.outputs, b.outputs, true) === null

  return {
    /** @param stepsLeft this one included: what sessions are opened for */
    async step(values: Float32Array[], stepsLeft: number): Promise<StepAnswer> {
      const answers: { replica: Replica; share: Share }[] = []
      for (const replica of team) if (replica.left === 0) leave(replica)
      let failure: unknown = null
      let next: Replica[] = [...team]
      for (let spare = 0; ; spare++) {
        if (signal?.aborted) throw new SinterError('ABORTED', 'the caller aborted the run', { cause: signal.reason })
        const missing = Math.max(wanted - team.size, next.length === 0 ? 1 : 0)
        if (missing > 0) next = [...next, ...(await fill(missing, stepsLeft))]
        const asked = await Promise.allSettled(next.map((replica) => ask(replica, values)))
        for (const [i, each] of asked.entries()) {
          if (each.status === 'fulfilled') answers.push(each.value)
          else {
            failure = each.reason
            if (errorCode(failure) === 'SPENDING_LIMIT') throw failure
            drop(next[i]!, failure)
          }
        }
        const group = (of: Share) => answers.filter(({ share }) => agree(of, share))
        const [best = []] = answers.map(({ share }) => group(share)).sort((a, b) => b.length - a.length)
        const quorum = Math.max(wanted === 1 ? 1 : 2, Math.floor(answers.length / 2) + 1)
        if (best.length >= quorum) {
          const others = answers.filter((each) => !best.includes(each))
          for (const { replica } of others) drop(replica, new SinterError('REPLICAS_DIFFER', 'it was outvoted'))
          if (others.length > 0) {
            const work = open(others.map(({ share }) => share)).finally(() => leaving.delete(work))
            leaving.add(work)
          }
          const shares = best.map(({ share }) => share) as StepAnswer['shares']
          return { shares, disputed: others.length }
        }
        if (spare >= spares) {
          await open(answers.map(({ share }) => share))
          if (answers.length > 1)
            throw new SinterError(
              'REPLICAS_DIFFER',
              `${answers.length} providers gave no answer that most of them gave`,
            )
          throw failure
        }
        next = []
      }
    },
    /** Waits for open receipts and gives the sessions back. */
    async close(): Promise<void> {
      for (const replica of team) leave(replica)
      await Promise.all(leaving)
    },
  }
}
