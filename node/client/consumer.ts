import { detection } from '../../models/draw.ts'
import { givenInputs } from '../../models/lookup.ts'
import { tensorOf } from '../../models/tiling.ts'
import { toHex } from '../../protocol/bytes.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import { pollMsOf } from '../chain/params.ts'
import type { BatchEvent } from '../chain/watch.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import type { Listing } from '../stages/catalogue.ts'
import { type BatchCheck, checksOf } from './batch-checks.ts'
import { createBudget } from './budget.ts'
import type { LightClient } from './client.ts'
import { classified, rethrow, unlessAborted } from './failures.ts'
import { createReplicas, type IterateOptions, linksOf } from './iterate.ts'
import type { Memory } from './memory.ts'
import type { Quote } from './offer.ts'
import { openerOf, turns } from './opener.ts'
import { createPool, type Pool, type PoolInit } from './pool.ts'
import { askPrices } from './prices.ts'
import { parseReceiptId, type ReceiptStatus, receiptId } from './receipts.ts'
import { createScheduler, type RequestOptions, type Scheduler } from './scheduler.ts'
import type { ConsumerSession, InferResult } from './session.ts'
import { type BatchOptions, runBatch } from './shards.ts'
import type { Answer } from './slot.ts'
import { createSpotChecks } from './spot-check.ts'
import { type Inputs, type Item, jobValues, type NamedTensors, namedTensors, valuesOrError } from './values.ts'

export type { Listing } from '../stages/catalogue.ts'
export type { Quote } from './offer.ts'

export type ConsumerOptions = {
  /** Highest price of one job, base units (10^-18 tokens). */
  ceiling: bigint
  /** The most that all jobs of this connection may cost together, base units. @default no limit */
  spendingLimit?: bigint
  /**
   * Share of the jobs that a second provider is asked too, and paid for; answers further apart than 2τ are opened to the committee, which
   * shows them to everybody. @default 0.01
   */
  audit?: number
  /**
   * Verifies the attestations and votes of the batches that receipts come to lie in, as the committee does (about a second of computing a
   * batch, in a process of its own where there are processes). @default true
   */
  verify?: boolean
  /** How providers are chosen and sessions kept. */
  scheduler?: Omit<PoolInit, 'ceiling'>
}

/** How one job is carried out. */
export type InferOptions = RequestOptions

/** One job's receipt. The chain's part is what the RPC endpoint says. */
export type Receipt = {
  /** `0x<session>-<seq>` */
  readonly id: string
  /** Base units, owed once both sides have signed. */
  readonly price: bigint
  readonly provider: Address
  /** Where it stands now; asks nobody. */
  status(): ReceiptStatus
  /** What this connection checked by itself of the batch that the receipt lies in. Null before it is anchored. */
  checks(): BatchCheck | null
  /** Resolves when both sides have signed for the job. Throws a `ProviderError` with the code for which the receipt was refused. */
  acknowledged(): Promise<void>
}

export type Inference = {
  outputs: NamedTensors
  /** From the request to the answer (ms), without waiting for a session. */
  latencyMs: number
  /** What the provider says the model took (ms). */
  executionMs: number
  receipt: Receipt
  /** CID of the outputs, sealed for this account, when the inputs went by content. */
  sealed?: string
}

/** Counts of a batch so far. `cost` in base units: the prices of what is answered. */
export type Progress = { done: number; failed: number; cost: bigint }

/** One item of a batch in the order of completion; `index` is its place in the data set. */
export type BatchRun = { index: number; progress: Progress } & (
  | { ok: true; inference: Inference }
  | { ok: false; error: SinterError }
)

export type ModelInfo = {
  id: string
  name: string
  /** Multiply-adds of one job. */
  units: number
  /** The shape of one job, without a batch axis; float32, or integers below `rows` that are looked up here (null: floats). */
  inputs: { name: string; shape: number[]; rows: number | null }[]
  /** `index` where the model ends in an ArgMax: the place of the largest value along `axis` is its output of that name, and its reader's to take. */
  outputs: {
    name: string
    shape: number[]
    index: { name: string; axis: number } | null
    /** The most that an answer may be off the canonical value: nothing above it is attested, anything below it passes. */
    tolerance: number
  }[]
  /** How often a job that is drawn gives a cheat away: one who breaks an op of his choice, and one who edits a single leaf. */
  caught: { op: number; leaf: number }
}

export type RunOptions = IterateOptions & {
  /** Which output becomes which input of the next step. @default outputs with an input's name, or with that and `_out` */
  carry?: Readonly<Record<string, string>>
  /** Inputs of a step that do not come from the step before, such as its part of the data; or a state in place of the last one. */
  feed?(step: number): Readonly<Record<string, Inputs>> | Promise<Readonly<Record<string, Inputs>>>
}

/** One step of an iterated graph: the answer on which most of its providers agree bit for bit, with the receipt of each of these. */
export type Step = Inference & {
  step: number
  receipts: Receipt[] /** Providers that said something else. */
  disputed: number
}

/** A connection to a network as somebody who uses it. All errors are of the classes in failures.ts. */
export type Consumer = {
  readonly address: Address
  /** Base units that jobs of this connection have cost. */
  readonly spent: bigint
  /** What peers say is on the network. Hints by strangers: `model` fetches and checks one, `quote` asks for prices that hold. */
  models(options?: { timeoutMs?: number }): Promise<Listing[]>
  /** Fetches a model's manifest and weights by content and checks them. */
  model(id: string): Promise<ModelInfo>
  /** Files by CID, such as sealed data sets. Throws the codes of `Content`. */
  readonly content: Pick<Content, 'get' | 'add' | 'provide'>
  /** Opens the sessions that `infer` would open, so that the first request is a warm one. Returns how many are open. */
  reserve(model: string): Promise<number>
  /** One job. Slow providers are hedged and failed ones replaced. */
  infer(model: string, inputs: Inputs, options?: InferOptions): Promise<Inference>
  /**
   * A data set over several providers; ends when every item has. An item may be a function that makes it when it is its turn, and
   * one that is wrong fails alone; one that is sealed for `options.provider` is fetched by it. Leave the loop or abort to stop.
   */
  batch(
    model: string,
    dataset: Iterable<Item> | AsyncIterable<Item>,
    options?: BatchOptions,
  ): AsyncGenerator<BatchRun, void, undefined>
  /**
   * A graph whose outputs feed its next call, such as a training step; yields each step. Steps are served canonically by `replicas`
   * providers of different owners and compared bit for bit; one that fails or is outvoted is replaced, and what it said opened to the
   * committee. The state goes up with the first step only, and comes down with each. Throws `REPLICAS_DIFFER` besides.
   */
  run(
    model: string,
    state: Readonly<Record<string, Inputs>>,
    steps: number,
    options?: RunOptions,
  ): AsyncGenerator<Step, void, undefined>
  /**
   * What providers ask now, the cheapest first; nothing is bought. A provider loads the model before it bids, so a cold network
   * needs a longer window.
   * @param options.windowMs how long they are listened to. @default 2_000
   * @param options.bids end as soon as so many are in
   * @param options.signal end with what is in
   */
  quote(model: string, options?: { windowMs?: number; bids?: number; signal?: AbortSignal }): Promise<Quote[]>
  /**
   * A receipt by its id, of this connection or of an earlier one with the same account and data folder; throws `RECEIPT_UNKNOWN` for
   * any other, and for those of sessions that have not changed for 90 days.
   */
  receipt(id: string): Receipt
  /** Waits for open receipts (5 s), gives sessions back and leaves the network. */
  stop(): Promise<void>
}

type Components = { client: LightClient; address: Address; memory: Memory; now(): number; log: Log }

export async function createConsumer(components: Components, options: ConsumerOptions): Promise<Consumer> {
  const { client, address, memory, now, log } = components
  const { scores } = memory
  const budget = createBudget(options.spendingLimit ?? null)
  const book = memory.receipts
  /** Those whose acknowledgement is awaited, which is a few: the rest is in the book. */
  const awaited = new Map<string, Promise<unknown>>()
  let auditor: ReturnType<LightClient['openAuditor']> | null = null
  const inTurn = turns()
  const openAuditor = (): ReturnType<LightClient['openAuditor']> => (auditor ??= client.openAuditor())
  const checks = createSpotChecks({ budget, auditor: openAuditor, log }, options.audit ?? 0.01)
  const pools = new Map<string, { pool: Pool; scheduler: Scheduler }>()
  const { block } = await client.chain.head()
  const batchChecks = options.verify === false ? null : client.batchChecks()
  const onEvent = (event: BatchEvent): void => {
    book.apply(event)
    batchChecks?.apply(event)
  }
  // What happened to earlier receipts meanwhile is read first; without such there is nothing to read.
  const from = (book.unsettled() ? memory.cursor() : null) ?? { next: block + 1n, marks: [] }
  memory.reached(from)
  const watcher = client.chain.watchBatches(onEvent, {
    from,
    pollMs: Math.max(1_000, pollMsOf(client.chain.params)),
    onCursor: memory.reached,
    onError: (error) => log.warn({ event: 'receipts.watch', error: describeError(error) }, 'the chain did not answer'),
  })

  function poolOf(model: LoadedModel, provider?: Address): { pool: Pool; scheduler: Scheduler } {
    const key = `${model.cid} ${provider ?? ''}`
    const known = pools.get(key)
    if (known !== undefined) return known
    const only = provider === undefined ? {} : { only: provider }
    const init = { ...options.scheduler, ...only, ceiling: options.ceiling }
    const pool = createPool({ client, model, scores, now, log }, init)
    const made = { pool, scheduler: createScheduler({ pool, budget, scores }) }
    pools.set(key, made)
    return made
  }

  /** A receipt of this account by its id, of this connection or an earlier one. Throws `RECEIPT_UNKNOWN`. */
  function receiptOf(id: string): Receipt {
    const parts = parseReceiptId(id)
    const terms = parts === null ? null : book.find(parts.session, parts.seq)
    if (parts === null || terms === null)
      throw new SinterError('RECEIPT_UNKNOWN', `no receipt ${id.slice(0, 100)} of this account is known here`)
    const { session, seq } = parts
    const status = (): ReceiptStatus => book.status(session, seq)
    const { price, provider } = terms
    return {
      ...{ id, price, provider, status },
      checks: () => checksOf(status().batch, batchChecks),
      async acknowledged() {
        await awaited.get(id)?.catch(rethrow)
        if (status().acknowledged) return
        const code = book.refusal(session, seq) ?? 'RECEIPT_UNACKNOWLEDGED'
        throw classified(new SinterError(code, `the receipt ${id} was not acknowledged`))
      },
    }
  }

  function inferenceOf(
    model: LoadedModel,
    answer: InferResult & Pick<Answer, 'provider' | 'session' | 'price'>,
  ): Inference {
    const { seq, price, acknowledged, latencyMs, executionMs, sealed } = answer
    const session = toHex(answer.session)
    const id = receiptId(answer.session, seq)
    book.issued(session, seq, { provider: answer.provider.provider, price })
    const settled = acknowledged.then(
      () => book.acknowledged(session, seq),
      (error: unknown) => {
        book.refused(session, seq, errorCode(error))
        throw error
      },
    )
    awaited.set(id, settled)
    settled.catch(() => {}).finally(() => awaited.delete(id))
    const receipt = { ...receiptOf(id), acknowledged: () => settled.catch(rethrow) }
    const outputs = namedTensors(model.manifest, answer.outputs)
    return { outputs, latencyMs, executionMs, receipt, ...(sealed && { sealed }) }
  }

  async function infer(id: string, inputs: Inputs, request?: InferOptions): Promise<Inference> {
    try {
      const model = await unlessAborted(client.library.load(id), request?.signal)
      const values = jobValues(model, inputs)
      const { pool, scheduler } = poolOf(model)
      const answer = await scheduler.infer(values, request)
      checks.consider(pool, model, values, answer)
      return inferenceOf(model, answer)
    } catch (error) {
      throw classified(error)
    }
  }

  async function* batch(
    id: string,
    dataset: Iterable<Item> | AsyncIterable<Item>,
    request?: BatchOptions,
  ): AsyncGenerator<BatchRun, void, undefined> {
    try {
      const model = await unlessAborted(client.library.load(id), request?.signal)
      const { pool } = poolOf(model, request?.provider)
      // What is under way, for the checks of its answers.
      const sent = new Map<number, Float32Array[]>()
      const values = (async function* () {
        let index = 0
        for await (const inputs of dataset) {
          const given = valuesOrError(model, inputs)
          // Sealed for one provider, it is shown to no second.
          if (!(given instanceof SinterError) && given.sealed === undefined) sent.set(index, given.values)
          index++
          yield given
        }
      })()
      const progress: Progress = { done: 0, failed: 0, cost: 0n }
      for await (const item of runBatch({ pool, budget, now }, values, request)) {
        const { index } = item
        if (item.ok) {
          progress.done++
          progress.cost += item.answer.price
          const values = sent.get(index)
          if (values !== undefined) checks.consider(pool, model, values, item.answer)
          sent.delete(index)
          yield { index, progress: { ...progress }, ok: true, inference: inferenceOf(model, item.answer) }
        } else {
          progress.failed++
          sent.delete(index)
          yield { index, progress: { ...progress }, ok: false, error: classified(item.error) }
        }
      }
    } catch (error) {
      throw classified(error)
    }
  }

  async function* run(
    id: string,
    state: Readonly<Record<string, Inputs>>,
    steps: number,
    { carry, feed, ...request }: RunOptions = {},
  ): AsyncGenerator<Step, void, undefined> {
    try {
      const model = await unlessAborted(client.library.load(id), request.signal)
      const links = linksOf(model.manifest, carry ?? null)
      const open = openerOf({ client, scores, model, inTurn }, options, request)
      const release = ({ session }: ConsumerSession): Promise<void> => client.release(toHex(session))
      const replicas = createReplicas({ model, budget, open, release, auditor: openAuditor, log }, links, request)
      let current: Record<string, Inputs> = { ...state }
      try {
        for (let step = 0; step < steps; step++) {
          const values = jobValues(model, { ...current, ...(await feed?.(step)) } as Inputs)
          const { shares, disputed } = await replicas.step(values, steps - step)
          const inferences = shares.map((share) => inferenceOf(model, share))
          const [first] = inferences as [Inference, ...Inference[]]
          yield { ...first, step, receipts: inferences.map(({ receipt }) => receipt), disputed }
          const { outputs } = first
          current = { ...current, ...Object.fromEntries(links.map(([from, to]) => [to, outputs[from]!.data])) }
        }
      } finally {
        await replicas.close()
      }
    } catch (error) {
      throw classified(error)
    }
  }

  const consumer: Consumer = {
    address,
    get spent() {
      return budget.spent
    },
    async model(id) {
      try {
        const { manifest } = await client.library.load(id)
        const outputs = manifest.outputs.map(({ name, shape, argmax, tensor, tolerance }) => {
          const quantum = 2 ** -tensorOf(manifest, tensor).exponent
          return { name, shape, index: argmax, tolerance: tolerance.quanta * quantum }
        })
        const { d1, d2 } = detection(manifest, client.tileDraws)
        const [caught, inputs] = [{ op: d1, leaf: d2 }, givenInputs(manifest)]
        return { id, name: manifest.name, units: manifest.units, inputs, outputs, caught }
      } catch (error) {
        throw classified(error)
      }
    },
    content: client.content,
    async reserve(id) {
      try {
        const { pool } = poolOf(await client.library.load(id))
        await pool.take()
        for (let more = 1; more < pool.size; more++)
          await pool.take(new Set(pool.slots())).catch((error: unknown) => {
            if (errorCode(error) !== 'NO_BIDS') throw error
          })
        return pool.slots().length
      } catch (error) {
        throw classified(error)
      }
    },
    infer,
    batch,
    run,
    quote: (id, asking = {}) =>
      client.library
        .load(id)
        .then((model) => askPrices(client, model, options.ceiling, asking))
        .catch(rethrow),
    models: ({ timeoutMs } = {}) => client.models(timeoutMs),
    receipt: receiptOf,
    async stop() {
      await checks.settled()
      await Promise.all([...pools.values()].map(({ pool }) => pool.close()))
      await (await auditor?.catch(() => null))?.stop()
      await watcher.stop()
      await batchChecks?.stop()
      await client.stop()
      await memory.close()
    },
  }
  return consumer
}
