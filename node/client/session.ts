import { randomBytes } from '@noble/hashes/utils.js'
import type { Committer } from '../../circuits/commit.ts'
import { bigintToBytes, equalBytes } from '../../protocol/bytes.ts'
import { type SigningDomain, signTyped, voucherDigest } from '../../protocol/eip712.ts'
import { seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Envelope } from '../../protocol/gen/sinter_pb.js'
import { MAX_JOB_FRAME_BYTES } from '../../protocol/limits.ts'
import { jobKeyDigest, tensorsDigest } from '../../protocol/rules/input.ts'
import {
  judgeReceipt,
  type Policy,
  type Receipt,
  SESSION_START,
  type SessionHead,
} from '../../protocol/rules/receipt.ts'
import { commitSide } from '../attestation/commit.ts'
import type { Roots } from '../attestation/root-pool.ts'
import type { Identity } from '../identity/identity.ts'
import { encodeFrame, type Frame, readFrame, writeFrame } from '../jobs/frames.ts'
import type { SealedRef } from '../jobs/sealed.ts'
import {
  type Carry,
  jobShapes,
  outputValues,
  quantisedInputs,
  quantisedOutputs,
  toWire,
  type WireTensor,
} from '../jobs/tensors.ts'
import type { LoadedModel } from '../model/load.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import type { Streams } from '../net/streams.ts'
import { unref } from '../timers.ts'
import { assign } from './assign.ts'
import { saidByProvider } from './failures.ts'
import { createLine, type Turn } from './line.ts'
import type { ReceivedBid } from './offer.ts'
import { type Answer, deferred, type PendingJob } from './pending-job.ts'
import { sealedAnswer } from './sealed-answer.ts'
import { createStatements } from './statements.ts'

export type ConsumerComponents = {
  identity: Identity
  networkId: Uint8Array
  /** Chain and escrow, for vouchers. */
  vouchers: SigningDomain
  streams: Pick<Streams, 'open'>
  committer: Committer
  /** Roots of inputs and outputs. @default by the committer, in this thread */
  roots?: Roots
  /** Fetches answers that go by content. @default there are none */
  content?: Pick<Content, 'get'>
  log: Log
}

export type SessionTerms = {
  model: LoadedModel
  bid: ReceivedBid
  offer: Uint8Array
  /** Id of the session opened on chain, and its ceiling. */
  session: Uint8Array
  ceiling: bigint
  /** What the offer asked for, and so every receipt must say. */
  policy: Policy
  canonical: boolean
}

export type InferResult = {
  seq: bigint
  outputs: Record<string, Float32Array>
  /** From the call to the answer, as the consumer sees it (ms). */
  latencyMs: number
  /** What the provider says the model took (ms). */
  executionMs: number
  /** CID of the outputs, sealed for us, when the input went by content. */
  sealed?: string
  /** Settles when the receipt is judged and acknowledged; rejects with the reason for which it was refused. */
  acknowledged: Promise<Receipt>
}

export type JobOptions = {
  /** Milliseconds until it is sent, and from then until its answer. @default 30_000 */
  timeoutMs?: number
  /** Inputs, by name, that are an output of the last answer: where they are so to the bit, the provider's own are named and none sent. */
  carry?: Readonly<Record<string, string>>
  /** Called when its turn comes to be sent; what it throws is what the job ends with, and nothing is sent. */
  before?(): void
  /** Where the provider has the inputs from, sealed for it: none are sent, and the answer comes by content too. */
  sealed?: SealedRef
}

/** A session with one provider. Some jobs are under way on the stream at once, answered in their order; receipts follow off the latency path. */
export type ConsumerSession = {
  readonly session: Uint8Array
  readonly provider: ReceivedBid
  readonly model: LoadedModel
  readonly canonical: boolean
  /** Resolves when no further job can be run, with the reason; `SESSION_IDLE` when nothing was asked of the provider for long. */
  readonly ended: Promise<SinterError>
  /** One job. `inputs` in the manifest's order. Throws the provider's code, `JOB_TIMEOUT`, `TENSOR_*`, `INPUT_NAN`, `SESSION_ENDED`, `STREAM_FRAME_TOO_LARGE`. */
  infer(inputs: Float32Array[], options?: JobOptions): Promise<InferResult>
  /** Waits for open receipts, then closes the stream. */
  close(): Promise<void>
}

/** Milliseconds a receipt may take after its result. */
const RECEIPT_TIMEOUT_MS = 60_000
/** Jobs under way at once: one is computed while the next are on the wire or wait to be computed with it. */
const DEPTH = 4
/** Jobs that were sent and have no receipt, at most: below the window of 8 that providers allow. */
const MOST_OPEN = 7

/** Assigns the bid's provider and starts the session. Throws the provider's refusal code, or the stream's. */
export async function openConsumerSession(
  components: ConsumerComponents,
  terms: SessionTerms,
): Promise<ConsumerSession> {
  const { identity, networkId, vouchers, committer, log } = components
  const { roots = async (of, ...side) => commitSide(committer, of, ...side) } = components
  const { model, bid, session, ceiling, policy, canonical } = terms
  const { manifest } = model
  const stream = await assign(components, terms)
  /** Jobs without a receipt, by number. Those that are not answered come last. */
  const pending = new Map<bigint, PendingJob>()
  let head: SessionHead = SESSION_START
  let next = 1n
  let underWay = 0
  /** Jobs that the provider lets go without a receipt. */
  let most = MOST_OPEN
  let tickets = 0
  let sending: Promise<void> = Promise.resolve()
  let ended: SinterError | null = null
  const over = deferred<SinterError>()
  let last: WireTensor[] = []
  const line = createLine(({ alone }) => ended !== null || (underWay < (alone ? 1 : DEPTH) && pending.size < most))
  const statements = createStatements({
    answering: () => underWay > 0,
    pressed: () => pending.size >= most,
  })

  /** Which inputs the provider holds already, as outputs of its last result. */
  function heldBy(wire: WireTensor[], links: Readonly<Record<string, string>>): Carry[] {
    return Object.entries(links).flatMap(([input, output]) => {
      const own = wire.find(({ name }) => name === input)
      const theirs = last.find(({ name }) => name === output)
      return own && theirs && equalBytes(own.data, theirs.data) ? [{ input, output }] : []
    })
  }

  function end(error: SinterError): void {
    ended ??= error
    over.resolve(ended)
    for (const { result, outputs, receipt } of pending.values())
      for (const each of [result, outputs, receipt]) each.reject(ended)
    pending.clear()
    underWay = 0
    line.advance()
    statements.look()
  }

  /** The job that is to be answered next: answers come in the order of the requests. Throws `ANSWER_SEQUENCE` for any other. */
  function answering(seq: bigint): PendingJob {
    for (const [number, job] of pending)
      if (!job.answered) {
        if (number === seq) return job
        break
      }
    throw new SinterError('ANSWER_SEQUENCE', `the provider answered job ${seq} out of turn`)
  }

  /** A job failed. Those sent after it are not answered either: they go again, under the numbers that are now free. */
  function fail(seq: bigint, error: SinterError): void {
    const failed = pending.get(seq)
    if (failed === undefined || failed.answered)
      throw new SinterError('ANSWER_SEQUENCE', `the provider failed job ${seq}, which is not under way`)
    next = seq
    const back = [...pending].filter(([number]) => number >= seq)
    for (const [number] of back) pending.delete(number)
    underWay -= back.length
    // Our window is wider than the provider's: what is open now is what it allows.
    const waits = error.code === 'WINDOW_FULL' && pending.size > 0
    if (waits) most = pending.size
    else failed.result.reject(error)
    line.enter(...back.flatMap(([, job]) => (waits || job !== failed ? [job.turn] : [])))
    statements.look()
  }

  /** Checks the receipt against what was really sent and received, then signs the voucher for it. */
  async function acknowledge(envelope: Envelope): Promise<void> {
    const seq = head.seq + 1n
    const job = pending.get(seq)
    if (job?.inputRoot == null || job.outputRoot === null)
      throw new SinterError('RECEIPT_UNEXPECTED', 'a receipt came for a job that is not done')
    const judged = judgeReceipt(envelope, {
      networkId,
      provider: bid.provider,
      ceiling,
      before: head,
      expected: {
        session,
        manifest: model.cid.bytes,
        inputRoot: job.inputRoot,
        outputRoot: job.outputRoot,
        shapes: jobShapes(manifest),
        units: BigInt(manifest.units),
        price: bid.price,
        policy,
        canonical,
      },
    })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the receipt does not match the job')
    const receipt = judged.value
    const fields = { session, seq, cumulative: receipt.cumulative, receipt: receipt.hash }
    const signature = signTyped(voucherDigest(vouchers, fields), identity.privateKey)
    head = { seq, cumulative: receipt.cumulative, head: receipt.hash }
    await writeFrame(stream, {
      case: 'voucher',
      value: { session, seq, cumulative: bigintToBytes(receipt.cumulative, 16), receipt: receipt.hash, signature },
    })
    pending.delete(seq)
    job.receipt.resolve(receipt)
    line.advance()
  }

  async function onFrame(frame: Frame): Promise<void> {
    switch (frame.case) {
      case 'result': {
        const { seq, outputs } = frame.value
        const job = answering(seq)
        job.answered = true
        underWay--
        last = outputs
        job.result.resolve(frame.value)
        line.advance()
        return statements.add(
          () => state(seq, job),
          (error) => {
            pending.delete(seq)
            job.receipt.reject(error)
            line.advance()
          },
        )
      }
      case 'receipt':
        return acknowledge(frame.value)
      case 'failure': {
        const error = saidByProvider(frame.value)
        return frame.value.seq === 0n ? end(error) : fail(frame.value.seq, error)
      }
      default:
        throw new SinterError('FRAME_UNEXPECTED', `a consumer does not take ${frame.case} frames`)
    }
  }

  const reading = (async () => {
    try {
      for (;;) await onFrame(await readFrame(stream, 24 * 3_600_000))
    } catch (error) {
      const code = errorCode(error)
      if (code !== 'STREAM_CLOSED')
        log.warn({ event: 'session.failed', code, error: describeError(error) }, 'session ended')
      end(
        error instanceof SinterError ? error : new SinterError('SESSION_ENDED', 'the session ended', { cause: error }),
      )
      if (!stream.closed) stream.abort(ended!)
    }
  })()

  /** Says what was sent, and works out what the receipt must say. */
  async function state(seq: bigint, job: PendingJob): Promise<void> {
    const outputs = await job.outputs.promise
    const [inputRoot, outputRoot] = await Promise.all([
      roots(model, 'input', job.jobKey, job.inputs),
      roots(model, 'output', job.jobKey, quantisedOutputs(manifest, outputs)),
    ])
    job.inputRoot = inputRoot
    job.outputRoot = outputRoot
    const statement = seal('input', networkId, identity.privateKey, {
      session,
      seq,
      inputDigest: tensorsDigest(job.wire),
      jobKeyDigest: jobKeyDigest(job.jobKey),
      inputRoot,
    })
    await writeFrame(stream, { case: 'inputStatement', value: statement.envelope })
  }

  async function fetched(seq: bigint, bytes: Uint8Array, timeoutMs: number) {
    const context = { content: components.content!, networkId, manifest, session, provider: bid }
    try {
      return await sealedAnswer({ ...context, recipient: identity.privateKey }, seq, bytes, timeoutMs)
    } catch (error) {
      // The provider counts the job as answered; we cannot sign for what we do not have.
      end(error as SinterError)
      stream.abort(error as SinterError)
      throw error
    }
  }

  /** Puts a job on the wire and returns its number. */
  function send(
    job: Pick<PendingJob, 'turn' | 'inputs' | 'result' | 'outputs' | 'receipt'>,
    whole: WireTensor[],
    { carry: links = {}, sealed }: JobOptions,
  ): bigint {
    const carry = sealed ? [] : heldBy(whole, links)
    const sent = whole.filter(({ name }) => !carry.some(({ input }) => input === name))
    // As the provider sees them: what was sent, then what it took from its last result.
    const wire = [...sent, ...carry.map(({ input }) => whole.find(({ name }) => name === input)!)]
    const jobKey = randomBytes(32)
    const seq = next
    const given = sealed ? { sealed: { ...sealed, digest: tensorsDigest(wire) } } : { inputs: sent, carry }
    const frame = encodeFrame({ case: 'request', value: { seq, jobKey, ...given } })
    // Before it has a number: one that cannot be sent must not leave a gap.
    if (frame.length > MAX_JOB_FRAME_BYTES)
      throw new SinterError('STREAM_FRAME_TOO_LARGE', `a request has at most ${MAX_JOB_FRAME_BYTES} bytes`)
    next++
    underWay++
    pending.set(seq, { ...job, jobKey, wire, inputRoot: null, outputRoot: null, answered: false })
    // Frames leave in the order of their numbers, whenever the transport takes them.
    sending = sending.then(() => stream.write(frame))
    sending.catch((error: unknown) => job.result.reject(error))
    return seq
  }

  async function run(values: Float32Array[], options: JobOptions): Promise<InferResult> {
    const { timeoutMs = 30_000, carry = {}, sealed, before = () => {} } = options
    const whole = manifest.inputs.map(({ name, shape }, i) => toWire(name, shape, values[i] ?? new Float32Array()))
    const inputs = quantisedInputs(manifest, whole)
    const result = deferred<Answer>()
    const outputs = deferred<WireTensor[]>()
    const receipt = deferred<Receipt>()
    let seq = 0n
    let at = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    /** While it waits for its turn, and anew once it is on the wire. */
    const limit = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        const error = new SinterError('JOB_TIMEOUT', `no answer within ${timeoutMs} ms`)
        if (pending.get(seq)?.turn !== turn) return result.reject(error)
        // Whether the provider serves the job is unknown, so the two sides no longer agree on what comes next.
        end(error)
        stream.abort(error)
      }, timeoutMs)
    }
    const turn: Turn = {
      ticket: tickets++,
      alone: Object.keys(carry).length > 0 || sealed !== undefined,
      start() {
        try {
          if (ended !== null) throw new SinterError('SESSION_ENDED', 'the session has ended', { cause: ended })
          before()
          seq = send({ turn, inputs, result, outputs, receipt }, whole, options)
          at = performance.now()
          limit()
        } catch (error) {
          result.reject(error)
        }
      },
    }
    try {
      limit()
      line.enter(turn)
      const answer = await result.promise
      const left = Math.max(1, Math.ceil(timeoutMs - (performance.now() - at)))
      const byContent = sealed && (await fetched(seq, answer.sealed, left))
      outputs.resolve(byContent?.outputs ?? answer.outputs)
      const latencyMs = performance.now() - at
      const named = outputValues(manifest, await outputs.promise)
      const common = { seq, outputs: named, latencyMs, executionMs: answer.executionUs / 1000 }
      return { ...common, ...(byContent && { sealed: byContent.cid }), acknowledged: receipt.promise }
    } finally {
      clearTimeout(timer)
      line.leave(turn)
    }
  }

  return {
    session,
    provider: bid,
    model,
    canonical,
    ended: over.promise,
    infer: (values, options = {}) => run(values, options),
    async close() {
      const open = [...pending.values()].map(({ receipt }) => receipt.promise)
      const patience = new Promise((resolve) => unref(setTimeout(resolve, RECEIPT_TIMEOUT_MS)))
      statements.hurry()
      await Promise.race([Promise.allSettled(open), patience])
      await stream.close()
      stream.abort(new SinterError('STREAM_CLOSED', 'the session is closed'))
      await reading
    },
  }
}
