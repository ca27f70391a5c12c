import { randomBytes } from '@noble/hashes/utils.js'
import type { Committer } from '../../circuits/commit.ts'
import { bigintToBytes, bytesToBigint, equalBytes } from '../../protocol/bytes.ts'
import { type SigningDomain, signTyped, voucherDigest } from '../../protocol/eip712.ts'
import { seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Envelope } from '../../protocol/gen/sinter_pb.js'
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
import { type Frame, readFrame, writeFrame } from '../jobs/frames.ts'
import { cidOfBytes, openTensors, type SealedRef, sealedBound } from '../jobs/sealed.ts'
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
import type { FrameStream } from '../net/frame-stream.ts'
import type { Log } from '../net/log.ts'
import type { Streams } from '../net/streams.ts'
import { unref } from '../timers.ts'
import type { ReceivedBid } from './offer.ts'

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
  /** @default 30_000 */
  timeoutMs?: number
  /** Inputs, by name, that are an output of the last answer: where they are so to the bit, the provider's own are named and none sent. */
  carry?: Readonly<Record<string, string>>
  /** Where the provider has the inputs from, sealed for it: none are sent, and the answer comes by content too. */
  sealed?: SealedRef
}

/** A session with one provider. Jobs go down the same stream one after the other; receipts follow off the latency path. */
export type ConsumerSession = {
  readonly session: Uint8Array
  readonly provider: ReceivedBid
  readonly model: LoadedModel
  readonly canonical: boolean
  /** One job. `inputs` in the manifest's order. Throws the provider's code, `JOB_TIMEOUT`, `TENSOR_*`, `INPUT_NAN`, `SESSION_ENDED`. */
  infer(inputs: Float32Array[], options?: JobOptions): Promise<InferResult>
  /** Waits for open receipts, then closes the stream. */
  close(): Promise<void>
}

type Deferred<T> = { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void }

function deferred<T>(): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  // A caller may look at the result long after it failed, or never.
  promise.catch(() => {})
  return { promise, resolve, reject }
}

type Answered = { outputs: WireTensor[]; sealed: Uint8Array; executionUs: number }

type PendingJob = {
  jobKey: Uint8Array
  inputRoot: Uint8Array | null
  outputRoot: Uint8Array | null
  result: Deferred<Answered>
  receipt: Deferred<Receipt>
}

/** After what is ready to run has run: the next request leaves before the commitments of the last one are made. */
const afterwards = (): Promise<void> =>
  new Promise((resolve) => (typeof setImmediate === 'function' ? setImmediate(resolve) : setTimeout(resolve)))

/** Milliseconds a receipt may take after its result. */
const RECEIPT_TIMEOUT_MS = 60_000

async function assign(components: ConsumerComponents, terms: SessionTerms): Promise<FrameStream> {
  const { identity, networkId, streams } = components
  const stream = await streams.open(terms.bid.peerId, 'job')
  const assignment = seal('assignment', networkId, identity.privateKey, {
    offer: terms.offer,
    bid: terms.bid.id,
    session: terms.session,
  })
  await writeFrame(stream, { case: 'assignment', value: assignment.envelope })
  const reply = await readFrame(stream, 30_000)
  if (reply.case === 'failure')
    throw new SinterError(reply.value.code, `the provider refused the session: ${reply.value.message}`)
  if (reply.case !== 'accepted')
    throw new SinterError('FRAME_UNEXPECTED', `the provider answered with a ${reply.case} frame`)
  const { seq, cumulative, head } = reply.value
  const start = seq === SESSION_START.seq && equalBytes(head, SESSION_START.head) && bytesToBigint(cumulative) === 0n
  if (!start)
    throw new SinterError('SESSION_OUT_OF_STEP', 'the provider has receipts of this session that we do not know')
  return stream
}

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
  const pending = new Map<bigint, PendingJob>()
  /** Statements on their way, by the number of their job. */
  const stated = new Map<bigint, Promise<void>>()
  let head: SessionHead = SESSION_START
  let next = 1n
  let ended: SinterError | null = null
  let last: WireTensor[] = []

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
    for (const job of pending.values()) {
      job.result.reject(ended)
      job.receipt.reject(ended)
    }
    pending.clear()
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
  }

  async function onFrame(frame: Frame): Promise<void> {
    switch (frame.case) {
      case 'result':
        return pending.get(frame.value.seq)?.result.resolve(frame.value)
      case 'receipt':
        return acknowledge(frame.value)
      case 'failure': {
        const error = new SinterError(frame.value.code, `the provider says: ${frame.value.message}`)
        if (frame.value.seq === 0n) return end(error)
        pending.get(frame.value.seq)?.result.reject(error)
        return
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

  /** After the answer is in hand: say what was sent, and work out what the receipt must say. */
  async function finish(
    seq: bigint,
    job: PendingJob,
    inputs: Int16Array[],
    wire: WireTensor[],
    outputs: WireTensor[],
  ): Promise<void> {
    await afterwards()
    const [inputRoot, outputRoot] = await Promise.all([
      roots(model, 'input', job.jobKey, inputs),
      roots(model, 'output', job.jobKey, quantisedOutputs(manifest, outputs)),
    ])
    job.inputRoot = inputRoot
    job.outputRoot = outputRoot
    // Statements go in the order of the answers, whichever roots are ready first.
    await stated.get(seq - 1n)
    const statement = seal('input', networkId, identity.privateKey, {
      session,
      seq,
      inputDigest: tensorsDigest(wire),
      jobKeyDigest: jobKeyDigest(job.jobKey),
      inputRoot,
    })
    await writeFrame(stream, { case: 'inputStatement', value: statement.envelope })
  }

  /** The outputs of an answer by content: only this provider can have sealed them, for us, this session and this job. */
  async function fetched(seq: bigint, bytes: Uint8Array, timeoutMs: number) {
    try {
      const cid = cidOfBytes(bytes)
      const limits = { maxBytes: sealedBound(manifest.outputs), timeoutMs, from: [bid.peerId] }
      const file = await components.content!.get(cid, limits)
      const expected = { purpose: 'output' as const, job: session, seq, sender: bid.providerKey }
      return { cid, outputs: openTensors(file, { networkId, recipient: identity.privateKey, expected }) }
    } catch (cause) {
      // The provider counts the job as answered; we cannot sign for what we do not have.
      const error = new SinterError('ANSWER_UNREADABLE', 'the sealed answer could not be had', { cause })
      stream.abort(error)
      throw error
    }
  }

  async function run(
    values: Float32Array[],
    { timeoutMs = 30_000, carry: links = {}, sealed }: JobOptions,
  ): Promise<InferResult> {
    if (ended !== null) throw new SinterError('SESSION_ENDED', 'the session has ended', { cause: ended })
    const whole = manifest.inputs.map(({ name, shape }, i) => toWire(name, shape, values[i] ?? new Float32Array()))
    const inputs = quantisedInputs(manifest, whole)
    const carry = sealed ? [] : heldBy(whole, links)
    const sent = whole.filter(({ name }) => !carry.some(({ input }) => input === name))
    // As the provider sees them: what was sent, then what it took from its last result.
    const wire = [...sent, ...carry.map(({ input }) => whole.find(({ name }) => name === input)!)]
    const seq = next
    const job: PendingJob = {
      jobKey: randomBytes(32),
      inputRoot: null,
      outputRoot: null,
      result: deferred(),
      receipt: deferred(),
    }
    pending.set(seq, job)
    const started = performance.now()
    const timer = setTimeout(
      () => job.result.reject(new SinterError('JOB_TIMEOUT', `no answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
    try {
      const given = sealed ? { sealed: { ...sealed, digest: tensorsDigest(wire) } } : { inputs: sent, carry }
      await writeFrame(stream, { case: 'request', value: { seq, jobKey: job.jobKey, ...given } })
      const answered = await job.result.promise
      const { executionUs } = answered
      const left = Math.max(1, Math.ceil(timeoutMs - (performance.now() - started)))
      const byContent = sealed && (await fetched(seq, answered.sealed, left))
      const outputs = byContent?.outputs ?? answered.outputs
      const latencyMs = performance.now() - started
      next = seq + 1n
      last = outputs
      const named = outputValues(manifest, outputs)
      const stating = finish(seq, job, inputs, wire, outputs).catch((error: unknown) => job.receipt.reject(error))
      stated.set(seq, stating)
      void stating.then(() => stated.delete(seq))
      const common = { seq, outputs: named, latencyMs, executionMs: executionUs / 1000 }
      return { ...common, ...(byContent && { sealed: byContent.cid }), acknowledged: job.receipt.promise }
    } catch (error) {
      pending.delete(seq)
      // Whether the provider has served the job is unknown, so the two sides no longer agree on what comes next.
      if (errorCode(error) === 'JOB_TIMEOUT') stream.abort(error as SinterError)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Jobs asked for at once go one after the other: each takes the number after the last answered one. */
  let turn: Promise<unknown> = Promise.resolve()

  return {
    session,
    provider: bid,
    model,
    canonical,
    infer(values, options = {}) {
      const mine = turn.then(() => run(values, options))
      turn = mine.catch(() => {})
      return mine
    },
    async close() {
      const open = [...pending.values()].map(({ receipt }) => receipt.promise)
      const patience = new Promise((resolve) => unref(setTimeout(resolve, RECEIPT_TIMEOUT_MS)))
      await Promise.race([Promise.allSettled(open), patience])
      await stream.close()
      stream.abort(new SinterError('STREAM_CLOSED', 'the session is closed'))
      await reading
    },
  }
}
